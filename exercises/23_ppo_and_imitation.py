"""Exercises 23.1 and 23.2: the advantages of one episode, the gradient under clipping."""

from __future__ import annotations

import numpy as np

from course_lib.study.exercises import Case, Exercise


def advantages(rewards, values, last_value, terminated, gamma, lam):
    """Return the GAE advantage of each step."""
    following = np.append(values[1:], 0.0 if terminated else last_value)
    surprises = rewards + gamma * following - values
    found, carried = np.zeros(len(rewards)), 0.0
    for t in reversed(range(len(rewards))):
        carried = surprises[t] + gamma * lam * carried
        found[t] = carried
    return found


def _gae_oracle(rewards, values, last_value, terminated, gamma, lam):
    """The sum as it is written, from each step to the last."""
    steps, found = len(rewards), []
    for t in range(steps):
        total = 0.0
        for later in range(t, steps):
            end = 0.0 if terminated else float(last_value)
            after = float(values[later + 1]) if later + 1 < steps else end
            delta = float(rewards[later]) + gamma * after - float(values[later])
            total += (gamma * lam) ** (later - t) * delta
        found.append(total)
    return np.array(found)


def _draw_episode(rng):
    steps = int(rng.integers(2, 12))
    rewards, values = rng.standard_normal(steps), 3 * rng.standard_normal(steps)
    gamma, lam = (float(value) for value in rng.uniform(0.5, 0.99, 2))
    return rewards, values, float(rng.uniform(2, 5)), bool(rng.uniform() < 0.5), gamma, lam


def _explain_gae(case, expected, got):
    rewards, values, last_value, terminated, gamma, _ = case.args
    after = 0.0 if terminated else last_value
    return (
        f"the last step's advantage is {rewards[-1]:.3g} + {gamma:.3g} * {after:.3g} - {values[-1]:.3g}: "
        f"the episode {'ended there' if terminated else 'was cut off there'}"
    )


def _always_bootstraps(rewards, values, last_value, terminated, gamma, lam):
    return advantages(rewards, values, last_value, False, gamma, lam)


def _never_bootstraps(rewards, values, last_value, terminated, gamma, lam):
    return advantages(rewards, values, last_value, True, gamma, lam)


def _ends_swapped(rewards, values, last_value, terminated, gamma, lam):
    return advantages(rewards, values, last_value, not terminated, gamma, lam)


def _forgets_lambda(rewards, values, last_value, terminated, gamma, lam):
    return advantages(rewards, values, last_value, terminated, gamma, 1.0)


def _one_step(rewards, values, last_value, terminated, gamma, lam):
    return advantages(rewards, values, last_value, terminated, gamma, 0.0)


def _carries_lambda_only(rewards, values, last_value, terminated, gamma, lam):
    return advantages(rewards, values, last_value, terminated, gamma, lam / gamma)


def _returns_targets(rewards, values, last_value, terminated, gamma, lam):
    return advantages(rewards, values, last_value, terminated, gamma, lam) + values


def _normalises(rewards, values, last_value, terminated, gamma, lam):
    found = advantages(rewards, values, last_value, terminated, gamma, lam)
    return (found - found.mean()) / (found.std() + 1e-8)


def _sums_forwards(rewards, values, last_value, terminated, gamma, lam):
    following = np.append(values[1:], 0.0 if terminated else last_value)
    surprises = rewards + gamma * following - values
    found, carried = np.zeros(len(rewards)), 0.0
    for t in range(len(rewards)):
        carried = surprises[t] + gamma * lam * carried
        found[t] = carried
    return found


def gradients(ratios, advantages, clip):
    """Return the derivative of PPO's clipped objective by the log-probability of each action."""
    plain = ratios * advantages
    clipped = np.clip(ratios, 1 - clip, 1 + clip) * advantages
    return np.where(plain <= clipped, plain, 0.0)


def _gradient_oracle(ratios, advantages, clip):
    """A central difference of the objective, one action after the other."""
    step, found = 1e-6, []
    for ratio, advantage in zip(ratios.tolist(), advantages.tolist(), strict=True):
        sides = []
        for sign in (1, -1):
            moved = ratio * np.exp(sign * step)
            sides.append(min(moved * advantage, min(max(moved, 1 - clip), 1 + clip) * advantage))
        found.append((sides[0] - sides[1]) / (2 * step))
    return np.array(found)


