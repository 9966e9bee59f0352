"""Acting in environments side by side, and writing down what happened: rollouts of fixed length, or whole episodes."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

import numpy as np
import torch
from torch import Tensor

from course_lib.rl.environments import check_autoreset, to_env
from course_lib.rl.rollout import Rollout

if TYPE_CHECKING:
    from gymnasium.vector import VectorEnv


class Actor(Protocol):
    """What has an ``act``: an `ActorCritic`, a `QNetwork`, or a class of your own."""

    def act(self, observations: Tensor, *, generator: torch.Generator | None = None) -> Tensor:
        """Choose actions: at random with a generator, the best known without."""
        ...


Policy: TypeAlias = Actor | Callable[[Tensor], Tensor]
"""An `Actor`, or a plain function from observations ``(N, ...)`` to actions ``(N,)`` or ``(N, A)``."""


class Collector:
    """Environments in the middle of their episodes: each call of `collect` goes on where the last one stopped.

    A live environment cannot be replayed: a run that is killed starts its episodes anew.

    Args:
        envs: From `make_envs`.
        seed: Of the environments; ``envs.reset`` gets a large number made from it, so that neighbouring seeds share
            no episodes.
        device: Where rollouts go; the policy's.

    Raises:
        ValueError: If the environments reset themselves in another way than Gymnasium's default.

    Example:
        >>> from course_lib.rl.environments import make_envs
        >>> collector = Collector(make_envs("CartPole-v1", 2), seed=0)
        >>> rollout = collector.collect(lambda observations: (observations[:, 2] > 0).long(), 50)
        >>> rollout.rewards.shape, collector.num_steps == int(rollout.valid.sum())
        (torch.Size([50, 2]), True)
    """

    def __init__(self, envs: VectorEnv[Any, Any, Any], *, seed: int, device: torch.device | str = "cpu") -> None:
        check_autoreset(envs)
        self.envs = envs
        self.device = torch.device(device)
        self.num_steps = 0  # transitions so far
        self.episode_returns: list[float] = []  # of the episodes that have ended, undiscounted
        self._observations, _ = envs.reset(seed=mixed_seed(seed))
        self._resets_next = np.zeros(envs.num_envs, dtype=bool)
        self._running = np.zeros(envs.num_envs)

    def collect(self, policy: Policy, length: int, *, generator: torch.Generator | None = None) -> Rollout:
        """Take ``length`` steps in every environment.

        Args:
            policy: Chooses the actions.
            length: Steps in each environment.
            generator: What the policy draws from; without one it acts greedily.

        Raises:
            ValueError: If ``length`` is less than 1, observations are no arrays, or the policy does not give one action
                for each environment.
        """
        if length < 1:
            raise ValueError(f"a rollout needs at least 1 step, got length={length}.")
        record = _Record(self.envs, self._observations, generator, self.device)
        for _ in range(length):
            resets = self._resets_next
            observations, rewards, done = record.step(policy, ~resets)
            self._running += rewards
            if done.any():
                self.episode_returns.extend(self._running[done].tolist())
                self._running[done] = 0.0
            self._observations, self._resets_next = observations, done
        rollout = record.rollout()
        self.num_steps += int(rollout.valid.sum())
        return rollout


def play_episodes(
    envs: VectorEnv[Any, Any, Any],
    policy: Policy,
    *,
    generator: torch.Generator | None = None,
    seed: int | None = None,
    device: torch.device | str = "cpu",
) -> Rollout:
    """Play exactly one episode in every environment, from a reset to its end.

    Taking the first so many episodes to end would favour short ones; one for each environment does not.

    Args:
        envs: From `make_envs`; reset here, and in need of a reset afterwards.
        policy: Chooses the actions.
        generator: What the policy draws from; without one it acts greedily.
        seed: Environment ``i`` is reset with ``seed + i``; None goes on with the random numbers it has.
        device: Where the rollout goes; the policy's.

    Returns:
        A rollout as long as the longest episode; ``valid`` is False after an episode's end.

    Raises:
        ValueError: If the environments reset themselves in another way than Gymnasium's default, observations are no
            arrays, or the policy does not give one action for each environment.

    Example:
        >>> from course_lib.rl.environments import make_envs
        >>> rollout = play_episodes(make_envs("CartPole-v1", 3), lambda observations: torch.zeros(3).long(), seed=0)
        >>> bool((rollout.valid.sum(0) < 15).all())  # always pushing to the left, the pole falls soon
        True
    """
    check_autoreset(envs)
    first, _ = envs.reset(seed=seed)
    record = _Record(envs, first, generator, torch.device(device))
    playing = np.ones(envs.num_envs, dtype=bool)
    while playing.any():
        _, _, done = record.step(policy, playing)
        playing = playing & ~done
    return record.rollout()


class _Record:
    """The steps of one rollout while it is written."""

    def __init__(
        self, envs: VectorEnv[Any, Any, Any], first: np.ndarray, generator: torch.Generator | None, device: torch.device
    ) -> None:
        if not isinstance(first, np.ndarray):
            raise ValueError(f"observations must be arrays, got {envs.single_observation_space}: wrap the environment.")
        self.envs, self.generator, self.device = envs, generator, device
        self.observations = [np.array(first, dtype=np.float32)]
        self.actions: list[Tensor] = []
        self.rest: list[tuple[np.ndarray, ...]] = []

    def step(self, policy: Policy, valid: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Act once in every environment; return what is seen now, the rewards, and where an episode ended."""
        with torch.no_grad():
            actions = choose(policy, torch.from_numpy(self.observations[-1]).to(self.device), self.generator)
        if len(actions) != self.envs.num_envs:
            raise ValueError(
                f"the policy gave actions {tuple(actions.shape)} for {self.envs.num_envs} environments: "
                "it must give one row for each."
            )
        self.actions.append(actions)
        numbers = to_env(actions.cpu().numpy(), self.envs)
        observations, rewards, terminated, truncated, _ = self.envs.step(numbers)
        self.observations.append(np.array(observations, dtype=np.float32))
        self.rest.append((rewards, terminated, truncated, valid))
        return observations, rewards, terminated | truncated

    def rollout(self) -> Rollout:
        columns = (torch.from_numpy(np.stack(column)) for column in zip(*self.rest, strict=True))
        rewards, terminated, truncated, valid = (column.to(self.device) for column in columns)
        return Rollout(
            observations=torch.from_numpy(np.stack(self.observations)).to(self.device),
            actions=torch.stack(self.actions),
            rewards=rewards.float(),
            terminated=terminated & valid,
            truncated=truncated & valid,
            valid=valid,
        )


def choose(policy: Policy, observations: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """Ask a policy of either kind for its actions."""
    act = getattr(policy, "act", None)
    if act is not None:
        actions: Tensor = act(observations, generator=generator)
        return actions
    if not callable(policy) or isinstance(policy, torch.nn.Module):
        kind = type(policy).__name__
        raise ValueError(f"a policy has a method act(observations, generator=...), or is a plain function; got {kind}.")
    return policy(observations)


def mixed_seed(seed: int) -> int:
    """Make of a small seed a large one: Gymnasium gives environment ``i`` the seed plus ``i``."""
    if seed < 0:
        raise ValueError(f"seed must be 0 or more, got {seed}.")
    return int(np.random.SeedSequence(seed).generate_state(1)[0]) // 2
