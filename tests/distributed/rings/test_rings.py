"""Collectives out of send and receive against torch's own and a plain sum, on 2, 3 and 4 ranks, traffic counted."""

import pytest
import torch
import torch.distributed as dist
from torch.testing import assert_close

from course_lib.collectives import rank, world_size
from course_lib.distributed import (
    Traffic,
    chunk_sizes,
    launch,
    naive_all_reduce,
    ring_all_gather,
    ring_all_reduce,
    ring_broadcast,
    ring_reduce_scatter,
    ring_traffic,
    tree_broadcast,
)

EXACT = {"rtol": 0, "atol": 0}
FLOAT64 = {"rtol": 1e-12, "atol": 1e-12}  # sums in another order
FLOAT32 = {"rtol": 1e-6, "atol": 1e-6}
SIZES = (1, 2, 3, 5, 12, 1001)


def rows_of_all(size, dtype=torch.float64):
    generator = torch.Generator().manual_seed(size)
    return torch.randn(world_size(), size, generator=generator, dtype=torch.float64).to(dtype)


def check_all_reduce(me):
    for size in SIZES:
        for dtype, close in ((torch.float64, FLOAT64), (torch.float32, FLOAT32)):
            everyone = rows_of_all(size, dtype)
            theirs = everyone[me].clone()
            dist.all_reduce(theirs)
            for by_hand in (ring_all_reduce, naive_all_reduce):
                mine = everyone[me].clone()
                by_hand(mine)
                assert_close(mine, theirs, **close)
                assert_close(mine, everyone.sum(0), **close)
                copies = [torch.empty_like(mine) for _ in range(world_size())]
                dist.all_gather(copies, mine)
                for copy in copies:  # every rank has the same bits
                    assert_close(copy, mine, **EXACT)
    whole_numbers = torch.arange(10) * (me + 1)
    ring_all_reduce(whole_numbers)
    assert_close(whole_numbers, torch.arange(10) * sum(range(1, world_size() + 1)), **EXACT)
    for dtype in (torch.bfloat16, torch.float16, torch.int8, torch.uint8):  # small whole numbers: sums are exact
        for by_hand in (ring_all_reduce, naive_all_reduce):
            few = torch.arange(5).to(dtype)
            by_hand(few)
            assert_close(few, (torch.arange(5) * world_size()).to(dtype), **EXACT)


def check_that_views_are_filled(me):
    for in_place in (ring_all_reduce, naive_all_reduce):
        whole = torch.zeros(3, 4, dtype=torch.float64)
        columns = whole[:, 1:3]  # not contiguous
        columns += me + 1
        in_place(columns)
        expected = torch.zeros(3, 4, dtype=torch.float64)
        expected[:, 1:3] = sum(range(1, world_size() + 1))
        assert_close(whole, expected, **EXACT)
        every_other = torch.ones(9)
        in_place(every_other[::2])
        assert_close(every_other, torch.tensor([world_size(), 1.0] * 4 + [world_size()]), **EXACT)
    for broadcast in (ring_broadcast, tree_broadcast):
        every_other = torch.full((9,), -1.0)
        every_other[::2] = me
        broadcast(every_other[::2], source=1)
        assert_close(every_other, torch.tensor([1.0, -1.0] * 4 + [1.0]), **EXACT)
    assert_close(
        ring_all_gather(torch.full((4,), float(me))[::2]), torch.arange(world_size()).repeat_interleave(2) * 1.0
    )


def check_that_nothing_is_no_trouble(me):
    traffic, nothing = Traffic(), torch.zeros(0, 3)
    for in_place in (ring_all_reduce, naive_all_reduce, ring_broadcast, tree_broadcast):
        in_place(nothing, traffic=traffic)
    assert ring_reduce_scatter(nothing, traffic=traffic).shape == (0,)
    assert ring_all_gather(nothing, traffic=traffic).shape == (0, 3)
    assert traffic == Traffic(0, 0)


