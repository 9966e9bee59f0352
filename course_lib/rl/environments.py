"""Several copies of a Gymnasium environment side by side, and what a network needs to know of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, get_args

import numpy as np

if TYPE_CHECKING:
    from gymnasium.vector import VectorEnv

Vectorization = Literal["sync", "async", "vector_entry_point"]
MakeEnv: TypeAlias = str | Callable[[], Any]
"""A Gymnasium id such as ``"CartPole-v1"``, or a function without arguments that makes one environment."""


@dataclass(frozen=True, slots=True)
class Sizes:
    """What goes into a policy for an environment and what comes out.

    Args:
        observation_size: Numbers in one observation, flattened.
        num_actions: How many actions there are to choose from; for continuous actions how many numbers one has.
        continuous: Whether an action is a vector of numbers.
    """

    observation_size: int
    num_actions: int
    continuous: bool


def make_envs(env: MakeEnv, num_envs: int = 8, *, vectorization: Vectorization = "sync") -> VectorEnv[Any, Any, Any]:
    """Return ``num_envs`` copies of an environment that are stepped together.

    They reset themselves, as Gymnasium 1.x has it, one step AFTER an episode's end: that step ignores the action and
    returns the first observation of the next episode with reward 0. It is no transition, and `Collector` marks it so.

    Args:
        env: A Gymnasium id, or a function that makes one environment.
        num_envs: How many.
        vectorization: "sync": one after the other in this process; "async": one process each, for slow environments;
            "vector_entry_point": the environment's own array code, where it has some (CartPole: several times faster).

    Raises:
        ValueError: If there would be no environment, the way of stepping is unknown, or is not one for functions.

    Example:
        >>> envs = make_envs("CartPole-v1", 2)
        >>> observations, _ = envs.reset(seed=0)
        >>> observations.shape
        (2, 4)

    Reference: Gymnasium's documentation of vector environments, https://gymnasium.farama.org/api/vector/
    """
    if num_envs < 1:
        raise ValueError(f"num_envs must be at least 1, got {num_envs}.")
    if vectorization not in get_args(Vectorization):
        raise ValueError(f"vectorization must be one of {get_args(Vectorization)}, got {vectorization!r}.")
    import gymnasium

    if isinstance(env, str):
        return gymnasium.make_vec(env, num_envs, vectorization_mode=vectorization)
    if vectorization == "vector_entry_point":
        raise ValueError("vector_entry_point belongs to an environment's id: a function makes one at a time.")
    kind = gymnasium.vector.SyncVectorEnv if vectorization == "sync" else gymnasium.vector.AsyncVectorEnv
    envs: VectorEnv[Any, Any, Any] = kind([env] * num_envs)
    return envs


def sizes_of(envs: VectorEnv[Any, Any, Any]) -> Sizes:
    """Read from an environment's spaces what a policy for it looks like.

    Raises:
        ValueError: If observations are no arrays of numbers, or actions are neither ``Discrete`` from 0 nor a vector.

    Example:
        >>> sizes_of(make_envs("CartPole-v1", 1))
        Sizes(observation_size=4, num_actions=2, continuous=False)
    """
    from gymnasium.spaces import Box, Discrete

    seen, done = envs.single_observation_space, envs.single_action_space
    if not isinstance(seen, Box):
        raise ValueError(f"observations must be a Box of numbers, got {seen}: wrap the environment to encode them.")
    size = int(np.prod(seen.shape))
    if isinstance(done, Discrete):
        if done.start != 0:
            raise ValueError(f"actions must be counted from 0, got {done}: wrap the environment to shift them.")
        return Sizes(size, int(done.n), continuous=False)
    if isinstance(done, Box) and len(done.shape) == 1 and np.issubdtype(done.dtype, np.floating):
        return Sizes(size, done.shape[0], continuous=True)
    raise ValueError(f"actions must be Discrete or a vector (a Box of floats with one axis), got {done}.")


def to_env(actions: np.ndarray, envs: VectorEnv[Any, Any, Any]) -> np.ndarray:
    """Return ``actions`` as the environments take them: continuous ones are clipped to what is allowed."""
    from gymnasium.spaces import Box

    space = envs.single_action_space
    return np.clip(actions, space.low, space.high) if isinstance(space, Box) else actions


def check_autoreset(envs: VectorEnv[Any, Any, Any]) -> None:
    """Refuse environments that do not reset themselves one step after an episode's end.

    Raises:
        ValueError: If they reset in the same step, or never.
    """
    from gymnasium.vector import AutoresetMode

    mode = envs.metadata.get("autoreset_mode")
    if mode != AutoresetMode.NEXT_STEP:
        raise ValueError(
            f"these environments have autoreset mode {mode}, but rollouts are read by Gymnasium's default, "
            "AutoresetMode.NEXT_STEP: build them with make_envs."
        )
