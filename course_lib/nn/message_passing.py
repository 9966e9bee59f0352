"""One message-passing layer: each node of a graph hears from its neighbours and updates itself."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from course_lib.nn._layers import linear
from course_lib.nn._precision import at_least_float32
from course_lib.nn.initialisers import Initialiser, xavier_normal_

# Shape letters used in this file: V = nodes, E = edges.


class MessagePassing(nn.Module):
    """``h_i' = W_self h_i + W_message aggregate(h_j over edges j -> i) + b``, the graph's cousin of a convolution.

    What it assumes (its inductive bias): nodes have no order. Renumbering them renumbers the output rows and changes
    nothing else. A node that no edge reaches keeps its self term alone. No activation: put one behind.

    Args:
        num_in: Features of a node.
        num_out: Features of a node afterwards.
        aggregation: ``mean`` does not depend on the number of neighbours in scale; ``sum`` can count them.
        initialiser: Of both weights; the bias starts at 0.
        generator: Where starting weights come from; torch's global one if None.

    Shape:
        - nodes: ``(V, num_in)``
        - edges: ``(2, E)``, int64: row 0 the sources, row 1 the targets, numbers below V. Messages go from source to
          target: give an undirected edge both ways. A repeated edge counts twice.
        - output: ``(V, num_out)``

    Raises:
        ValueError: For nodes or edges of another shape or dtype. A node number out of range is torch's error (checking
            it here would make the device wait).

    Example:
        >>> layer = MessagePassing(1, 1, initialiser=lambda weight, **_: weight.fill_(1))
        >>> edges = torch.tensor([[0, 1], [2, 2]])  # 0 -> 2 and 1 -> 2
        >>> layer(torch.tensor([[10.0], [20.0], [1.0]]), edges).flatten().tolist()
        [10.0, 20.0, 16.0]

    Reference: Gilmer, Schoenholz, Riley, Vinyals and Dahl 2017, Neural message passing for quantum chemistry, eq. 1
    and 2, https://arxiv.org/abs/1704.01212; this layer is that of Hamilton, Ying and Leskovec 2017, Inductive
    representation learning on large graphs, https://arxiv.org/abs/1706.02216, without the sampling
    """

    def __init__(
        self,
        num_in: int,
        num_out: int,
        *,
        aggregation: Literal["mean", "sum"] = "mean",
        initialiser: Initialiser = xavier_normal_,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        if aggregation not in ("mean", "sum"):
            raise ValueError(f'aggregation must be "mean" or "sum", got {aggregation!r}.')
        self.aggregation = aggregation
        self.self_term = linear(num_in, num_out, initialiser=initialiser, generator=generator)
        self.message = linear(num_in, num_out, bias=False, initialiser=initialiser, generator=generator)

    def forward(self, nodes: Tensor, edges: Tensor) -> Tensor:
        """Return the new features of every node."""
        num_in = self.message.in_features
        if nodes.ndim != 2 or nodes.shape[1] != num_in:
            raise ValueError(f"MessagePassing needs nodes (V, {num_in}), got {tuple(nodes.shape)}.")
        if edges.ndim != 2 or len(edges) != 2 or edges.dtype != torch.int64:
            raise ValueError(
                "MessagePassing needs edges (2, E) of int64 (row 0 sources, row 1 targets), "
                f"got {tuple(edges.shape)} of {edges.dtype}."
            )
        source, target = edges
        messages = at_least_float32(self.message(nodes))  # sums over many neighbours need the digits
        received = messages.new_zeros(messages.shape).index_add(0, target, messages[source])
        if self.aggregation == "mean":
            num_received = messages.new_zeros(len(nodes)).index_add(0, target, messages.new_ones(len(target)))
            received = received / num_received.clamp(min=1)[:, None]
        own: Tensor = self.self_term(nodes)
        return own + received.to(own.dtype)
