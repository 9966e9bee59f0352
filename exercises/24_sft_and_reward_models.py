"""Exercises 24.1 to 24.3: targets of an answer, the loss of a reward model, a rater's ceiling."""

from __future__ import annotations

import math

import numpy as np

from course_lib.study.exercises import Case, Exercise


def answer_targets(tokens, trained):
    """Return the next-token targets in which only answers count."""
    return [tokens[place] if trained[place] else -100 for place in range(1, len(tokens))]


def _targets_oracle(tokens, trained):
    targets = []
    for place in range(len(tokens) - 1):
        targets.append(tokens[place + 1] if trained[place + 1] else -100)
    return targets


def _draw_talk(rng):
    num = int(rng.integers(4, 12))
    tokens = [int(token) for token in rng.integers(5, 90, num)]
    return tokens, [bool(learnt) for learnt in rng.random(num) < 0.5]


def _explain_talk(case, expected, got):
    return f"tokens {case.args[0]}, trained {case.args[1]}"


def _not_shifted(tokens, trained):
    return [token if learnt else -100 for token, learnt in zip(tokens[:-1], trained[:-1], strict=True)]


def _mask_not_shifted(tokens, trained):
    return [token if learnt else -100 for token, learnt in zip(tokens[1:], trained[:-1], strict=True)]


def _all_learnt(tokens, trained):
    return tokens[1:]


def _reversed_mask(tokens, trained):
    return answer_targets(tokens, [not learnt for learnt in trained])


def _zeros(tokens, trained):
    return [max(target, 0) for target in answer_targets(tokens, trained)]


def _one_too_long(tokens, trained):
    return [*answer_targets(tokens, trained), -100]


def _drops(tokens, trained):
    return [target for target in answer_targets(tokens, trained) if target != -100]


def _answer_from_first(tokens, trained):
    first = trained.index(True) if True in trained else len(trained)
    return answer_targets(tokens, [place >= first for place in range(len(tokens))])


def preference_loss(chosen, rejected):
    """Return the mean Bradley-Terry loss of the pairs."""
    return np.logaddexp(0.0, np.asarray(rejected, dtype=np.float64) - chosen).mean()


def _loss_oracle(chosen, rejected):
    losses = []
    for c, r in zip(chosen, rejected, strict=True):
        margin = float(c) - float(r)
        losses.append(math.log1p(math.exp(-margin)) if margin > 0 else -margin + math.log1p(math.exp(margin)))
    return math.fsum(losses) / len(losses)


def _draw_rewards(rng):
    num = int(rng.integers(2, 9))
    return rng.normal(0.5, 2.0, num), rng.normal(0.0, 2.0, num)


def _explain_rewards(case, expected, got):
    chosen, rejected = case.args
    return f"differences chosen - rejected: {np.round(np.asarray(chosen) - rejected, 3).tolist()}"


def _naive(chosen, rejected):
    with np.errstate(all="ignore"):
        return -np.log(1 / (1 + np.exp(-(chosen - rejected)))).mean()


def _summed(chosen, rejected):
    return np.logaddexp(0.0, rejected - chosen).sum()


def _wrong_way(chosen, rejected):
    return np.logaddexp(0.0, chosen - rejected).mean()


def _of_the_mean(chosen, rejected):
    return np.logaddexp(0.0, (rejected - chosen).mean())


def _no_log(chosen, rejected):
    return (1 / (1 + np.exp(np.clip(chosen - rejected, -700, 700)))).mean()


def _hinge(chosen, rejected):
    return np.maximum(0.0, 1 - (chosen - rejected)).mean()


def _base_two(chosen, rejected):
    return np.logaddexp(0.0, rejected - chosen).mean() / math.log(2)


def _clipped(chosen, rejected):
    return np.logaddexp(0.0, np.clip(rejected - chosen, -20, 20)).mean()


def ceiling(differences, temperature, lapse):
    """Return the best expected agreement with such a rater."""
    p = 1 / (1 + np.exp(-np.abs(np.asarray(differences, dtype=np.float64)) / temperature))
    return ((1 - lapse) * p + lapse / 2).mean()


def _ceiling_oracle(differences, temperature, lapse):
    shares = []
    for difference in differences:
        looked = 1 / (1 + math.exp(-float(difference) / temperature))
        p = (1 - lapse) * looked + lapse * 0.5
        shares.append(max(p, 1 - p))
    return math.fsum(shares) / len(shares)


def _draw_pairs(rng):
    return rng.normal(0.0, 1.2, int(rng.integers(3, 9))), float(rng.uniform(0.2, 1.5)), float(rng.uniform(0.1, 0.7))


def _explain_pairs(case, expected, got):
    differences, temperature, lapse = case.args
    return f"differences {np.round(differences, 3).tolist()}, temperature {temperature:.3g}, lapse {lapse:.3g}"


def _without_lapse(differences, temperature, lapse):
    return ceiling(differences, temperature, 0.0)


