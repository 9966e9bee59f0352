"""GRPO: several answers to one question are each other's baseline, so that no critic is needed."""

from __future__ import annotations

from typing import Literal, NamedTuple, get_args

import torch
from torch import Tensor, nn

from course_lib.alignment.tokens.rollouts import sequence_log_probs
from course_lib.loops.loss import Batch, Loss, Objective
from course_lib.losses.conventions import widened
from course_lib.rl import approximate_kl, clipped_surrogate

# Shape letters used in this file: P = prompts, G = completions of a prompt (a group), B = completions, T = tokens.

Average = Literal["sequence", "token", "constant"]


def group_advantages(rewards: Tensor, *, divide_by_std: bool = True, epsilon: float = 1e-4) -> Tensor:
    """Return how much better each completion did than its group: ``(reward - mean) / (std + epsilon)``.

    The mean of a group estimates the prompt's value, as a critic would. Dividing by the deviation makes a question
    that is nearly always (or hardly ever) answered count more than one of middling difficulty; Dr. GRPO leaves it out.

    Args:
        rewards: One for each completion.
        divide_by_std: False subtracts the mean only.
        epsilon: Added to the deviation, so that rewards which differ by rounding alone do not count in full; 1e-4 is
            trl's. The deviation has G - 1 degrees of freedom, as there.

    Shape:
        - rewards, output: ``(P, G)``, floating point, ``G >= 2``; the output float32 at least

    Returns:
        Advantages with mean 0 in each group; exactly 0 in a group whose rewards are all equal, which teaches nothing.

    Raises:
        ValueError: If ``rewards`` is no floating-point ``(P, G)`` with at least two in a group, one is not finite (the
            message names the rows), or ``epsilon`` is negative.

    Example:
        >>> group_advantages(torch.tensor([[1.0, 0.0, 0.0, 1.0], [1.0, 1.0, 1.0, 1.0]]), divide_by_std=False)
        tensor([[ 0.5000, -0.5000, -0.5000,  0.5000],
                [ 0.0000,  0.0000,  0.0000,  0.0000]])

    Reference: Shao et al. 2024, DeepSeekMath: pushing the limits of mathematical reasoning in open language models,
    section 4.1.2, https://arxiv.org/abs/2402.03300; without the division, Liu et al. 2025, Understanding R1-Zero-like
    training: a critical perspective, https://arxiv.org/abs/2503.20783
    """
    if rewards.ndim != 2 or not rewards.is_floating_point() or rewards.shape[1] < 2:
        raise ValueError(
            "rewards must be (P, G), floating point, with at least 2 completions in a group, "
            f"got {tuple(rewards.shape)} of {rewards.dtype}."
        )
    if not epsilon >= 0:
        raise ValueError(f"epsilon must be 0 or more, got {epsilon}.")
    if not rewards.isfinite().all():
        rows = (~rewards.isfinite()).flatten().nonzero()[:, 0].tolist()
        raise ValueError(f"rewards of completions {rows[:10]} are not finite: nothing can be learnt from them.")
    rewards = widened("rewards", rewards)
    centred = rewards - rewards.mean(1, keepdim=True)
    if divide_by_std:
        centred = centred / (rewards.std(1, keepdim=True) + epsilon)
    differs = rewards.amax(1, keepdim=True) > rewards.amin(1, keepdim=True)
    return torch.where(differs, centred, 0.0)  # of equal ones the rounding of the mean would remain


class GRPOBatch(NamedTuple):
    """Completions with their advantages, the batch of `grpo_objective`.

    Args:
        tokens: Prompt, completion, padding on the right.
        mask: True at the completion's tokens.
        log_probs: Of each token under the policy that drew it; 0 where the mask is False.
        advantages: One for each completion: it counts for all its tokens.
        reference_log_probs: Of each token under the reference; anything if there is no KL penalty.

    Shape:
        - tokens: ``(B, T)``, int64; mask: ``(B, T)``, bool; log_probs, reference_log_probs: ``(B, T)``
        - advantages: ``(B,)``
    """

    tokens: Tensor
    mask: Tensor
    log_probs: Tensor
    advantages: Tensor
    reference_log_probs: Tensor


