"""Forward and backward pass of ``course_lib.nn.adapters``' LoRA beside peft's, on the same weights.

Run it on an otherwise idle machine: ``python benchmarks/lora.py``. It prints its table.
"""

from __future__ import annotations

import argparse
import copy
import os
import platform
import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor, nn

from course_lib.nn.adapters import add_lora

WIDTHS = (64, 512)
SHAPES = ((32,), (8, 64))  # of the input, without its width: rows; rows of tokens
NUM_LAYERS = 4
RANK, ALPHA = 8, 16
WORK = 4e9  # multiply-adds in a round, about, so that each width takes as long


def peft_model(base: nn.Module) -> nn.Module:
    from peft import LoraConfig, get_peft_model

    targets = [name for name, layer in base.named_modules() if isinstance(layer, nn.Linear)]
    return get_peft_model(base, LoraConfig(r=RANK, lora_alpha=ALPHA, target_modules=targets))


def our_model(base: nn.Module) -> nn.Module:
    targets = [name for name, layer in base.named_modules() if isinstance(layer, nn.Linear)]
    add_lora(base, targets, rank=RANK, alpha=ALPHA)
    return base


def with_values(model: nn.Module) -> list[Tensor]:
    """Give A and B of every layer the same random values in both models; return these parameters."""
    generator = torch.Generator().manual_seed(1)
    learning = [parameter for parameter in model.parameters() if parameter.requires_grad]
    for parameter in learning:
        parameter.data = 0.1 * torch.randn(parameter.shape, generator=generator)
    return learning


def pass_through(model: nn.Module, x: Tensor) -> Tensor:
    """Run forward and backward as in training; the gradient is made anew each time."""
    for parameter in model.parameters():
        parameter.grad = None
    out = model(x)
    out.square().sum().backward()
    return out.detach()


def seconds(call: Callable[[], object], repeats: int) -> float:
    start = time.process_time()
    for _ in range(repeats):
        call()
    return time.process_time() - start


def compare(width: int, shape: tuple[int, ...], rounds: int) -> None:
    torch.manual_seed(0)
    base = nn.Sequential(*(nn.Linear(width, width) for _ in range(NUM_LAYERS)))
    models = {"ours": our_model(copy.deepcopy(base)), "peft": peft_model(copy.deepcopy(base))}
    x = torch.randn(*shape, width)
    found = {}
    for name, model in models.items():
        learning = with_values(model)
        found[name] = [pass_through(model, x), *(parameter.grad for parameter in learning)]
    torch.testing.assert_close(found["ours"], found["peft"], rtol=1e-4, atol=1e-4)  # they compute the same
    num_rows = x[..., 0].numel()
    repeats = max(4, int(WORK / (4 * NUM_LAYERS * num_rows * width * (width + 64))))
    turns = 10  # the two take turns within a round, so that both meet the same machine
    repeats = max(1, repeats // turns)
    times: dict[str, list[float]] = {name: [] for name in models}
    for _ in range(rounds):
        spent = dict.fromkeys(models, 0.0)
        for turn in range(turns):
            for name in sorted(models, reverse=turn % 2 == 1):
                spent[name] += seconds(lambda model=models[name]: pass_through(model, x), repeats)
        for name in models:
            times[name].append(1e6 * spent[name] / (turns * repeats))
    ratios = [theirs / mine for mine, theirs in zip(times["ours"], times["peft"], strict=True)]
    rows = " x ".join(str(size) for size in shape)
    print(f"| {width} | {rows} | {spread(times['ours'])} | {spread(times['peft'])} | {spread(ratios, 2)} |", flush=True)


def spread(numbers: list[float], digits: int = 0) -> str:
    return f"{statistics.median(numbers):,.{digits}f} ({min(numbers):,.{digits}f} to {max(numbers):,.{digits}f})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=11, help="rounds, at least 7 (default 11)")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    import peft

    versions = f"Python {platform.python_version()}, torch {torch.__version__}, peft {peft.__version__}"
    print(f"{versions}; {platform.machine()} with {os.cpu_count()} CPUs, one thread; {arguments.rounds} rounds.")
    print(f"{NUM_LAYERS} linear layers, rank {RANK}, float32, forward and backward.\n")
    print("| width | rows | ours, microseconds of CPU: median (range) | peft | peft over ours |")
    print("| ---: | ---: | ---: | ---: | ---: |", flush=True)
    for width in WIDTHS:
        for shape in SHAPES:
            compare(width, shape, arguments.rounds)


if __name__ == "__main__":
    main()
