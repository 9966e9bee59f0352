"""Batches: order from (seed, epoch, position) alone, exact resume, nothing lost or doubled over ranks."""

import pickle
from dataclasses import replace
from itertools import chain, islice

import numpy as np
import pytest
import torch
import torch.distributed as dist
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.testing import assert_close

from course_lib.data import Batches, Examples


def rows_of(stream):
    return [batch[0].tolist() for batch in stream]


def numbers(n):
    return (torch.arange(n),)


streams = st.fixed_dictionaries(
    {
        "n": st.integers(5, 30),
        "batch_size": st.integers(1, 5),
        "seed": st.integers(0, 2**31),
        "shuffle": st.booleans(),
        "drop_last": st.booleans(),
        "epochs": st.integers(1, 3),
    }
)


def make(stream, **more):
    return Batches(numbers(stream["n"]), **{k: v for k, v in stream.items() if k != "n"}, **more)


@settings(deadline=None, derandomize=True)
@given(streams)
def test_the_order_is_numpy_s_permutation_of_seed_and_epoch(stream):
    n, size = stream["n"], stream["batch_size"]
    expected = []
    for epoch in range(stream["epochs"]):
        order = np.random.default_rng([stream["seed"], epoch]).permutation(n) if stream["shuffle"] else np.arange(n)
        cut = [order[first : first + size].tolist() for first in range(0, n, size)]
        expected += [batch for batch in cut if len(batch) == size or not stream["drop_last"]]
    batches = make(stream)
    assert rows_of(batches) == expected
    assert rows_of(batches) == expected  # a second pass starts over
    assert len(batches) * stream["epochs"] == len(expected)


@settings(deadline=None, derandomize=True)
@given(streams, st.integers(0, 100))
def test_start_goes_on_exactly_where_another_stopped(stream, consumed):
    batches = make(stream)
    assert rows_of(replace(batches, start=consumed)) == rows_of(islice(batches, consumed, None))


@settings(deadline=None, derandomize=True)
@given(streams, st.integers(1, 5), st.integers(0, 20))
def test_ranks_share_each_batch_without_loss_or_doubling(stream, world_size, start):
    whole = rows_of(make(stream, start=start))
    ranks = [rows_of(make(stream, start=start, rank=r, world_size=world_size)) for r in range(world_size)]
    assert {len(rank) for rank in ranks} == {len(whole)}
    for batch, parts in zip(whole, zip(*ranks, strict=True), strict=True):
        assert [batch[r::world_size] for r in range(world_size)] == list(parts)
        assert sorted(chain(*parts)) == sorted(batch)


def test_without_an_end_epochs_go_on_and_differ():
    batches = Batches(numbers(10), batch_size=5, seed=0)
    epochs = [list(chain(*rows_of(islice(batches, 2 * e, 2 * e + 2)))) for e in range(50)]
    assert all(sorted(epoch) == list(range(10)) for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) == 50


def test_resuming_far_ahead_needs_no_walk_through_the_past():
    rows = rows_of(islice(Batches(numbers(10), batch_size=5, seed=7, start=2 * 10**12 + 1), 1))
    assert rows == [np.random.default_rng([7, 10**12]).permutation(10)[5:].tolist()]


def test_rows_of_all_tensors_stay_together():
    x, y, weight = torch.randn(20, 3, 2), torch.arange(20), torch.arange(20.0) / 7
    for batch_x, batch_y, batch_weight in Batches((x, y, weight), batch_size=6, seed=3, epochs=2):
        assert_close(batch_x, x[batch_y], rtol=0, atol=0)
        assert_close(batch_weight, weight[batch_y], rtol=0, atol=0)


def test_examples_come_as_x_and_y():
    examples = Examples(torch.arange(6.0), torch.tensor([0, 1] * 3), ("even", "odd"), "numbers", "", "")
    for x, y in Batches(examples, batch_size=4, seed=0, epochs=1):
        assert (x.long() % 2).tolist() == y.tolist()


def test_writing_into_a_batch_leaves_the_data_alone():
    data = torch.zeros(4)
    for (batch,) in Batches((data,), batch_size=2, seed=0, shuffle=False, epochs=1):
        batch += 1
    assert data.tolist() == [0, 0, 0, 0]


def test_the_global_generators_are_neither_read_nor_moved(global_random_states):
    batches = Batches(numbers(30), batch_size=4, seed=5, epochs=2)
    torch.manual_seed(1)
    first, before = rows_of(batches), global_random_states()
    torch.manual_seed(2)
    assert rows_of(batches) == first
    torch.manual_seed(1)
    assert global_random_states() == before


def test_under_torch_distributed_the_rank_is_found_by_itself():
    from torch.testing._internal.distributed.fake_pg import FakeStore  # a process group without other processes

    batches = Batches(numbers(7), batch_size=4, seed=0, epochs=1)
    dist.init_process_group("fake", store=FakeStore(), rank=2, world_size=3)
    try:
        found = rows_of(batches)
    finally:
        dist.destroy_process_group()
    assert found == rows_of(replace(batches, rank=2, world_size=3))
    assert found != rows_of(batches)
    assert Batches.split_by_rank


def test_a_copy_sent_to_another_process_gives_the_same_stream():
    batches = Batches(numbers(9), batch_size=2, seed=4, epochs=2, start=3)
    assert rows_of(pickle.loads(pickle.dumps(batches))) == rows_of(batches)


def test_its_repr_tells_the_stream_without_the_numbers():
    batches = Batches(numbers(10), batch_size=4, seed=3)
    assert repr(batches) == "Batches(10 rows shuffled, 3 batches of 4 an epoch, for ever, seed 3)"


@pytest.mark.parametrize(
    ("data", "changes", "message"),
    [
        (numbers(4), {"batch_size": 0}, "batch_size must be at least 1, got 0"),
        (numbers(4), {"seed": -1}, "seed must be 0 or more, got -1"),
        (numbers(4), {"epochs": 0}, "epochs must be at least 1, or None"),
        (numbers(4), {"start": -1}, "start counts batches consumed already"),
        (numbers(4), {"batch_size": 5, "drop_last": True}, "4 rows make no whole batch of 5"),
        (numbers(4), {"rank": 0}, "rank and world_size together"),
        (numbers(4), {"rank": 2, "world_size": 2}, "got rank 2 of 2"),
        (numbers(0), {}, "0 rows"),
        ((torch.zeros(3), torch.zeros(4)), {}, r"same number of rows, got \[3, 4\]"),
        (torch.zeros(3), {}, r"got Tensor; for a single tensor write \(x,\)"),
        ((), {}, "tuple of tensors"),
        ((torch.tensor(1.0),), {}, "tuple of tensors"),
    ],
)
def test_bad_arguments_are_refused_at_construction(data, changes, message):
    with pytest.raises(ValueError, match=message):
        Batches(data, **({"batch_size": 2, "seed": 0} | changes))