def grpo_objective(
    *,
    clip: float = 0.2,
    clip_high: float | None = None,
    kl_coefficient: float = 0.0,
    average: Average = "sequence",
    max_tokens: int | None = None,
    temperature: float = 1.0,
) -> Objective:
    """Return GRPO's objective: PPO's clipped surrogate on every token, with the completion's advantage.

    What separates GRPO from its successors is little, and all of it is here: ``average="sequence"`` is the first
    paper's, in which a token of a long answer counts less than one of a short answer (so long wrong answers are
    blamed less); ``"token"`` and ``clip_high`` are DAPO's; ``"constant"`` (and `group_advantages` without the
    deviation) is Dr. GRPO's.

    Args:
        clip: How far a ratio below 1 pays; above 1 too, unless ``clip_high`` is given. Between 0 and 1.
        clip_high: How far a ratio above 1 pays. More room upwards lets unlikely tokens grow; DAPO takes 0.28.
        kl_coefficient: How much of the KL to the reference is added (the estimate k3, per token). DeepSeekMath takes
            0.04; much that came later, and trl by default, nothing.
        average: What is averaged over. ``"sequence"``: tokens of a completion, then completions. ``"token"``: all
            tokens of the update. ``"constant"``: completions, each one's sum divided by ``max_tokens``.
        max_tokens: The most tokens a completion can have; needed for ``"constant"``, refused otherwise.
        temperature: At which the completions were drawn; with another one ``kl_to_sampler`` does not start at 0.

    Shape:
        - batch: a `GRPOBatch`; the model maps tokens ``(B, T)`` to logits

    Returns:
        An objective that can be split into micro-batches; ``count`` is the number of tokens for ``"token"``, otherwise
        of completions (an empty one counts, with loss 0). **Its value is no measure of success**: advantages have mean
        0. Metrics, means over tokens as the loss is (for ``"constant"`` as for ``"sequence"``): ``clip_fraction``, how
        many tokens have no gradient because of the clipping; ``kl_to_sampler``, how far the policy is from the one that
        drew, and with a KL penalty ``kl_to_reference``.

    Raises:
        ValueError: If a setting is out of range; when called, if shapes do not fit or (on the CPU) a KL penalty finds
            no reference: a `GroupStream` without one gives nan.

    Example:
        >>> from course_lib.alignment.tokens.rollouts import sample_completions
        >>> from course_lib.nn.transformer import Transformer, llama
        >>> model = Transformer(llama(vocab_size=9, width=8, num_layers=1, num_heads=2, context_length=8))
        >>> drawn = sample_completions(model, [[1, 2]], max_new_tokens=3, num_each=4)
        >>> advantages = group_advantages(torch.tensor([[1.0, 0.0, 0.0, 0.0]])).flatten()
        >>> batch = GRPOBatch(drawn.tokens, drawn.mask, drawn.log_probs, advantages, drawn.log_probs)
        >>> loss = grpo_objective()(model, batch)
        >>> abs(loss.total.item()) < 1e-4, loss.count  # of one length, so advantages cancel; the gradient does not
        (True, 4)

    Reference: Shao et al. 2024, eq. 3 and 4, https://arxiv.org/abs/2402.03300; Yu et al. 2025, DAPO: an open-source
    LLM reinforcement learning system at scale, sections 3.1 and 3.3, https://arxiv.org/abs/2503.14476; Liu et al. 2025,
    https://arxiv.org/abs/2503.20783
    """
    _check_settings(clip, clip_high, kl_coefficient, average, max_tokens)
    upper = clip if clip_high is None else clip_high

    def objective(model: nn.Module, batch: Batch) -> Loss:
        batch = GRPOBatch(*batch)
        _check_batch(batch)
        mask = batch.mask
        old = batch.log_probs.masked_fill(~mask, 0)
        new = sequence_log_probs(model, batch.tokens, mask, temperature=temperature)
        advantages = batch.advantages.to(new.dtype)[:, None].expand_as(new)
        # for a good token only the upper bound is felt, for a bad one only the lower
        losses = torch.where(
            advantages > 0,
            clipped_surrogate(new, old, advantages, clip=upper),
            clipped_surrogate(new, old, advantages, clip=clip),
        )
        with torch.no_grad():
            ratio = (new - old).exp()
            clipped = torch.where(advantages > 0, ratio > 1 + upper, (ratio < 1 - clip) & (advantages < 0))
            metrics = {"clip_fraction": clipped.to(new.dtype), "kl_to_sampler": approximate_kl(new, old)}
        if kl_coefficient > 0:
            reference = batch.reference_log_probs.masked_fill(~mask, 0)
            if reference.device.type == "cpu" and reference.isnan().any():
                raise ValueError(
                    f"kl_coefficient is {kl_coefficient}, but the batch knows no reference (its log-probabilities are "
                    "nan): give GroupStream one, or leave the penalty out."
                )
            kl = approximate_kl(reference, new)  # k3: over the policy's own draws
            losses = losses + kl_coefficient * kl
            metrics["kl_to_reference"] = kl.detach()
        weights = _weights(mask, average, new.dtype)
        sums = {name: (values.masked_fill(~mask, 0) * weights).sum() for name, values in metrics.items()}
        if average == "constant":
            assert max_tokens is not None
            weights = torch.full_like(weights, 1 / max_tokens)
        return Loss((losses.masked_fill(~mask, 0) * weights).sum(), _count(mask, average), sums)

    return objective


