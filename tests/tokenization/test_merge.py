"""Merging one piece: the definition read aloud, order known by thought, runs of one sign."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from course_lib.tokenization.merge import merge_piece

IDS = st.lists(st.integers(0, 1), max_size=30)


@st.composite
def known_merges(draw):
    """Merges over the bytes 0 and 1 in which each pair uses bytes and earlier tokens."""
    made_by = {}
    for new in range(2, 2 + draw(st.integers(0, 8))):
        made_by.setdefault((draw(st.integers(0, new - 1)), draw(st.integers(0, new - 1))), new)
    return made_by


def slow_merge(ids, made_by):
    """Go through the merges in the order in which they were learnt, and apply each from left to right."""
    ids = list(ids)
    for pair, made in made_by.items():
        place = 0
        while place < len(ids) - 1:
            if (ids[place], ids[place + 1]) == pair:
                ids[place : place + 2] = [made]
            place += 1
    return tuple(ids)


@settings(max_examples=150, deadline=None, derandomize=True)
@given(IDS, known_merges())
def test_equals_replaying_the_merges_in_order(ids, made_by):
    assert merge_piece(ids, made_by) == slow_merge(ids, made_by)


def test_the_earliest_merge_goes_first_even_if_a_later_one_is_longer_or_further_left():
    a, b, c = 0, 1, 2
    assert merge_piece([a, b, c], {(b, c): 3, (a, b): 4}) == (a, 3)
    assert merge_piece([a, b, c], {(a, b): 3, (b, c): 4, (a, 4): 5}) == (3, c)
    assert merge_piece([a, b, c], {(b, c): 3, (a, b): 4, (a, 3): 5}) == (5,)


@pytest.mark.parametrize("length", [0, 1, 2, 3, 4, 5, 10_001, 100_000])
def test_a_run_is_paired_from_the_left(length):
    pairs, rest = divmod(length, 2)
    assert merge_piece([0] * length, {(0, 0): 1}) == (1,) * pairs + (0,) * rest


def test_what_has_no_merges_stays_as_it_is():
    assert merge_piece(range(300), {}) == tuple(range(300))
    assert merge_piece([], {(0, 0): 1}) == ()
