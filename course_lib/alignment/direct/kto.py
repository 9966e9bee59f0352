"""KTO: learn from single completions marked good or bad, each measured against a reference point."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from course_lib.alignment.direct.losses import implicit_reward
from course_lib.alignment.direct.objectives import reference_log_probs, trimmed
from course_lib.alignment.raters.preferences import Preferences
from course_lib.alignment.tokens.rollouts import pack_completions, sequence_log_probs
from course_lib.collectives import all_sum, world_size
from course_lib.loops.loss import Batch, Loss, Objective
from course_lib.losses.conventions import Reduction, check_positive, check_same_shape, reduced, widened

# Shape letters used in this file: N = completions, T = tokens of prompt and completion.


def kto_reference_point(policy: Tensor, reference: Tensor) -> Tensor:
    """Return ``max(0, mean(policy - reference))`` over prompts with a completion that belongs to another prompt.

    An estimate of ``KL(policy || reference)`` that costs no sampling. It is biased (the completions are not the
    policy's own), and no gradient flows through it: it only says from where gains and losses are counted.

    Args:
        policy: Log-probability of each mismatched completion under the policy that learns.
        reference: The same under the frozen reference.

    Shape:
        - policy, reference: ``(N,)``; output: ``()``

    Example:
        >>> kto_reference_point(torch.tensor([-8.0, -9.0]), torch.tensor([-10.0, -10.0]))
        tensor(1.5000)

    Reference: Ethayarajh et al. 2024, KTO: model alignment as prospect theoretic optimization, section 4.2,
    https://arxiv.org/abs/2402.01306
    """
    check_same_shape(policy=policy, reference=reference)
    ratios = (widened("policy", policy) - widened("reference", reference)).detach()
    sums = torch.stack([ratios.sum(), ratios.new_full((), len(ratios))])
    all_sum([sums])  # over all ranks: the estimate is noisy enough as it is
    return (sums[0] / sums[1]).clamp(min=0)


def kto_loss(
    policy: Tensor,
    reference: Tensor,
    desirable: Tensor,
    point: Tensor,
    *,
    beta: float = 0.1,
    desirable_weight: float = 1.0,
    undesirable_weight: float = 1.0,
    reduction: Reduction = "mean",
) -> Tensor:
    """``1 - sigmoid(gain)`` for desirable completions, ``1 - sigmoid(-gain)`` for others, times their weights.

    The gain is the implicit reward above ``beta * point``. As people do by prospect theory, the loss saturates both
    ways: it neither keeps pushing what is already good nor despairs of what cannot be helped.

    Args:
        policy: Log-probability of each completion, summed over tokens, under the policy that learns.
        reference: The same under the frozen reference.
        desirable: True where somebody liked the completion.
        point: The reference point, in nats; see `kto_reference_point`.
        beta: How dear it is to leave the reference.
        desirable_weight: How much the good ones count. Where good and bad ones are not equally many, weights such
            that ``desirable_weight * num_good`` is 1 to 1.5 times ``undesirable_weight * num_bad`` are advised.
        undesirable_weight: How much the bad ones count.
        reduction: ``"mean"`` over all completions, ``"sum"`` or ``"none"``.

    Shape:
        - policy, reference: ``(N,)``; desirable: ``(N,)``, bool; point: ``()``
        - output: ``()``, or ``(N,)`` for ``"none"``

    Returns:
        1/2 each (times the weight) for a policy that is still the reference, 0 at best. As trl's ``"kto"``. (The
        paper's loss is this, its constant being the weight: "lambda_y - v".)

    Raises:
        ValueError: If shapes or dtypes do not fit, ``beta`` or a weight is not positive.

    Example:
        >>> same = torch.tensor([-10.0, -10.0])
        >>> kto_loss(same, same, torch.tensor([True, False]), torch.tensor(0.0), undesirable_weight=3.0)
        tensor(1.)

    Reference: Ethayarajh et al. 2024, eq. 7 and 8, https://arxiv.org/abs/2402.01306
    """
    check_positive("desirable_weight", desirable_weight)
    check_positive("undesirable_weight", undesirable_weight)
    check_same_shape(policy=policy, reference=reference, desirable=desirable)
    if desirable.dtype != torch.bool or point.ndim != 0:
        raise ValueError(
            f"desirable must be bool and point one number, got {desirable.dtype} and shape {tuple(point.shape)}."
        )
    gain = implicit_reward(policy, reference, beta=beta) - beta * point
    losses = torch.where(desirable, desirable_weight * (-gain).sigmoid(), undesirable_weight * gain.sigmoid())
    return reduced(losses, reduction)


class KTOBatch(NamedTuple):
    """Completions marked good or bad, and for each prompt a completion that belongs to another one.

    Args:
        tokens: Prompt, completion, padding on the right.
        mask: True at the completion's tokens.
        desirable: Whether somebody liked it.
        mismatched: A prompt followed by a completion of another prompt.
        mismatched_mask: True at that completion's tokens.
        reference: Log-probability of the completion under the reference.
        mismatched_reference: Of the mismatched one.

    Shape:
        - tokens, mismatched: ``(N, T)``, int64; masks: ``(N, T)``, bool; desirable: ``(N,)``, bool
        - reference, mismatched_reference: ``(N,)``
    """

    tokens: Tensor
    mask: Tensor
    desirable: Tensor
    mismatched: Tensor
    mismatched_mask: Tensor
    reference: Tensor
    mismatched_reference: Tensor


def kto_batch(preferences: Preferences, reference: nn.Module, *, batch_size: int = 64) -> KTOBatch:
    """Take pairs apart: each makes one desirable and one undesirable row; nothing remembers who belonged to whom.

    Row i's mismatched completion is that of the next pair, the last one's that of the first, as in the paper.

    Args:
        preferences: Pairs; at least two, best in an order in which neighbours have different prompts.
        reference: The frozen policy; its log-probabilities are computed once, here.
        batch_size: Rows at a time.

    Returns:
        Tensors on the reference's device.

    Raises:
        ValueError: If there are fewer than two pairs, or the reference gives a completion no finite log-probability.
    """
    if len(preferences) < 2:
        raise ValueError(f"a mismatched completion needs at least two pairs, got {len(preferences)}.")
    prompts = [prompt for prompt in preferences.prompts for _ in range(2)]
    completions = [row for pair in zip(preferences.chosen, preferences.rejected, strict=True) for row in pair]
    device = next(reference.parameters()).device
    tokens, mask = pack_completions(prompts, completions, device=device)
    other, other_mask = pack_completions(prompts, completions[2:] + completions[:2], device=device)
    desirable = torch.arange(len(prompts), device=device) % 2 == 0
    return KTOBatch(
        tokens,
        mask,
        desirable,
        other,
        other_mask,
        reference_log_probs(reference, tokens, mask, batch_size=batch_size),
        reference_log_probs(reference, other, other_mask, batch_size=batch_size),
    )


def kto_objective(*, beta: float = 0.1, desirable_weight: float = 1.0, undesirable_weight: float = 1.0) -> Objective:
    """Return KTO's objective over batches of `KTOBatch`.

    Args:
        beta: See `kto_loss`.
        desirable_weight: See `kto_loss`.
        undesirable_weight: See `kto_loss`.

    Returns:
        An objective with ``count`` None: all rows share one reference point, so a batch cannot be split. Over ranks it
        is the mean of all their rows, however many each has. Metrics: ``accuracy``, how often the
        sign of the gain agrees with the mark, and ``reference_point`` in nats.

    Raises:
        ValueError: If a setting is not positive.

    Reference: Ethayarajh et al. 2024, eq. 7 and 8, https://arxiv.org/abs/2402.01306
    """
    for name, value in {
        "beta": beta,
        "desirable_weight": desirable_weight,
        "undesirable_weight": undesirable_weight,
    }.items():
        check_positive(name, value)

    def objective(model: nn.Module, batch: Batch) -> Loss:
        batch = KTOBatch(*batch)
        with torch.no_grad():
            mismatched = sequence_log_probs(model, *trimmed(batch.mismatched, batch.mismatched_mask)).sum(1)
            point = kto_reference_point(mismatched, batch.mismatched_reference)
        policy = sequence_log_probs(model, *trimmed(batch.tokens, batch.mask)).sum(1)
        loss = kto_loss(
            policy,
            batch.reference,
            batch.desirable,
            point,
            beta=beta,
            desirable_weight=desirable_weight,
            undesirable_weight=undesirable_weight,
            reduction="sum",
        )
        right = (policy.detach() - batch.reference > point) == batch.desirable
        share = _share_of_a_row(policy)
        return Loss(loss * share, None, {"accuracy": right.to(share.dtype).sum() * share, "reference_point": point})

    return objective


def _share_of_a_row(rows: Tensor) -> Tensor:
    """Return what a row counts so that the mean over ranks of their sums is the mean over all rows."""
    num_rows = rows.new_full((), len(rows), requires_grad=False)
    all_sum([num_rows])
    return world_size() / num_rows
