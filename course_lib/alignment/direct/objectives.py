"""DPO and IPO as objectives: pairs in, with the reference's say computed once, a loss on the policy out."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn

from course_lib.alignment.direct.losses import dpo_loss, ipo_loss
from course_lib.alignment.raters.preferences import Preferences
from course_lib.alignment.tokens.rollouts import sequence_log_probs
from course_lib.loops import evaluating
from course_lib.loops.loss import Batch, Loss, Objective
from course_lib.losses.conventions import check_positive

# Shape letters used in this file: N = pairs, T = tokens of the longest prompt with its completion.


class DirectBatch(NamedTuple):
    """Pairs of completions with what the reference thinks of them; a tuple, so that `Batches` can deal them out.

    Args:
        chosen: Prompt and preferred completion, padding on the right.
        chosen_mask: True at the completion's tokens, False at prompt and padding.
        rejected: The other completion, after the same prompt.
        rejected_mask: True at its tokens.
        reference_chosen: Log-probability of the preferred completion under the reference, summed over its tokens.
        reference_rejected: Of the other one.

    Shape:
        - chosen, rejected: ``(N, T)``, int64, one T for both; masks: ``(N, T)``, bool
        - reference_chosen, reference_rejected: ``(N,)``
    """

    chosen: Tensor
    chosen_mask: Tensor
    rejected: Tensor
    rejected_mask: Tensor
    reference_chosen: Tensor
    reference_rejected: Tensor


def direct_batch(preferences: Preferences, reference: nn.Module, *, batch_size: int = 64) -> DirectBatch:
    """Turn preferences into what `dpo_objective` and `ipo_objective` learn from; ``reference`` speaks once, here.

    So no second model has to stay in memory while the policy learns. For the usual case the policy before its first
    update is the reference: ``direct_batch(preferences, policy)``, then train ``policy``.

    Args:
        preferences: Pairs.
        reference: What the policy is held near.
        batch_size: Rows that go through the reference at a time.

    Returns:
        Tensors on the reference's device, for ``Batches(direct_batch(...), batch_size=..., seed=...)``.

    Raises:
        ValueError: If there is no pair, or the reference gives a completion no finite log-probability.

    Example:
        >>> from course_lib.nn.transformer import Transformer, llama
        >>> model = Transformer(llama(vocab_size=9, width=8, num_layers=1, num_heads=2, context_length=8))
        >>> pairs = Preferences([[1], [2]], [[3, 4], [5]], [[6], []], torch.ones(2).double())
        >>> batch = direct_batch(pairs, model)
        >>> batch.chosen.tolist(), float(batch.reference_rejected[1])  # an empty completion is certain
        ([[1, 3, 4], [2, 5, 0]], 0.0)
    """
    batch = preferences.batch(device=next(reference.parameters()).device)
    sides = ((batch.chosen, batch.chosen_completion), (batch.rejected, batch.rejected_completion))
    chosen, rejected = (reference_log_probs(reference, *side, batch_size=batch_size) for side in sides)
    return DirectBatch(*sides[0], *sides[1], chosen, rejected)


@torch.no_grad()
def reference_log_probs(reference: nn.Module, tokens: Tensor, mask: Tensor, *, batch_size: int = 64) -> Tensor:
    """Return each completion's log-probability under a frozen model, summed over its tokens.

    Args:
        reference: Maps tokens to logits; asked without dropout and without gradients.
        tokens: Prompts with completions; see `pack_completions`.
        mask: True at the completions' tokens.
        batch_size: Rows at a time.

    Shape:
        - tokens: ``(N, T)``, int64; mask: ``(N, T)``, bool; output: ``(N,)``

    Raises:
        ValueError: If ``batch_size`` is less than 1 or a log-probability is not finite; the message names the rows.
    """
    if batch_size < 1:
        raise ValueError(f"batch_size must be at least 1, got {batch_size}.")
    with evaluating(reference):
        parts = [slice(first, first + batch_size) for first in range(0, len(tokens), batch_size)]
        log_probs = torch.cat(
            [sequence_log_probs(reference, *trimmed(tokens[rows], mask[rows])).sum(1) for rows in parts]
        )
    if not log_probs.isfinite().all():
        rows = (~log_probs.isfinite()).nonzero()[:, 0].tolist()
        raise ValueError(f"the reference gives rows {rows[:10]} no finite log-probability: are its weights broken?")
    return log_probs


def dpo_objective(*, beta: float = 0.1, label_smoothing: float = 0.0) -> Objective:
    """Return DPO's objective over batches of `DirectBatch`.

    Args:
        beta: See `dpo_loss`.
        label_smoothing: See `dpo_loss`.

    Shape:
        - batch: a `DirectBatch`; the model maps tokens ``(N, T)`` to logits

    Returns:
        An objective; ``count`` is the number of pairs, and it can be split into micro-batches. Metrics: ``accuracy``,
        how often the chosen completion has the greater implicit reward (a tie counts half); ``margin``, the difference
        of the two rewards in units of ``beta`` nats; ``chosen_log_prob`` and ``rejected_log_prob``, in nats a
        completion: watch whether both fall.

    Raises:
        ValueError: If ``beta`` is not positive or ``label_smoothing`` not in [0, 0.5).

    Example:
        >>> from course_lib.nn.transformer import Transformer, llama
        >>> model = Transformer(llama(vocab_size=9, width=8, num_layers=1, num_heads=2, context_length=8))
        >>> pairs = Preferences([[1], [2]], [[3, 4], [5]], [[6], []], torch.ones(2).double())
        >>> loss = dpo_objective()(model, direct_batch(pairs, model))
        >>> round(loss.total.item() / loss.count, 4)  # log 2: still the reference
        0.6931

    Reference: Rafailov et al. 2023, eq. 7, https://arxiv.org/abs/2305.18290
    """
    check_positive("beta", beta)
    if not 0 <= label_smoothing < 0.5:
        raise ValueError(f"label_smoothing must be from 0 to below 0.5, where nothing is left, got {label_smoothing}.")

    def loss(*log_probs: Tensor) -> Tensor:
        return dpo_loss(*log_probs, beta=beta, label_smoothing=label_smoothing, reduction="sum")

    return _pair_objective(loss, beta=beta, per_token=False)


def ipo_objective(*, beta: float = 0.1, per_token: bool = False) -> Objective:
    """Return IPO's objective over batches of `DirectBatch`.

    Args:
        beta: See `ipo_loss`; the paper's tau. With ``per_token`` margins are some hundred times smaller, so a larger
            ``beta`` asks for as much.
        per_token: Divide each completion's log-probabilities by its number of tokens first, as trl does.

    Shape:
        - batch: a `DirectBatch`; the model maps tokens ``(N, T)`` to logits

    Returns:
        An objective; see `dpo_objective`, whose metrics it shares.

    Raises:
        ValueError: If ``beta`` is not positive.

    Reference: Azar et al. 2023, eq. 17, https://arxiv.org/abs/2310.12036
    """
    check_positive("beta", beta)

    def loss(*log_probs: Tensor) -> Tensor:
        return ipo_loss(*log_probs, beta=beta, reduction="sum")

    return _pair_objective(loss, beta=beta, per_token=per_token)


def trimmed(tokens: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """Cut off the columns behind the last token that counts; on an accelerator, where looking would wait, none."""
    if tokens.device.type != "cpu":
        return tokens, mask
    width = int(mask.any(0).nonzero().amax()) + 1 if mask.any() else 1
    return tokens[:, :width], mask[:, :width]


def _pair_objective(loss: Callable[..., Tensor], *, beta: float, per_token: bool) -> Objective:
    def objective(model: nn.Module, batch: Batch) -> Loss:
        batch = DirectBatch(*batch)
        mask = torch.cat([batch.chosen_mask, batch.rejected_mask])
        both = sequence_log_probs(model, *trimmed(torch.cat([batch.chosen, batch.rejected]), mask)).sum(1)
        columns = (*both.chunk(2), batch.reference_chosen, batch.reference_rejected)
        if per_token:
            lengths = mask.sum(1).clamp(min=1).chunk(2)
            columns = tuple(column / length for column, length in zip(columns, (*lengths, *lengths), strict=True))
        total = loss(*columns)
        with torch.no_grad():
            chosen, rejected = both.chunk(2)
            margins = beta * (chosen - batch.reference_chosen - rejected + batch.reference_rejected)
            metrics = {
                "accuracy": ((margins > 0).sum() + 0.5 * (margins == 0).sum()),
                "margin": margins.sum(),
                "chosen_log_prob": chosen.sum(),
                "rejected_log_prob": rejected.sum(),
            }
        return Loss(total, len(batch.chosen), metrics)

    return objective
