"""Draw tales from a seed, for training or for evaluation, and never one for both."""

from __future__ import annotations

import hashlib
from typing import Literal

from .derivation import draw, generator
from .grammar import whole_grammar
from .tale import Tale, tale_of

_ONE_IN = 8  # so many tales are evaluation tales


def tales(num: int, *, seed: int, split: Literal["train", "evaluation", "all"] = "train") -> list[Tale]:
    """Draw ``num`` short stories about wishes and kindness, each with attributes that a program reads back exactly.

    Every text has one derivation in the grammar, so its probability is exact; the mean of ``-log_prob`` is the
    entropy of the source, which no language model can beat. Draws are independent, so that a tale may in principle
    come twice (in practice it does not). The first of ``tales(100, seed=0)`` are ``tales(10, seed=0)``.

    Whether a tale is for training or evaluation is decided by a hash of its text alone (``split_of``), so the two
    never share a story, whatever the seeds. Other things are alike: both splits follow the same distribution, and
    since a model cannot compute the hash, the best cross-entropy it can reach on either is ``entropy()`` a story.
    (One that could would gain log(8 / 7) = 0.13 nats a story on training tales. No tale is likelier than 1e-7, so
    the evaluation tales hold 1/8 of all probability with a standard deviation, over hashes, below 1e-4.) About
    10,000 training tales a second on one core, an eighth as many evaluation tales.

    Args:
        num: How many.
        seed: Decides which; the same on every machine and Python version.
        split: ``"train"`` (7 of 8 tales), ``"evaluation"`` (the others) or ``"all"``.

    Raises:
        ValueError: If ``num`` is negative or there is no such split.

    Example:
        >>> tale = tales(1, seed=7)[0]
        >>> print(tale.text)  # doctest: +NORMALIZE_WHITESPACE
        Once there was a dreamy squirrel in the forest named Mara, who wished for a red kite. Under the old oak she
        met a fawn stuck in a deep hole. As gently as she could, the squirrel lowered a branch. Seven nights later
        the fawn came back with a red kite as light as a petal. A kind deed is never lost.
        >>> tale.hero, tale.wish, tale.kindness, tale.ending
        ('squirrel', 'a red kite', 'kind', 'well')
    """
    if num < 0:
        raise ValueError(f"num must be 0 or more, got {num}.")
    if split not in ("train", "evaluation", "all"):
        raise ValueError(f"split must be 'train', 'evaluation' or 'all', got {split!r}.")
    grammar, uniform = whole_grammar(), generator(seed)
    drawn: list[Tale] = []
    while len(drawn) < num:
        tale = tale_of(grammar, draw(grammar, uniform))
        if split in ("all", split_of(tale.text)):
            drawn.append(tale)
    return drawn


def split_of(text: str) -> Literal["train", "evaluation"]:
    """Return which split a tale belongs to, by a hash of its text.

    Example:
        >>> {split_of(tale.text) for tale in tales(20, seed=0, split="evaluation")}
        {'evaluation'}
    """
    digest = hashlib.blake2b(text.encode(), digest_size=8).digest()
    return "train" if int.from_bytes(digest, "big") % _ONE_IN else "evaluation"
