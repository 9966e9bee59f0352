"""Networks that act: an actor with a critic beside it, and a network of action values."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor, nn

from course_lib.nn import MLP
from course_lib.rl.environments import sizes_of

if TYPE_CHECKING:
    from gymnasium.vector import VectorEnv

# Shape letters used in this file: B = rows, A = actions (or numbers in one action), "..." = shape of one observation.


class Judged(NamedTuple):
    """What an actor-critic thinks of actions that were taken.

    Args:
        log_probs: log pi(action | observation); a density for continuous actions.
        entropy: Of the whole distribution over actions, in nats.
        values: The critic's guess at the discounted return from here.

    Shape:
        - each: ``(B,)``
    """

    log_probs: Tensor
    entropy: Tensor
    values: Tensor


class ActorCritic(nn.Module):
    """Two tanh networks: one gives a distribution over actions, the other the value of what is seen.

    They share no layer, so the critic's large errors do not pull at the actor. Weights start orthogonal; the actor's
    last layer starts a hundred times smaller, so that at first all actions are about as likely.

    Args:
        observation_size: Numbers in an observation.
        num_actions: Actions to choose from; with ``continuous`` the numbers in one action.
        continuous: Whether actions are vectors: then the distribution is a Gaussian whose mean the network gives, with
            one learnt standard deviation for each number, 1 at first.
        hidden: Widths of the hidden layers.
        generator: Where starting weights come from; torch's global one if None.

    Shape:
        - observations: ``(B, ...)``, flattened
        - actions: ``(B,)``, int64, or ``(B, A)`` if continuous

    Raises:
        ValueError: If there are fewer than two actions to choose from.

    Example:
        >>> policy = ActorCritic(4, 2, generator=torch.Generator().manual_seed(0))
        >>> judged = policy(torch.zeros(3, 4), torch.tensor([0, 1, 1]))
        >>> judged.entropy  # ln 2: it does not prefer anything yet
        tensor([0.6931, 0.6931, 0.6931], grad_fn=<NegBackward0>)

    Reference: Andrychowicz et al. 2021, What matters in on-policy reinforcement learning?,
    https://arxiv.org/abs/2006.05990 (separate networks, the small last layer)
    """

    def __init__(
        self,
        observation_size: int,
        num_actions: int,
        *,
        continuous: bool = False,
        hidden: Sequence[int] = (64, 64),
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        if num_actions < (1 if continuous else 2):
            raise ValueError(f"there is nothing to choose with num_actions={num_actions}.")
        self.actor = tanh_network((observation_size, *hidden, num_actions), last_gain=0.01, generator=generator)
        self.critic = tanh_network((observation_size, *hidden, 1), last_gain=1.0, generator=generator)
        self.log_std = nn.Parameter(torch.zeros(num_actions)) if continuous else None

    def forward(self, observations: Tensor, actions: Tensor) -> Judged:
        """Judge ``actions`` that were taken on ``observations``.

        Raises:
            ValueError: If actions are vectors and have another shape.
        """
        outputs = self.actor(observations)
        values = self.values(observations)
        if self.log_std is not None:
            if actions.shape != outputs.shape:
                raise ValueError(f"actions must be (B, A), here {tuple(outputs.shape)}, got {tuple(actions.shape)}.")
            log_std = self.log_std
            z = (actions - outputs) * torch.exp(-log_std)
            log_probs = (-0.5 * z.square() - log_std - 0.5 * math.log(2 * math.pi)).sum(-1)
            entropy = (log_std + 0.5 * math.log(2 * math.pi * math.e)).sum().expand(len(outputs))
            return Judged(log_probs, entropy, values)
        log_probs_BA = outputs.log_softmax(-1)
        chosen = log_probs_BA.gather(-1, actions.unsqueeze(-1)).squeeze(-1)
        return Judged(chosen, -(log_probs_BA.exp() * log_probs_BA).sum(-1), values)

    def values(self, observations: Tensor) -> Tensor:
        """Return the critic's value of each observation, ``(B,)``."""
        values: Tensor = self.critic(observations).squeeze(-1)
        return values

    def act(self, observations: Tensor, *, generator: torch.Generator | None = None) -> Tensor:
        """Choose actions: drawn with ``generator`` (on this network's device), the likeliest (the mean) without one."""
        outputs: Tensor = self.actor(observations)
        if self.log_std is not None:
            if generator is None:
                return outputs
            noise = torch.randn(outputs.shape, generator=generator, dtype=outputs.dtype, device=outputs.device)
            return outputs + self.log_std.exp() * noise
        if generator is None:
            return outputs.argmax(-1)
        noise = torch.empty_like(outputs).exponential_(generator=generator).log()
        return (outputs - noise).argmax(-1)  # the Gumbel-max trick: a draw from the softmax, quicker than multinomial


