"""Training and decoding speed of ``course_lib.nn.transformer`` beside Hugging Face's GPT-2 and Llama of the same shape.

Run it on an otherwise idle machine: ``python benchmarks/transformer.py``. It prints its tables.
"""

from __future__ import annotations

import argparse
import itertools
import logging
import os
import platform
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from course_lib.nn.transformer import KVCache, Transformer, generate, gpt, llama
from course_lib.nn.transformer.hugging_face import gpt2_weights, llama_weights

os.environ["HF_HUB_OFFLINE"] = "1"
ROWS, CONTEXT = 8, 256
PROMPT, NEW = 32, 128
KV_HEADS = 2  # of the Llama
PEER = "Hugging Face"


@dataclass(frozen=True)
class Shape:
    """What both implementations are built with."""

    name: str
    width: int
    num_layers: int
    num_heads: int
    vocab_size: int


SHAPES = [Shape("6 x 384", 384, 6, 6, 4096), Shape("1M", 128, 4, 4, 1024)]


def gpt_pair(shape: Shape) -> tuple[nn.Module, Transformer]:
    """GPT-2, theirs and ours, with the same weights; both get queries, keys and values by one matrix product."""
    from transformers import GPT2Config, GPT2LMHeadModel

    config = GPT2Config(
        vocab_size=shape.vocab_size,
        n_embd=shape.width,
        n_layer=shape.num_layers,
        n_head=shape.num_heads,
        n_positions=CONTEXT,
        resid_pdrop=0.0,
        embd_pdrop=0.0,
        attn_pdrop=0.0,
        bos_token_id=None,
        eos_token_id=None,
        attn_implementation="sdpa",
    )
    theirs = GPT2LMHeadModel(config)
    ours = Transformer(gpt(**sizes(shape), fused_projections=True))
    ours.load_state_dict(gpt2_weights(theirs.state_dict(), fused=True))
    return theirs, ours


def llama_pair(shape: Shape) -> tuple[nn.Module, Transformer]:
    """Llama with two heads for keys and values, theirs and ours, with the same weights; three products in both."""
    from transformers import LlamaConfig, LlamaForCausalLM

    ours = Transformer(llama(**sizes(shape), num_kv_heads=KV_HEADS))
    config = LlamaConfig(
        vocab_size=shape.vocab_size,
        hidden_size=shape.width,
        intermediate_size=ours.config.hidden_width,
        num_hidden_layers=shape.num_layers,
        num_attention_heads=shape.num_heads,
        num_key_value_heads=KV_HEADS,
        max_position_embeddings=CONTEXT,
        rms_norm_eps=1e-5,
        bos_token_id=None,
        eos_token_id=None,
        attn_implementation="sdpa",
    )
    theirs = LlamaForCausalLM(config)
    ours.load_state_dict(llama_weights(theirs.state_dict()))
    return theirs, ours


def sizes(shape: Shape) -> dict[str, int]:
    return {
        "vocab_size": shape.vocab_size,
        "width": shape.width,
        "num_layers": shape.num_layers,
        "num_heads": shape.num_heads,
        "context_length": CONTEXT,
    }


PAIRS = {"GPT-2": gpt_pair, "Llama": llama_pair}
Logits = Callable[[Tensor], Tensor]


def training(model: nn.Module, logits: Logits, vocab_size: int) -> Iterator[Tensor]:
    """One AdamW update after the other on the same batches: full next-token cross-entropy in float32."""
    generator = torch.Generator().manual_seed(0)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4)
    model.train()
    while True:
        tokens = torch.randint(0, vocab_size, (ROWS, CONTEXT + 1), generator=generator)
        optimizer.zero_grad()
        out = logits(tokens[:, :-1])
        loss = F.cross_entropy(out.flatten(0, 1), tokens[:, 1:].flatten())
        loss.backward()
        optimizer.step()
        yield loss.detach()


def training_pair(theirs: nn.Module, ours: nn.Module, vocab_size: int, compiled: bool) -> dict[str, Iterator[Tensor]]:
    def their_logits(x: Tensor) -> Tensor:
        return theirs(input_ids=x, use_cache=False).logits

    def our_logits(x: Tensor) -> Tensor:
        return ours(x)

    if compiled:
        their_logits, our_logits = torch.compile(their_logits), torch.compile(our_logits)
    return {
        "ours": training(ours, our_logits, vocab_size),
        PEER: training(theirs, their_logits, vocab_size),
    }


@torch.no_grad()
def their_loop(model: nn.Module, prompt: Tensor) -> Tensor:
    """Their model with their cache, called in a bare loop."""
    from transformers import DynamicCache

    cache, new, written = DynamicCache(config=model.config), prompt, []
    for _ in range(NEW):
        out = model(input_ids=new, past_key_values=cache, use_cache=True, logits_to_keep=1)
        new = out.logits[:, -1].argmax(-1, keepdim=True)
        written.append(new)
    return torch.cat(written, dim=1)


