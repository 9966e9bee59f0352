"""What byte-level BPE costs: training and encoding by ``course_lib.tokenization`` against the libraries in Rust.

Run it on an otherwise idle machine: ``python benchmarks/tokenization.py``. It prints the tables of
benchmarks/README.md.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import sysconfig
import time
from collections import Counter
from collections.abc import Callable
from importlib.metadata import version
from itertools import pairwise
from pathlib import Path
from typing import Any

from step import spread

from course_lib.tokenization import BPETokenizer, split_pieces, train_bpe
from course_lib.tokenization.byte_alphabet import byte_ranks

TEXT_BYTES = 10_000_000
VOCAB_SIZE = 8192
ONE_THREAD = {"RAYON_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false", "OMP_NUM_THREADS": "1"}
ALL_CORES = {"TOKENIZERS_PARALLELISM": "true", "OMP_NUM_THREADS": "1"}
NAIVE_BYTES, NAIVE_MERGES = 1_000_000, 5  # what is measured of the naive trainer, the rest being in proportion
NAIVE_ENCODED_BYTES = 20_000

Times = dict[str, list[float]]  # [CPU seconds, wall seconds] by task


def texts(num_bytes: int) -> list[str]:
    """The sources of this Python's standard library, file by file, until there are ``num_bytes``."""
    found: list[str] = []
    size = 0
    for path in sorted(Path(sysconfig.get_path("stdlib")).rglob("*.py")):
        if "site-packages" in path.parts:
            continue
        text = path.read_bytes().decode("utf-8", "ignore")
        found.append(text)
        size += len(text.encode())
        if size >= num_bytes:
            break
    return found


def clock(work: Callable[[], Any]) -> tuple[list[float], Any]:
    """CPU and wall seconds that ``work`` takes, and what it gives."""
    cpu, wall = time.process_time(), time.perf_counter()
    result = work()
    return [time.process_time() - cpu, time.perf_counter() - wall], result


def ours(documents: list[str]) -> tuple[Times, str]:
    training, tokenizer = clock(lambda: train_bpe(documents, vocab_size=VOCAB_SIZE))
    cold, ids = clock(lambda: list(tokenizer.encode_many(documents)))
    again, _ = clock(lambda: list(tokenizer.encode_many(documents)))
    return {"training": training, "encoding": cold, "encoding again": again}, digest(ids)


def huggingface(documents: list[str]) -> tuple[Times, str]:
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=VOCAB_SIZE, initial_alphabet=alphabet, show_progress=False)
    training, _ = clock(lambda: tokenizer.train_from_iterator(documents, trainer))
    cold, encodings = clock(lambda: tokenizer.encode_batch_fast(documents))
    again, _ = clock(lambda: tokenizer.encode_batch_fast(documents))
    found = {"training": training, "encoding": cold, "encoding again": again}
    return found, digest([encoding.ids for encoding in encodings])


def tiktoken(documents: list[str]) -> tuple[Times, str]:
    encoder = train_bpe(documents, vocab_size=VOCAB_SIZE).to_tiktoken()
    cold, ids = clock(lambda: [encoder.encode_ordinary(document) for document in documents])
    again, _ = clock(lambda: [encoder.encode_ordinary(document) for document in documents])
    return {"encoding": cold, "encoding again": again}, digest(ids)


def digest(ids: list[list[int]]) -> str:
    """A short name for lists of ids, the same for equal lists."""
    import hashlib

    return hashlib.sha256(json.dumps(ids).encode()).hexdigest()[:12]


SIDES: dict[str, tuple[Callable[[list[str]], tuple[Times, str]], dict[str, str]]] = {
    "course_lib": (ours, ONE_THREAD),
    "tokenizers (Rust), one thread": (huggingface, ONE_THREAD),
    "tokenizers (Rust), as it comes": (huggingface, ALL_CORES),
    "tiktoken (Rust)": (tiktoken, ONE_THREAD),
}


def in_a_process_of_its_own(side: str) -> tuple[Times, str]:
    """Threads are set by the environment, and every side begins with cold caches."""
    environment = {key: value for key, value in os.environ.items() if key not in ONE_THREAD} | SIDES[side][1]
    command = [sys.executable, __file__, "--side", side]
    done = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
    times, name = json.loads(done.stdout)
    return times, name


