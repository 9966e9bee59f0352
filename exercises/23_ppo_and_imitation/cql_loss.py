"""Exercise 23.3: the conservative Q-learning loss of a batch."""

from __future__ import annotations

import math

import numpy as np

from course_lib.study.exercises import Case, Exercise


def cql_loss(q, next_q, actions, rewards, terminated, gamma, alpha):
    """Return the mean conservative Q-learning loss of a batch."""
    taken = q[np.arange(len(q)), actions]
    targets = rewards + gamma * np.where(terminated, 0.0, next_q.max(1))
    highest = q.max(1)
    lifted = highest + np.log(np.exp(q - highest[:, None]).sum(1))
    return float((0.5 * (taken - targets) ** 2 + alpha * (lifted - taken)).mean())


def _oracle(q, next_q, actions, rewards, terminated, gamma, alpha):
    total = 0.0
    for row, action in enumerate(actions):
        values = [float(value) for value in q[row]]
        future = 0.0 if terminated[row] else max(float(value) for value in next_q[row])
        error = values[int(action)] - (float(rewards[row]) + gamma * future)
        top = max(values)
        total += error * error / 2 + alpha * (
            top + math.log(math.fsum(math.exp(v - top) for v in values)) - values[int(action)]
        )
    return total / len(actions)


def _draw_batch(rng):
    rows, choices = int(rng.integers(2, 9)), int(rng.integers(2, 5))
    size = 1000.0 if rng.uniform() < 0.3 else 2.0
    shift = float(rng.choice([-1.0, 1.0])) * size if size > 2 else 0.0
    q, next_q = (shift + 2 * rng.standard_normal((rows, choices)) for _ in range(2))
    actions, ends = rng.integers(0, choices, rows), rng.uniform(size=rows) < 0.4
    ends[int(rng.integers(rows))] = True
    gamma, alpha = float(rng.uniform(0.5, 0.99)), float(rng.uniform(0.2, 3.0))
    return q, next_q, actions, rng.standard_normal(rows), ends, gamma, alpha


def _explain(case, expected, got):
    try:
        finite = bool(np.isfinite(float(got)))
    except (TypeError, ValueError):
        return None
    if not finite:
        return "take the largest value of each row out before the exponential"
    return f"{len(case.args[2])} transitions, averaged; {int(case.args[4].sum())} of them have no future"


def _lift(q):
    top = q.max(1)
    return top + np.log(np.exp(q - top[:, None]).sum(1))


def _taken(q, actions):
    return q[np.arange(len(q)), actions]


def _sums(q, next_q, actions, rewards, terminated, gamma, alpha):
    return len(q) * cql_loss(q, next_q, actions, rewards, terminated, gamma, alpha)


def _ignores_ends(q, next_q, actions, rewards, terminated, gamma, alpha):
    return cql_loss(q, next_q, actions, rewards, np.zeros(len(q), dtype=bool), gamma, alpha)


def _plain(q, next_q, actions, rewards, terminated, gamma, alpha):
    return cql_loss(q, next_q, actions, rewards, terminated, gamma, 0.0)


def _overflows(q, next_q, actions, rewards, terminated, gamma, alpha):
    with np.errstate(all="ignore"):
        gap = np.log(np.exp(q).sum(1)) - _taken(q, actions)
    return cql_loss(q, next_q, actions, rewards, terminated, gamma, 0.0) + alpha * float(gap.mean())


def _sign(q, next_q, actions, rewards, terminated, gamma, alpha):
    return cql_loss(q, next_q, actions, rewards, terminated, gamma, -alpha)


def _forgets_taken(q, next_q, actions, rewards, terminated, gamma, alpha):
    return cql_loss(q, next_q, actions, rewards, terminated, gamma, 0.0) + alpha * float(_lift(q).mean())


def _sarsa(q, next_q, actions, rewards, terminated, gamma, alpha):
    chosen = np.repeat(_taken(next_q, actions)[:, None], q.shape[1], 1)
    return cql_loss(q, chosen, actions, rewards, terminated, gamma, alpha)


def _maximum_of_now(q, next_q, actions, rewards, terminated, gamma, alpha):
    return cql_loss(q, q, actions, rewards, terminated, gamma, alpha)


def _no_half(q, next_q, actions, rewards, terminated, gamma, alpha):
    return cql_loss(q, next_q, actions, rewards, terminated, gamma, alpha) + cql_loss(
        q, next_q, actions, rewards, terminated, gamma, 0.0
    )


def _best_not_logsumexp(q, next_q, actions, rewards, terminated, gamma, alpha):
    gap = q.max(1) - _taken(q, actions)
    return cql_loss(q, next_q, actions, rewards, terminated, gamma, 0.0) + alpha * float(gap.mean())


EXERCISES = (
    Exercise(
        id="23.3",
        title="A conservative loss",
        difficulty=3,
        minutes=20,
        solution=cql_loss,
        cases=_draw_batch,
        oracle=_oracle,
        edge_cases=(
            Case(
                (np.zeros((2, 2)), np.zeros((2, 2)), np.array([0, 1]), np.zeros(2), np.array([True, False]), 0.9, 1.0),
                note="all values 0: ln 2",
            ),
            Case(
                (
                    np.array([[1000.0, 999.0]]),
                    np.array([[1000.0, 0.0]]),
                    np.array([0]),
                    np.array([1.0]),
                    np.array([False]),
                    0.999,
                    1.0,
                ),
                note="values of 1,000: exp(1000) does not fit into a float",
            ),
            Case(
                (
                    np.array([[-1000.0, -999.0], [1000.0, 999.0]]),
                    np.array([[-5.0, -7.0], [1000.0, 0.0]]),
                    np.array([1, 0]),
                    np.array([-1.0, 1.0]),
                    np.array([True, False]),
                    0.999,
                    2.0,
                ),
                note="values of -1,000, at an end, and of 1,000, in one batch",
            ),
        ),
        explain=_explain,
        hints=(
            "`q[np.arange(len(q)), actions]` are the values of the actions taken; `next_q.max(1)` the best ones next.",
            "After an end nothing follows: `np.where(terminated, 0.0, next_q.max(1))`.",
            "For the bracket take the largest value of each row out: `top + np.log(np.exp(q - top[:, None]).sum(1))`.",
        ),
        wrong={
            "sums": _sums,
            "lets the world go on after an end": _ignores_ends,
            "is plain Q-learning": _plain,
            "overflows": _overflows,
            "has the sign of the bracket wrong": _sign,
            "does not subtract the value of the action taken": _forgets_taken,
            "uses the same action next, not the best": _sarsa,
            "takes the maximum of the present values": _maximum_of_now,
            "forgets the half": _no_half,
            "takes the largest value for the log-sum-exp": _best_not_logsumexp,
        },
    ),
)
