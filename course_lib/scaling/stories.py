"""Stories for a sweep: whole ones, fresh ones, and some held out whose entropy is known exactly."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import torch
from torch import Tensor

from course_lib.data.tales import tales
from course_lib.loops.objectives import MASKED
from course_lib.tokenization import BPETokenizer, train_bpe

END = "<|endoftext|>"
VOCAB_SIZE = 1024
HELD_OUT_STORIES = 512

# Shape letters used in this file: B = stories, T = tokens of the longest.


@cache
def story_tokenizer() -> BPETokenizer:
    """Return the tokenizer of the sweep, trained on 2,000 stories."""
    texts = (tale.text for tale in tales(2000, seed=0))
    return train_bpe(texts, vocab_size=VOCAB_SIZE, special_tokens=[END])


def as_batch(texts: Sequence[Sequence[int]], end: int) -> tuple[Tensor, Tensor]:
    """Return inputs and targets of whole stories, each begun and finished by the end mark, masked where it is shorter.

    So every token is predicted from the whole story before it, and the grammar's entropy is the best possible loss.

    Shape:
        - outputs: ``(B, T)``, int64; targets of padding are -100
    """
    longest = max(map(len, texts)) + 1
    x, y = torch.full((len(texts), longest), end), torch.full((len(texts), longest), MASKED)
    for row, ids in enumerate(texts):
        story = torch.tensor(ids)
        x[row, 1 : len(ids) + 1] = story
        y[row, : len(ids)] = story
        y[row, len(ids)] = end
    return x, y


def story_batches(num_tokens: int, *, batch_size: int, seed: int) -> list[tuple[Tensor, Tensor]]:
    """Return batches of fresh training stories with about ``num_tokens`` targets in all.

    Stories of similar length go together, 64 batches at a time, so that little is padding; the order of batches within
    these is random.
    """
    tokenizer, rng = story_tokenizer(), torch.Generator().manual_seed(seed)
    end, batches, seen, chunk = tokenizer.special[END], [], 0, 0
    while seen < num_tokens:
        texts = [tale.text for tale in tales(64 * batch_size, seed=10_000 * (seed + 1) + chunk)]
        stories = sorted(tokenizer.encode_many(texts), key=len)
        order = torch.randperm(64, generator=rng).tolist()
        for place in order:
            part = stories[place * batch_size : (place + 1) * batch_size]
            batches.append(as_batch(part, end))
            seen += sum(map(len, part)) + len(part)
            if seen >= num_tokens:
                break
        chunk += 1
    return batches


@cache
def held_out() -> tuple[tuple[tuple[Tensor, Tensor], ...], float]:
    """Return batches of evaluation stories, and their entropy in nats a token."""
    stories = tales(HELD_OUT_STORIES, seed=0, split="evaluation")
    tokenizer = story_tokenizer()
    encoded = list(tokenizer.encode_many(story.text for story in stories))
    entropy = -sum(story.log_prob for story in stories) / sum(len(ids) + 1 for ids in encoded)
    encoded.sort(key=len)
    end = tokenizer.special[END]
    return tuple(as_batch(encoded[first : first + 32], end) for first in range(0, len(encoded), 32)), entropy
