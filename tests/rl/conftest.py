"""A scripted environment whose episodes are known beforehand, and a tiny known world."""

import pytest
import torch

from course_lib.rl import MDP


@pytest.fixture
def scripted():
    """A function ``(script) -> make``: episode ``k`` has ``script[k][0]`` steps and ends by ``script[k][1]``.

    What is seen is (episode, step in it); the reward is 100 * episode + step. The script starts over at its end.
    """
    gymnasium = pytest.importorskip("gymnasium")
    import numpy as np

    class Scripted(gymnasium.Env):
        observation_space = gymnasium.spaces.Box(-np.inf, np.inf, (2,), np.float32)
        action_space = gymnasium.spaces.Discrete(3)

        def __init__(self, script):
            self.script, self.episode, self.step_number = script, -1, 0

        def seen(self):
            return np.array([self.episode, self.step_number], dtype=np.float32)

        def reset(self, *, seed=None, options=None):
            super().reset(seed=seed)
            self.episode, self.step_number = self.episode + 1, 0
            return self.seen(), {}

        def step(self, action):
            self.step_number += 1
            length, how = self.script[self.episode % len(self.script)]
            over = self.step_number == length
            reward = 100 * self.episode + self.step_number
            return self.seen(), reward, over and how == "terminated", over and how == "truncated", {}

    return lambda script: lambda: Scripted(script)


@pytest.fixture
def random_mdp():
    """A function ``(seed, gamma) -> MDP`` with 5 states, the last of them terminal, and 3 actions."""

    def make(seed, gamma=0.9):
        g = torch.Generator().manual_seed(seed)
        transitions = torch.rand(5, 3, 5, generator=g, dtype=torch.float64).softmax(-1)
        rewards = torch.randn(5, 3, generator=g, dtype=torch.float64)
        start = torch.rand(5, generator=g, dtype=torch.float64).softmax(-1)
        return MDP(transitions, rewards, start=start, terminal=torch.arange(5) == 4, gamma=gamma)

    return make
