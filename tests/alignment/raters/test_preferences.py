"""Preference pairs: who was chosen, with which probability, and every token and mask of the batch."""

import pytest
import torch
from torch.testing import assert_close

from course_lib.alignment import PreferenceBatch, Preferences, SimulatedRater, joined, preference_pairs
from course_lib.data import Batches

WORDS = {0: "", 1: "bad", 2: "good", 3: "end"}


def decode(ids):
    return " ".join(WORDS[i] for i in ids)


def rater(temperature=0.01, **settings):
    return SimulatedRater(
        lambda texts: torch.tensor([float(text.split().count("good")) for text in texts]),
        temperature=temperature,
        **settings,
    )


def generator():
    return torch.Generator().manual_seed(0)


def test_the_better_one_is_chosen_whichever_side_it_was_on():
    first, second = [[1, 3], [2, 2, 3], [2], []], [[2, 3], [1, 3], [], [2]]
    pairs = preference_pairs([[0]] * 4, first, second, rater=rater(), decode=decode, generator=generator())
    assert pairs.chosen == [[2, 3], [2, 2, 3], [2], [2]]
    assert pairs.rejected == [[1, 3], [1, 3], [], []]
    assert_close(pairs.probability, torch.ones(4).double())


def test_with_noise_the_probability_is_that_of_the_one_that_was_chosen():
    num = 4000
    pairs = preference_pairs(
        [[0]] * num, [[2]] * num, [[1]] * num, rater=rater(1.0), decode=decode, generator=generator()
    )
    p = 1 / (1 + torch.exp(torch.tensor(-1.0, dtype=torch.float64)))
    good = torch.tensor([chosen == [2] for chosen in pairs.chosen])
    assert_close(pairs.probability, torch.where(good, p, 1 - p))
    assert good.double().mean().item() == pytest.approx(p.item(), abs=0.03)  # four deviations
    assert pairs.chosen != pairs.rejected


def test_the_rater_is_told_what_was_asked():
    asks = SimulatedRater(lambda texts, wanted: torch.tensor([9.0 * (w in t) for t, w in zip(texts, wanted)]))  # noqa: B905
    pairs = preference_pairs(
        [[0], [0]], [[1], [1]], [[2], [2]], rater=asks, decode=decode, generator=generator(), asked=["good", "bad"]
    )
    assert pairs.chosen == [[2], [1]]


def test_every_token_and_mask_of_a_batch():
    pairs = Preferences([[9], [8, 7]], [[1, 2, 3], []], [[4], [5, 6]], torch.ones(2).double())
    batch = pairs.batch()
    assert batch.chosen.tolist() == [[9, 1, 2, 3], [8, 7, 0, 0]]
    assert batch.chosen_mask.int().tolist() == [[1, 1, 1, 1], [1, 1, 0, 0]]
    assert batch.chosen_completion.int().tolist() == [[0, 1, 1, 1], [0, 0, 0, 0]]  # an empty completion: none
    assert batch.rejected.tolist() == [[9, 4, 0, 0], [8, 7, 5, 6]]
    assert batch.rejected_mask.int().tolist() == [[1, 1, 0, 0], [1, 1, 1, 1]]
    assert batch.rejected_completion.int().tolist() == [[0, 1, 0, 0], [0, 0, 1, 1]]
    assert (batch.chosen.dtype, batch.chosen_mask.dtype) == (torch.int64, torch.bool)


def test_batches_deal_the_columns_out_together():
    rows = [[i + 1] for i in range(10)]
    pairs = Preferences([[0]] * 10, rows, [[i + 11] for i in range(10)], torch.ones(10).double())
    seen = []
    for dealt in Batches(pairs.batch(), batch_size=4, seed=0, epochs=1):
        part = PreferenceBatch(*dealt)
        seen += part.chosen[:, 1].tolist()
        assert_close(part.rejected[:, 1], part.chosen[:, 1] + 10)
    assert sorted(seen) == list(range(1, 11))


def test_some_of_the_pairs():
    pairs = Preferences([[0]] * 4, [[1], [2], [3], [4]], [[5]] * 4, torch.tensor([0.1, 0.2, 0.3, 0.4]).double())
    assert pairs[1:3].chosen == [[2], [3]]
    assert pairs[torch.tensor([3, 0])].chosen == [[4], [1]]
    assert_close(pairs[[3, 0]].probability, torch.tensor([0.4, 0.1]).double())
    assert len(pairs[:0]) == 0
    with pytest.raises(IndexError):
        pairs[[4]]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: Preferences([[0]], [[1]], [[2], [3]], torch.ones(1)), r"one row a pair, got \(1, 1, 2, 1\)"),
        (lambda: Preferences([[0], []], [[1]] * 2, [[2]] * 2, torch.ones(2)), "prompt 1 is empty"),
        (lambda: joined([[]], [[1]]), "prompt 0 is empty"),
        (lambda: joined([], []), "got 0 prompts"),
        (
            lambda: preference_pairs([[0]], [[1]], [], rater=rater(), decode=decode, generator=generator()),
            "two completions, got 1, 1 and 0",
        ),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
