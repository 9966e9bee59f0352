"""Making environments and reading their spaces: what fits, and what is refused by name."""

import numpy as np
import pytest

from course_lib.rl import make_envs
from course_lib.rl.environments import Sizes, sizes_of, to_env

gymnasium = pytest.importorskip("gymnasium")


def with_spaces(observation_space, action_space):
    class Spaces(gymnasium.Env):
        def reset(self, *, seed=None, options=None):
            return self.observation_space.sample(), {}

    Spaces.observation_space, Spaces.action_space = observation_space, action_space
    return make_envs(Spaces, 1)


def box(*shape):
    return gymnasium.spaces.Box(-2, 2, shape)


def test_sizes_are_read_from_the_spaces():
    assert sizes_of(make_envs("CartPole-v1", 2)) == Sizes(4, 2, continuous=False)
    assert sizes_of(make_envs("Pendulum-v1", 2)) == Sizes(3, 1, continuous=True)
    assert sizes_of(with_spaces(box(2, 3, 4), box(5))) == Sizes(24, 5, continuous=True)


@pytest.mark.parametrize("vectorization", ["sync", "vector_entry_point"])
def test_the_environments_are_gymnasiums_own(vectorization):
    envs = make_envs("CartPole-v1", 3, vectorization=vectorization)
    assert envs.num_envs == 3
    assert envs.metadata["autoreset_mode"] == gymnasium.vector.AutoresetMode.NEXT_STEP


def test_a_function_makes_each_of_them(scripted):
    envs = make_envs(scripted([(2, "terminated")]), 3)
    assert len({id(env) for env in envs.envs}) == 3


def test_continuous_actions_are_clipped_and_discrete_ones_left():
    pendulum, cartpole = make_envs("Pendulum-v1", 2), make_envs("CartPole-v1", 2)
    assert to_env(np.array([[-9.0], [0.5]]), pendulum).tolist() == [[-2.0], [0.5]]
    assert to_env(np.array([0, 1]), cartpole).tolist() == [0, 1]


def test_bad_input_is_named(scripted):
    discrete = gymnasium.spaces.Discrete
    with pytest.raises(ValueError, match="num_envs must be at least 1, got 0"):
        make_envs("CartPole-v1", 0)
    with pytest.raises(ValueError, match="vectorization must be one of"):
        make_envs("CartPole-v1", 2, vectorization="threads")
    with pytest.raises(ValueError, match="belongs to an environment's id"):
        make_envs(scripted([(2, "terminated")]), 2, vectorization="vector_entry_point")
    with pytest.raises(ValueError, match="observations must be a Box"):
        sizes_of(with_spaces(discrete(4), discrete(2)))
    with pytest.raises(ValueError, match="counted from 0"):
        sizes_of(with_spaces(box(4), discrete(2, start=1)))
    with pytest.raises(ValueError, match="Box of floats with one axis"):
        sizes_of(with_spaces(box(4), gymnasium.spaces.Box(0, 5, (2,), np.int64)))
    with pytest.raises(ValueError, match="Discrete or a vector"):
        sizes_of(with_spaces(box(4), box(2, 2)))
