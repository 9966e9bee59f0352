"""A computational graph to look at: as nodes and edges, as text, as a drawing; and the memory it holds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from course_lib.autodiff.reverse_mode import topological_order
from course_lib.autodiff.rules import Array
from course_lib.autodiff.variable import Variable

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MAX_NODES_DRAWN = 40
_SIGNS = {"add": "+", "subtract": "−", "multiply": "×", "divide": "/", "power": "**", "matmul": "@", "negative": "−"}


@dataclass(frozen=True, slots=True)
class Graph:
    """What was computed from what.

    Args:
        nodes: The variables, each after its parents.
        edges: ``(parent, child)`` as places in ``nodes``; twice for ``x * x``.
        layers: For each node its distance from the leaves, the longest way.
    """

    nodes: tuple[Variable, ...]
    edges: tuple[tuple[int, int], ...]
    layers: tuple[int, ...]


def graph(output: Variable) -> Graph:
    """Return the graph that ``output`` was computed by; it can still be read after ``backward``.

    Example:
        >>> x = Variable(2.0, name="x")
        >>> found = graph(x * x)
        >>> [node.op for node in found.nodes], found.edges, found.layers
        (['leaf', 'multiply'], ((0, 1), (0, 1)), (0, 1))
    """
    nodes = topological_order(output)
    place = {node: index for index, node in enumerate(nodes)}
    edges: list[tuple[int, int]] = []
    layers: list[int] = []
    for index, node in enumerate(nodes):
        edges += [(place[parent], index) for parent in node.parents]
        layers.append(max((layers[place[parent]] + 1 for parent in node.parents), default=0))
    return Graph(tuple(nodes), tuple(edges), tuple(layers))


def as_text(output: Variable) -> str:
    """Return the graph as one line for each node.

    Example:
        >>> x, y = Variable(2.0, name="x"), Variable(3.0, name="y")
        >>> print(as_text((x * y).exp()))
        0 x        ()  2
        1 y        ()  3
        2 multiply ()  6      from 0, 1
        3 exp      ()  403.4  from 2
    """
    found = graph(output)
    rows = []
    for index, node in enumerate(found.nodes):
        parents = ", ".join(str(parent) for parent, child in found.edges if child == index)
        rows.append(
            (str(index), node.name or node.op, str(node.shape).replace(" ", ""), _short(node.data),
             f"from {parents}" if parents else "")
        )  # fmt: skip
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    pads = (" ", " ", "  ", "  ", "")
    return "\n".join(
        "".join(cell.ljust(width) + pad for cell, width, pad in zip(row, [*widths, 0], pads, strict=True)).rstrip()
        for row in rows
    )


def draw(output: Variable, ax: Axes) -> None:
    """Draw the graph, inputs on the left, the output on the right; gradients are shown where they were kept.

    Args:
        output: The end of the graph.
        ax: Where to draw; emptied of axes and grid.

    Raises:
        ValueError: If there are more nodes than anyone can read.
    """
    found = graph(output)
    if len(found.nodes) > MAX_NODES_DRAWN:
        raise ValueError(
            f"the graph has {len(found.nodes)} nodes, more than the {MAX_NODES_DRAWN} that can be read in a drawing; "
            "use as_text, or draw a smaller part."
        )
    spots = _spots(found)
    for parent, child in found.edges:
        ax.annotate(
            "", spots[child], spots[parent], zorder=1,
            arrowprops={"arrowstyle": "-|>", "color": "#999999", "shrinkA": 20, "shrinkB": 20},
        )  # fmt: skip
    for node, (x, y) in zip(found.nodes, spots, strict=True):
        leaf = not node.parents
        constant = leaf and not node.name  # a bare number or array: its value is its label
        label = _short(node.data) if constant else node.name or _SIGNS.get(node.op, node.op)
        fill = "#DCEBF7" if leaf and node.requires_grad else "#EEEEEE" if leaf else "#FFFFFF"
        box = {"boxstyle": "round,pad=0.35" if leaf else "circle,pad=0.25", "facecolor": fill, "edgecolor": "#666666"}
        ax.text(x, y, label, ha="center", va="center", bbox=box, zorder=2)
        if not constant:
            ax.text(x, y - 0.27, _short(node.data), ha="center", va="top", fontsize=9, color="#0072B2")
        if node.grad is not None:
            ax.text(x, y + 0.27, _short(node.grad), ha="center", va="bottom", fontsize=9, color="#D55E00")
    heights = [y for _, y in spots]
    ax.set(xlim=(-0.5, max(found.layers) + 0.5), ylim=(min(heights) - 0.6, max(heights) + 0.6))
    ax.axis("off")


def _spots(found: Graph) -> list[tuple[float, float]]:
    """A place for each node: its layer across; up and down, leaves in order and the rest between their parents."""
    spots: list[tuple[float, float]] = []
    taken: set[tuple[int, float]] = set()
    num_leaves = 0
    for index, layer in enumerate(found.layers):
        parents = [spots[parent][1] for parent, child in found.edges if child == index]
        height = round(float(np.mean(parents)) * 2) / 2 if parents else -float(num_leaves)
        num_leaves += not parents
        while (layer, height) in taken or (layer, height + 0.5) in taken or (layer, height - 0.5) in taken:
            height -= 0.5
        taken.add((layer, height))
        spots.append((float(layer), height))
    return spots


def saved_bytes(output: Variable) -> int:
    """Return how many bytes of intermediate results the graph keeps alive; leaves are not counted, views count once.

    Every variable keeps its value for as long as something that was computed from it is alive, whether or not the
    backward pass will read it. (torch keeps only what will be read.)

    Example:
        >>> x = Variable(np.zeros((10, 10)))
        >>> saved_bytes((x.tanh() * 2.0).sum())  # tanh, its product with 2, the sum: 100, 100 and 1 numbers
        1608
    """
    nodes = topological_order(output)
    outside = {id(_owner(node.data)) for node in nodes if not node.parents}
    kept = {id(_owner(node.data)): _owner(node.data).nbytes for node in nodes if node.parents}
    return sum(nbytes for key, nbytes in kept.items() if key not in outside)


def _owner(array: Array) -> Array:
    while isinstance(array.base, np.ndarray):
        array = array.base
    return array


def _short(array: Array) -> str:
    return f"{array.item():.4g}" if array.size == 1 else "×".join(map(str, array.shape))
