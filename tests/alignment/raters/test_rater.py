"""The simulated rater: its probabilities read aloud, its answers counted, its ceiling reached and never passed."""

import math

import pytest
import torch
from torch.testing import assert_close

from course_lib.alignment import SimulatedRater, annotate

WORTH = {"a": 0.0, "b": 1.0, "c c c": 2.5}


def worth(texts, prompts=None):
    base = torch.tensor([WORTH[text] for text in texts])
    return base if prompts is None else base + torch.tensor(prompts)


def sigmoid(x):
    return 1 / (1 + math.exp(-x))


@pytest.mark.parametrize(("temperature", "bias", "lapse"), [(1.0, 0.0, 0.0), (0.5, 0.2, 0.0), (2.0, -0.3, 0.25)])
def test_the_probability_is_the_formula_read_aloud(temperature, bias, lapse):
    rater = SimulatedRater(worth, temperature=temperature, length_bias=bias, lapse_rate=lapse)
    first, second = ["a", "b", "c c c", "a"], ["b", "a", "a", "a"]
    expected = []
    for one, two in zip(first, second, strict=True):
        gap = WORTH[one] - WORTH[two] + bias * (len(one.split()) - len(two.split()))
        expected.append((1 - lapse) * sigmoid(gap / temperature) + lapse / 2)
    assert_close(rater.probability(first, second), torch.tensor(expected, dtype=torch.float64), rtol=1e-6, atol=0)
    assert_close(rater.probability(second, first), 1 - rater.probability(first, second))


def test_equal_texts_are_a_toss_and_length_alone_can_decide():
    assert SimulatedRater(worth).probability(["b"], ["b"]).tolist() == [0.5]
    only_length = SimulatedRater(lambda texts: torch.zeros(len(texts)), length_bias=math.log(3))
    assert_close(only_length.probability(["two words"], ["one"]), torch.tensor([0.75], dtype=torch.float64))


def test_answers_come_as_often_as_the_probability_says():
    rater = SimulatedRater(worth, temperature=0.8, lapse_rate=0.1)
    first, second = ["b"] * 20_000, ["a"] * 20_000
    answers = rater.compare(first, second, generator=torch.Generator().manual_seed(0))
    probability = rater.probability(["b"], ["a"]).item()
    assert answers.double().mean().item() == pytest.approx(probability, abs=0.012)  # four deviations
    again = rater.compare(first, second, generator=torch.Generator().manual_seed(0))
    assert torch.equal(answers, again)


def test_nobody_does_better_than_the_ceiling_and_the_floor():
    rater = SimulatedRater(worth, temperature=1.3, length_bias=0.1)
    first, second = ["a", "b", "c c c", "b"] * 5000, ["b", "a", "b", "c c c"] * 5000
    answers = rater.compare(first, second, generator=torch.Generator().manual_seed(1))
    p = rater.probability(first, second)
    ceiling, floor = rater.ceiling(first, second), rater.loss_floor(first, second)
    assert ((p > 0.5) == answers).double().mean().item() == pytest.approx(ceiling, abs=0.012)
    loss = torch.nn.functional.binary_cross_entropy(p, answers.double()).item()
    assert loss == pytest.approx(floor, abs=0.02)


def test_the_ceiling_known_by_thought():
    first, second = ["b", "a"], ["a", "a"]
    sure, toss = SimulatedRater(worth, temperature=1e-3), SimulatedRater(worth, lapse_rate=1.0)
    assert sure.ceiling(["b"], ["a"]) == 1.0
    assert sure.loss_floor(["b"], ["a"]) == 0.0
    assert sure.ceiling(first, second) == 0.75  # a tie is a toss even without noise
    assert toss.ceiling(first, second) == 0.5
    assert toss.loss_floor(first, second) == pytest.approx(math.log(2), abs=1e-12)


def test_a_rater_with_prompts_judges_by_them():
    rater = SimulatedRater(worth)
    plain = rater.probability(["a"], ["b"])
    assert_close(rater.probability(["a"], ["b"], prompts=[3.0]), plain)  # the same prompt for both: it cancels
    weights = SimulatedRater(lambda texts, prompts: torch.tensor([float(p in t) for t, p in zip(texts, prompts)]))  # noqa: B905
    assert_close(
        weights.probability(["fox", "fox"], ["hen", "hen"], prompts=["fox", "hen"]),
        torch.tensor([sigmoid(1), sigmoid(-1)], dtype=torch.float64),
    )


def test_annotators_answer_each_for_themselves():
    raters = [SimulatedRater(worth, temperature=t) for t in (0.05, 1.0)] + [SimulatedRater(worth, lapse_rate=1.0)]
    labels = annotate(raters, ["b"] * 4000, ["a"] * 4000, generator=torch.Generator().manual_seed(0), coverage=0.5)
    assert labels.shape == (4000, 3)
    assert labels.dtype == torch.int64
    asked = labels >= 0
    assert asked.double().mean(0).tolist() == pytest.approx([0.5] * 3, abs=0.03)
    shares = [(column[column >= 0] == 1).double().mean().item() for column in labels.T]
    assert shares == pytest.approx([1.0, sigmoid(1), 0.5], abs=0.04)
    full = annotate(raters, ["b"] * 50, ["a"] * 50, generator=torch.Generator().manual_seed(0))
    assert full.min() == 0


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: SimulatedRater(worth, temperature=0.0), "temperature must be positive"),
        (lambda: SimulatedRater(worth, temperature=math.nan), "temperature must be positive"),
        (lambda: SimulatedRater(worth, length_bias=math.inf), "length_bias must be finite"),
        (lambda: SimulatedRater(worth, lapse_rate=1.5), r"in \[0, 1\], got 1.5"),
        (lambda: SimulatedRater(worth).probability(["a"], ["a", "b"]), "got 1 and 2"),
        (lambda: SimulatedRater(worth).ceiling([], []), "no pairs"),
        (lambda: SimulatedRater(lambda texts: torch.zeros(1)).worth(["a", "b"]), r"each of 2 texts, got \(1,\)"),
        (lambda: SimulatedRater(lambda texts: torch.tensor([math.nan])).worth(["a"]), "1 of them not finite"),
        (lambda: annotate([], ["a"], ["b"], generator=torch.Generator()), "at least one rater"),
        (lambda: annotate([SimulatedRater(worth)], [], [], generator=torch.Generator(), coverage=0), "coverage"),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