class QNetwork(nn.Module):
    """One value for each action: what the discounted return would be after it, acting best from then on.

    Args:
        observation_size: Numbers in an observation.
        num_actions: Actions to choose from, at least two.
        hidden: Widths of the hidden layers, with ReLU between them.
        generator: Where starting weights come from; torch's global one if None.

    Shape:
        - input: ``(B, ...)``, flattened
        - output: ``(B, A)``

    Raises:
        ValueError: If there are fewer than two actions to choose from.

    Example:
        >>> network = QNetwork(4, 2, generator=torch.Generator().manual_seed(0))
        >>> network.act(torch.zeros(3, 4)).shape
        torch.Size([3])
    """

    def __init__(
        self,
        observation_size: int,
        num_actions: int,
        *,
        hidden: Sequence[int] = (64, 64),
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        if num_actions < 2:
            raise ValueError(f"there is nothing to choose with num_actions={num_actions}.")
        self.network = MLP((observation_size, *hidden, num_actions), generator=generator)

    def forward(self, observations: Tensor) -> Tensor:
        """Return the value of every action."""
        values: Tensor = self.network(observations)
        return values

    def act(self, observations: Tensor, *, generator: torch.Generator | None = None, epsilon: float = 0.0) -> Tensor:
        """Choose the best action; with a generator, any one instead with probability ``epsilon``."""
        best: Tensor = self(observations).argmax(-1)
        if generator is None or epsilon == 0.0:
            return best
        num_actions = self.network.sizes[-1]
        anything = torch.randint(num_actions, best.shape, generator=generator, device=best.device)
        explores = torch.rand(best.shape, generator=generator, device=best.device) < epsilon
        return torch.where(explores, anything, best)


def actor_critic_for(
    envs: VectorEnv[Any, Any, Any],
    *,
    hidden: Sequence[int] = (64, 64),
    generator: torch.Generator | None = None,
) -> ActorCritic:
    """Return an `ActorCritic` that fits the spaces of ``envs``.

    Example:
        >>> from course_lib.rl.environments import make_envs
        >>> policy = actor_critic_for(make_envs("Pendulum-v1", 1))
        >>> policy.act(torch.zeros(5, 3)).shape
        torch.Size([5, 1])
    """
    sizes = sizes_of(envs)
    return ActorCritic(
        sizes.observation_size, sizes.num_actions, continuous=sizes.continuous, hidden=hidden, generator=generator
    )


def q_network_for(
    envs: VectorEnv[Any, Any, Any],
    *,
    hidden: Sequence[int] = (64, 64),
    generator: torch.Generator | None = None,
) -> QNetwork:
    """Return a `QNetwork` that fits the spaces of ``envs``.

    Raises:
        ValueError: If actions are continuous: there is no maximum to read off.
    """
    sizes = sizes_of(envs)
    if sizes.continuous:
        raise ValueError("Q-learning takes the best of finitely many actions, and these are continuous: use ppo.")
    return QNetwork(sizes.observation_size, sizes.num_actions, hidden=hidden, generator=generator)


def tanh_network(sizes: Sequence[int], *, last_gain: float, generator: torch.Generator | None = None) -> MLP:
    """Return an `MLP` with tanh and orthogonal weights: gain sqrt(2), and ``last_gain`` in the last layer."""
    network = MLP(
        sizes, activation=torch.tanh, initialiser=partial(orthogonal_, gain=math.sqrt(2)), generator=generator
    )
    last = network.linears[-1]
    assert isinstance(last, nn.Linear)
    with torch.no_grad():
        last.weight.mul_(last_gain / math.sqrt(2))
    return network


def orthogonal_(
    weight: Tensor, *, gain: float = 1.0, groups: int = 1, generator: torch.Generator | None = None
) -> Tensor:
    """Fill with a random matrix whose rows, or columns if those are fewer, are orthogonal and of length ``gain``.

    Reference: Saxe, McClelland and Ganguli 2014, Exact solutions to the nonlinear dynamics of learning in deep linear
    neural networks, https://arxiv.org/abs/1312.6120
    """
    if generator is None or generator.device.type == weight.device.type:
        return nn.init.orthogonal_(weight, gain, generator=generator)
    drawn = nn.init.orthogonal_(torch.empty(weight.shape, device=generator.device), gain, generator=generator)
    with torch.no_grad():
        return weight.copy_(drawn)
