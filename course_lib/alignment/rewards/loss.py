"""Learning a reward from comparisons: Bradley and Terry's likelihood, as a loss and as an objective for a Run."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from course_lib.alignment.raters.preferences import PreferenceBatch
from course_lib.loops.loss import Batch, Loss, Objective
from course_lib.losses.conventions import Reduction, check_same_shape, reduced, widened

# Shape letters used in this file: N = pairs, T = tokens.


def bradley_terry(chosen: Tensor, rejected: Tensor, *, centring: float = 0.0, reduction: Reduction = "mean") -> Tensor:
    """``-log sigmoid(chosen - rejected)``: how surprising it is that the chosen one was preferred.

    Logistic regression on differences: the better one's reward is pushed up, the other's down, less and less as they
    part. Only differences matter, so all rewards may drift together; ``centring`` adds ``centring * (chosen +
    rejected)^2``, which holds a pair's mean at 0 and costs comparisons next to nothing.

    Args:
        chosen: Rewards of what was preferred.
        rejected: Rewards of what it was preferred to.
        centring: Weight of the penalty; trl's ``center_rewards_coefficient``. Eisenstein et al. use 0.01.
        reduction: ``"mean"`` over pairs, ``"sum"`` or ``"none"``.

    Shape:
        - chosen, rejected: ``(N,)``, or any one shape; floating point
        - output: ``()``, or that shape for ``"none"``

    Returns:
        Nats a pair: ``log(2)`` when the two are equal; at best the entropy of the rater's noise, see
        `SimulatedRater.loss_floor`.

    Raises:
        ValueError: If the shapes differ, a tensor is not floating point, or ``centring`` is negative.

    Example:
        >>> bradley_terry(torch.tensor([0.0, 3.0]), torch.tensor([0.0, 0.0]), reduction="none")
        tensor([0.6931, 0.0486])

    Reference: Bradley and Terry 1952; Ouyang et al. 2022, eq. 1, https://arxiv.org/abs/2203.02155; for centring
    Eisenstein et al. 2023, Helping or herding? Reward model ensembles mitigate but do not eliminate reward hacking,
    https://arxiv.org/abs/2312.09244
    """
    if not (math.isfinite(centring) and centring >= 0):
        raise ValueError(f"centring must be 0 or more and finite, got {centring}; 0.01 is usual.")
    check_same_shape(chosen=chosen, rejected=rejected)
    chosen, rejected = widened("chosen", chosen), widened("rejected", rejected)
    losses = -F.logsigmoid(chosen - rejected)
    if centring:
        losses = losses + centring * (chosen + rejected).square()
    return reduced(losses, reduction)


def reward_objective(*, centring: float = 0.0) -> Objective:
    """Return the objective that trains a `RewardModel` on comparisons.

    Args:
        centring: See `bradley_terry`.

    Shape:
        - batch: a `PreferenceBatch`
        - the model is called as ``model(tokens, mask)`` and gives one number a row

    Returns:
        An objective; ``count`` is the number of pairs. Metrics: ``accuracy``, how often the chosen one has the higher
        reward (a tie counts half), and ``margin``, by how much on average.

    Raises:
        ValueError: If ``centring`` is negative; when called, if a batch is no `PreferenceBatch`.

    Example:
        >>> from course_lib.alignment import Preferences, RewardModel
        >>> from course_lib.nn.transformer import Transformer, gpt
        >>> model = RewardModel(Transformer(gpt(vocab_size=9, width=8, num_layers=1, num_heads=2, context_length=8)))
        >>> batch = Preferences([[0]], [[1, 2]], [[3]], torch.ones(1).double()).batch()
        >>> loss = reward_objective()(model, batch)  # untrained: a toss
        >>> round(loss.total.item(), 4), loss.count, loss.metrics["accuracy"].item()
        (0.6931, 1, 0.5)
    """
    if not (math.isfinite(centring) and centring >= 0):
        raise ValueError(f"centring must be 0 or more and finite, got {centring}; 0.01 is usual.")

    def objective(model: nn.Module, batch: Batch) -> Loss:
        if len(batch) != len(PreferenceBatch._fields):
            raise ValueError(
                f"reward_objective needs a PreferenceBatch, {len(PreferenceBatch._fields)} tensors, got {len(batch)}: "
                "use Preferences.batch()."
            )
        pairs = PreferenceBatch(*batch)
        tokens, mask = trimmed(
            torch.cat([pairs.chosen, pairs.rejected]), torch.cat([pairs.chosen_mask, pairs.rejected_mask])
        )
        chosen, rejected = model(tokens, mask).split(len(pairs.chosen))
        total = bradley_terry(chosen, rejected, centring=centring, reduction="sum")
        with torch.no_grad():
            margins = chosen - rejected
            right = (margins > 0).sum() + (margins == 0).sum() / 2
        return Loss(total, len(chosen), {"accuracy": right, "margin": margins.sum()})

    return objective


def trimmed(tokens: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """Return both without the columns that are padding in every row.

    A batch of a large set has the width of the longest text of all. On a GPU, where finding out would make it wait,
    they are returned as they are.

    Shape:
        - tokens, mask: ``(B, T)``

    Example:
        >>> trimmed(torch.tensor([[1, 2, 0], [3, 0, 0]]), torch.tensor([[True, True, False], [True, False, False]]))[0]
        tensor([[1, 2],
                [3, 0]])
    """
    if mask.device.type != "cpu":
        return tokens, mask
    used = mask.any(dim=0)
    return tokens[:, used], mask[:, used]
