"""The loop of on-policy learning: act, judge, update, throw the steps away. PPO and actor-critic are settings of it."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import nn

from course_lib.loops import Run
from course_lib.loops.loss import Objective
from course_lib.rl.collector import Collector
from course_lib.rl.environments import MakeEnv, Vectorization, make_envs
from course_lib.rl.on_policy import Normalise, check_schedule, improve, policy_batch
from course_lib.rl.policies import ActorCritic, actor_critic_for

OnRow = Callable[[dict[str, float]], None]


@dataclass(frozen=True, slots=True, eq=False)
class Learned:
    """A policy that has learnt, and how it went.

    Args:
        policy: The network.
        rows: One dictionary for each block of steps: ``environment_steps`` so far, ``episodes`` that have ended so far,
            ``mean_return`` of the last 20 of them (nan before the first), and the metrics of the updates.
        episode_returns: The undiscounted return of every episode of the training, in the order in which they ended.
    """

    policy: nn.Module
    rows: list[dict[str, float]]
    episode_returns: list[float]

    def column(self, name: str) -> list[float]:
        """Return one column of ``rows``.

        Raises:
            ValueError: If there is no such column; the message lists those there are.
        """
        if self.rows and name not in self.rows[-1]:
            raise ValueError(f"there is no column {name!r}; there are: {', '.join(self.rows[-1])}.")
        return [row[name] for row in self.rows]


def learn_on_policy(
    env: MakeEnv,
    objective: Objective,
    *,
    steps: int,
    seed: int,
    num_envs: int,
    rollout_length: int,
    epochs: int,
    batch_size: int,
    learning_rate: float,
    decay: bool,
    gamma: float,
    lam: float,
    normalise: Normalise,
    max_grad_norm: float,
    target_kl: float | None,
    hidden: Sequence[int],
    vectorization: Vectorization,
    device: torch.device | str,
    on_row: OnRow | None,
) -> Learned:
    """Train an `ActorCritic` by ``objective`` in rounds; the arguments are those of `ppo`."""
    check_schedule(
        steps=steps,
        epochs=epochs,
        rollout_length=rollout_length,
        batch_size=batch_size,
        normalise=normalise,
        target_kl=target_kl,
    )
    generator = torch.Generator(device).manual_seed(seed)
    envs = make_envs(env, num_envs, vectorization=vectorization)
    try:
        policy = actor_critic_for(envs, hidden=hidden, generator=generator).to(device)
        collector = Collector(envs, seed=seed, device=device)
        progress = Progress(steps, decay)
        run = adam_run(policy, objective, progress, learning_rate, max_grad_norm, generator)
        rows: list[dict[str, float]] = []
        while collector.num_steps < steps:
            progress.played = collector.num_steps
            rollout = collector.collect(policy, rollout_length, generator=generator)
            batch = policy_batch(policy, rollout, gamma=gamma, lam=lam)
            metrics = improve(
                run,
                batch,
                epochs=epochs,
                batch_size=batch_size,
                generator=generator,
                normalise=normalise,
                target_kl=target_kl,
            )
            add_row(rows, collector.num_steps, collector.episode_returns, metrics, on_row)
    finally:
        envs.close()
    return Learned(policy, rows, collector.episode_returns)


@dataclass(slots=True)
class Progress:
    """How far a training has come in environment steps, which its learning rate follows.

    Args:
        steps: In all.
        decay: Whether the rate falls linearly towards 0.
        played: When the round began: its updates share one rate, and that of the last round is not 0.
    """

    steps: int
    decay: bool
    played: int = 0

    def rate(self, step: int) -> float:
        """Return the factor of the learning rate, whatever the number of the update."""
        return max(0.0, 1 - self.played / self.steps) if self.decay else 1.0


def adam_run(
    policy: ActorCritic,
    objective: Objective,
    progress: Progress,
    learning_rate: float,
    max_grad_norm: float,
    generator: torch.Generator,
) -> Run:
    """Return the `Run` of an on-policy training: Adam with eps 1e-5, its rate following ``progress``."""
    optimizer = torch.optim.Adam(policy.parameters(), lr=learning_rate, eps=1e-5, fused=True)
    return Run(
        policy,
        objective,
        optimizer,
        schedule=progress.rate,
        max_grad_norm=max_grad_norm,
        generators=[generator],
    )


def add_row(
    rows: list[dict[str, float]],
    num_steps: int,
    episode_returns: list[float],
    metrics: dict[str, float],
    on_row: OnRow | None,
) -> None:
    """Note where a training stands, and tell ``on_row``."""
    last = episode_returns[-20:]
    standing = {
        "environment_steps": float(num_steps),
        "episodes": float(len(episode_returns)),
        "mean_return": sum(last) / len(last) if last else math.nan,
    }
    rows.append(standing | metrics)
    if on_row is not None:
        on_row(rows[-1])