def naive_training(document: str, tokenizer: BPETokenizer) -> tuple[float, float]:
    """CPU seconds of one naive merge (count all pairs, rewrite the text) a byte of text: at the start, at the end.

    At the start the text is bytes; at the end it is what all merges have left, several times shorter.
    """

    def merge_some(ids: list[int]) -> None:
        for new in range(NAIVE_MERGES):
            pairs = Counter(pair for pair in pairwise(ids) if min(pair) >= 0)
            best = min(pairs, key=lambda pair: (-pairs[pair], pair))
            joined, place = [], 0
            while place < len(ids):
                here = ids[place] == best[0] and tuple(ids[place : place + 2]) == best
                joined.append(VOCAB_SIZE + new if here else ids[place])
                place += 2 if here else 1
            ids = joined

    pieces = split_pieces(document, "gpt2")
    by_bytes = [number for piece in pieces for number in (*byte_ranks(piece), -1)]
    merged = [number for piece in pieces for number in (*tokenizer.encode(piece), -1)]
    seconds = [clock(lambda ids=ids: merge_some(ids))[0][0] for ids in (by_bytes, merged)]
    num_bytes = len(document.encode())
    return seconds[0] / (NAIVE_MERGES * num_bytes), seconds[1] / (NAIVE_MERGES * num_bytes)


def naive_encoding(document: str, tokenizer: BPETokenizer) -> float:
    """CPU seconds a byte of going through all merges in order, each over the whole text."""

    def encode() -> list[int]:
        ids = [number for piece in split_pieces(document, "gpt2") for number in (*byte_ranks(piece), -1)]
        for rank, pair in enumerate(tokenizer.merges):
            place = 0
            while place < len(ids) - 1:
                if ids[place] == pair[0] and ids[place + 1] == pair[1]:
                    ids[place : place + 2] = [256 + rank]
                place += 1
        return [number for number in ids if number >= 0]

    (seconds, _), ids = clock(encode)
    if ids != tokenizer.encode(document):
        raise RuntimeError("the naive encoder gives other ids")
    return seconds / len(document.encode())


def show(found: dict[str, list[Times]], task: str) -> None:
    print(f"\n**{task}**: seconds, {len(found['course_lib'])} rounds\n")
    print("| | CPU: median (range) | wall: median | CPU, course_lib over it: median (range) of pairs |")
    print("| --- | ---: | ---: | ---: |")
    mine = [times[task][0] for times in found["course_lib"]]
    for side, rounds in found.items():
        if task in rounds[0]:
            cpu, wall = ([times[task][kind] for times in rounds] for kind in (0, 1))
            ratio = [a / b for a, b in zip(mine, cpu, strict=True)]
            over = "" if side == "course_lib" else spread(ratio, 2)
            print(f"| {side} | {spread(cpu, 2)} | {spread(wall, 2).split()[0]} | {over} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7, help="rounds (default 7)")
    parser.add_argument("--side", choices=SIDES, help="measure this side alone and print JSON")
    arguments = parser.parse_args()
    documents = texts(TEXT_BYTES)
    if arguments.side:
        print(json.dumps(SIDES[arguments.side][0](documents)))
        return
    found: dict[str, list[Times]] = {side: [] for side in SIDES}
    for number in range(arguments.rounds):
        names = set()
        for side in SIDES if number % 2 else reversed(SIDES):
            times, name = in_a_process_of_its_own(side)
            found[side].append(times)
            names.add(name)
        if len(names) > 1:
            raise RuntimeError(f"the libraries give different ids: {names}")
    num_bytes = sum(len(document.encode()) for document in documents)
    peers = ", ".join(f"{name} {version(name)}" for name in ("tokenizers", "tiktoken", "regex"))
    print(f"Python {platform.python_version()}, {peers}; {platform.machine()} with {os.cpu_count()} CPUs.")
    print(f"{num_bytes:,} bytes in {len(documents)} files, vocabulary {VOCAB_SIZE}; all give the same ids.")
    for task in ("training", "encoding", "encoding again"):
        show(found, task)
    tokenizer = train_bpe(documents, vocab_size=VOCAB_SIZE)
    document = "".join(documents)
    merges = len(tokenizer.merges) * num_bytes / 3600
    start, end = (seconds * merges for seconds in naive_training(document[:NAIVE_BYTES], tokenizer))
    encoding = naive_encoding(document[:NAIVE_ENCODED_BYTES], tokenizer) * num_bytes / 3600
    print(f"\nNaive training: {end:.1f} to {start:.1f} hours; naive encoding: {encoding:.1f} hours (in proportion).")


if __name__ == "__main__":
    main()
