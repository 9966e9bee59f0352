"""Exercises 25.1 and 25.2: rewards of one text, the KL from samples."""

from __future__ import annotations

import math

import numpy as np

from course_lib.study.exercises import Case, Exercise


def token_reward_list(score, log_probs, reference_log_probs, beta):
    """Return the per-token rewards of RLHF."""
    rewards = -beta * (log_probs - reference_log_probs)
    rewards[-1] += score
    return rewards


def _reward_oracle(score, log_probs, reference_log_probs, beta):
    """Token by token."""
    last = len(log_probs) - 1
    pairs = zip(log_probs.tolist(), reference_log_probs.tolist(), strict=True)
    return np.array([beta * (r - p) + (score if t == last else 0.0) for t, (p, r) in enumerate(pairs)])


def _draw_text(rng):
    length = int(rng.integers(2, 12))
    log_probs, reference = -rng.exponential(1.0, length), -rng.exponential(1.5, length)
    return float(rng.uniform(1, 3) * rng.choice([-1, 1])), log_probs, reference, float(rng.uniform(0.05, 0.5))


def _explain_reward(case, expected, got):
    score, log_probs, reference, beta = case.args
    return f"the first token costs {beta:.3g} * ({log_probs[0]:.3g} - {reference[0]:.3g})" + (
        "" if len(log_probs) > 1 else f", and being the last it gets the score {score:.3g} too"
    )


def _kl_as_gain(score, log_probs, reference_log_probs, beta):
    return token_reward_list(score, log_probs, reference_log_probs, -beta)


def _score_everywhere(score, log_probs, reference_log_probs, beta):
    return score - beta * (log_probs - reference_log_probs)


def _score_first(score, log_probs, reference_log_probs, beta):
    rewards = -beta * (log_probs - reference_log_probs)
    rewards[0] += score
    return rewards


def _score_shared(score, log_probs, reference_log_probs, beta):
    return score / len(log_probs) - beta * (log_probs - reference_log_probs)


def _last_not_charged(score, log_probs, reference_log_probs, beta):
    rewards = -beta * (log_probs - reference_log_probs)
    rewards[-1] = score
    return rewards


def _all_at_the_end(score, log_probs, reference_log_probs, beta):
    rewards = np.zeros(len(log_probs))
    rewards[-1] = score - beta * (log_probs - reference_log_probs).sum()
    return rewards


def _k3_charged(score, log_probs, reference_log_probs, beta):
    log_r = reference_log_probs - log_probs
    rewards = -beta * (np.exp(log_r) - 1 - log_r)
    rewards[-1] += score
    return rewards


def _clamped(score, log_probs, reference_log_probs, beta):
    rewards = -beta * np.maximum(log_probs - reference_log_probs, 0.0)
    rewards[-1] += score
    return rewards


def _returns_to_go(score, log_probs, reference_log_probs, beta):
    return np.cumsum(token_reward_list(score, log_probs, reference_log_probs, beta)[::-1])[::-1]


def _beta_on_score(score, log_probs, reference_log_probs, beta):
    rewards = -(log_probs - reference_log_probs)
    rewards[-1] += score / beta
    return rewards


def kl_of(log_probs, reference_log_probs, mask):
    """Return the k3 estimate of KL(policy || reference), in nats a completion."""
    log_r = np.where(mask, reference_log_probs, 0.0) - np.where(mask, log_probs, 0.0)
    return float((np.expm1(log_r) - log_r).sum() / len(mask))


def _kl_oracle(log_probs, reference_log_probs, mask):
    """Row by row, token by token."""
    totals = []
    for p, q, kept in zip(log_probs, reference_log_probs, mask, strict=True):
        totals.append(math.fsum(math.exp(b - a) - 1 - (b - a) for a, b in zip(p[kept], q[kept], strict=True)))
    return math.fsum(totals) / len(totals)


def _draw_batch(rng):
    rows, columns = int(rng.integers(2, 6)), int(rng.integers(3, 9))
    log_probs = -rng.exponential(1.0, (rows, columns))
    reference = log_probs + 0.8 * rng.standard_normal((rows, columns))
    lengths = rng.integers(0, columns + 1, rows)
    lengths[0] = columns - 1
    mask = np.arange(columns) < lengths[:, None]
    filler = rng.choice([0.0, -7.0, np.nan])
    return np.where(mask, log_probs, filler), np.where(mask, reference, 3 * filler), mask


def _explain_kl(case, expected, got):
    log_probs, reference, mask = case.args
    if isinstance(got, float) and math.isnan(got):
        return "padding may hold nan, and nan times 0 is nan: put something harmless there first"
    row = int(np.argmax(mask.sum(1)))
    log_r = float(reference[row][mask[row]][0] - log_probs[row][mask[row]][0])
    return f"log r of the first token of row {row} is {log_r:.3g}, its k3 {math.expm1(log_r) - log_r:.3g}"


