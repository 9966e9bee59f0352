"""DQN from an environment's name to a policy: explore, remember, learn from memory."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import torch

from course_lib.loops import Run
from course_lib.rl.collector import Collector
from course_lib.rl.environments import MakeEnv, Vectorization, make_envs
from course_lib.rl.policies import q_network_for
from course_lib.rl.q_objective import QLearning
from course_lib.rl.replay import ReplayBuffer
from course_lib.rl.training import Learned, OnRow, add_row


def dqn(
    env: MakeEnv,
    *,
    steps: int,
    seed: int,
    double: bool = False,
    num_envs: int = 8,
    rollout_length: int = 32,
    updates: int = 128,
    batch_size: int = 64,
    warm_up: int = 1000,
    capacity: int = 100_000,
    learning_rate: float = 2.3e-3,
    gamma: float = 0.99,
    period: int = 128,
    first_epsilon: float = 1.0,
    last_epsilon: float = 0.04,
    exploration: float = 0.2,
    max_grad_norm: float = 10.0,
    hidden: Sequence[int] = (128, 128),
    vectorization: Vectorization = "sync",
    device: torch.device | str = "cpu",
    on_row: OnRow | None = None,
) -> Learned:
    """Train a `QNetwork` by deep Q-learning with replay and a target network.

    Args:
        env: A Gymnasium id, or a function that makes one environment; actions must be discrete.
        steps: Environment steps in all; the last round is played to its end.
        seed: Of everything.
        double: Whether to use double Q-learning's target.
        num_envs: Environments side by side.
        rollout_length: Steps in each of them in a round.
        updates: Updates after each round.
        batch_size: Transitions drawn for an update.
        warm_up: Environment steps before the first update; at most ``steps``.
        capacity: Transitions that are remembered.
        learning_rate: Of Adam.
        gamma: Discount.
        period: Updates after which the target network catches up.
        first_epsilon: Share of random actions at the start.
        last_epsilon: Share of random actions from the end of the exploration on.
        exploration: In which share of ``steps`` epsilon falls, linearly.
        max_grad_norm: The gradient is scaled down to this length.
        hidden: Widths of the hidden layers.
        vectorization: See `make_envs`.
        device: Where the network learns.
        on_row: Called with each row as it is made.

    Returns:
        The network, and a row for each round that had updates: the columns of `Learned`, the last update's ``loss``,
        ``temporal_difference``, ``value`` and ``grad_norm``, and ``epsilon`` and ``updates``.

    Raises:
        ValueError: If a setting is out of range, or the environment's spaces do not fit.

    Example:
        >>> learned = dqn("CartPole-v1", steps=600, warm_up=100, updates=4, num_envs=2, seed=0)
        >>> learned.column("epsilon")[-1]
        0.04

    Reference: Mnih et al. 2015, Human-level control through deep reinforcement learning, algorithm 1
    """
    for name, value in {"steps": steps, "updates": updates, "batch_size": batch_size}.items():
        if value < 1:
            raise ValueError(f"{name} must be at least 1, got {value}.")
    if not (0 <= last_epsilon <= first_epsilon <= 1 and 0 < exploration <= 1):
        raise ValueError(
            f"0 <= last_epsilon <= first_epsilon <= 1 and 0 < exploration <= 1 must hold, got {last_epsilon}, "
            f"{first_epsilon} and {exploration}."
        )
    if not 0 <= warm_up <= steps:
        raise ValueError(f"warm_up must lie from 0 to steps, or nothing is learnt, got {warm_up} of {steps}.")
    generator = torch.Generator(device).manual_seed(seed)
    envs = make_envs(env, num_envs, vectorization=vectorization)
    try:
        network = q_network_for(envs, hidden=hidden, generator=generator).to(device)
        objective = QLearning(network, gamma=gamma, double=double, period=period)
        run = Run(
            network,
            objective,
            torch.optim.Adam(network.parameters(), lr=learning_rate, fused=True),
            max_grad_norm=max_grad_norm,
            after_step=[objective.follow],
            generators=[generator],
        )
        buffer, collector = ReplayBuffer(capacity), Collector(envs, seed=seed, device=device)
        rows: list[dict[str, float]] = []
        while collector.num_steps < steps:
            share = min(1.0, collector.num_steps / (exploration * steps))
            epsilon = (1 - share) * first_epsilon + share * last_epsilon
            act = partial(network.act, generator=generator, epsilon=epsilon)
            buffer.add(collector.collect(act, rollout_length).transitions())
            if collector.num_steps < warm_up:
                continue
            for _ in range(updates):
                step = run.step(buffer.sample(batch_size, generator=generator))
            metrics = step.values() | {"epsilon": epsilon, "updates": float(run.index)}
            add_row(rows, collector.num_steps, collector.episode_returns, metrics, on_row)
    finally:
        envs.close()
    return Learned(network, rows, collector.episode_returns)