def _weights(mask: Tensor, average: Average, dtype: torch.dtype) -> Tensor:
    """What a token of each completion counts, ``(B, 1)``, in a sum that is then divided by the count."""
    if average == "token":
        return torch.ones(len(mask), 1, dtype=dtype, device=mask.device)
    return 1 / mask.sum(1, keepdim=True).clamp(min=1).to(dtype)


def _count(mask: Tensor, average: Average) -> int | Tensor:
    """How many are averaged over; tokens are counted on the device, where reading their number would wait for it."""
    if average != "token":
        return len(mask)
    return int(mask.sum()) if mask.device.type == "cpu" else mask.sum()


def _check_settings(
    clip: float, clip_high: float | None, kl_coefficient: float, average: Average, max_tokens: int | None
) -> None:
    if not 0 < clip < 1 or (clip_high is not None and not clip_high > 0):
        raise ValueError(f"clip must lie between 0 and 1 and clip_high above 0, got {clip} and {clip_high}.")
    if not 0 <= kl_coefficient < float("inf"):
        raise ValueError(f"kl_coefficient must be 0 or more, got {kl_coefficient}.")
    if average not in get_args(Average):
        raise ValueError(f"average must be 'sequence', 'token' or 'constant', got {average!r}.")
    if (average == "constant") != (max_tokens is not None) or (max_tokens is not None and max_tokens < 1):
        raise ValueError(
            f"max_tokens, at least 1, goes with average='constant' and with nothing else, got {max_tokens} with "
            f"{average!r}."
        )


def _check_batch(batch: GRPOBatch) -> None:
    shape = batch.tokens.shape
    for name in ("mask", "log_probs", "reference_log_probs"):
        if (column := getattr(batch, name)).shape != shape:
            raise ValueError(f"{name} must be one for each token, {tuple(shape)}, got {tuple(column.shape)}.")
    if batch.advantages.shape != shape[:1]:
        raise ValueError(
            f"advantages must be one for each completion, {tuple(shape[:1])}, got {tuple(batch.advantages.shape)}: "
            "flatten (P, G) first."
        )
