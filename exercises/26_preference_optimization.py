"""Exercises 26.1 and 26.2: the DPO loss of one pair from its tokens, and the policy that RLHF is looking for."""

from __future__ import annotations

import math

import numpy as np

from course_lib.study.exercises import Case, Exercise


def pair_loss(chosen, rejected, reference_chosen, reference_rejected, beta):
    """Return the DPO loss of one pair."""
    margin = beta * ((chosen.sum() - reference_chosen.sum()) - (rejected.sum() - reference_rejected.sum()))
    return float(np.logaddexp(0.0, -margin))


def _pair_oracle(chosen, rejected, reference_chosen, reference_rejected, beta):
    ratio_chosen = math.fsum([*map(float, chosen), *(-float(v) for v in reference_chosen)])
    ratio_rejected = math.fsum([*map(float, rejected), *(-float(v) for v in reference_rejected)])
    margin = beta * (ratio_chosen - ratio_rejected)
    return math.log1p(math.exp(-margin)) if margin >= 0 else -margin + math.log1p(math.exp(margin))


def _draw_pair(rng):
    lengths = rng.integers(1, 9, size=2)
    policy = [-rng.exponential(1.5, size=n) for n in lengths]
    reference = [-rng.exponential(1.5, size=n) for n in lengths]
    return policy[0], policy[1], reference[0], reference[1], float(rng.choice([0.05, 0.1, 0.5, 2.0]))


def _explain_pair(case, expected, got):
    chosen, rejected, *_, beta = case.args
    return f"{len(chosen)} tokens were preferred to {len(rejected)}, beta {beta:g}"


def _means_over_tokens(chosen, rejected, reference_chosen, reference_rejected, beta):
    means = [np.array([v.mean() if len(v) else 0.0]) for v in (chosen, rejected, reference_chosen, reference_rejected)]
    return pair_loss(*means, beta)


def _without_a_reference(chosen, rejected, reference_chosen, reference_rejected, beta):
    return pair_loss(chosen, rejected, 0 * reference_chosen, 0 * reference_rejected, beta)


def _prefers_the_rejected(chosen, rejected, reference_chosen, reference_rejected, beta):
    return pair_loss(rejected, chosen, reference_rejected, reference_chosen, beta)


def _beta_outside(chosen, rejected, reference_chosen, reference_rejected, beta):
    return beta * pair_loss(chosen, rejected, reference_chosen, reference_rejected, 1.0)


def _divides_by_beta(chosen, rejected, reference_chosen, reference_rejected, beta):
    return pair_loss(chosen, rejected, reference_chosen, reference_rejected, 1 / beta)


def _beta_on_the_chosen_only(chosen, rejected, reference_chosen, reference_rejected, beta):
    other = rejected.sum() - reference_rejected.sum()
    return float(np.logaddexp(0.0, other - beta * (chosen.sum() - reference_chosen.sum())))


def _overflows(chosen, rejected, reference_chosen, reference_rejected, beta):
    margin = beta * ((chosen.sum() - reference_chosen.sum()) - (rejected.sum() - reference_rejected.sum()))
    with np.errstate(all="ignore"):
        return float(-np.log(1 / (1 + np.exp(-margin))))


def _without_the_logarithm(chosen, rejected, reference_chosen, reference_rejected, beta):
    return 1 - math.exp(-pair_loss(chosen, rejected, reference_chosen, reference_rejected, beta))


def best_policy(log_reference, rewards, beta):
    """Return the log-probabilities of the best policy, and its value."""
    tilted = log_reference + rewards / beta
    top = tilted.max()
    log_z = top + np.log(np.exp(tilted - top).sum())
    return np.append(tilted - log_z, beta * log_z)


def _best_oracle(log_reference, rewards, beta):
    tilted = [float(a) + float(r) / beta for a, r in zip(log_reference, rewards, strict=True)]
    top = max(tilted)
    log_z = top + math.log(math.fsum(math.exp(value - top) for value in tilted))
    return np.array([*(value - log_z for value in tilted), beta * log_z])


