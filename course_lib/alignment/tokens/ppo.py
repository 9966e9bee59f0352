"""PPO on tokens: the clipped objective and the critic's error, summed over the tokens of completions."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from course_lib.alignment.tokens.policy_and_value import TokenJudged
from course_lib.loops.loss import Batch, Loss, Objective
from course_lib.rl.policy_gradient import check_coefficients
from course_lib.rl.ppo_objective import approximate_kl, clipped_surrogate

# Shape letters used in this file: B = rows (completions), T = columns of tokens.


class TokenBatch(NamedTuple):
    """Completions with what came of each token: the batch of `token_ppo_objective`.

    Args:
        tokens: See `course_lib.alignment.Packed`.
        mask: True at the completions' tokens; only these count.
        log_probs: Of each token under the policy that drew it.
        advantages: How much better than expected it turned out.
        returns: What the critic shall say.
        values: What it said.

    Shape:
        - each: ``(B, T)``; tokens int64, mask bool
    """

    tokens: Tensor
    mask: Tensor
    log_probs: Tensor
    advantages: Tensor
    returns: Tensor
    values: Tensor


def token_ppo_objective(
    *,
    clip: float = 0.2,
    value_clip: float | None = None,
    value_coefficient: float = 0.1,
    entropy_coefficient: float = 0.0,
) -> Objective:
    """Return PPO's objective for completions: every token is an action, and counts as much as any other.

    It is `course_lib.rl.ppo_objective` in two dimensions: longer completions have more actions, hence more weight.

    Args:
        clip: See `course_lib.rl.clipped_surrogate`.
        value_clip: See `course_lib.rl.ppo_objective`.
        value_coefficient: How much of the critic's squared error ``(V - returns)^2`` is added (no factor 1/2). If the
            critic reads the policy's own states, 0.1 is for returns well below 1; with larger ones it can wreck the
            policy. See `PolicyAndValue` for the signs and for what to do.
        entropy_coefficient: How much of the policy's entropy is subtracted.

    Shape:
        - batch: a `TokenBatch`
        - the model is called as ``model(tokens, mask, entropy=...)`` and gives a `TokenJudged`

    Returns:
        An objective; ``count`` is the number of the completions' tokens, and it can be split into micro-batches. Rows
        without a token add nothing. Metrics: ``policy_loss``, ``value_loss``, ``kl`` (see
        `course_lib.rl.approximate_kl`: from the policy that drew the tokens, **not from the reference**),
        ``clip_fraction``, how many ratios are outside, and ``entropy`` if it has a coefficient.

    Raises:
        ValueError: If ``clip`` or ``value_clip`` is not above 0, or a coefficient negative; when called, if the shapes
            of the batch differ.

    Example:
        >>> from course_lib.alignment import PolicyAndValue
        >>> from course_lib.nn.transformer import Transformer, llama
        >>> config = llama(vocab_size=9, width=8, num_layers=1, num_heads=2, context_length=8)
        >>> model = PolicyAndValue(Transformer(config))
        >>> tokens, mask = torch.tensor([[1, 2, 3]]), torch.tensor([[False, True, True]])
        >>> zero, drawn = torch.zeros(1, 3), model(tokens, mask).log_probs.detach()
        >>> loss = token_ppo_objective()(model, TokenBatch(tokens, mask, drawn, mask.float(), zero, zero))
        >>> round(loss.total.item(), 4), int(loss.count)  # two tokens, each with advantage 1 and ratio 1
        (-2.0, 2)

    Reference: Schulman et al. 2017, eq. 9, https://arxiv.org/abs/1707.06347; for language models Ziegler et al. 2019,
    https://arxiv.org/abs/1909.08593
    """
    if not clip > 0 or (value_clip is not None and not value_clip > 0):
        raise ValueError(f"clip and value_clip must be above 0, got {clip} and {value_clip}.")
    check_coefficients(value_coefficient=value_coefficient, entropy_coefficient=entropy_coefficient)

    def objective(model: nn.Module, batch: Batch) -> Loss:
        batch = TokenBatch(*batch)
        _check(batch)
        judged: TokenJudged = model(batch.tokens, batch.mask, entropy=entropy_coefficient > 0)
        # where nothing was written both are the same number, whatever the batch says: a ratio of 1
        drawn = torch.where(batch.mask, batch.log_probs, judged.log_probs.detach())
        advantages, returns = (x.masked_fill(~batch.mask, 0) for x in (batch.advantages, batch.returns))
        policy_loss = clipped_surrogate(judged.log_probs, drawn, advantages, clip=clip).sum()
        errors = _value_errors(judged.values, returns, batch.values.masked_fill(~batch.mask, 0), value_clip)
        value_loss = errors.sum()
        total = policy_loss + value_coefficient * value_loss
        with torch.no_grad():
            kl = approximate_kl(judged.log_probs, drawn).sum()
            outside = torch.count_nonzero((judged.log_probs - drawn).expm1().abs() > clip)
        metrics = {"policy_loss": policy_loss.detach(), "value_loss": value_loss.detach(), "kl": kl}
        metrics["clip_fraction"] = outside
        if judged.entropy is not None:
            entropy = judged.entropy.sum()
            total = total - entropy_coefficient * entropy
            metrics["entropy"] = entropy.detach()
        return Loss(total, torch.count_nonzero(batch.mask), metrics)

    return objective


def _value_errors(values: Tensor, returns: Tensor, old_values: Tensor, value_clip: float | None) -> Tensor:
    errors = (values - returns).square()
    if value_clip is None:
        return errors
    held_back = old_values + (values - old_values).clamp(-value_clip, value_clip)
    return torch.maximum(errors, (held_back - returns).square())


def _check(batch: TokenBatch) -> None:
    for name, column in batch._asdict().items():
        if column.shape != batch.tokens.shape:
            raise ValueError(
                f"{name} must be one number for each token, {tuple(batch.tokens.shape)}, got {tuple(column.shape)}: a "
                "wrong axis would broadcast."
            )