@torch.no_grad()
def our_loop(model: Transformer, prompt: Tensor) -> Tensor:
    """The same with ours."""
    cache, new, written = KVCache(model.config), prompt, []
    for _ in range(NEW):
        new = model.logits(model.hidden_states(new, cache=cache)[:, -1]).argmax(-1, keepdim=True)
        written.append(new)
    return torch.cat(written, dim=1)


def decoding_pair(theirs: Any, ours: Transformer, rows: int, vocab_size: int) -> dict[str, Iterator[Tensor]]:
    prompt = torch.randint(0, vocab_size, (rows, PROMPT), generator=torch.Generator().manual_seed(1))
    theirs.eval()
    ours.eval()
    attention_mask = torch.ones_like(prompt)
    writers: dict[str, Callable[[], Tensor]] = {
        "ours, `generate`": lambda: generate(ours, prompt, max_new_tokens=NEW, temperature=0).tokens,
        f"{PEER}, `generate`": lambda: theirs.generate(
            prompt, attention_mask=attention_mask, max_new_tokens=NEW, min_new_tokens=NEW, do_sample=False
        )[:, PROMPT:],
        "ours, bare loop": lambda: our_loop(ours, prompt),
        f"{PEER}, bare loop": lambda: their_loop(theirs, prompt),
    }
    written = [write() for write in writers.values()]
    assert all(torch.equal(tokens, written[0]) for tokens in written), "they do not write the same"
    return {name: repeated(write) for name, write in writers.items()}


def repeated(write: Callable[[], Tensor]) -> Iterator[Tensor]:
    while True:
        yield write()


def measure(loops: dict[str, Iterator[Tensor]], rounds: int, per_round: int) -> dict[str, list[float]]:
    """Return the CPU seconds a step for each loop and round; the loops take turns step by step."""
    names = list(loops)
    for name in names:
        list(islice(loops[name], 2))  # compile, allocate
    found: dict[str, list[float]] = {name: [] for name in names}
    for _ in range(rounds):
        seconds = dict.fromkeys(names, 0.0)
        for step in range(per_round):
            for place in range(len(names)):
                name = names[(place + step) % len(names)]
                started = time.process_time()
                next(loops[name])
                seconds[name] += time.process_time() - started
        for name in names:
            found[name].append(seconds[name] / per_round)
    return found


def spread(numbers: list[float], digits: int = 0) -> str:
    return f"{statistics.median(numbers):,.{digits}f} ({min(numbers):,.{digits}f} to {max(numbers):,.{digits}f})"


def show(title: str, tokens: int, found: dict[str, list[float]]) -> None:
    """Print tokens a second of CPU time, and the ratio of pairs."""
    for name, seconds in found.items():
        peer = name.replace("ours", PEER)
        ratios = [theirs / mine for mine, theirs in zip(seconds, found[peer], strict=True)]
        ratio = "" if name == peer else spread(ratios, 2)
        print(f"| {title} | {name} | {spread([tokens / second for second in seconds])} | {ratio} |", flush=True)


def train_side_by_side(compiled: bool, rounds: int) -> None:
    for shape, (family, pair) in itertools.product(SHAPES, PAIRS.items()):
        torch._dynamo.reset()
        theirs, ours = pair(shape)
        loops = training_pair(theirs, ours, shape.vocab_size, compiled)
        found = measure(loops, rounds, per_round=2 if shape.width > 200 else 8)
        torch.testing.assert_close(next(loops["ours"]), next(loops[PEER]), rtol=1e-4, atol=0)  # they learnt the same
        show(f"{family}, {shape.name}", ROWS * CONTEXT, found)


def decode_side_by_side(rounds: int) -> None:
    for shape, (family, pair), rows in itertools.product(SHAPES, PAIRS.items(), (1, ROWS)):
        loops = decoding_pair(*pair(shape), rows, shape.vocab_size)
        found = measure(loops, rounds, per_round=1)
        show(f"{family}, {shape.name}, {rows} {'row' if rows == 1 else 'rows'}", rows * NEW, found)


PARTS: dict[str, tuple[str, Callable[[int], None]]] = {
    "eager": (f"Training, eager: {ROWS} rows of {CONTEXT} tokens", partial(train_side_by_side, False)),
    "compiled": (f"Training, compiled: {ROWS} rows of {CONTEXT} tokens", partial(train_side_by_side, True)),
    "decoding": (f"Decoding, greedy, with a cache: {NEW} tokens after {PROMPT}", decode_side_by_side),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=11, help="rounds, at least 7 (default 11)")
    parser.add_argument("--only", choices=list(PARTS), help="one part instead of all three")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    logging.disable(logging.WARNING)
    import transformers

    transformers.logging.set_verbosity_error()
    versions = f"Python {platform.python_version()}, torch {torch.__version__}, transformers {transformers.__version__}"
    print(f"{versions}; {platform.machine()} with {os.cpu_count()} CPUs, one thread; {arguments.rounds} rounds.")
    for name, (title, run) in PARTS.items():
        if arguments.only in (None, name):
            print(f"\n**{title}**\n")
            print("| model | implementation | tokens a second of CPU: median (range) | ours over theirs |")
            print("| --- | --- | ---: | ---: |", flush=True)
            run(arguments.rounds)


if __name__ == "__main__":
    main()
