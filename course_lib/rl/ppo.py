"""PPO from an environment's name to a policy: act for a while, improve on it for a few epochs, repeat."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from course_lib.rl.environments import MakeEnv, Vectorization
from course_lib.rl.on_policy import Normalise
from course_lib.rl.ppo_objective import ppo_objective
from course_lib.rl.training import Learned, OnRow, learn_on_policy


def ppo(
    env: MakeEnv,
    *,
    steps: int,
    seed: int,
    num_envs: int = 8,
    rollout_length: int = 128,
    epochs: int = 6,
    batch_size: int = 128,
    learning_rate: float = 1e-3,
    decay: bool = True,
    gamma: float = 0.99,
    lam: float = 0.95,
    clip: float = 0.2,
    value_clip: float | None = None,
    value_coefficient: float = 0.5,
    entropy_coefficient: float = 0.0,
    normalise: Normalise = "minibatch",
    max_grad_norm: float = 0.5,
    target_kl: float | None = None,
    hidden: Sequence[int] = (64, 64),
    vectorization: Vectorization = "sync",
    device: torch.device | str = "cpu",
    on_row: OnRow | None = None,
) -> Learned:
    """Train an `ActorCritic` with proximal policy optimisation.

    Each round plays ``rollout_length`` steps in every environment, estimates advantages by `gae`, and goes ``epochs``
    times through those steps with the clipped objective. A live environment cannot be replayed, so a killed run is not
    resumed; the same call gives the same policy again, on the same machine and versions.

    Args:
        env: A Gymnasium id, or a function that makes one environment.
        steps: Environment steps in all, over all environments; the last round is played to its end.
        seed: Of everything: starting weights, episodes, actions, order of rows.
        num_envs: Environments side by side.
        rollout_length: Steps in each of them before an update.
        epochs: How often each step is used. More make better use of steps, until the policy has moved too far.
        batch_size: Steps in an update, about.
        learning_rate: Of Adam (with eps 1e-5).
        decay: Whether the learning rate falls linearly towards 0.
        gamma: Discount.
        lam: See `gae`.
        clip: See `clipped_surrogate`.
        value_clip: See `ppo_objective`.
        value_coefficient: See `ppo_objective`.
        entropy_coefficient: See `ppo_objective`.
        normalise: Whether advantages get mean 0 and deviation 1, and over what.
        max_grad_norm: The gradient is scaled down to this length.
        target_kl: If given, a round ends after the epoch in which the policy has moved farther than this; each row's
            ``epochs`` says how many were made.
        hidden: Widths of the hidden layers of actor and critic.
        vectorization: See `make_envs`.
        device: Where the network learns. Small networks are fastest on the CPU.
        on_row: Called with each row as it is made: print it, or draw it.

    Returns:
        The policy, and a row for each round: besides those of `Learned` the means over the last epoch's updates of
        ``loss``, ``policy_loss``, ``value_loss``, ``entropy``, ``kl``, ``clip_fraction``, ``grad_norm``, and
        ``epochs`` and ``updates`` made.

    Raises:
        ValueError: If a setting is out of range, or the environment's spaces do not fit.

    Example:
        >>> learned = ppo("CartPole-v1", steps=600, num_envs=2, rollout_length=64, epochs=1, seed=0)
        >>> learned.column("environment_steps")[0] <= 128, len(learned.rows) >= 5
        (True, True)

    Reference: Schulman et al. 2017, Proximal policy optimization algorithms, algorithm 1,
    https://arxiv.org/abs/1707.06347
    """
    objective = ppo_objective(
        clip=clip, value_clip=value_clip, value_coefficient=value_coefficient, entropy_coefficient=entropy_coefficient
    )
    return learn_on_policy(
        env,
        objective,
        steps=steps,
        seed=seed,
        num_envs=num_envs,
        rollout_length=rollout_length,
        epochs=epochs,
        batch_size=batch_size,
        learning_rate=learning_rate,
        decay=decay,
        gamma=gamma,
        lam=lam,
        normalise=normalise,
        max_grad_norm=max_grad_norm,
        target_kl=target_kl,
        hidden=hidden,
        vectorization=vectorization,
        device=device,
        on_row=on_row,
    )
