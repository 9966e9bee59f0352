"""Gridworlds drawn as text: walls, goals and cliffs become the tables of an MDP."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from course_lib.rl.mdp import MDP

NORTH, EAST, SOUTH, WEST = range(4)
MOVES = ((-1, 0), (0, 1), (1, 0), (0, -1))  # rows down, columns to the right
ARROWS = "^>v<"

# Shape letters used in this file: S = states, A = 4 actions: north, east, south, west.


@dataclass(frozen=True, slots=True, eq=False)
class GridWorld:
    """A drawn world and its tables.

    Args:
        mdp: The tables; state ``i`` is ``cells[i]``, actions are north, east, south, west.
        drawing: Its lines.
        cells: Row and column of each state, from the upper left, walls left out.
    """

    mdp: MDP
    drawing: tuple[str, ...]
    cells: tuple[tuple[int, int], ...]

    def grid(self, values: Tensor) -> Tensor:
        """Lay out one number for each state as the drawing is, nan in walls; for a picture.

        Shape:
            - values: ``(S,)``; output: ``(rows, columns)``
        """
        picture = torch.full((len(self.drawing), len(self.drawing[0])), torch.nan, dtype=torch.float64)
        for value, (row, column) in zip(values.tolist(), self.cells, strict=True):
            picture[row, column] = value
        return picture

    def arrows(self, policy: Tensor) -> str:
        """Draw a policy: an arrow where one can move, the drawing elsewhere.

        Shape:
            - policy: ``(S,)``, int64

        Example:
            >>> from course_lib.rl.dynamic_programming import value_iteration
            >>> world = gridworld(["S.C", ".#G"], rewards={"G": 10.0, "C": -10.0}, gamma=0.9)
            >>> print(world.arrows(value_iteration(world.mdp).policy))
            ^^C
            ^#G
        """
        lines = [list(line) for line in self.drawing]
        for action, end, (row, column) in zip(policy.tolist(), self.mdp.terminal.tolist(), self.cells, strict=True):
            if not end:
                lines[row][column] = ARROWS[action]
        return "\n".join("".join(line) for line in lines)


def gridworld(
    drawing: str | list[str],
    *,
    slip: float = 0.0,
    step_reward: float = -1.0,
    rewards: Mapping[str, float] | None = None,
    gamma: float = 0.95,
) -> GridWorld:
    """Return the world that ``drawing`` shows.

    ``S`` is where episodes begin (several: any of them), ``.`` is floor, ``#`` a wall; every other sign is an end,
    such as ``G`` for a goal or ``C`` for a cliff. Who walks into a wall or the border stays where he is.

    Args:
        drawing: Lines of one length, or one text with line breaks.
        slip: Probability that the move goes to the left or to the right of where it was meant, half of it each.
        step_reward: What each move gives.
        rewards: What entering an end gives on top of that, by its sign; 0 where it is not named.
        gamma: Discount.

    Raises:
        ValueError: If lines differ in length, there is no ``S``, ``slip`` is no probability, or a reward names a sign
            that is not drawn.

    Example:
        >>> world = gridworld(["S.G"], rewards={"G": 10.0})
        >>> world.mdp.num_states, world.mdp.rewards[1].tolist()  # from the middle: north, east, south, west
        (3, [-1.0, 9.0, -1.0, -1.0])
    """
    lines = tuple(drawing.split("\n") if isinstance(drawing, str) else drawing)
    if not lines or len({len(line) for line in lines}) != 1:
        raise ValueError(f"all lines of a gridworld must be equally long, got {[len(line) for line in lines]}.")
    if not 0 <= slip <= 1:
        raise ValueError(f"slip must lie in [0, 1], got {slip}.")
    signs = {(row, column): sign for row, line in enumerate(lines) for column, sign in enumerate(line) if sign != "#"}
    rewards = rewards or {}
    if unknown := rewards.keys() - (set(signs.values()) - {"S", "."}):
        raise ValueError(f"rewards names {sorted(unknown)}, which is no end in this drawing.")
    cells = tuple(signs)
    start = torch.tensor([signs[cell] == "S" for cell in cells], dtype=torch.float64)
    if start.sum() == 0:
        raise ValueError("a gridworld needs an S: where do episodes begin?")
    number = {cell: state for state, cell in enumerate(cells)}
    ends = torch.tensor([signs[cell] not in "S." for cell in cells])
    transitions = torch.zeros(len(cells), 4, len(cells), dtype=torch.float64)
    for state, (row, column) in enumerate(cells):
        for action in range(4):
            for turn, chance in ((0, 1 - slip), (1, slip / 2), (3, slip / 2)):
                down, right = MOVES[(action + turn) % 4]
                landing = number.get((row + down, column + right), state)
                transitions[state, action, landing] += chance
    entering = torch.tensor([rewards.get(signs[cell], 0.0) for cell in cells], dtype=torch.float64)
    mdp = MDP(transitions, step_reward + transitions @ entering, start=start / start.sum(), terminal=ends, gamma=gamma)
    return GridWorld(mdp, lines, cells)
