"""The length of a gradient of which each rank holds a part."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
import torch.distributed as dist
from torch import Tensor

from course_lib.collectives import all_sum
from course_lib.loops.loss import exact_dtype


@torch.no_grad()
def norm_over_shards(parts: Mapping[dist.ProcessGroup | None, Sequence[Tensor]]) -> Tensor:
    """Return the Euclidean norm of a whole of which some parts lie on other ranks.

    Squares add up: each rank adds those of its own parts, and a sum over ranks does the rest. What all ranks hold
    alike (a norm's weight under tensor parallelism) must count once only, so it is not summed.

    Args:
        parts: For each group the tensors of which every rank of the group holds another part; under ``None`` those that
            all ranks hold alike. The same groups in the same order on every rank; a list may be empty.

    Returns:
        A scalar tensor, the same on every rank.

    Raises:
        ValueError: If there is no tensor at all to tell dtype and device from.

    Example:
        >>> norm_over_shards({None: [torch.tensor([3.0]), torch.tensor([4.0])]})
        tensor(5.)

    Reference: Shoeybi et al. 2019, Megatron-LM: training multi-billion parameter language models using model
    parallelism, https://arxiv.org/abs/1909.08053 (its code clips so)
    """
    example = next((tensor for tensors in parts.values() for tensor in tensors), None)
    if example is None:
        raise ValueError("norm_over_shards got no tensors: pass the gradients of at least one parameter.")
    exact = exact_dtype(example.device)
    whole = torch.zeros((), dtype=exact, device=example.device)
    for group, tensors in parts.items():
        squares = torch.zeros_like(whole)
        if tensors:
            squares = torch.nn.utils.get_total_norm(list(tensors)).to(exact).square()
        if group is not None:
            all_sum([squares], group)
        whole = whole + squares
    return whole.sqrt().to(example.dtype)
