"""Notebook 35 over eight seeds: split models beside one process, and a block without its backward all-reduce."""

import math
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn

from course_lib.collectives import rank, world_size
from course_lib.data import Batches
from course_lib.data.tales import tales
from course_lib.distributed import (
    Pipeline,
    TensorParallel,
    TorchPipeline,
    TransformerStage,
    copy_to_ranks,
    device_mesh,
    launch,
    parallelize_transformer,
    split_transformer,
    sum_over_ranks,
)
from course_lib.distributed import device as worker_device
from course_lib.loops import Run, next_token, train
from course_lib.nn.transformer import Block, Transformer, gpt, llama
from course_lib.notebook.results import Claim, record

CLAIMS = (
    Claim(
        "tensor-same",
        "digits, up to 8, to which losses, gradients and parameters of a tensor-parallel model (by hand, by DTensor "
        "plan, 4 ranks, 20 steps, float64) agree with one process",
        above=5.0,
    ),
    Claim("pipeline-same", "the same for GPipe and 1F1B, by hand and by torch, on 4 stages", above=5.0),
    Claim("grid-same", "the same for 2 copies x 2 stages x 2 tensor-parallel ranks", above=5.0),
    Claim(
        "forgotten",
        "relative error of the gradient of a block's input without the backward all-reduce, mean of 4 ranks",
        above=0.0,
    ),
)
CONFIG = llama(vocab_size=128, width=32, num_layers=4, num_heads=4, context_length=32)
SHAPE = replace(gpt(vocab_size=64, width=32, num_layers=1, num_heads=4, context_length=16), bias=False)
STEPS, MICRO_BATCHES = 20, 4
Outcome = tuple[list[float], dict[str, Tensor], dict[str, Tensor]]