def check_the_halves(me):
    for size in SIZES:
        everyone = rows_of_all(size)
        before = everyone[me].clone()
        mine = ring_reduce_scatter(everyone[me])
        assert_close(everyone[me], before, **EXACT)
        chunks = everyone.sum(0).split(chunk_sizes(size, world_size()))
        assert_close(mine, chunks[me], **FLOAT64)
        together = ring_all_gather(mine)  # chunks of different lengths
        whole = everyone[me].clone()
        ring_all_reduce(whole)
        assert_close(together, whole, **EXACT)
    rows = torch.full((me, 2), float(me))  # rank 0 has none
    expected = torch.cat([torch.full((other, 2), float(other)) for other in range(world_size())])
    assert_close(ring_all_gather(rows), expected, **EXACT)


def check_broadcasts(me):
    for broadcast in (ring_broadcast, tree_broadcast):
        for source in range(world_size()):
            for size in SIZES:
                everyone = rows_of_all(size)
                mine = everyone[me].clone()
                broadcast(mine, source=source)
                assert_close(mine, everyone[source], **EXACT)
        turned = torch.arange(6.0).view(2, 3).T * (me + 1)
        broadcast(turned, source=1)
        assert_close(turned, torch.arange(6.0).view(2, 3).T * 2, **EXACT)


