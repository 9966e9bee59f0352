"""Notebook 22 over eight seeds: regret, a cliff, the variance of the gradient, and four learners on CartPole."""

import math

import numpy as np
import torch

from course_lib.notebook.results import Claim, record
from course_lib.rl import (
    Bandit,
    Learned,
    actor_critic,
    dqn,
    epsilon_greedy,
    evaluate_policy,
    gridworld,
    play_bandit,
    policy_values,
    q_learning,
    reinforce,
    reinforce_gradients,
    sample_episodes,
    sarsa,
    thompson_bernoulli,
    ucb1,
)

PULLS, RUNS, STEPS, SHORT = 2000, 200, 30_000, 6_000
MEANS = torch.linspace(0.1, 0.8, 8)
STRATEGIES = {
    "greedy": epsilon_greedy(0.0),
    "epsilon": epsilon_greedy(0.1),
    "ucb": ucb1(),
    "thompson": thompson_bernoulli(),
}
CLIFF = (".......", ".......", ".......", "SCCCCCG")
ROOM = ("S...", ".#..", "...C", "...G")
FREE = {"max_grad_norm": 1e9, "vectorization": "vector_entry_point"}  # gradients as they are; CartPole's own array code
DEEP = {"learning_rate": 1e-3, "hidden": (64, 64), "vectorization": "vector_entry_point"}
LEARNERS = {
    "plain": lambda seed: reinforce(
        "CartPole-v1", steps=STEPS, seed=seed, learning_rate=1e-2, baseline=False, normalise=False, **FREE
    ),
    "reinforce": lambda seed: reinforce("CartPole-v1", steps=STEPS, seed=seed, learning_rate=1e-2, **FREE),
    "actor-critic": lambda seed: actor_critic("CartPole-v1", steps=STEPS, seed=seed, learning_rate=5e-3, **FREE),
    "dqn": lambda seed: dqn("CartPole-v1", steps=STEPS, seed=seed, **DEEP),
}
GRID = np.arange(1000, STEPS + 1, 1000)

CLAIMS = (
    Claim("stuck", "share of greedy runs that pull a wrong arm in the end", limits=(0, 1)),
    Claim("late-regret", "regret of the second thousand pulls, epsilon-greedy minus Thompson", above=0.0),
    Claim("cliff-online", "return while learning, the last 500 episodes, SARSA minus Q-learning", above=0.0),
    Claim("variance-ratio", "variance of REINFORCE's gradient without baseline over that with V", above=1.0),
    Claim(
        "explosion", "log10 of the largest mean Q in 6,000 steps without a target network (2 is possible)", above=2.0
    ),
    Claim("reuse", "DQN's training return over 6,000 steps, 32 uses of a transition minus one", above=0.0),
)


def curve(learned: Learned, grid: np.ndarray = GRID) -> list[float]:
    """Mean return of the last 20 episodes, read off at equal numbers of environment steps."""
    return [float(v) for v in np.interp(grid, learned.column("environment_steps"), learned.column("mean_return"))]


def bandits(seed: int) -> dict[str, object]:
    """Four strategies on one bandit."""
    found, bandit = {}, Bandit(MEANS)
    for name, strategy in STRATEGIES.items():
        plays = play_bandit(
            bandit, strategy, num_pulls=PULLS, num_runs=RUNS, generator=torch.Generator().manual_seed(seed)
        )
        found[name] = plays.regret.mean(0)
        if name == "greedy":
            stuck = float((plays.arms[:, -1] != len(MEANS) - 1).double().mean())
    late = {name: float(regret[-1] - regret[PULLS // 2 - 1]) for name, regret in found.items()}
    series = {f"regret-{name}": regret[99::100].tolist() for name, regret in found.items()}
    return {"stuck": stuck, "late-regret": late["epsilon"] - late["thompson"], "series": series}


def worlds(seed: int) -> dict[str, object]:
    """The cliff by Q-learning and SARSA, and the gradient's variance in a room."""
    cliff = gridworld(CLIFF, step_reward=-1.0, rewards={"C": -100.0}, gamma=0.99).mdp
    off, on = (learn(cliff, episodes=2000, seed=seed) for learn in (q_learning, sarsa))
    values = [float(policy_values(cliff, result.policy) @ cliff.start) for result in (off, on)]
    room = gridworld(ROOM, slip=0.1, step_reward=-1.0, rewards={"G": 20.0, "C": -20.0}, gamma=0.95).mdp
    logits = torch.zeros(room.num_states, room.num_actions, dtype=torch.float64)
    g = torch.Generator().manual_seed(seed)
    episodes = sample_episodes(room, logits, num_episodes=2000, horizon=100, generator=g)
    V = policy_values(room, logits.softmax(-1))
    baselines = {"none": 0 * V, "constant": torch.full_like(V, float(V @ room.start)), "value": V, "triple": 3 * V}
    variances = {
        name: float(reinforce_gradients(logits, episodes, gamma=room.gamma, baseline=b).var(0).sum())
        for name, b in baselines.items()
    }
    return {
        "cliff-online": float(on.returns[-500:].mean() - off.returns[-500:].mean()),
        "variance-ratio": variances["none"] / variances["value"],
        "series": {"variances": list(variances.values()), "cliff-values": values},
    }


def cartpole(seed: int) -> dict[str, object]:
    """Four learners at equal steps, and DQN without its target network, and without reuse."""
    series, finals, learned = {}, [], {name: learner(seed) for name, learner in LEARNERS.items()}
    for name, result in learned.items():
        series[f"curve-{name}"] = curve(result)
        finals.append(evaluate_policy(result.policy, "CartPole-v1", episodes=100, seed=10_000).mean)
    whole, moving, once = (
        dqn("CartPole-v1", steps=SHORT, seed=seed, **DEEP, **changed) for changed in ({}, {"period": 1}, {"updates": 4})
    )
    short = GRID[: SHORT // 1000]
    series |= {
        "short-whole": curve(whole, short),
        "short-moving": curve(moving, short),
        "short-once": curve(once, short),
    }
    series |= {"value-whole": whole.column("value"), "value-moving": moving.column("value")}
    series["finals"] = finals
    return {
        "explosion": math.log10(max(moving.column("value"))),
        "reuse": float(np.mean(series["short-whole"]) - np.mean(series["short-once"])),
        "series": series,
    }


def experiment(seed: int) -> dict[str, object]:
    """Everything once."""
    torch.set_num_threads(1)
    parts = [bandits(seed), worlds(seed), cartpole(seed)]
    return {k: v for part in parts for k, v in part.items()} | {
        "series": {k: v for p in parts for k, v in p["series"].items()}
    }


if __name__ == "__main__":
    record(__file__, experiment, CLAIMS)