def _draw_ratios(rng):
    number, clip = int(rng.integers(6, 14)), float(rng.uniform(0.1, 0.3))
    ratios = np.exp(0.5 * rng.standard_normal(number))
    for border in (1 - clip, 1 + clip):
        ratios = np.where(abs(ratios - border) < 1e-3, 1.0, ratios)
    return ratios, rng.standard_normal(number), clip


def _explain_gradient(case, expected, got):
    try:
        off = int(np.argmax(np.abs(np.asarray(got, dtype=float) - expected)))
        ratio, advantage = case.args[0][off], case.args[1][off]
    except (TypeError, ValueError, IndexError):
        return None
    kind = "good" if advantage > 0 else "bad"
    return f"look at the {kind} action with ratio {ratio:.3g}: has it gone the way it should, and past the border?"


def _zero_outside(ratios, advantages, clip):
    return np.where(abs(ratios - 1) > clip, 0.0, ratios * advantages)


def _never_zero(ratios, advantages, clip):
    return ratios * advantages


def _forgets_ratio(ratios, advantages, clip):
    return np.where(gradients(ratios, advantages, clip) == 0, 0.0, advantages)


def _wrong_side(ratios, advantages, clip):
    capped = ((advantages < 0) & (ratios > 1 + clip)) | ((advantages > 0) & (ratios < 1 - clip))
    return np.where(capped, 0.0, ratios * advantages)


def _of_the_loss(ratios, advantages, clip):
    return -gradients(ratios, advantages, clip)


def _clips_the_gradient(ratios, advantages, clip):
    return np.clip(ratios, 1 - clip, 1 + clip) * advantages


def _good_ones_only(ratios, advantages, clip):
    return np.where((advantages > 0) & (ratios > 1 + clip), 0.0, ratios * advantages)


EXERCISES = (
    Exercise(
        id="23.1",
        title="Advantages of one episode",
        difficulty=2,
        minutes=15,
        solution=advantages,
        cases=_draw_episode,
        oracle=_gae_oracle,
        edge_cases=(
            Case((np.array([1.0]), np.array([5.0]), 7.0, True, 1.0, 1.0), note="one step, then the end: 1 + 0 - 5"),
            Case((np.array([1.0]), np.array([5.0]), 7.0, False, 1.0, 1.0), note="one step, cut off: 1 + 7 - 5"),
            Case((np.ones(4), np.zeros(4), 0.0, False, 1.0, 1.0), note="a critic that says 0: what is still to come"),
        ),
        explain=_explain_gae,
        hints=(
            "First the surprises: `rewards + gamma * following - values`, with `following` the values one step later.",
            "The last entry of `following` is `last_value`, or 0 if the episode terminated.",
            "From the last step backwards: `carried = surprises[t] + gamma * lam * carried`.",
        ),
        wrong={
            "bootstraps after a termination too": _always_bootstraps,
            "takes a cut for an end": _never_bootstraps,
            "swaps the two ends": _ends_swapped,
            "forgets lambda": _forgets_lambda,
            "stops after one step": _one_step,
            "multiplies by lambda alone": _carries_lambda_only,
            "returns the critic's targets": _returns_targets,
            "normalises": _normalises,
            "sums forwards": _sums_forwards,
        },
    ),
    Exercise(
        id="23.2",
        title="The gradient under clipping",
        difficulty=2,
        minutes=15,
        solution=gradients,
        cases=_draw_ratios,
        oracle=_gradient_oracle,
        edge_cases=(
            Case(
                (np.array([2.0, 0.5, 2.0, 0.5]), np.array([1.0, 1.0, -1.0, -1.0]), 0.25),
                note="the four actions of section 5: 0, 0.5, -2, 0",
            ),
            Case((np.array([1.0, 1.0]), np.array([3.0, -2.0]), 0.2), note="nothing has moved: the policy gradient"),
        ),
        tolerance={"float64": (1e-6, 1e-7)},
        explain=_explain_gradient,
        hints=(
            "Where nothing is clipped, the derivative of the ratio times A by the log-probability is the same product.",
            "It is 0 where the minimum picks the clipped term: a good action above 1 + clip, a bad one below 1 - clip.",
            "Compare the two terms of the minimum: where the plain one is at most the clipped one, keep it; else 0.",
        ),
        wrong={
            "is 0 wherever the ratio is outside": _zero_outside,
            "never clips": _never_zero,
            "forgets the ratio": _forgets_ratio,
            "clips on the wrong side": _wrong_side,
            "is the gradient of the loss": _of_the_loss,
            "clips the gradient": _clips_the_gradient,
            "clips good actions only": _good_ones_only,
        },
    ),
)