def check_traffic(me):
    def sent(collective, tensor):
        traffic = Traffic()
        collective(tensor, traffic=traffic)
        return traffic

    p = world_size()
    for size in (*SIZES, 60):
        tensor = torch.zeros(size)
        of_rank = {"element_size": 4, "num_ranks": p, "rank": me}
        assert sent(ring_all_reduce, tensor) == ring_traffic("all_reduce", size, **of_rank)
        assert sent(ring_reduce_scatter, tensor) == ring_traffic("reduce_scatter", size, **of_rank)
        assert sent(ring_broadcast, tensor) == ring_traffic("broadcast", size, **of_rank)
        assert sent(naive_all_reduce, tensor) == (Traffic(1, 4 * size) if me else Traffic(p - 1, (p - 1) * 4 * size))
    assert sent(ring_all_gather, torch.zeros(15)) == ring_traffic("all_gather", 15 * p, **of_rank)
    assert sent(ring_all_reduce, torch.zeros(60)) == Traffic(2 * (p - 1), 2 * (p - 1) * 240 // p)  # 2 (p - 1) / p
    messages = torch.tensor(sent(tree_broadcast, torch.zeros(3)).messages)
    dist.all_reduce(messages)
    assert messages == p - 1


def check_a_group_of_some(me):
    last = dist.new_group([world_size() - 2, world_size() - 1])
    if me >= world_size() - 2:
        values = torch.tensor([float(me), 1.0, 2.0])
        for collective in (ring_all_reduce, naive_all_reduce):
            mine = values.clone()
            collective(mine, group=last)
            assert_close(mine, torch.tensor([2.0 * world_size() - 3, 2.0, 4.0]), **EXACT)
        for broadcast in (ring_broadcast, tree_broadcast):
            mine = values.clone()
            broadcast(mine, source=1, group=last)
            assert_close(mine, torch.tensor([world_size() - 1.0, 1.0, 2.0]), **EXACT)
    else:
        for collective in (ring_all_reduce, ring_reduce_scatter, ring_all_gather, ring_broadcast, tree_broadcast):
            with pytest.raises(ValueError, match=rf"Rank {me} does not belong to the group"):
                collective(torch.zeros(1), group=last)


def check_refusals(me):
    shapes = r"rank 0: \(2,\) of torch\.float32; rank 1: \(3,\) of torch\.float32"
    for collective in (ring_all_reduce, ring_reduce_scatter, ring_broadcast, tree_broadcast, naive_all_reduce):
        with pytest.raises(ValueError, match=rf"{collective.__name__} needs the same shape and dtype .* {shapes}"):
            collective(torch.zeros(2 + me))
    with pytest.raises(ValueError, match=r"rank 0: \(2,\) of torch\.float64; rank 1: \(2,\) of torch\.float32"):
        ring_all_reduce(torch.zeros(2, dtype=torch.float32 if me else torch.float64))
    with pytest.raises(ValueError, match=r"but for the number of rows, got rank 0: \(1, 1\) .* rank 1: \(1, 2\)"):
        ring_all_gather(torch.zeros(1, 1 + me))
    with pytest.raises(ValueError, match=r"different collectives: rank 0: naive_all_reduce; rank 1: ring_broadcast"):
        (ring_broadcast if me else naive_all_reduce)(torch.zeros(1))
    with pytest.raises(ValueError, match=r"of one of float64.*rank 1 has another"):
        ring_all_reduce(torch.zeros(1, dtype=torch.complex64 if me else torch.float32))
    for broadcast in (ring_broadcast, tree_broadcast):
        with pytest.raises(ValueError, match=rf"source must be a rank from 0 to {world_size() - 1}, got 7"):
            broadcast(torch.zeros(1), source=7)
        with pytest.raises(ValueError, match=r"the same source on every rank, got rank 0: 0; rank 1: 1"):
            broadcast(torch.zeros(1), source=me)
    with pytest.raises(ValueError, match=r"needs a dimension of rows"):
        ring_all_gather(torch.zeros([2] * me))
    check_broadcasts(me)  # a refusal leaves nothing behind that another collective would stumble over


def worker():
    me = rank()
    check_all_reduce(me)
    check_that_views_are_filled(me)
    check_that_nothing_is_no_trouble(me)
    check_the_halves(me)
    check_broadcasts(me)
    check_traffic(me)
    check_a_group_of_some(me)
    check_refusals(me)


@pytest.mark.parametrize("num_ranks", [2, 3, 4])
def test_on_real_ranks(num_ranks):
    launch(worker, num_workers=num_ranks, timeout=120)


def test_one_process_has_nothing_to_send():
    traffic, tensor = Traffic(), torch.arange(6.0).view(2, 3)
    for in_place in (ring_all_reduce, naive_all_reduce, ring_broadcast, tree_broadcast):
        in_place(tensor, traffic=traffic)
    assert_close(ring_reduce_scatter(tensor, traffic=traffic), torch.arange(6.0), **EXACT)
    assert_close(ring_all_gather(tensor, traffic=traffic), tensor, **EXACT)
    assert_close(tensor, torch.arange(6.0).view(2, 3), **EXACT)
    assert traffic == Traffic(0, 0)
    with pytest.raises(ValueError, match=r"needs a dimension of rows"):
        ring_all_gather(torch.tensor(1.0))
    for broadcast in (ring_broadcast, tree_broadcast):
        with pytest.raises(ValueError, match=r"source must be a rank from 0 to 0, got 1"):
            broadcast(tensor, source=1)


@pytest.mark.parametrize("num_ranks", [1, 2, 3, 4, 7, 64])
@pytest.mark.parametrize("num_elements", [0, 1, 5, 64, 1000, 448])
def test_predicted_traffic_adds_up(num_elements, num_ranks):
    assert sum(chunk_sizes(num_elements, num_ranks)) == num_elements
    of_all = [
        ring_traffic("all_reduce", num_elements, element_size=1, num_ranks=num_ranks, rank=me)
        for me in range(num_ranks)
    ]
    assert sum(traffic.bytes for traffic in of_all) == 2 * (num_ranks - 1) * num_elements
    if num_elements % num_ranks == 0:
        assert {traffic.bytes for traffic in of_all} == {2 * (num_ranks - 1) * num_elements // num_ranks}
    halves = [
        sum(
            ring_traffic(half, num_elements, element_size=1, num_ranks=num_ranks, rank=me).bytes
            for half in ("reduce_scatter", "all_gather")
        )
        for me in range(num_ranks)
    ]
    assert halves == [traffic.bytes for traffic in of_all]