def _mean_probability(differences, temperature, lapse):
    p = (1 - lapse) / (1 + np.exp(-differences / temperature)) + lapse / 2
    return p.mean()


def _max_of_mean(differences, temperature, lapse):
    p = _mean_probability(differences, temperature, lapse)
    return max(p, 1 - p)


def _lapses_are_wrong(differences, temperature, lapse):
    return (1 - lapse) * ceiling(differences, temperature, 0.0)


def _lapses_are_right(differences, temperature, lapse):
    return (1 - lapse) * ceiling(differences, temperature, 0.0) + lapse


def _times_temperature(differences, temperature, lapse):
    return ceiling(differences, 1 / temperature, lapse)


def _agrees_with_itself(differences, temperature, lapse):
    p = (1 - lapse) / (1 + np.exp(-differences / temperature)) + lapse / 2
    return (p**2 + (1 - p) ** 2).mean()


EXERCISES = (
    Exercise(
        id="24.1",
        title="Targets of an answer",
        difficulty=2,
        minutes=10,
        solution=answer_targets,
        cases=_draw_talk,
        oracle=_targets_oracle,
        edge_cases=(
            Case(([5, 6, 7, 8], [False, False, True, True]), note="the case of section 3"),
            Case(([5, 6], [False, False]), note="nothing is learnt"),
            Case(([5, 6, 7, 8, 9], [False, True, False, False, True]), note="two answers, a request between them"),
            Case(([5, 6, 7], [True, True, True]), note="everything is the assistant's"),
        ),
        explain=_explain_talk,
        hints=(
            "At place t the model has read tokens 0 to t and guesses token t + 1.",
            "So both lists are needed from their second entry on: which token comes, and whether that one is learnt.",
            "[tokens[place] if trained[place] else -100 for place in range(1, len(tokens))]",
        ),
        wrong={
            "does not shift": _not_shifted,
            "shifts the tokens but not the mask": _mask_not_shifted,
            "learns the request too": _all_learnt,
            "learns the request only": _reversed_mask,
            "writes 0 for what does not count": _zeros,
            "is as long as the tokens": _one_too_long,
            "leaves places out": _drops,
            "learns all from the first answer on": _answer_from_first,
        },
    ),
    Exercise(
        id="24.2",
        title="The loss of a reward model",
        difficulty=2,
        minutes=15,
        solution=preference_loss,
        cases=_draw_rewards,
        oracle=_loss_oracle,
        edge_cases=(
            Case((np.array([2.0, 0.0]), np.array([1.0, 0.0])), note="the case of section 8"),
            Case((np.array([0.0, 500.0]), np.array([1000.0, -500.0])), note="differences of -1,000 and 1,000"),
            Case((np.array([0.0, 30.0]), np.array([800.0, -30.0])), note="differences of -800 and 60"),
        ),
        explain=_explain_rewards,
        hints=(
            "-log sigmoid(d) = log(1 + exp(-d)); for d = -1,000 the exponential overflows.",
            "log(1 + exp(z)) = log(exp(0) + exp(z)): NumPy has a function for the log of a sum of two exponentials.",
            "np.logaddexp(0, rejected - chosen).mean()",
        ),
        wrong={
            "overflows": _naive,
            "adds up instead of averaging": _summed,
            "turns the pair round": _wrong_way,
            "takes the loss of the mean difference": _of_the_mean,
            "forgets the logarithm": _no_log,
            "uses a hinge": _hinge,
            "counts in bits": _base_two,
            "clips large differences": _clipped,
        },
    ),
    Exercise(
        id="24.3",
        title="Ceilings",
        difficulty=3,
        minutes=15,
        solution=ceiling,
        cases=_draw_pairs,
        oracle=_ceiling_oracle,
        edge_cases=(
            Case((np.array([1.0, -1.0]), 1.0, 0.0), note="no lapses; the order of a pair does not matter"),
            Case((np.array([2.0, -3.0]), 0.5, 1.0), note="every answer is tossed"),
            Case((np.array([0.0, 0.0]), 0.5, 0.2), note="pairs that are equally good"),
        ),
        explain=_explain_pairs,
        hints=(
            "First the probability that the rater prefers the first of each pair, lapses included.",
            "A tossed answer is 'first' half of the time. Whoever knows p names the likelier one: max(p, 1 - p).",
            "p = (1 - lapse) * sigmoid(differences / temperature) + lapse / 2, then np.maximum(p, 1 - p).mean()",
        ),
        wrong={
            "ignores lapses": _without_lapse,
            "takes the mean probability of the first": _mean_probability,
            "takes the maximum after the mean": _max_of_mean,
            "counts every lapse as a miss": _lapses_are_wrong,
            "counts every lapse as a hit": _lapses_are_right,
            "multiplies by the temperature": _times_temperature,
            "measures how often the rater agrees with itself": _agrees_with_itself,
        },
    ),
)