def _clean(log_probs, reference_log_probs, mask):
    return np.where(mask, reference_log_probs, 0.0) - np.where(mask, log_probs, 0.0)


def _swapped(log_probs, reference_log_probs, mask):
    return kl_of(reference_log_probs, log_probs, mask)


def _k1(log_probs, reference_log_probs, mask):
    return float(-_clean(log_probs, reference_log_probs, mask).sum() / len(mask))


def _k2(log_probs, reference_log_probs, mask):
    return float((_clean(log_probs, reference_log_probs, mask) ** 2 / 2).sum() / len(mask))


def _a_token(log_probs, reference_log_probs, mask):
    log_r = _clean(log_probs, reference_log_probs, mask)
    return float((np.expm1(log_r) - log_r).sum() / mask.sum())


def _mean_of_means(log_probs, reference_log_probs, mask):
    log_r = _clean(log_probs, reference_log_probs, mask)
    return float(((np.expm1(log_r) - log_r).sum(1) / np.maximum(mask.sum(1), 1)).mean())


def _skips_empty(log_probs, reference_log_probs, mask):
    log_r = _clean(log_probs, reference_log_probs, mask)
    return float((np.expm1(log_r) - log_r).sum() / mask.any(1).sum())


def _counts_padding(log_probs, reference_log_probs, mask):
    log_r = reference_log_probs - log_probs
    return float((np.expm1(log_r) - log_r).sum() / len(mask))


def _multiplies(log_probs, reference_log_probs, mask):
    log_r = reference_log_probs - log_probs
    return float(((np.expm1(log_r) - log_r) * mask).sum() / len(mask))


def _k3_of_the_sum(log_probs, reference_log_probs, mask):
    log_r = _clean(log_probs, reference_log_probs, mask).sum(1)
    return float((np.expm1(log_r) - log_r).mean())


def _sums_rows(log_probs, reference_log_probs, mask):
    return kl_of(log_probs, reference_log_probs, mask) * len(mask)


EXERCISES = (
    Exercise(
        id="25.1",
        title="Rewards of one text",
        difficulty=2,
        minutes=15,
        solution=token_reward_list,
        cases=_draw_text,
        oracle=_reward_oracle,
        edge_cases=(
            Case((5.0, np.array([-1.0, -2.0]), np.array([-3.0, -1.0]), 0.5), note="section 4: -1, then 0.5 + 5"),
            Case((2.0, np.array([-1.0]), np.array([-4.0]), 1.0), note="one token is first and last: -3 + 2"),
            Case((-2.0, np.array([-1.0, -1.0]), np.array([-1.0, -1.0]), 0.3), note="nothing moved: only the score"),
        ),
        explain=_explain_reward,
        hints=(
            "What a token costs: `beta * (log_probs - reference_log_probs)`. A cost is a negative reward.",
            "A token that the reference finds likelier than the policy earns something. Do not cut that off.",
            "The score is added to the last reward; that token still pays for its own nats.",
        ),
        wrong={
            "pays for moving away": _kl_as_gain,
            "gives the score to every token": _score_everywhere,
            "gives the score to the first token": _score_first,
            "shares the score out": _score_shared,
            "does not charge the last token": _last_not_charged,
            "charges the whole KL at the end": _all_at_the_end,
            "charges k3": _k3_charged,
            "never gives anything back": _clamped,
            "returns what is still to come": _returns_to_go,
            "divides by beta": _beta_on_score,
        },
    ),
    Exercise(
        id="25.2",
        title="The right estimator",
        difficulty=2,
        minutes=15,
        solution=kl_of,
        cases=_draw_batch,
        oracle=_kl_oracle,
        edge_cases=(
            Case(
                (np.log(np.array([[0.5, 0.5]])), np.log(np.array([[0.25, 0.5]])), np.array([[True, True]])),
                note="r is 1/2 and 1: -1/2 + ln 2, and 0",
            ),
            Case(
                (np.array([[np.nan], [-1.0]]), np.array([[np.nan], [-2.0]]), np.array([[False], [True]])),
                note="an empty completion counts, with 0",
            ),
        ),
        explain=_explain_kl,
        hints=(
            "`log_r = reference_log_probs - log_probs`, and k3 is `exp(log_r) - 1 - log_r`.",
            "nan times 0 is nan. `np.where(mask, ..., 0.0)` before the subtraction makes padding harmless.",
            "Divide the sum over all tokens by the number of rows, not of tokens.",
        ),
        wrong={
            "turns the ratio round": _swapped,
            "is k1": _k1,
            "is k2": _k2,
            "is a mean over tokens": _a_token,
            "is a mean over rows of means over tokens": _mean_of_means,
            "leaves empty completions out": _skips_empty,
            "counts padding": _counts_padding,
            "multiplies padding by 0": _multiplies,
            "takes k3 of whole completions": _k3_of_the_sum,
            "sums over completions": _sums_rows,
        },
    ),
)
