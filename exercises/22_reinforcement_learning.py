"""Exercises 22.1 and 22.2: the return of every step, and the best values of a known world."""

from __future__ import annotations

import math

import numpy as np

from course_lib.study.exercises import Case, Exercise


def returns_of(rewards, done, gamma):
    """Return the discounted return from each step on."""
    to_come = np.zeros(len(rewards))
    following = 0.0
    for t in reversed(range(len(rewards))):
        following = rewards[t] + (0.0 if done[t] else gamma * following)
        to_come[t] = following
    return to_come


def _returns_oracle(rewards, done, gamma):
    out = []
    for t in range(len(rewards)):
        total = []
        for k in range(t, len(rewards)):
            total.append(gamma ** (k - t) * float(rewards[k]))
            if done[k]:
                break
        out.append(math.fsum(total))
    return np.array(out)


def _draw_rewards(rng):
    steps = int(rng.integers(1, 9))
    rewards = rng.standard_normal(steps) * 3
    done = rng.random(steps) < 0.3
    return rewards, done, float(rng.choice([0.0, 0.5, 0.9, 1.0]))


def _explain_returns(case, expected, got):
    rewards, done, gamma = case.args
    return f"{len(rewards)} steps, episodes end after {np.flatnonzero(done).tolist()}, gamma {gamma:g}"


def _flows_over_ends(rewards, done, gamma):
    return returns_of(rewards, np.zeros_like(done), gamma)


def _loses_the_last_reward(rewards, done, gamma):
    return returns_of(np.where(done, 0.0, rewards), done, gamma)


def _counts_from_the_start(rewards, done, gamma):
    return returns_of(rewards * gamma ** np.arange(len(rewards)), done, 1.0)


def _without_discount(rewards, done, gamma):
    return returns_of(rewards, done, 1.0)


def _looks_back(rewards, done, gamma):
    return returns_of(rewards[::-1], done[::-1], gamma)[::-1]


def _from_the_next_step(rewards, done, gamma):
    return returns_of(rewards, done, gamma) - rewards


def _ends_one_early(rewards, done, gamma):
    return returns_of(rewards, np.append(done[1:], True), gamma)


def best_values(transitions, rewards, gamma):
    """Return the value of each state under the best policy."""
    values = rewards.max(axis=1)
    while True:
        improved = (rewards + gamma * transitions @ values).max(axis=1)
        if np.allclose(improved, values, rtol=0, atol=1e-10):
            return improved
        values = improved


def _best_oracle(transitions, rewards, gamma):
    num_states = len(rewards)
    policy = [0] * num_states
    while True:  # policy iteration: solve exactly, improve, until nothing can be improved
        chain = np.array([transitions[s, a] for s, a in enumerate(policy)], dtype=np.float64)
        gained = np.array([rewards[s, a] for s, a in enumerate(policy)], dtype=np.float64)
        values = np.linalg.solve(np.eye(num_states) - gamma * chain, gained)
        better = False
        for s in range(num_states):
            worth = [float(rewards[s, a] + gamma * transitions[s, a] @ values) for a in range(rewards.shape[1])]
            if max(worth) > worth[policy[s]] + 1e-12:
                policy[s], better = worth.index(max(worth)), True
        if not better:
            return values


def _draw_world(rng):
    states, actions = int(rng.integers(1, 6)), int(rng.integers(1, 4))
    transitions = rng.dirichlet(np.full(states, 0.5), size=(states, actions))
    return transitions, rng.standard_normal((states, actions)) * 2, float(rng.choice([0.0, 0.5, 0.9, 0.97]))


def _explain_best(case, expected, got):
    _, rewards, gamma = case.args
    return f"{len(rewards)} states, {rewards.shape[1]} actions, gamma {gamma:g}; the values must be right to 1e-6"


def _stops_early(transitions, rewards, gamma):
    values = np.zeros(len(rewards))
    for _ in range(20):
        values = (rewards + gamma * transitions @ values).max(axis=1)
    return values


def _stops_after_a_thousand(transitions, rewards, gamma):
    values = np.zeros(len(rewards))
    for _ in range(1000):
        values = (rewards + gamma * transitions @ values).max(axis=1)
    return values


def _stops_at_small_steps(transitions, rewards, gamma):
    values, change = np.zeros(len(rewards)), 1.0
    while change > 1e-6:  # the values may still have change / (1 - gamma) to go
        improved = (rewards + gamma * transitions @ values).max(axis=1)
        change, values = abs(improved - values).max(), improved
    return values


def _averages_actions(transitions, rewards, gamma):
    return best_values(transitions.mean(1, keepdims=True), rewards.mean(1, keepdims=True), gamma)


def _takes_the_worst(transitions, rewards, gamma):
    return -best_values(transitions, -rewards, gamma)