def text_rows() -> tuple[Tensor, Tensor]:
    """Stories as rows of 33 letters: 32 to read, each with the next one to guess."""
    letters = torch.tensor(list(" ".join(tale.text for tale in tales(200, seed=0)).encode()))
    letters = letters[: len(letters) // 33 * 33].view(-1, 33)
    return letters[:, :-1], letters[:, 1:]


ROWS = text_rows()


def batches(seed: int, place: int = 0, places: int = 1) -> Batches:
    """Batches of 8 rows: all of them, or one copy's part."""
    columns = tuple(column.to(worker_device()) for column in ROWS)
    return Batches(columns, batch_size=8, seed=seed, rank=place, world_size=places)


def new_model(seed: int) -> Transformer:
    """The whole model, alike on all ranks."""
    return Transformer(CONFIG, generator=torch.Generator().manual_seed(seed)).to(worker_device(), torch.float64)


def trained(model: nn.Module, stream: Batches, engine: Any = None, accumulate: int = 1) -> Outcome:
    """Losses of 20 steps, the last gradient, the parameters."""
    options = {} if engine is None else {"gradients": engine}
    run = Run(model, next_token, torch.optim.AdamW(model.parameters(), lr=3e-3), max_grad_norm=1.0, **options)
    losses = [step.loss for step in train(run, stream, steps=STEPS, accumulate=accumulate)]
    if engine is not None:
        return losses, engine.whole_gradients(), engine.whole_parameters()
    named = dict(model.named_parameters())
    gradients = {name: parameter.grad for name, parameter in named.items() if parameter.grad is not None}
    return losses, gradients, {name: parameter.detach() for name, parameter in named.items()}


def by_tensors(seed: int) -> list[Outcome]:
    """By hand, then by torch's plan."""
    outcomes = []
    for split in (split_transformer, parallelize_transformer):
        mesh, model = device_mesh(tp=world_size()), new_model(seed)
        split(model, mesh)
        outcomes.append(trained(model, batches(seed), TensorParallel(model, mesh)))
    return outcomes


def by_stages(seed: int) -> list[Outcome]:
    """Both schedules, by hand and by torch."""
    outcomes = []
    for engine in (Pipeline, TorchPipeline):
        for schedule in ("gpipe", "1f1b"):
            mesh, stage = device_mesh(pp=world_size()), TransformerStage(new_model(seed), rank(), world_size())
            outcomes.append(trained(stage, batches(seed), engine(stage, mesh, schedule=schedule), MICRO_BATCHES))
    return outcomes


def by_all_three(seed: int) -> list[Outcome]:
    """Two of each."""
    mesh = device_mesh(dp=2, pp=2, tp=2)
    stage = TransformerStage(new_model(seed), mesh.get_local_rank("pp"), 2)
    split_transformer(stage, mesh)
    rows = batches(seed, mesh.get_local_rank("dp"), 2)
    return [trained(stage, rows, Pipeline(stage, mesh, within=TensorParallel(stage, mesh)), MICRO_BATCHES)]


def split_forward(block: Block, h: Tensor, enter: Any) -> Tensor:
    """The page's block, of which this rank has some heads and hidden units; ``enter`` is f, or what stands for it."""

    def own(linear: nn.Linear, dim: int) -> Tensor:
        return linear.weight.chunk(world_size(), dim)[rank()]

    attention, feed_forward = block.attention, block.feed_forward
    x = enter(block.attention_norm(h))
    projections = (attention.query, attention.key, attention.value)
    heads = [F.linear(x, own(p, 0)).unflatten(-1, (-1, SHAPE.head_width)).transpose(1, 2) for p in projections]
    mixed = F.scaled_dot_product_attention(*heads, is_causal=True).transpose(1, 2).flatten(2)
    h = h + sum_over_ranks(F.linear(mixed, own(attention.output, 1)))
    hidden = F.gelu(F.linear(enter(block.feed_forward_norm(h)), own(feed_forward.up, 0)), approximate="tanh")
    return h + sum_over_ranks(F.linear(hidden, own(feed_forward.down, 1)))


def forgotten(seed: int) -> float:
    """Relative error of the input's gradient on this rank if f is left out."""
    h = torch.randn(3, 16, 32, generator=torch.Generator().manual_seed(seed)).double().to(worker_device())
    generator, block = torch.Generator().manual_seed(seed), Block(SHAPE)
    for parameter in block.parameters():
        nn.init.normal_(parameter, 0.0, 0.2, generator=generator)
    block = block.double().to(worker_device())
    gradients = []
    for enter in (copy_to_ranks, lambda x: x):
        copy = h.clone().requires_grad_()
        split_forward(block, copy, enter).square().mean().backward()
        assert copy.grad is not None
        gradients.append(copy.grad)
    right, wrong = gradients
    return ((wrong - right).norm() / right.norm()).item()


def work(seed: int) -> tuple[list[Outcome], list[Outcome], float]:
    """All that four ranks do, in one start."""
    total = torch.tensor(forgotten(seed), dtype=torch.float64, device=worker_device())
    dist.all_reduce(total)
    return by_tensors(seed), by_stages(seed), total.item() / world_size()


def digits_of(found: Iterable[Outcome], expected: Outcome) -> float:
    """To how many decimal digits all agree with one process, counted up to 8: further ones are rounding."""
    worst = 1e-300
    for outcome in found:
        worst = max([worst, *(abs(a - b) for a, b in zip(outcome[0], expected[0], strict=True))])
        for one, other in zip(outcome[1:], expected[1:], strict=True):
            worst = max([worst, *((one[name].cpu() - other[name].cpu()).abs().max().item() for name in other)])
    return min(8.0, -math.log10(worst))


def experiment(seed: int) -> dict[str, object]:
    """Everything once, on real ranks, beside one process."""
    torch.set_num_threads(1)
    whole = trained(new_model(seed), batches(seed))
    accumulated = trained(new_model(seed), batches(seed), accumulate=MICRO_BATCHES)
    tensors, stages, error = launch(work, seed, num_workers=4, timeout=240, show=False)[0]
    grid = launch(by_all_three, seed, num_workers=8, timeout=240, show=False)[0]
    return {
        "tensor-same": digits_of(tensors, whole),
        "pipeline-same": digits_of(stages, accumulated),
        "grid-same": digits_of(grid, accumulated),
        "forgotten": error,
    }


if __name__ == "__main__":
    record(__file__, experiment, CLAIMS)
