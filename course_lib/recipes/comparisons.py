"""Pairs of a story model's own texts, compared by a simulated rater, and how well a reward model predicts it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from course_lib.alignment import (
    Preferences,
    RewardModel,
    SimulatedRater,
    bradley_terry,
    preference_pairs,
    reward_accuracy,
    reward_calibration,
    sample_completions,
    score_completions,
    story_taste,
)
from course_lib.alignment.raters.preferences import Ids
from course_lib.zoo import Pretrained
from course_lib.zoo.card import Scores

_AT_ONCE = 256  # texts that are written at a time
_MAX_TOKENS = 200


@dataclass(frozen=True, slots=True, eq=False)
class Comparisons:
    """Comparisons to learn from, and others to be judged by.

    Args:
        train: To learn from.
        test: Of other texts.
        rater: Who compared.
        pretrained: Who wrote.
    """

    train: Preferences
    test: Preferences
    rater: SimulatedRater
    pretrained: Pretrained

    def texts(self, completions: Sequence[Ids]) -> list[str]:
        """Return completions as the rater reads them."""
        return [self.pretrained.tokenizer.decode(list(ids), skip_special=True) for ids in completions]


def compared(
    pretrained: Pretrained, *, num_train: int, num_test: int, temperature: float, length_bias: float, seed: int
) -> Comparisons:
    """Let ``pretrained`` write two texts for each pair, at temperature 1, and a rater say which is the better one.

    Args:
        pretrained: A model of stories.
        num_train: Pairs to learn from.
        num_test: Pairs to be judged by.
        temperature: The rater's noise, in units of `course_lib.alignment.story_taste`.
        length_bias: What the rater, wrongly, takes a word to be worth.
        seed: Of texts and noise.

    Raises:
        ValueError: If a number is out of its range.
    """
    if min(num_train, num_test) < 1:
        raise ValueError(f"there must be at least 1 comparison of either kind, got {num_train} and {num_test}.")
    rater = SimulatedRater(story_taste, temperature=temperature, length_bias=length_bias)
    device = pretrained.model.embedding.weight.device
    writing = torch.Generator(device).manual_seed(seed)
    num = num_train + num_test
    prompt = [pretrained.separator]
    texts: list[list[int]] = []
    while len(texts) < 2 * num:
        written = sample_completions(
            pretrained.model,
            [prompt],
            num_each=min(_AT_ONCE, 2 * num - len(texts)),
            max_new_tokens=min(_MAX_TOKENS, pretrained.model.config.context_length - 1),
            stop_tokens=(pretrained.separator,),
            generator=writing,
        )
        texts.extend(written.lists())
    pairs = preference_pairs(
        [prompt] * num,
        texts[:num],
        texts[num:],
        rater=rater,
        decode=partial(pretrained.tokenizer.decode, skip_special=True),
        generator=torch.Generator().manual_seed(seed),
    )
    return Comparisons(pairs[:num_train], pairs[num_train:], rater, pretrained)


def judged_by_rater(model: RewardModel, comparisons: Comparisons) -> tuple[str, Scores]:
    """Return how well a reward model predicts the rater and the gold reward, and in words how that was measured.

    Args:
        model: Centred or not.
        comparisons: Its ``test`` is used.

    Returns:
        The measurement in words, and row -> column -> number: of the model, of the rater's own probabilities (the best
        that can be expected), and of preferring whatever is longer.
    """
    test, rater = comparisons.test, comparisons.rater
    sides = [comparisons.texts(side) for side in (test.chosen, test.rejected)]
    words = [torch.tensor([float(len(text.split())) for text in texts], dtype=torch.float64) for texts in sides]
    gold = [story_taste(texts) for texts in sides]
    known = [rater.worth(texts) for texts in sides]
    learnt = [score_completions(model, test.prompts, side).double().cpu() for side in (test.chosen, test.rejected)]
    scores: Scores = {}
    for label, rewards in {"this model": learnt, "the rater's own worth": known, "whatever is longer": words}.items():
        scores[label] = {
            "agrees with the rater": reward_accuracy(*rewards),
            "agrees with the gold reward": _agreement(rewards, gold),
            "correlation with the gold reward": _correlation(torch.cat(rewards), torch.cat(gold)),
            "correlation with the number of words": _correlation(torch.cat(rewards), torch.cat(words)),
        }
        if label != "whatever is longer":
            scores[label]["nats a comparison"] = float(bradley_terry(*rewards))
            taste, word = _slopes(torch.cat(rewards), torch.cat(gold), torch.cat(words))
            scores[label]["reward for a unit of taste"], scores[label]["reward for a word"] = taste, word
            error = reward_calibration(*rewards, probability=test.probability).error
            scores[label]["calibration error"] = error
    measured = (
        f"{len(test)} comparisons of other texts, two different ones each, by the same rater, whose answers nobody can "
        f"be expected to predict better than a share of {rater.ceiling(*sides):.3f} of the time. The gold reward is "
        "course_lib.alignment.story_taste, in which length has no part. Rewards for taste and words are slopes of a "
        "linear fit to both."
    )
    return measured, {
        label: {name: round(value, 4) for name, value in row.items() if math.isfinite(value)}  # of equal texts: none
        for label, row in scores.items()
    }


def _agreement(rewards: list[Tensor], gold: list[Tensor]) -> float:
    """How often the truly better of two texts has the higher reward, where one is better; a tie counts half."""
    better, higher = (gold[0] - gold[1]).sign(), (rewards[0] - rewards[1]).sign()
    return float((better * higher / 2 + 0.5)[better != 0].mean())


def _correlation(first: Tensor, second: Tensor) -> float:
    return float(torch.corrcoef(torch.stack([first, second]))[0, 1])


def _slopes(rewards: Tensor, gold: Tensor, words: Tensor) -> tuple[float, float]:
    inputs = torch.stack([gold, words, torch.ones_like(gold)], dim=1)
    taste, word, _ = torch.linalg.lstsq(inputs, rewards[:, None]).solution[:, 0].tolist()
    return taste, word
