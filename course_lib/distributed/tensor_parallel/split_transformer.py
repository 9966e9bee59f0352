"""A transformer split by hand: heads and hidden units dealt out to ranks, in place."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

import torch.distributed as dist
from torch import Tensor, nn

from course_lib.collectives import world_size
from course_lib.distributed.same_start import same_start
from course_lib.distributed.tensor_parallel.linear import ColumnParallelLinear, RowParallelLinear, check_divides
from course_lib.distributed.tensor_parallel.regions import (
    copy_to_ranks,
    gather_sequence,
    split_parts,
    sum_over_ranks,
)
from course_lib.distributed.tensor_parallel.vocabulary import VocabularyParallelEmbedding
from course_lib.nn.transformer import Block, Transformer

if TYPE_CHECKING:
    from torch.distributed.device_mesh import DeviceMesh

    from course_lib.distributed.pipelines.stages import TransformerStage


def split_block(block: Block, group: dist.ProcessGroup | None = None, *, sequence_parallel: bool = False) -> None:
    """Give each rank some attention heads and some hidden units of ``block``, in place.

    What goes into attention, and into the feed-forward layer, is alike on all ranks. Each computes its heads to the
    end, and its hidden units to the end; the output matrices' products are added up. That is one all-reduce forward
    and one backward for each of the two.

    Args:
        block: Alike on all ranks; without dropout, cross-attention and fused projections.
        group: The ranks that share it; all of them by default.
        sequence_parallel: Whether each rank keeps only its part of the text where nothing is split, in norms and
            additions. Each all-reduce becomes a reduce-scatter and an all-gather, which move as many bytes, and
            activations there take ``1 / p`` of the memory. Then inputs and outputs are ``(B, T / p, D)``.

    Raises:
        ValueError: If the ranks cannot share heads or hidden units evenly, or the block has what cannot be split here.

    Reference: Shoeybi et al. 2019, Megatron-LM, section 3, https://arxiv.org/abs/1909.08053; the sequence: Korthikanti
    et al. 2022, Reducing activation recomputation in large transformer models, https://arxiv.org/abs/2205.05198
    """
    _check_block(block, group)
    attention, feed_forward = block.attention, block.feed_forward
    for name in ("query", "key", "value"):
        setattr(attention, name, ColumnParallelLinear(getattr(attention, name), group, copy_input=False))
    attention.output = RowParallelLinear(attention.output, group, scatter=sequence_parallel)  # type: ignore[assignment]
    feed_forward.up = ColumnParallelLinear(feed_forward.up, group, copy_input=False)  # type: ignore[assignment]
    if feed_forward.gate is not None:
        feed_forward.gate = ColumnParallelLinear(feed_forward.gate, group, copy_input=False)  # type: ignore[assignment]
    feed_forward.down = RowParallelLinear(feed_forward.down, group, scatter=sequence_parallel)  # type: ignore[assignment]
    enter = gather_sequence if sequence_parallel else copy_to_ranks
    for layer in (attention, feed_forward):  # once for all the layers in it that read the same input
        layer.register_forward_pre_hook(_on_input(enter, group))
    add_up_gradients(group, attention.query_norm, attention.key_norm)  # used for this rank's heads only
    if sequence_parallel:
        add_up_gradients(group, block.attention_norm, block.feed_forward_norm)
        add_up_gradients(group, *(row.bias for row in (attention.output, feed_forward.down)))


def split_transformer(
    model: Transformer | TransformerStage,
    mesh: DeviceMesh,
    *,
    sequence_parallel: bool = False,
    gather_logits: bool = True,
) -> None:
    """Split blocks, embedding and output layer of ``model`` by hand, in place; make the optimizer afterwards.

    The first rank's weights are taken by all. Parameters keep their names, and hold this rank's part; a tied embedding
    stays one parameter. `TensorParallel` makes the ``gradients`` of a run of it.

    Args:
        model: A whole transformer on every rank, or one stage of a pipeline.
        mesh: From `device_mesh`; its dimension "tp" says which ranks share the layers.
        sequence_parallel: See `split_block`. The number of tokens must then be a multiple of the number of ranks.
        gather_logits: Whether the model returns all logits on every rank, as any objective expects. False returns this
            rank's part, for `vocabulary_parallel_next_token`: less memory, fewer bytes.

    Raises:
        ValueError: If the ranks cannot share something evenly, or the model has what cannot be split here.
    """
    group = mesh["tp"].get_group()
    whole = isinstance(model, Transformer)
    if sequence_parallel and not whole:
        raise ValueError("sequence parallelism goes with a whole Transformer here, not with one stage of a pipeline.")
    if isinstance(model, Transformer) and not model.has_head:
        raise ValueError("this Transformer has no output layer (head=False), which is split as well.")
    blocks: Any = list(model.blocks.values() if isinstance(model.blocks, nn.ModuleDict) else model.blocks)
    for block in blocks:  # all before the first is changed: a model that is refused stays whole
        _check_block(block, group)
    check_divides("vocab_size", model.config.vocab_size, group)
    same_start(model, group)
    for block in blocks:
        split_block(block, group, sequence_parallel=sequence_parallel)
    is_first, is_last = whole or model.is_first, whole or model.is_last
    modules: Any = model
    if hasattr(model, "embedding"):
        modules.embedding = VocabularyParallelEmbedding(modules.embedding, group)
    if is_last:
        tied, source = model.head is None, modules.embedding if model.head is None else model.head
        head = nn.Linear(1, model.config.vocab_size, bias=False, device="meta")
        modules.head = ColumnParallelLinear(head if tied else source, group, copy_input=False)
        if tied:
            modules.head.weight = source.weight
        modules.head.gather_output = gather_logits
        modules.head.register_forward_pre_hook(
            _on_input(gather_sequence if sequence_parallel else copy_to_ranks, group)
        )
    if sequence_parallel and is_first:
        modules.dropout.register_forward_hook(lambda module, inputs, out: split_parts(out, group))
        add_up_gradients(group, model.norm)


def add_up_gradients(group: dist.ProcessGroup | None, *used: nn.Module | nn.Parameter | None) -> None:
    """Have gradients added up over ranks in each backward pass, for what all ranks hold and each used in part."""
    for one in used:
        for parameter in [] if one is None else [one] if isinstance(one, nn.Parameter) else one.parameters():
            if world_size(group) > 1:
                learns = parameter.requires_grad
                parameter.requires_grad_(True)  # a frozen one may be unfrozen later, and takes no hook before
                hook: Callable[[Tensor], Tensor] = partial(sum_over_ranks, group=group)
                parameter.register_hook(hook)  # type: ignore[no-untyped-call]
                parameter.requires_grad_(learns)


def _check_block(block: Block, group: dist.ProcessGroup | None) -> None:
    attention = block.attention
    if isinstance(attention.output, RowParallelLinear):
        raise ValueError("this block is split already: build the model anew, or split it once.")
    if attention.query_key_value is not None:
        raise ValueError("fused projections cannot be split by heads here: build with fused_projections=False.")
    if hasattr(block, "cross_attention"):
        raise ValueError("blocks with cross-attention cannot be split here.")
    if block.dropout.p > 0 or attention.dropout > 0:
        raise ValueError("each rank would drop other numbers: split a model with dropout=0.")
    check_divides("num_heads", attention.query.out_features // attention.head_width, group)
    check_divides("num_kv_heads", attention.key.out_features // attention.head_width, group)
    check_divides("feed_forward_width", block.feed_forward.up.out_features, group)


def _on_input(function: Callable[..., Tensor], group: dist.ProcessGroup | None) -> Any:
    """A forward pre-hook that puts ``function`` before a module's first input."""

    def hook(module: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        return (function(inputs[0], group), *inputs[1:])

    return hook
