"""From one score a completion to a reward and an advantage for each of its tokens."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from course_lib.alignment.rewards.model import check_rewards
from course_lib.rl.advantages import gae
from course_lib.rl.on_policy import normalised

# Shape letters used in this file: B = rows (completions), T = columns of tokens.


def token_rewards(
    scores: Tensor, log_probs: Tensor, reference_log_probs: Tensor, mask: Tensor, *, kl_coefficient: float
) -> Tensor:
    """Return each token's reward: ``-kl_coefficient * (log_probs - reference_log_probs)``, and at the last the score.

    Writing a token is an action. Only the whole completion is scored, but what a token costs in KL is known at once.
    Summed over a row: the score minus ``kl_coefficient`` times the k1 estimate of the completion's KL.

    Args:
        scores: What each completion is worth.
        log_probs: Of the tokens under the policy that drew them.
        reference_log_probs: Of the same tokens under the reference.
        mask: True at the completions' tokens.
        kl_coefficient: What a nat of KL costs.

    Shape:
        - scores: ``(B,)``; log_probs, reference_log_probs, mask (bool): ``(B, T)``
        - output: ``(B, T)``, 0 where the mask is False, and so wholly for an empty completion

    Raises:
        ValueError: If shapes do not fit, or the coefficient is negative.
        NonFiniteReward: If a score is nan or infinite: names the rows, and nothing is ever trained on them.

    Example:
        >>> mask = torch.tensor([[False, True, True, False]])
        >>> log_probs, reference = torch.tensor([[0.0, -1.0, -2.0, 0.0]]), torch.tensor([[0.0, -3.0, -1.0, 0.0]])
        >>> token_rewards(torch.tensor([5.0]), log_probs, reference, mask, kl_coefficient=0.5)
        tensor([[ 0.0000, -1.0000,  5.5000,  0.0000]])

    Reference: Ziegler et al. 2019, eq. 2, https://arxiv.org/abs/1909.08593; Ouyang et al. 2022, Training language
    models to follow instructions with human feedback, eq. 2, https://arxiv.org/abs/2203.02155
    """
    _check_tokens(mask, log_probs=log_probs, reference_log_probs=reference_log_probs)
    check_scores(scores, len(mask))
    if not 0 <= kl_coefficient < float("inf"):
        raise ValueError(f"kl_coefficient must be 0 or more, got {kl_coefficient}.")
    penalties = -kl_coefficient * (log_probs - reference_log_probs)
    return (penalties + _last_of(mask) * scores[:, None].to(penalties.dtype)).masked_fill(~mask, 0)


def token_advantages(rewards: Tensor, values: Tensor, mask: Tensor, *, gamma: float = 1.0, lam: float = 0.95) -> Tensor:
    """Return by how much each token was better than expected: `course_lib.rl.gae` along each completion.

    After a completion's last token nothing follows, also where it was cut off at the greatest length: its score counts
    as final.

    Args:
        rewards: From `token_rewards`.
        values: What the critic expected before each token, of the rewards from that token on.
        mask: True at the completions' tokens, one run of them in each row.
        gamma: Discount; 1 is usual, for a score shall count at the first token as at the last.
        lam: See `course_lib.rl.gae`.

    Shape:
        - all, and the output: ``(B, T)``; 0 where the mask is False, whatever stood there

    Returns:
        Advantages; ``advantages + values`` are the critic's targets.

    Raises:
        ValueError: If shapes do not fit, a row's completion has a gap, or ``gamma`` or ``lam`` is out of range.

    Example:
        >>> mask = torch.tensor([[False, True, True, False]])
        >>> token_advantages(torch.tensor([[0.0, 0.0, 1.0, 0.0]]), torch.full((1, 4), 0.25), mask, lam=1.0)
        tensor([[0.0000, 0.7500, 0.7500, 0.0000]])
    """
    _check_tokens(mask, rewards=rewards, values=values)
    if (row := _last_of(mask).sum(1) > 1).any():
        raise ValueError(f"row {int(row.nonzero()[0])} has a gap in its completion: give each turn a row of its own.")
    values_TB = values.masked_fill(~mask, 0).T
    next_values_TB = torch.cat([values_TB[1:], torch.zeros_like(values_TB[:1])])
    ends_TB = _last_of(mask).T
    rewards_TB = rewards.masked_fill(~mask, 0).T
    cut_off = torch.zeros_like(ends_TB)
    advantages_TB = gae(rewards_TB, values_TB, next_values_TB, ends_TB, cut_off, gamma=gamma, lam=lam)
    return advantages_TB.T.masked_fill(~mask, 0)


def whiten(values: Tensor, mask: Tensor) -> Tensor:
    """Return ``values`` with mean 0 and standard deviation 1 over all tokens for which ``mask`` is True.

    The deviation is that of these tokens themselves (divided by their number, not by one less). Equal values become 0;
    a single one stays as it is.

    Shape:
        - both, and the output: ``(B, T)``; the output is 0 where the mask is False

    Raises:
        ValueError: If shapes do not fit.

    Example:
        >>> mask = torch.tensor([[False, True, True], [False, True, False]])
        >>> whiten(torch.tensor([[9.0, 1.0, 1.0], [9.0, 4.0, 9.0]]), mask)
        tensor([[ 0.0000, -0.7071, -0.7071],
                [ 0.0000,  1.4142,  0.0000]])
    """
    _check_tokens(mask, values=values)
    whitened = torch.zeros_like(values)
    if mask.any():
        whitened[mask] = normalised(values[mask])
    return whitened


def check_scores(scores: Tensor, num_rows: int) -> None:
    """Refuse scores that are not one finite number for each completion; see `check_rewards`."""
    if scores.shape != (num_rows,) or not scores.is_floating_point():
        raise ValueError(
            f"scores must be one floating-point number for each of {num_rows} completions, got {tuple(scores.shape)} "
            f"of {scores.dtype}."
        )
    check_rewards(scores)


def _last_of(mask: Tensor) -> Tensor:
    """Return where a run of True ends."""
    return mask & ~F.pad(mask[:, 1:], (0, 1), value=False)


def _check_tokens(mask: Tensor, **columns: Tensor) -> None:
    if mask.ndim != 2 or mask.dtype != torch.bool:
        raise ValueError(f"mask must be (B, T) of bool, got {tuple(mask.shape)} of {mask.dtype}.")
    for name, column in columns.items():
        if column.shape != mask.shape or not column.is_floating_point():
            raise ValueError(
                f"{name} must be {tuple(mask.shape)}, floating point, as the mask says, got {tuple(column.shape)} of "
                f"{column.dtype}."
            )
