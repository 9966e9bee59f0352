"""Exercises 22.3 and 22.4: REINFORCE's gradient from one episode, and the targets of double Q-learning."""

from __future__ import annotations

import math

import numpy as np

from course_lib.study.exercises import Case, Exercise


def episode_gradient(logits, states, actions, rewards, baseline, gamma):
    """Return REINFORCE's estimate of the policy gradient from one episode."""
    policy = np.exp(logits - logits.max(axis=1, keepdims=True))
    policy = policy / policy.sum(axis=1, keepdims=True)
    gradient, to_come = np.zeros(logits.shape), 0.0
    for t in reversed(range(len(rewards))):
        state, to_come = states[t], rewards[t] + gamma * to_come
        score = np.eye(logits.shape[1])[actions[t]] - policy[state]
        gradient[state] += gamma**t * (to_come - baseline[state]) * score
    return gradient


def _gradient_oracle(logits, states, actions, rewards, baseline, gamma):
    out = np.zeros(logits.shape)
    for t, (state, action) in enumerate(zip(states, actions, strict=True)):
        gain = math.fsum(gamma ** (k - t) * float(rewards[k]) for k in range(t, len(rewards)))
        row = [float(z) - float(max(logits[state])) for z in logits[state]]
        total = math.fsum(math.exp(z) for z in row)
        for k, z in enumerate(row):
            out[state, k] += gamma**t * (gain - float(baseline[state])) * ((k == action) - math.exp(z) / total)
    return out


def _draw_episode(rng):
    num_states, num_actions, length = int(rng.integers(1, 4)), int(rng.integers(2, 4)), int(rng.integers(1, 7))
    logits = rng.standard_normal((num_states, num_actions))
    states, actions = rng.integers(num_states, size=length), rng.integers(num_actions, size=length)
    rewards, baseline = rng.standard_normal(length) * 2, rng.standard_normal(num_states)
    return logits, states, actions, rewards, baseline, float(rng.choice([0.5, 0.9, 1.0]))


def _explain_gradient(case, expected, got):
    _, states, actions, _, _, gamma = case.args
    rows = np.flatnonzero(~np.isclose(expected, got, rtol=1e-6, atol=1e-8).all(1)).tolist()
    visits = list(zip(states.tolist(), actions.tolist(), strict=True))
    return f"gamma {gamma:g}, (state, action) of each step: {visits}; rows that differ: {rows}" if rows else None


def _with(logits, states, actions, weights):
    policy = np.exp(logits - logits.max(1, keepdims=True))
    policy = policy / policy.sum(1, keepdims=True)
    gradient = np.zeros(logits.shape)
    np.add.at(gradient, states, weights[:, None] * (np.eye(logits.shape[1])[actions] - policy[states]))
    return gradient


def _gains(rewards, gamma):
    out, following = np.zeros(len(rewards)), 0.0
    for t in reversed(range(len(rewards))):
        out[t] = following = rewards[t] + gamma * following
    return out


def _without_baseline(logits, states, actions, rewards, baseline, gamma):
    return episode_gradient(logits, states, actions, rewards, np.zeros_like(baseline), gamma)


def _without_outer_discount(logits, states, actions, rewards, baseline, gamma):
    return _with(logits, states, actions, _gains(rewards, gamma) - baseline[states])


def _whole_return(logits, states, actions, rewards, baseline, gamma):
    steps = gamma ** np.arange(len(rewards))
    return _with(logits, states, actions, steps * (_gains(rewards, gamma)[0] - baseline[states]))


def _own_reward_only(logits, states, actions, rewards, baseline, gamma):
    return _with(logits, states, actions, gamma ** np.arange(len(rewards)) * (rewards - baseline[states]))


def _overwrites(logits, states, actions, rewards, baseline, gamma):
    gradient = np.zeros(logits.shape)
    weights = gamma ** np.arange(len(rewards)) * (_gains(rewards, gamma) - baseline[states])
    for t in range(len(rewards)):
        one = slice(t, t + 1)
        gradient[states[t]] = _with(logits, states[one], actions[one], weights[one])[states[t]]
    return gradient


def _forgets_the_policy(logits, states, actions, rewards, baseline, gamma):
    weights = gamma ** np.arange(len(rewards)) * (_gains(rewards, gamma) - baseline[states])
    gradient = np.zeros(logits.shape)
    np.add.at(gradient, (states, actions), weights)
    return gradient


def _downhill(logits, states, actions, rewards, baseline, gamma):
    return -episode_gradient(logits, states, actions, rewards, baseline, gamma)


def _mean_over_steps(logits, states, actions, rewards, baseline, gamma):
    return episode_gradient(logits, states, actions, rewards, baseline, gamma) / len(rewards)


def double_targets(rewards, terminated, truncated, next_online, next_target, gamma):
    """Return what the values of the actions taken are trained towards."""
    best = next_online.argmax(axis=1)
    worth = next_target[np.arange(len(rewards)), best]
    return rewards + gamma * np.where(terminated, 0.0, worth)


def _targets_oracle(rewards, terminated, truncated, next_online, next_target, gamma):
    out = []
    for i, reward in enumerate(rewards):
        chosen = max(range(next_online.shape[1]), key=lambda a: next_online[i, a])
        out.append(float(reward) if terminated[i] else float(reward) + gamma * float(next_target[i, chosen]))
    return np.array(out)


