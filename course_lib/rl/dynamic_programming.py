"""Planning in a known world: value iteration, and the value of any policy as one linear system."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from course_lib.rl.mdp import MDP

# Shape letters used in this file: S = states, A = actions.


@dataclass(frozen=True, slots=True, eq=False)
class Solution:
    """The best that can be done in a world.

    Args:
        values: Of each state, acting best from there.
        action_values: Of each action in each state, acting best after it.
        policy: The best action in each state, the first of equals.
        num_sweeps: How many sweeps over all states it took.

    Shape:
        - values: ``(S,)``; action_values: ``(S, A)``, float64; policy: ``(S,)``, int64
    """

    values: Tensor
    action_values: Tensor
    policy: Tensor
    num_sweeps: int


def action_values(mdp: MDP, values: Tensor) -> Tensor:
    """Return what each action is worth if the next state is worth ``values``: ``r + gamma * sum_s' P(s') V(s')``.

    Args:
        mdp: The world.
        values: Of each state; of terminal ones 0 counts.

    Shape:
        - values: ``(S,)``; output: ``(S, A)``

    Example:
        >>> from course_lib.rl.gridworld import gridworld
        >>> world = gridworld("SG", gamma=0.5).mdp
        >>> action_values(world, torch.zeros(2))[0]  # every step costs 1
        tensor([-1., -1., -1., -1.], dtype=torch.float64)
    """
    if values.shape != (mdp.num_states,):
        raise ValueError(f"values must be ({mdp.num_states},), one for each state, got {tuple(values.shape)}.")
    future = values.double().masked_fill(mdp.terminal, 0.0)
    return mdp.rewards + mdp.gamma * mdp.transitions @ future


def value_iteration(mdp: MDP, *, tolerance: float = 1e-10, max_sweeps: int = 100_000) -> Solution:
    """Apply Bellman's equation ``V(s) = max_a (r + gamma * sum_s' P(s') V(s'))`` until nothing changes.

    Each sweep brings V nearer to the truth by the factor ``gamma``, from wherever it starts. No gradient, no data: the
    world is known, and this is planning rather than learning.

    Args:
        mdp: The world.
        tolerance: Stop when the values are within this of the truth: when a sweep changes none by more than
            ``tolerance * (1 - gamma) / gamma`` (with gamma 1, where no such bound exists, by ``tolerance``).
        max_sweeps: Give up after so many.

    Raises:
        ValueError: If ``tolerance`` is not above 0, ``max_sweeps`` is less than 1, or that many did not suffice (with
            gamma 1: can every state reach an end, and does dawdling cost something?).

    Example:
        >>> from course_lib.rl.gridworld import gridworld
        >>> corridor = gridworld("S..G", step_reward=-1.0, gamma=1.0)
        >>> value_iteration(corridor.mdp).values.tolist()
        [-3.0, -2.0, -1.0, 0.0]

    Reference: Bellman 1957, A Markovian decision process; Sutton and Barto 2018, section 4.4
    """
    if not tolerance > 0 or max_sweeps < 1:
        raise ValueError(f"tolerance must be above 0 and max_sweeps at least 1, got {tolerance} and {max_sweeps}.")
    change_allowed = tolerance if mdp.gamma in (0.0, 1.0) else tolerance * (1 - mdp.gamma) / mdp.gamma
    values = torch.zeros(mdp.num_states, dtype=torch.float64)
    for sweep in range(1, max_sweeps + 1):
        improved = action_values(mdp, values).max(1).values
        change = float((improved - values).abs().max())
        values = improved
        if change <= change_allowed:
            best = action_values(mdp, values)
            return Solution(values, best, best.argmax(1), sweep)
    raise ValueError(
        f"after {max_sweeps} sweeps values still change by {change:.3g}: lower gamma ({mdp.gamma}), raise the "
        f"tolerance ({tolerance}), or look whether every state can reach an end."
    )


def policy_values(mdp: MDP, policy: Tensor) -> Tensor:
    """Return the exact value of every state under ``policy``: ``V = (I - gamma P)^-1 r``, one linear system.

    Args:
        mdp: The world.
        policy: The action in each state, or the probability of each.

    Shape:
        - policy: ``(S,)``, int64, or ``(S, A)``; output: ``(S,)``, float64

    Raises:
        ValueError: If the policy has another shape, is no distribution, or never ends although gamma is 1.

    Example:
        >>> from course_lib.rl.gridworld import gridworld
        >>> corridor = gridworld("S..G", step_reward=-1.0, gamma=0.5)
        >>> east = torch.full((4,), 1)
        >>> policy_values(corridor.mdp, east).tolist()  # -1 - 0.5 - 0.25, ...
        [-1.75, -1.5, -1.0, 0.0]

    Reference: Sutton and Barto 2018, eq. 4.4, as a linear system
    """
    chances = policy_probabilities(mdp, policy)
    chain = torch.einsum("sa,sat->st", chances, mdp.transitions)
    if mdp.gamma == 1.0 and not bool(_reaches_an_end(chain, mdp.terminal).all()):
        raise ValueError("under this policy some state never reaches an end, so with gamma 1 it has no value.")
    chain = chain * (~mdp.terminal).double()  # what happens after an end is worth nothing
    rewards = (chances * mdp.rewards).sum(1)
    system = torch.eye(mdp.num_states, dtype=torch.float64) - mdp.gamma * chain
    values: Tensor = torch.linalg.solve(system, rewards)
    return values


def _reaches_an_end(chain: Tensor, terminal: Tensor) -> Tensor:
    """From which states an end can be reached at all; rounding hides from the linear system that it cannot."""
    reaches = terminal
    for _ in range(len(terminal)):
        reaches = reaches | ((chain > 0) & reaches).any(1)
    return reaches


def policy_probabilities(mdp: MDP, policy: Tensor) -> Tensor:
    """Return ``policy`` as probabilities ``(S, A)``, float64.

    Raises:
        ValueError: As `policy_values`.
    """
    shape = (mdp.num_states, mdp.num_actions)
    if policy.dtype == torch.int64 and policy.shape == shape[:1]:
        if not 0 <= int(policy.min()) <= int(policy.max()) < mdp.num_actions:
            raise ValueError(f"actions must be from 0 to {mdp.num_actions - 1}, got up to {int(policy.max())}.")
        return torch.eye(mdp.num_actions, dtype=torch.float64).index_select(0, policy)
    if policy.shape != shape or not policy.is_floating_point():
        raise ValueError(
            f"a policy is (S,) int64 or (S, A) probabilities, here {shape[:1]} or {shape}; got {policy.dtype} "
            f"{tuple(policy.shape)}."
        )
    chances = policy.double()
    if bool((chances < 0).any()) or not torch.allclose(chances.sum(1), torch.ones_like(chances[:, 0]), atol=1e-6):
        raise ValueError("each row of a policy must be probabilities that sum to 1: apply softmax(-1) to logits.")
    return chances