def _discounts_the_reward_too(transitions, rewards, gamma):
    return best_values(transitions, gamma * rewards, gamma)


def _best_next_state(transitions, rewards, gamma):
    values = np.zeros(len(rewards))
    for _ in range(1000):
        values = (rewards + gamma * (transitions * values).max(-1)).max(1)
    return values


def _transposed(transitions, rewards, gamma):
    values = np.zeros(len(rewards))
    for _ in range(200):
        values = np.clip((rewards + gamma * np.einsum("sat,s->ta", transitions, values)).max(1), -1e9, 1e9)
    return values


def _greedy_for_one_step(transitions, rewards, gamma):
    rows, best = np.arange(len(rewards)), rewards.argmax(1)
    return np.linalg.solve(np.eye(len(rewards)) - gamma * transitions[rows, best], rewards[rows, best])


def _improves_a_policy_once(transitions, rewards, gamma):
    rows, best = np.arange(len(rewards)), rewards.argmax(1)
    values = np.linalg.solve(np.eye(len(rewards)) - gamma * transitions[rows, best], rewards[rows, best])
    better = (rewards + gamma * transitions @ values).argmax(1)
    return np.linalg.solve(np.eye(len(rewards)) - gamma * transitions[rows, better], rewards[rows, better])


def _corridor(steps):
    """Stay for nothing, or go on for -1 a step; the last step pays 20 and ends."""
    stay, go = np.eye(steps + 1), np.eye(steps + 1)[[*range(1, steps + 1), steps]]
    rewards = np.zeros((steps + 1, 2))
    rewards[:, 1] = [*[-1.0] * (steps - 1), 20.0, 0.0]
    return np.stack([stay, go], axis=1), rewards, 0.9


_TO_THE_RIGHT = np.array([[[1.0, 0, 0], [0, 1, 0]], [[1, 0, 0], [0, 0, 1]], [[0, 0, 1], [0, 0, 1]]])

EXERCISES = (
    Exercise(
        id="22.1",
        title="What was still to come",
        difficulty=1,
        minutes=10,
        solution=returns_of,
        cases=_draw_rewards,
        oracle=_returns_oracle,
        edge_cases=(
            Case((np.ones(4), np.array([False, True, False, False]), 0.5), note="two episodes, the second not over"),
            Case((np.array([0.0, 0.0, 8.0]), np.array([False, False, True]), 0.5), note="one late reward"),
        ),
        explain=_explain_returns,
        hints=(
            "Go through the steps from the last to the first: G_t = r_t + gamma G_{t+1}.",
            "Where `done[t]` holds, nothing comes after step t: there G_t is r_t alone.",
            "Keep `following`, the return of the step after; start it at 0.0.",
        ),
        wrong={
            "lets rewards flow over an episode's end": _flows_over_ends,
            "loses the last reward of an episode": _loses_the_last_reward,
            "discounts from the start of the rollout": _counts_from_the_start,
            "does not discount": _without_discount,
            "adds up the past": _looks_back,
            "begins with the next step": _from_the_next_step,
            "ends an episode one step early": _ends_one_early,
        },
    ),
    Exercise(
        id="22.2",
        title="The best that can be done",
        difficulty=2,
        minutes=15,
        solution=best_values,
        cases=_draw_world,
        oracle=_best_oracle,
        edge_cases=(
            Case((_TO_THE_RIGHT, np.array([[0.0, -1], [0, 5], [0, 0]]), 0.9), note="pay first, gain later"),
            Case((_TO_THE_RIGHT, np.array([[-1.0, -1], [-1, -1], [-1, -1]]), 0.97), note="nothing but costs"),
            Case(_corridor(5), note="a reward five steps away"),
            Case((_TO_THE_RIGHT, np.array([[1.0, 0], [0, 1], [2, 2]]), 0.99), note="a discount near 1: slow sweeps"),
        ),
        tolerance={"float64": (1e-9, 1e-6)},
        explain=_explain_best,
        hints=(
            "Start from anything and apply Bellman's equation over and over: V(s) = max over a of r + gamma E[V(s')].",
            "`transitions @ values` has shape (S, A): the expected value of the next state after each action.",
            "Stop when a sweep changes no value by more than 1e-10; near a discount of 1 that takes thousands.",
        ),
        wrong={
            "stops after twenty sweeps": _stops_early,
            "stops after a thousand sweeps": _stops_after_a_thousand,
            "stops when a sweep changes little": _stops_at_small_steps,
            "improves a policy once": _improves_a_policy_once,
            "averages over actions": _averages_actions,
            "takes the worst action": _takes_the_worst,
            "discounts the reward of this step too": _discounts_the_reward_too,
            "takes the luckiest next state instead of the mean": _best_next_state,
            "sums over the wrong axis": _transposed,
            "looks one step ahead": _greedy_for_one_step,
        },
    ),
)
