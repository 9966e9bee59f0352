"""The two ends of a language model, shared by vocabulary: the embedding, and the loss on logits in parts."""

from __future__ import annotations

from typing import Any, Self

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn

from course_lib.collectives import rank, world_size
from course_lib.distributed.tensor_parallel.linear import check_divides, copy_in_group, own_part
from course_lib.distributed.tensor_parallel.regions import sum_over_ranks
from course_lib.loops import Loss, Objective
from course_lib.loops.loss import Batch

MASKED = -100


class VocabularyParallelEmbedding(nn.Module):
    """The embeddings of some tokens: each rank looks up those it has, and a sum over ranks brings the others.

    Args:
        embedding: The whole, alike on all ranks. Its part is copied.
        group: The ranks that share it; all of them by default.

    Shape:
        - tokens: any shape, int64 in ``[0, V)``, alike on all ranks
        - output: one vector of ``D`` more axes, alike on all ranks

    Raises:
        ValueError: If the ranks cannot share the vocabulary evenly; pad it. For an embedding with options that are not
            carried over.

    Reference: Shoeybi et al. 2019, Megatron-LM, section 3, https://arxiv.org/abs/1909.08053
    """

    def __init__(self, embedding: nn.Embedding, group: dist.ProcessGroup | None = None) -> None:
        super().__init__()
        check_divides("vocab_size", embedding.num_embeddings, group)
        if embedding.padding_idx is not None or embedding.max_norm is not None or embedding.scale_grad_by_freq:
            raise ValueError("padding_idx, max_norm and scale_grad_by_freq are not carried over: build without them.")
        self.group = group
        self.num_embeddings = embedding.num_embeddings
        self.split_dims = {"weight": 0}
        self.weight = own_part(embedding.weight, group, 0)

    def forward(self, tokens: Tensor) -> Tensor:
        """Return the vectors of ``tokens``."""
        _check_ids("token ids", tokens, self.num_embeddings)
        mine, here = _own_ids(tokens, len(self.weight), self.group)
        return sum_over_ranks(F.embedding(mine, self.weight) * here.unsqueeze(-1), self.group)

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return copy_in_group(self, memo)


def vocabulary_parallel_cross_entropy(
    logits: Tensor, target: Tensor, *, group: dist.ProcessGroup | None = None, ignore_index: int = MASKED
) -> Tensor:
    """Return the cross-entropy, summed over targets, of logits that are split by vocabulary.

    No rank ever has all logits of a token. Two numbers a token are added up over ranks: the sum of exponentials, and
    the logit of the target, which one rank has; the largest logit is subtracted first, so that nothing overflows.

    Args:
        logits: This rank's part, in rank order.
        target: Alike on all ranks.
        group: The ranks that share the vocabulary.
        ignore_index: A label that stands for "no target here".

    Shape:
        - logits: ``(..., V / p)``
        - target: ``(...)``, int64 in ``[0, V)`` or ``ignore_index``

    Returns:
        Nats, summed, alike on all ranks; ``log(V)`` a target for a model that knows nothing.

    Raises:
        IndexError: If a target is no id of the vocabulary. On a GPU it is the device that fails then, a little later.

    Example:
        >>> logits = torch.zeros(2, 10)
        >>> vocabulary_parallel_cross_entropy(logits, torch.tensor([3, -100]))  # one process: log(10)
        tensor(2.3026)

    Reference: Shoeybi et al. 2019, Megatron-LM, section 3, https://arxiv.org/abs/1909.08053
    """
    if logits.dtype in (torch.float16, torch.bfloat16):
        logits = logits.float()
    _check_ids("targets", target.masked_fill(target == ignore_index, 0), logits.shape[-1] * world_size(group))
    largest = logits.detach().amax(-1)
    if world_size(group) > 1:
        dist.all_reduce(largest, op=dist.ReduceOp.MAX, group=group)
    logits = logits - largest.unsqueeze(-1)
    mine, here = _own_ids(target, logits.shape[-1], group)
    of_target = logits.gather(-1, mine.unsqueeze(-1)).squeeze(-1) * here
    numbers = sum_over_ranks(torch.stack([logits.exp().sum(-1), of_target]), group)  # one message
    losses = numbers[0].log() - numbers[1]
    return losses.masked_fill(target == ignore_index, 0).sum()


def vocabulary_parallel_next_token(group: dist.ProcessGroup | None = None) -> Objective:
    """Return `course_lib.loops.next_token` for a model whose logits are split by vocabulary.

    Args:
        group: The ranks that share the vocabulary.
    """

    def objective(model: nn.Module, batch: Batch) -> Loss:
        x, y = batch
        total = vocabulary_parallel_cross_entropy(model(x), y, group=group)
        count = torch.count_nonzero(y != MASKED)
        return Loss(total, int(count) if count.device.type == "cpu" else count)

    return objective


def _check_ids(what: str, ids: Tensor, vocab_size: int) -> None:
    known = ((ids >= 0) & (ids < vocab_size)).all()
    message = f"{what} must lie in [0, {vocab_size})"
    if ids.device.type != "cpu":
        torch._assert_async(known, message)  # as the device's own look-ups do: nobody waits for the answer
    elif not known:
        raise IndexError(message)


def _own_ids(ids: Tensor, num_here: int, group: dist.ProcessGroup | None) -> tuple[Tensor, Tensor]:
    """Return ids counted from the first that this rank has (0 for others), and which of them it has."""
    own = ids - rank(group) * num_here
    here = (own >= 0) & (own < num_here)
    return own * here, here
