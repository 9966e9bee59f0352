"""How good a policy is: whole episodes, none favoured."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from course_lib.loops import evaluating
from course_lib.rl.collector import Policy, play_episodes
from course_lib.rl.environments import MakeEnv, make_envs


@dataclass(frozen=True, slots=True, eq=False)
class Evaluation:
    """What a policy reached in each of ``E`` episodes.

    Args:
        returns: Sum of rewards, not discounted.
        lengths: Number of steps.

    Shape:
        - returns: ``(E,)``, float64; lengths: ``(E,)``, int64
    """

    returns: Tensor
    lengths: Tensor

    @property
    def mean(self) -> float:
        """The mean return."""
        return float(self.returns.mean())

    @property
    def standard_error(self) -> float:
        """The standard error of the mean, over episodes; it knows nothing of other training seeds."""
        return float(self.returns.std() / math.sqrt(len(self.returns)))


def evaluate_policy(
    policy: Policy, env: MakeEnv, *, episodes: int = 100, seed: int = 0, greedy: bool = True
) -> Evaluation:
    """Play ``episodes`` whole episodes and return what each gave.

    Each episode has an environment of its own, so that short ones are not counted more often than long ones. The policy
    and torch's global random state are left as they were.

    Args:
        policy: An `ActorCritic`, a `QNetwork`, or a function from observations to actions.
        env: As for `make_envs`.
        episodes: How many, at least 2.
        seed: Episode ``i`` starts from the environment's ``reset(seed=seed + i)``.
        greedy: Whether an `ActorCritic` takes its best known action rather than one at random as in training. (A
            `QNetwork` and a function have one way to act, whatever is said here.)

    Raises:
        ValueError: If there are fewer than 2 episodes.

    Example:
        >>> def lean(observations):  # push the cart under the pole
        ...     return (observations[:, 2] + observations[:, 3] > 0).long()
        >>> 400 < evaluate_policy(lean, "CartPole-v1", episodes=5).mean < 500
        True
    """
    if episodes < 2:
        raise ValueError(f"episodes must be at least 2, or there is no spread, got {episodes}.")
    model = policy if isinstance(policy, nn.Module) else nn.Identity()
    device = device_of(policy)
    generator = None if greedy else torch.Generator(device).manual_seed(seed)
    envs = make_envs(env, episodes)
    try:
        with evaluating(model):
            rollout = play_episodes(envs, policy, generator=generator, seed=seed, device=device)
    finally:
        envs.close()
    returns = (rollout.rewards.double() * rollout.valid).sum(0)
    return Evaluation(returns.cpu(), rollout.valid.sum(0).cpu())


def device_of(policy: Policy) -> torch.device:
    """Return where a policy's parameters are; the CPU if it has none."""
    parameters = policy.parameters() if isinstance(policy, nn.Module) else iter(())
    return next((parameter.device for parameter in parameters), torch.device("cpu"))