def _draw_world(rng):
    num = int(rng.integers(2, 7))
    return np.log(rng.dirichlet(np.ones(num))), rng.standard_normal(num) * 2, float(rng.choice([0.05, 0.3, 1.0, 5.0]))


def _explain_best(case, expected, got):
    _, rewards, beta = case.args
    return f"{len(rewards)} completions, beta {beta:g}, rewards from {rewards.min():.3g} to {rewards.max():.3g}"


def _ignores_the_reference(log_reference, rewards, beta):
    return best_policy(np.full_like(log_reference, -math.log(len(log_reference))), rewards, beta)


def _multiplies_by_beta(log_reference, rewards, beta):
    log_pi = best_policy(log_reference, rewards, 1 / beta)
    return np.append(log_pi[:-1], log_pi[-1] * beta * beta)


def _overflows_in_exp(log_reference, rewards, beta):
    with np.errstate(all="ignore"):
        tilted = np.exp(log_reference) * np.exp(rewards / beta)
        return np.append(np.log(tilted / tilted.sum()), beta * np.log(tilted.sum()))


def _value_without_beta(log_reference, rewards, beta):
    found = best_policy(log_reference, rewards, beta)
    return np.append(found[:-1], found[-1] / beta)


def _value_without_penalty(log_reference, rewards, beta):
    found = best_policy(log_reference, rewards, beta)[:-1]
    return np.append(found, (np.exp(found) * rewards).sum())


def _not_normalised(log_reference, rewards, beta):
    return np.append(log_reference + rewards / beta, best_policy(log_reference, rewards, beta)[-1])


EXERCISES = (
    Exercise(
        id="26.1",
        title="One pair",
        difficulty=2,
        minutes=15,
        solution=pair_loss,
        cases=_draw_pair,
        oracle=_pair_oracle,
        edge_cases=(
            Case((np.array([-900.0]), np.array([-1.0]), np.array([-1.0]), np.array([-1.0]), 2.0), note="very wrong"),
            Case((np.array([-1.0]), np.array([-900.0]), np.array([-1.0]), np.array([-1.0]), 2.0), note="very right"),
            Case((np.zeros(0), np.array([-2.0, -1.0]), np.zeros(0), np.array([-1.0, -1.0]), 0.5), note="an empty text"),
        ),
        explain=_explain_pair,
        hints=(
            "A text's log-probability is the sum over its tokens, not the mean.",
            "The margin is beta times (log-ratio of the chosen - log-ratio of the rejected), each to the reference.",
            "-log sigmoid(m) is log(1 + exp(-m)); `np.logaddexp(0, -m)` does not overflow.",
        ),
        wrong={
            "takes means over tokens": _means_over_tokens,
            "forgets the reference": _without_a_reference,
            "prefers the rejected": _prefers_the_rejected,
            "puts beta in front of the loss": _beta_outside,
            "divides by beta": _divides_by_beta,
            "puts beta on the chosen only": _beta_on_the_chosen_only,
            "overflows": _overflows,
            "returns one minus the probability": _without_the_logarithm,
        },
    ),
    Exercise(
        id="26.2",
        title="The best policy",
        difficulty=2,
        minutes=15,
        solution=best_policy,
        cases=_draw_world,
        oracle=_best_oracle,
        edge_cases=(
            Case((np.log(np.array([0.5, 0.5])), np.array([3000.0, 2999.0]), 0.5), note="large rewards"),
            Case((np.log(np.array([0.9, 0.1])), np.array([-4000.0, -4000.0]), 1.0), note="equal, very low rewards"),
        ),
        explain=_explain_best,
        hints=(
            "In logarithms the tilt is a sum: log reference + reward / beta. Then take log Z off.",
            "log Z = log sum exp of that; take the largest out before the exponential.",
            "The value of the best policy is beta log Z.",
        ),
        wrong={
            "ignores the reference": _ignores_the_reference,
            "multiplies the reward by beta": _multiplies_by_beta,
            "overflows": _overflows_in_exp,
            "returns log Z as the value": _value_without_beta,
            "leaves the penalty out of the value": _value_without_penalty,
            "does not normalise": _not_normalised,
        },
    ),
)
