"""REINFORCE from an environment's name to a policy: whole episodes, one update, no bootstrapping."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from course_lib.rl.advantages import discounted_returns
from course_lib.rl.collector import mixed_seed, play_episodes
from course_lib.rl.environments import MakeEnv, Vectorization, make_envs
from course_lib.rl.on_policy import improve, policy_batch
from course_lib.rl.policies import actor_critic_for
from course_lib.rl.policy_gradient import policy_gradient
from course_lib.rl.training import Learned, OnRow, Progress, adam_run, add_row


def reinforce(
    env: MakeEnv,
    *,
    steps: int,
    seed: int,
    baseline: bool = True,
    num_envs: int = 8,
    learning_rate: float = 3e-3,
    decay: bool = True,
    gamma: float = 0.99,
    normalise: bool = True,
    max_grad_norm: float = 0.5,
    hidden: Sequence[int] = (64, 64),
    vectorization: Vectorization = "sync",
    device: torch.device | str = "cpu",
    on_row: OnRow | None = None,
) -> Learned:
    """Train a policy by REINFORCE: play whole episodes, weigh each action by what came after it, update once.

    No value is bootstrapped: the return is what was seen, cut off at a time limit as if nothing followed. As everybody
    does, the factor ``gamma^t`` of the discounted objective's gradient is left out.

    Args:
        env: A Gymnasium id, or a function that makes one environment.
        steps: Environment steps in all; the last episodes are played to their end.
        seed: Of everything.
        baseline: Whether a value that the critic learns from the returns is subtracted from them. The gradient's mean
            stays, its variance falls.
        num_envs: Episodes in an update, one in each environment.
        learning_rate: Of Adam (with eps 1e-5).
        decay: Whether the learning rate falls linearly towards 0.
        gamma: Discount.
        normalise: Whether the weights of an update get mean 0 and deviation 1. Without a baseline that subtracts the
            mean return, a baseline of a kind: turn it off to see the plain algorithm.
        max_grad_norm: The gradient is scaled down to this length.
        hidden: Widths of the hidden layers.
        vectorization: See `make_envs`.
        device: Where the network learns.
        on_row: Called with each row as it is made.

    Returns:
        The policy, and a row for each update, as `ppo` gives them.

    Raises:
        ValueError: If a setting is out of range, or the environment's spaces do not fit.

    Example:
        >>> learned = reinforce("CartPole-v1", steps=200, num_envs=2, seed=0)
        >>> learned.column("episodes")[:2]
        [2.0, 4.0]

    Reference: Williams 1992, Simple statistical gradient-following algorithms for connectionist reinforcement learning
    """
    if steps < 1:
        raise ValueError(f"steps must be at least 1, got {steps}.")
    generator = torch.Generator(device).manual_seed(seed)
    envs = make_envs(env, num_envs, vectorization=vectorization)
    try:
        policy = actor_critic_for(envs, hidden=hidden, generator=generator).to(device)
        progress = Progress(steps, decay)
        objective = policy_gradient(value_coefficient=0.5 if baseline else 0.0)
        run = adam_run(policy, objective, progress, learning_rate, max_grad_norm, generator)
        rows: list[dict[str, float]] = []
        episode_returns: list[float] = []
        reset_seed: int | None = mixed_seed(seed)
        while progress.played < steps:
            rollout = play_episodes(envs, policy, generator=generator, seed=reset_seed, device=device)
            reset_seed = None  # environments are seeded once, and then go on by themselves
            episode_returns.extend((rollout.rewards * rollout.valid).sum(0).tolist())
            batch = policy_batch(policy, rollout, gamma=gamma, lam=1.0)
            returns = rollout.rows(discounted_returns(rollout.rewards, rollout.done, gamma=gamma))
            batch = batch._replace(returns=returns, advantages=returns - batch.values if baseline else returns)
            metrics = improve(
                run,
                batch,
                epochs=1,
                batch_size=len(returns),
                generator=generator,
                normalise="rollout" if normalise else None,
            )
            progress.played += len(returns)
            add_row(rows, progress.played, episode_returns, metrics, on_row)
    finally:
        envs.close()
    return Learned(policy, rows, episode_returns)
