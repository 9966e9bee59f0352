"""Linear layers of which each rank holds some columns, or some rows."""

from __future__ import annotations

import copy
from typing import Any, Self, TypeVar

import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn

from course_lib.collectives import world_size
from course_lib.distributed.tensor_parallel.regions import (
    copy_to_ranks,
    gather_parts,
    part,
    scatter_sum,
    sum_over_ranks,
)

_Layer = TypeVar("_Layer", bound=nn.Module)


class ColumnParallelLinear(nn.Module):
    """Some of a linear layer's outputs: the weight's rows (columns of ``A`` where one writes ``x A``).

    Each rank needs the whole input and makes its part of the output, without any communication forward. An elementwise
    function, or a `RowParallelLinear`, can go on with the parts.

    Args:
        linear: The whole layer, alike on all ranks. Its part is copied.
        group: The ranks that share it; all of them by default.
        copy_input: Whether gradients by the input are added up here. False where that happens once for several layers
            with the same input (queries, keys and values).
        gather_output: Whether to put the parts together on every rank.

    Shape:
        - input: ``(..., in_features)``, alike on all ranks
        - output: ``(..., out_features / p)``, or ``(..., out_features)`` with ``gather_output``

    Raises:
        ValueError: If the ranks cannot share the outputs evenly.

    Example:
        >>> linear = nn.Linear(3, 4)
        >>> ColumnParallelLinear(linear).weight.shape  # one process holds all
        torch.Size([4, 3])

    Reference: Shoeybi et al. 2019, Megatron-LM, section 3, figure 3, https://arxiv.org/abs/1909.08053
    """

    def __init__(
        self,
        linear: nn.Linear,
        group: dist.ProcessGroup | None = None,
        *,
        copy_input: bool = True,
        gather_output: bool = False,
    ) -> None:
        super().__init__()
        check_divides("out_features", linear.out_features, group)
        self.group, self.copy_input, self.gather_output = group, copy_input, gather_output
        self.split_dims = {"weight": 0, "bias": 0}
        self.weight = own_part(linear.weight, group, 0)
        self.bias = None if linear.bias is None else own_part(linear.bias, group, 0)

    def forward(self, x: Tensor) -> Tensor:
        """Return this rank's outputs, or all."""
        if self.copy_input:
            x = copy_to_ranks(x, self.group)
        y = F.linear(x, self.weight, self.bias)
        return gather_parts(y, self.group) if self.gather_output else y

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return copy_in_group(self, memo)


class RowParallelLinear(nn.Module):
    """A linear layer on some of its inputs: the weight's columns (rows of ``A`` where one writes ``x A``).

    Each rank multiplies the part of the input that it has; the products are added up, then the bias comes on top, once.

    Args:
        linear: The whole layer, alike on all ranks. Its part is copied.
        group: The ranks that share it; all of them by default.
        scatter: Whether each rank keeps its part of the text only (dimension 1): sequence parallelism.

    Shape:
        - input: ``(..., in_features / p)``, another part on each rank
        - output: ``(..., out_features)``, alike on all ranks; with ``scatter`` from ``(B, T, ...)`` to
          ``(B, T / p, out_features)``

    Raises:
        ValueError: If the ranks cannot share the inputs evenly.

    Reference: Shoeybi et al. 2019, Megatron-LM, section 3, figure 3, https://arxiv.org/abs/1909.08053
    """

    def __init__(self, linear: nn.Linear, group: dist.ProcessGroup | None = None, *, scatter: bool = False) -> None:
        super().__init__()
        check_divides("in_features", linear.in_features, group)
        self.group, self.scatter = group, scatter
        self.split_dims = {"weight": 1}
        self.weight = own_part(linear.weight, group, 1)
        self.bias = linear.bias

    def forward(self, x: Tensor) -> Tensor:
        """Return the output of the whole layer."""
        product = F.linear(x, self.weight)
        y = scatter_sum(product, self.group) if self.scatter else sum_over_ranks(product, self.group)
        return y if self.bias is None else y + self.bias

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return copy_in_group(self, memo)


def own_part(parameter: Tensor, group: dist.ProcessGroup | None, dim: int) -> nn.Parameter:
    """Return a copy of this rank's part, so that the whole can be freed."""
    return nn.Parameter(part(parameter.detach(), group, dim).clone(), requires_grad=parameter.requires_grad)


def copy_in_group(layer: _Layer, memo: dict[int, Any]) -> _Layer:
    """Return a deep copy of ``layer`` (for an EMA) that belongs to the same group, of which there cannot be a copy."""
    memo[id(layer.group)] = layer.group
    memo[id(layer)] = twin = type(layer).__new__(type(layer))
    twin.__dict__.update(copy.deepcopy(layer.__dict__, memo))
    return twin


def check_divides(name: str, number: int, group: dist.ProcessGroup | None) -> None:
    """Raise a ValueError unless the ranks can share ``number`` evenly."""
    if number % world_size(group):
        raise ValueError(f"{world_size(group)} ranks cannot share {name}={number} evenly: take a multiple.")
