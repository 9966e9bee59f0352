"""split: disjoint parts, all rows, every class in its share, the same for the same seed."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from course_lib.data import Examples, split, table


def numbered(counts, *, shuffle_seed=0):
    """Examples whose x is the row's number; class c has counts[c] rows, in mixed order."""
    y = torch.arange(len(counts)).repeat_interleave(torch.tensor(counts))
    y = y[torch.randperm(len(y), generator=torch.Generator().manual_seed(shuffle_seed))]
    return Examples(torch.arange(len(y)), y, tuple(f"c{c}" for c in range(len(counts))), "numbered", "", "")


weights = st.lists(st.integers(1, 9), min_size=1, max_size=4)
seeds = st.integers(0, 2**31)


@settings(deadline=None, derandomize=True)
@given(counts=st.lists(st.integers(1, 40), min_size=1, max_size=6), weights=weights, seed=seeds)
def test_parts_are_disjoint_complete_and_stratified(counts, weights, seed):
    examples = numbered([count + 36 for count in counts])  # a share of 1/36 is then never empty
    fractions = [weight / sum(weights) for weight in weights]
    parts = split(examples, fractions, seed=seed)
    rows = torch.cat([part.x for part in parts])
    assert sorted(rows.tolist()) == list(range(len(examples)))
    for part, fraction in zip(parts, fractions, strict=True):
        assert torch.equal(part.y, examples.y[part.x])
        for number in range(len(counts)):
            exact = fraction * int((examples.y == number).sum())
            assert abs(int((part.y == number).sum()) - exact) < 1


@settings(deadline=None, derandomize=True)
@given(rows=st.integers(36, 200), weights=weights, seed=seeds)
def test_without_classes_the_sizes_are_within_one_of_their_shares(rows, weights, seed):
    examples = Examples(torch.arange(rows), torch.rand(rows), (), "numbered", "", "")
    fractions = [weight / sum(weights) for weight in weights]
    parts = split(examples, fractions, seed=seed)
    assert sorted(torch.cat([part.x for part in parts]).tolist()) == list(range(rows))
    assert all(abs(len(part) - fraction * rows) < 1 for part, fraction in zip(parts, fractions, strict=True))


def test_rounding_does_not_add_up_over_small_classes():
    # each class of 5 has 0.75 of a row for validation: rounded alone, all ten would give 10 rows or none
    sizes = [len(part) for part in split(numbered([5] * 10), (0.7, 0.15, 0.15), seed=0)]
    assert sizes in ([35, 8, 7], [35, 7, 8])


def test_exact_shares_are_met_exactly():
    parts = split(table("iris"), (0.8, 0.1, 0.1), seed=3)
    assert [part.y.bincount().tolist() for part in parts] == [[40, 40, 40], [5, 5, 5], [5, 5, 5]]


def test_the_seed_decides():
    examples = numbered([30, 30])
    first, again, other = (split(examples, seed=seed)[0].x.tolist() for seed in (1, 1, 2))
    assert first == again
    assert sorted(first) != sorted(other)


def test_the_global_generators_are_left_alone(global_random_states):
    before = global_random_states()
    split(numbered([30, 30]), seed=0)
    assert global_random_states() == before


def test_rows_sorted_by_class_come_out_mixed():
    y = torch.arange(2).repeat_interleave(50)
    train, *_ = split(Examples(torch.arange(100), y, ("a", "b"), "sorted", "", ""), seed=0)
    changes = int((train.y.diff() != 0).sum())
    assert 20 < changes < 50  # 35 expected for 35 + 35 rows in random order, with a standard deviation of 4; sorted: 1


def test_stratify_can_be_switched_off():
    examples = numbered([50, 50])
    counts = {tuple(split(examples, (0.5, 0.5), seed=s, stratify=False)[0].y.bincount().tolist()) for s in range(20)}
    assert len(counts) > 1
    assert {sum(count) for count in counts} == {50}


@pytest.mark.parametrize(
    ("fractions", "message"),
    [
        ((0.7, 0.2), "sum to 1, got .* with sum 0.9"),
        ((1.2, -0.2), "must be positive"),
        ((1.0, 0.0), "must be positive"),
        ((float("nan"), 0.5), "must be positive"),
        ((), "must be positive"),
        ((0.9, 0.05, 0.05), r"part [12] of fractions .* would be empty: 'numbered' has only 4 rows"),
    ],
)
def test_bad_fractions_are_refused(fractions, message):
    with pytest.raises(ValueError, match=message):
        split(numbered([2, 2]), fractions, seed=0)


def test_thirds_written_by_hand_are_close_enough_to_one():
    assert len(split(numbered([30]), (0.3333333, 0.3333333, 0.3333333), seed=0)) == 3


def test_stratifying_without_classes_is_refused():
    with pytest.raises(ValueError, match="no classes to stratify by"):
        split(table("diabetes"), seed=0, stratify=True)
