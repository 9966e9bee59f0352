"""Rollouts for reinforcement learning beside Hugging Face's ``generate``: the same Llama, the same prompts, sampling.

Ours notes the log-probability of every token on the way; theirs draws tokens alone, which is its best case, and once
more with the scores from which log-probabilities could be had. Run it on an otherwise idle machine:
``python benchmarks/rollouts.py``. It prints its table.
"""

from __future__ import annotations

import argparse
import logging
import os
import platform
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from course_lib.alignment import sample_completions, sequence_log_probs
from course_lib.nn.transformer import Transformer, generate, llama
from course_lib.nn.transformer.hugging_face import llama_weights

os.environ["HF_HUB_OFFLINE"] = "1"
NEW = 100
PEER = "Hugging Face"
Writer = Callable[[], Any]


@dataclass(frozen=True)
class Shape:
    """What both implementations are built with, and what they are given."""

    width: int
    num_layers: int
    num_heads: int
    vocab_size: int
    rows: int
    prompt_lengths: tuple[int, ...]

    def __str__(self) -> str:
        least, most = min(self.prompt_lengths), max(self.prompt_lengths)
        prompts = f"{most}" if least == most else f"{least} to {most}"
        return (
            f"{self.num_layers} x {self.width}, vocabulary {self.vocab_size:,}; {self.rows} rows, prompts of {prompts}"
        )


SHAPES = [
    Shape(128, 4, 4, 2048, 64, (16,)),
    Shape(128, 4, 4, 2048, 64, (4, 9, 16, 25)),
    Shape(384, 6, 6, 4096, 8, (16,)),
]


def pair(shape: Shape) -> tuple[Any, Transformer]:
    """Theirs and ours with the same weights."""
    from transformers import LlamaConfig, LlamaForCausalLM

    config = llama(
        vocab_size=shape.vocab_size,
        width=shape.width,
        num_layers=shape.num_layers,
        num_heads=shape.num_heads,
        context_length=256,
    )
    ours = Transformer(config)
    their_config = LlamaConfig(
        vocab_size=shape.vocab_size,
        hidden_size=shape.width,
        intermediate_size=config.hidden_width,
        num_hidden_layers=shape.num_layers,
        num_attention_heads=shape.num_heads,
        max_position_embeddings=256,
        rms_norm_eps=1e-5,
        bos_token_id=None,
        eos_token_id=None,
        pad_token_id=0,
        attn_implementation="sdpa",
    )
    theirs = LlamaForCausalLM(their_config).eval()
    ours.load_state_dict(llama_weights(theirs.state_dict()))
    return theirs, ours


def writers(theirs: Any, ours: Transformer, shape: Shape) -> dict[str, Writer]:
    """What takes turns; before, that both write the same greedily, and that our log-probabilities are right."""
    g = torch.Generator().manual_seed(0)
    lengths = [shape.prompt_lengths[row % len(shape.prompt_lengths)] for row in range(shape.rows)]
    prompts = [torch.randint(1, shape.vocab_size, (length,), generator=g).tolist() for length in lengths]
    padded = torch.tensor([[0] * (max(lengths) - len(prompt)) + prompt for prompt in prompts])
    attention_mask = (torch.arange(padded.shape[1]) >= max(lengths) - torch.tensor(lengths)[:, None]).long()

    def their_generate(**options: Any) -> Any:
        return theirs.generate(padded, attention_mask=attention_mask, max_new_tokens=NEW, min_new_tokens=NEW, **options)

    greedy: Tensor = their_generate(do_sample=False)[:, padded.shape[1] :]
    assert torch.equal(generate(ours, prompts, max_new_tokens=NEW, temperature=0).tokens, greedy), "not the same model"
    rollout = sample_completions(ours, prompts, max_new_tokens=NEW, generator=g)
    with torch.no_grad():
        torch.testing.assert_close(sequence_log_probs(ours, *rollout.packed), rollout.log_probs, rtol=0, atol=1e-4)
    scored = {"output_logits": True, "return_dict_in_generate": True}
    return {
        "ours, with log-probabilities": lambda: sample_completions(ours, prompts, max_new_tokens=NEW, generator=g),
        f"{PEER}, tokens alone": lambda: their_generate(do_sample=True, top_k=0),
        f"{PEER}, with logits": lambda: their_generate(do_sample=True, top_k=0, **scored),
    }


def measure(turns: dict[str, Writer], rounds: int) -> dict[str, list[float]]:
    """Return the CPU seconds of each, round by round; they take turns."""
    names = list(turns)
    found: dict[str, list[float]] = {name: [] for name in names}
    for turn in range(rounds + 1):
        for place in range(len(names)):
            name = names[(place + turn) % len(names)]
            started = time.process_time()
            turns[name]()
            if turn > 0:  # the first is for warming up
                found[name].append(time.process_time() - started)
    return found


def spread(numbers: list[float], digits: int = 0) -> str:
    return f"{statistics.median(numbers):,.{digits}f} ({min(numbers):,.{digits}f} to {max(numbers):,.{digits}f})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7, help="rounds, at least 5 (default 7)")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    logging.disable(logging.WARNING)
    import transformers

    transformers.logging.set_verbosity_error()
    versions = f"Python {platform.python_version()}, torch {torch.__version__}, transformers {transformers.__version__}"
    print(f"{versions}; {platform.machine()} with {os.cpu_count()} CPUs, one thread; {arguments.rounds} rounds.\n")
    print("| model | implementation | tokens a second of CPU: median (range) | ours over theirs |")
    print("| --- | --- | ---: | ---: |", flush=True)
    for shape in SHAPES:
        found = measure(writers(*pair(shape), shape), arguments.rounds)
        ours = next(iter(found.values()))
        for name, seconds in found.items():
            ratios = [theirs / mine for mine, theirs in zip(ours, seconds, strict=True)]
            ratio = spread(ratios, 2) if name.startswith(PEER) else ""
            print(f"| {shape} | {name} | {spread([shape.rows * NEW / x for x in seconds])} | {ratio} |", flush=True)


if __name__ == "__main__":
    main()
