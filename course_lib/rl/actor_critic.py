"""Advantage actor-critic from an environment's name to a policy: short rollouts, a critic, one update each."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from course_lib.rl.environments import MakeEnv, Vectorization
from course_lib.rl.on_policy import Normalise
from course_lib.rl.policy_gradient import policy_gradient
from course_lib.rl.training import Learned, OnRow, learn_on_policy


def actor_critic(
    env: MakeEnv,
    *,
    steps: int,
    seed: int,
    num_envs: int = 8,
    rollout_length: int = 16,
    learning_rate: float = 2e-3,
    decay: bool = True,
    gamma: float = 0.99,
    lam: float = 0.95,
    value_coefficient: float = 0.5,
    entropy_coefficient: float = 0.0,
    normalise: Normalise = None,
    max_grad_norm: float = 0.5,
    hidden: Sequence[int] = (64, 64),
    vectorization: Vectorization = "sync",
    device: torch.device | str = "cpu",
    on_row: OnRow | None = None,
) -> Learned:
    """Train a policy by advantage actor-critic: short rollouts, advantages from the critic, one update on all of them.

    It is `ppo` with one epoch, one part and no clipping (at the first update on fresh steps nothing is clipped anyway),
    so it needs not wait for an episode's end as `reinforce` does.

    Args:
        env: A Gymnasium id, or a function that makes one environment.
        steps: Environment steps in all; the last round is played to its end.
        seed: Of everything.
        num_envs: Environments side by side.
        rollout_length: Steps in each of them before an update.
        learning_rate: Of Adam (with eps 1e-5).
        decay: Whether the learning rate falls linearly towards 0.
        gamma: Discount.
        lam: See `gae`.
        value_coefficient: See `policy_gradient`.
        entropy_coefficient: See `policy_gradient`.
        normalise: Whether advantages get mean 0 and deviation 1.
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
        >>> learned = actor_critic("CartPole-v1", steps=64, num_envs=2, seed=0)
        >>> len(learned.column("entropy")) >= 2
        True

    Reference: Mnih et al. 2016, Asynchronous methods for deep reinforcement learning, section 4,
    https://arxiv.org/abs/1602.01783 (here the environments are in step)
    """
    return learn_on_policy(
        env,
        policy_gradient(value_coefficient=value_coefficient, entropy_coefficient=entropy_coefficient),
        steps=steps,
        seed=seed,
        num_envs=num_envs,
        rollout_length=rollout_length,
        epochs=1,
        batch_size=num_envs * rollout_length,
        learning_rate=learning_rate,
        decay=decay,
        gamma=gamma,
        lam=lam,
        normalise=normalise,
        max_grad_norm=max_grad_norm,
        target_kl=None,
        hidden=hidden,
        vectorization=vectorization,
        device=device,
        on_row=on_row,
    )
