"""The ways into and out of a region where each rank computes its part of a layer: what goes forward, what comes back.

Each is the other's transpose: what one does forward, its partner does backward.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from course_lib.collectives import rank, world_size

_gather = getattr(dist, "all_gather_single", None) or dist.all_gather_into_tensor
_scatter = getattr(dist, "reduce_scatter_single", None) or dist.reduce_scatter_tensor


def copy_to_ranks(x: Tensor, group: dist.ProcessGroup | None = None) -> Tensor:
    """Return ``x``, which all ranks have, for each to compute its part with: Megatron-LM's *f*.

    Forward nothing happens. Backward the gradients of all parts are added up, since all of them used ``x``.

    Example:
        >>> x = torch.ones(2)
        >>> copy_to_ranks(x) is x  # one process
        True

    Reference: Shoeybi et al. 2019, Megatron-LM: training multi-billion parameter language models using model
    parallelism, section 3, https://arxiv.org/abs/1909.08053
    """
    return _apply(_CopyToRanks, x, group)


def sum_over_ranks(x: Tensor, group: dist.ProcessGroup | None = None) -> Tensor:
    """Return the sum of what all ranks have, on all of them: Megatron-LM's *g*.

    Backward nothing happens: each rank's part went into the sum once, and all ranks have the sum's whole gradient.

    Reference: Shoeybi et al. 2019, Megatron-LM, section 3, https://arxiv.org/abs/1909.08053
    """
    return _apply(_SumOverRanks, x, group)


def gather_parts(x: Tensor, group: dist.ProcessGroup | None = None, *, dim: int = -1) -> Tensor:
    """Return the parts of all ranks side by side, in rank order; all ranks then go on alike.

    Backward each rank takes its part of the gradient, which all of them have.
    """
    return _apply(_GatherParts, x, group, dim)


def split_parts(x: Tensor, group: dist.ProcessGroup | None = None, *, dim: int = 1) -> Tensor:
    """Return this rank's part of ``x``, which all ranks have.

    Backward the parts of the gradient are put together.

    Raises:
        ValueError: If the ranks cannot share the dimension evenly.
    """
    _check(x, group, dim)
    return _apply(_SplitParts, x, group, dim)


def gather_sequence(x: Tensor, group: dist.ProcessGroup | None = None, *, dim: int = 1) -> Tensor:
    """Return the parts of all ranks side by side, for each to compute its part of a layer with.

    Sequence parallelism has this in the place of `copy_to_ranks`: backward the gradients of all ranks are added up, and
    each keeps that of its own part of the text.

    Reference: Korthikanti et al. 2022, Reducing activation recomputation in large transformer models, section 4.2.2,
    https://arxiv.org/abs/2205.05198
    """
    return _apply(_GatherSequence, x, group, dim)


def scatter_sum(x: Tensor, group: dist.ProcessGroup | None = None, *, dim: int = 1) -> Tensor:
    """Return this rank's part of the sum over all ranks; backward the parts of the gradient are put together.

    Sequence parallelism has this in the place of `sum_over_ranks`.

    Raises:
        ValueError: If the ranks cannot share the dimension evenly.

    Reference: Korthikanti et al. 2022, section 4.2.2, https://arxiv.org/abs/2205.05198
    """
    _check(x, group, dim)
    return _apply(_ScatterSum, x, group, dim)


class _CopyToRanks(torch.autograd.Function):
    """Forward: the identity. Backward: all-reduce."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, group: dist.ProcessGroup | None) -> Tensor:
        ctx.group = group
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return _summed(gradients[0], ctx.group), None


class _SumOverRanks(torch.autograd.Function):
    """Forward: all-reduce. Backward: the identity."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, group: dist.ProcessGroup | None) -> Tensor:
        return _summed(x, group)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return gradients[0], None


class _GatherParts(torch.autograd.Function):
    """Forward: all-gather. Backward: my part."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, group: dist.ProcessGroup | None, dim: int) -> Tensor:
        ctx.group, ctx.dim = group, dim
        return gathered(x, group, dim)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        return part(gradients[0], ctx.group, ctx.dim), None, None


class _SplitParts(torch.autograd.Function):
    """Forward: my part. Backward: all-gather."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, group: dist.ProcessGroup | None, dim: int) -> Tensor:
        ctx.group, ctx.dim = group, dim
        return part(x, group, dim).clone()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        return gathered(gradients[0], ctx.group, ctx.dim), None, None


class _GatherSequence(torch.autograd.Function):
    """Forward: all-gather. Backward: reduce-scatter."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, group: dist.ProcessGroup | None, dim: int) -> Tensor:
        ctx.group, ctx.dim = group, dim
        return gathered(x, group, dim)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        return _scattered_sum(gradients[0], ctx.group, ctx.dim), None, None


class _ScatterSum(torch.autograd.Function):
    """Forward: reduce-scatter. Backward: all-gather."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, group: dist.ProcessGroup | None, dim: int) -> Tensor:
        ctx.group, ctx.dim = group, dim
        return _scattered_sum(x, group, dim)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        return gathered(gradients[0], ctx.group, ctx.dim), None, None


def part(whole: Tensor, group: dist.ProcessGroup | None, dim: int) -> Tensor:
    """Return this rank's part of a dimension that divides; a view."""
    return whole.chunk(world_size(group), dim)[rank(group)]


def gathered(x: Tensor, group: dist.ProcessGroup | None, dim: int) -> Tensor:
    """Return the parts of all ranks side by side; no gradient flows through it."""
    first = x.detach().movedim(dim, 0).contiguous()
    whole = first.new_empty(len(first) * world_size(group), *first.shape[1:])
    _gather(whole, first, group=group)
    return whole.movedim(0, dim).contiguous()  # else each layer that reads it would keep a copy of its own


def _scattered_sum(x: Tensor, group: dist.ProcessGroup | None, dim: int) -> Tensor:
    first = x.movedim(dim, 0).contiguous()
    mine = first.new_empty(len(first) // world_size(group), *first.shape[1:])
    _scatter(mine, first, group=group)
    return mine.movedim(0, dim).contiguous()


def _summed(x: Tensor, group: dist.ProcessGroup | None) -> Tensor:
    total = x.clone(memory_format=torch.contiguous_format)
    dist.all_reduce(total, group=group)
    return total


def _apply(function: type[torch.autograd.Function], x: Tensor, group: dist.ProcessGroup | None, *rest: int) -> Tensor:
    if world_size(group) == 1:
        return x
    out: Tensor = function.apply(x, group, *rest)  # type: ignore[no-untyped-call]
    return out


def _check(x: Tensor, group: dist.ProcessGroup | None, dim: int) -> None:
    if x.shape[dim] % world_size(group):
        raise ValueError(
            f"{world_size(group)} ranks cannot share dimension {dim} of {tuple(x.shape)} evenly: with sequence "
            "parallelism the number of tokens must be a multiple of the number of ranks."
        )
