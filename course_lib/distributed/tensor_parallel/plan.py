"""A transformer split by torch's own tensor parallelism: a plan by the names of its modules."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from course_lib.collectives import world_size
from course_lib.distributed.same_start import same_start
from course_lib.nn.transformer import Transformer, TransformerConfig

if TYPE_CHECKING:
    from torch.distributed.device_mesh import DeviceMesh


def transformer_plan(config: TransformerConfig, *, sequence_parallel: bool = False) -> dict[str, Any]:
    """Return for each module's name how torch's `parallelize_module` is to split it: what `split_transformer` does.

    Column-parallel layers read what all ranks have, row-parallel ones the parts that come out of those. What is not
    split is whole on every rank, as DTensors as well, because optimizers do not mix them with plain tensors.

    Args:
        config: Of the model.
        sequence_parallel: Whether each rank keeps only its part of the text between the split layers.

    Raises:
        ValueError: For fused projections, dropout, or a tied output layer after which no norm stands.
    """
    from torch.distributed.tensor import Replicate, Shard
    from torch.distributed.tensor.parallel import (
        ColwiseParallel,
        PrepareModuleInput,
        PrepareModuleOutput,
        RowwiseParallel,
    )

    from course_lib.distributed.tensor_parallel.styles import Whole

    if config.fused_projections:
        raise ValueError("fused projections cannot be split by heads here: build with fused_projections=False.")
    if config.dropout > 0:
        raise ValueError("each rank would drop other numbers: split a model with dropout=0.")
    if config.tied and config.norm_position == "post":
        raise ValueError("this plan has no place for a tied output layer after blocks with norm_position='post'.")
    same, between = Replicate(), Shard(1) if sequence_parallel else Replicate()
    plan: dict[str, Any] = {"embedding": RowwiseParallel(input_layouts=same)}
    if config.positions == "learned":
        plan["positions"] = Whole(same, same)
    if config.norm_position == "post":
        plan["embedding_norm"] = Whole(same, same)
    if sequence_parallel:
        plan["dropout"] = PrepareModuleOutput(output_layouts=same, desired_output_layouts=between)
    for part in ("attention", "feed_forward"):
        plan[f"blocks.*.{part}_norm"] = Whole(between, between)
        plan[f"blocks.*.{part}"] = PrepareModuleInput(input_layouts=(between,), desired_input_layouts=(same,))
    columns = ["attention.query", "attention.key", "attention.value", "feed_forward.up"]
    columns += ["feed_forward.gate"] if config.feed_forward == "swiglu" else []
    plan |= {f"blocks.*.{name}": ColwiseParallel() for name in columns}
    plan |= {
        f"blocks.*.{name}": RowwiseParallel(output_layouts=between)
        for name in ("attention.output", "feed_forward.down")
    }
    if config.qk_norm:  # over (B, T, heads, E): each rank has some heads
        plan |= {f"blocks.*.attention.{name}_norm": Whole(Shard(2), Shard(2)) for name in ("query", "key")}
    if config.norm_position == "pre":
        plan["norm"] = Whole(between, same, use_local_output=False)
    if config.tied:  # the logits come out in parts, since the embedding is split by vocabulary
        plan[""] = PrepareModuleOutput(output_layouts=Shard(-1), desired_output_layouts=same)
    else:
        layout = same if config.norm_position == "pre" else between
        plan["head"] = ColwiseParallel(input_layouts=layout, output_layouts=same)
    return plan


def parallelize_transformer(model: Transformer, mesh: DeviceMesh, *, sequence_parallel: bool = False) -> None:
    """Split ``model`` by torch's DTensor, in place; make the optimizer afterwards.

    Parameters keep their names and their whole shapes: each rank holds a part of a `DTensor`. The first rank's weights
    are taken by all. `TensorParallel` makes the ``gradients`` of a run of it; with several copies of the model
    `FullySharded` does, with ``mesh=mesh["dp"]``.

    Args:
        model: Alike on every rank, with an output layer.
        mesh: From `device_mesh`; its dimension "tp" says which ranks share the layers.
        sequence_parallel: Whether each rank keeps only its part of the text between the split layers.

    Raises:
        ValueError: If the ranks cannot share heads, hidden units or vocabulary evenly, or the plan does not fit.

    Reference: Shoeybi et al. 2019, Megatron-LM, https://arxiv.org/abs/1909.08053;
    https://docs.pytorch.org/docs/stable/distributed.tensor.parallel.html
    """
    from torch.distributed.tensor.parallel import parallelize_module

    config, num_ranks = model.config, world_size(mesh["tp"].get_group())
    if not model.has_head or model.source_width is not None:
        raise ValueError("expected a Transformer with an output layer and without cross-attention.")
    shared = {
        "num_heads": config.num_heads,
        "num_kv_heads": config.kv_heads,
        "feed_forward_width": config.hidden_width,
        "vocab_size": config.vocab_size,
    }
    for name, number in shared.items():
        if number % num_ranks:
            raise ValueError(f"{num_ranks} ranks cannot share {name}={number} evenly: take a multiple.")
    plan = transformer_plan(config, sequence_parallel=sequence_parallel)
    for dimension in ("tp", "dp"):
        same_start(model, mesh[dimension].get_group())
    parallelize_module(model, mesh["tp"], plan)