def _draw_batch(rng):
    rows, actions = int(rng.integers(1, 7)), int(rng.integers(2, 5))
    kind = rng.integers(4, size=rows)  # 0 terminated, 1 truncated, else neither
    online, target = rng.standard_normal((2, rows, actions)) * 5
    return rng.standard_normal(rows), kind == 0, kind == 1, online, target, float(rng.uniform(0.5, 1.0))


def _explain_targets(case, expected, got):
    wrong = np.flatnonzero(~np.isclose(expected, got, rtol=1e-6))
    if len(wrong) == 0:
        return None
    row = int(wrong[0])
    end = "terminated" if case.args[1][row] else "truncated" if case.args[2][row] else "neither ended nor cut off"
    return f"row {row}, {end}: expected {expected[row]:.4g}, got {np.asarray(got)[row]:.4g}"


def _plain_maximum(rewards, terminated, truncated, next_online, next_target, gamma):
    return double_targets(rewards, terminated, truncated, next_target, next_target, gamma)


def _learning_network_alone(rewards, terminated, truncated, next_online, next_target, gamma):
    return double_targets(rewards, terminated, truncated, next_online, next_online, gamma)


def _exchanged(rewards, terminated, truncated, next_online, next_target, gamma):
    return double_targets(rewards, terminated, truncated, next_target, next_online, gamma)


def _time_limit_as_end(rewards, terminated, truncated, next_online, next_target, gamma):
    return double_targets(rewards, terminated | truncated, truncated, next_online, next_target, gamma)


def _never_ends(rewards, terminated, truncated, next_online, next_target, gamma):
    return double_targets(rewards, np.zeros_like(terminated), truncated, next_online, next_target, gamma)


def _ends_without_reward(rewards, terminated, truncated, next_online, next_target, gamma):
    return np.where(terminated, 0.0, double_targets(rewards, terminated, truncated, next_online, next_target, gamma))


def _time_limit_undoes_the_end(rewards, terminated, truncated, next_online, next_target, gamma):
    return double_targets(rewards, terminated & ~truncated, truncated, next_online, next_target, gamma)


def _not_discounted(rewards, terminated, truncated, next_online, next_target, gamma):
    return double_targets(rewards, terminated, truncated, next_online, next_target, 1.0)


EXERCISES = (
    Exercise(
        id="22.3",
        title="One episode of REINFORCE",
        difficulty=3,
        minutes=20,
        solution=episode_gradient,
        cases=_draw_episode,
        oracle=_gradient_oracle,
        edge_cases=(
            Case(
                (np.zeros((1, 2)), np.array([0, 0]), np.array([0, 1]), np.array([1.0, 4.0]), np.array([0.5]), 0.5),
                note="one state, visited twice",
            ),
            Case(
                (np.array([[900.0, 0, 899]]), np.array([0]), np.array([2]), np.ones(1), np.zeros(1), 0.9),
                note="large logits",
            ),
        ),
        explain=_explain_gradient,
        hints=(
            "The gradient of log pi(a | s) in the logits of s is one-hot(a) minus the policy in s; other rows get 0.",
            "Go backwards through the episode: the return from step t on is r_t + gamma times the one after it.",
            "Add gamma**t * (G_t - baseline[s_t]) * (one_hot - policy[s_t]) to row s_t. A state may come twice.",
        ),
        wrong={
            "uses no baseline": _without_baseline,
            "leaves gamma to the power t out": _without_outer_discount,
            "weighs every step by the whole return": _whole_return,
            "weighs a step by its own reward": _own_reward_only,
            "overwrites a state that comes twice": _overwrites,
            "forgets the policy in the score": _forgets_the_policy,
            "goes downhill": _downhill,
            "takes the mean over steps": _mean_over_steps,
        },
    ),
    Exercise(
        id="22.4",
        title="Two networks, one target",
        difficulty=3,
        minutes=15,
        solution=double_targets,
        cases=_draw_batch,
        oracle=_targets_oracle,
        edge_cases=(
            Case(
                (
                    np.ones(4),
                    np.array([True, False, False, True]),
                    np.array([False, True, False, True]),
                    np.array([[1.0, 2.0]] * 4),
                    np.array([[50.0, 10.0]] * 4),
                    0.9,
                ),
                note="ended, cut off, going on, ended in the very step of the time limit",
            ),
        ),
        explain=_explain_targets,
        hints=(
            "Which action is best next? `next_online.argmax(axis=1)` says it.",
            "What that action is worth stands in `next_target`, in the same row, at that place.",
            "After a true end nothing follows; after a time limit the future keeps its value.",
        ),
        wrong={
            "takes the target network's own maximum": _plain_maximum,
            "uses the learning network alone": _learning_network_alone,
            "exchanges the two networks": _exchanged,
            "takes a time limit for an end": _time_limit_as_end,
            "ignores ends": _never_ends,
            "ignores an end in the step of the time limit": _time_limit_undoes_the_end,
            "drops the reward of the last step": _ends_without_reward,
            "does not discount": _not_discounted,
        },
    ),
)
