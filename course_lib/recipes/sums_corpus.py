"""Sums with their answers as text for a language model, and how many of those held out it gets right."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch

from course_lib.data.sums import Split, Sum, sums, verify
from course_lib.recipes.corpus import Corpus

if TYPE_CHECKING:
    from course_lib.zoo import Pretrained
    from course_lib.zoo.card import Scores

_PATTERN = r" ?[A-Za-z]+:?|."  # words are merged, digits never: each stays a token of its own
_NUM_PROBLEMS = 200
_NUM_SAMPLES = 8


def from_sums(num_sums: int, *, seed: int, digits: int = 2, operations: str = "+", worked_share: float = 0.5) -> Corpus:
    """Return sums with right answers, some at once and some worked out, see `sums`; none that is held out is learnt.

    Args:
        num_sums: How many to learn from; a tenth of that, 5,000 at most, is held out.
        seed: Of problems and of which are worked out.
        digits: The most digits of a number.
        operations: Some of ``+``, ``-`` and ``*``.
        worked_share: Share that show their work before the answer.

    Raises:
        ValueError: If an argument is out of its range.
    """
    import datasets

    if not 0 <= worked_share <= 1:
        raise ValueError(f"the share of sums that show their work must lie between 0 and 1, got {worked_share}.")
    if num_sums < 1:
        raise ValueError(f"the number of sums must be at least 1, got {num_sums}.")

    def drawn(num: int, split: Split) -> list[Sum]:
        return sums(num, seed=seed, digits=digits, operations=operations, split=split)

    def rows(num: int, split: Split) -> datasets.Dataset:
        works = random.Random(seed)
        texts = [
            each.problem + (each.worked if works.random() < worked_share else each.answer) for each in drawn(num, split)
        ]
        return datasets.Dataset.from_dict({"text": texts})

    problems = list(dict.fromkeys(drawn(4 * _NUM_PROBLEMS, "evaluation")))[:_NUM_PROBLEMS]
    return Corpus(
        rows(num_sums, "train"),
        rows(min(5000, max(1, num_sums // 10)), "evaluation"),
        f"{num_sums:,} sums of course_lib.data.sums, seed {seed}, up to {digits} digits, operations {operations}, a "
        f"share of {worked_share:g} with their work shown; the problems of its evaluation split are held out",
        "Apache-2.0 (made by this project)",
        "Does such sums and nothing else, not all of them right. Made for experiments with verifiable rewards.",
        tuple(each.problem for each in problems[:3]),
        pattern=_PATTERN,
        measure=lambda pretrained: solved(pretrained, problems),
    )


def solved(pretrained: Pretrained, problems: Sequence[Sum]) -> tuple[str, Scores]:
    """Return how many of ``problems`` a model solves, and in words how that was measured.

    Args:
        pretrained: Asked 8 times at temperature 1, and once for its likeliest answer.
        problems: Different ones, held out.

    Returns:
        The measurement in words, and row -> column -> share.
    """
    asked = [each.problem for each in problems]
    room = pretrained.model.config.context_length - 1 - max(len(pretrained.tokenizer.encode(each)) for each in asked)

    def answers(num_each: int, temperature: float) -> tuple[torch.Tensor, torch.Tensor]:
        """Which completions are right, and which show their work, ``(problem, sample)``."""
        repeated = [each for each in asked for _ in range(num_each)]
        texts = pretrained.complete(repeated, max_new_tokens=room, temperature=temperature)
        pairs = list(zip(repeated, texts, strict=True))
        right = torch.tensor([verify(problem, text) for problem, text in pairs]).view(-1, num_each)
        return right.double(), torch.tensor(["Answer:" in text for text in texts]).view(-1, num_each).double()

    scores: Scores = {}
    for label, num_each, temperature in (("this model, temperature 1", _NUM_SAMPLES, 1.0), ("greedy", 1, 0.0)):
        right, worked = answers(num_each, temperature)
        scores[label] = {"pass@1": float(right.mean())}
        if num_each > 1:
            scores[label][f"pass@{num_each}"] = float(right.amax(1).mean())
        scores[label]["shows its work"] = float(worked.mean())
        for column, some in (("right with its work", worked), ("right at once", 1 - worked)):
            if some.any():
                scores[label][column] = float((right * some).sum() / some.sum())
    values = [each.value for each in problems]
    scores["always the commonest value"] = {"pass@1": max(map(values.count, values)) / len(values)}
    measured = (
        f"Share of {len(problems)} problems held out that are answered rightly, as course_lib.data.sums.verify tells; "
        f"pass@{_NUM_SAMPLES}: by one of {_NUM_SAMPLES} answers at least."
    )
    return measured, {
        label: {column: round(value, 4) for column, value in row.items()} for label, row in scores.items()
    }
