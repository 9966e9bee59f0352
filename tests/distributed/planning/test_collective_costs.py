"""What collectives cost: against machines that play them round by round, the rings of this course, and by thought."""

import math

import pytest

from course_lib.distributed import collective_cost, ring_traffic


def played_ring(num_bytes, num_ranks, rounds):
    """Every round each rank sends one piece to its neighbour, all at once; returns rounds, bytes in a row and sent."""
    piece = num_bytes / num_ranks
    sent = [0.0] * num_ranks
    for _ in range(rounds):
        for rank in range(num_ranks):
            sent[rank] += piece
    return rounds, rounds * piece, max(sent)


def played_tree(num_bytes, num_ranks):
    """Ranks that have the tensor double every round; returns rounds, bytes in a row and sent by the busiest."""
    has, sent, rounds = 1, [0.0] * num_ranks, 0
    while has < num_ranks:
        for rank in range(min(has, num_ranks - has)):
            sent[rank] += num_bytes
        has, rounds = min(2 * has, num_ranks), rounds + 1
    return rounds, rounds * num_bytes, max(sent)


@pytest.mark.parametrize("num_ranks", [2, 3, 4, 5, 8, 17])
def test_played_round_by_round(num_ranks):
    for collective, rounds in (("all_gather", 1), ("reduce_scatter", 1), ("all_reduce", 2)):
        cost = collective_cost(collective, 1000, num_ranks=num_ranks)
        played = played_ring(1000, num_ranks, rounds * (num_ranks - 1))
        assert (cost.num_messages, cost.chain_bytes, cost.sent_bytes) == pytest.approx(played)
    down = played_tree(1000, num_ranks)
    cost = collective_cost("broadcast", 1000, num_ranks=num_ranks)
    assert (cost.num_messages, cost.chain_bytes, cost.sent_bytes) == down
    cost = collective_cost("all_reduce", 1000, num_ranks=num_ranks, algorithm="tree")
    assert (cost.num_messages, cost.chain_bytes) == (2 * down[0], 2 * down[1])


@pytest.mark.parametrize("collective", ["all_reduce", "reduce_scatter", "all_gather"])
def test_the_rings_of_this_course_send_as_much(collective):
    for num_ranks in (2, 4, 5, 8):
        sent = ring_traffic(collective, 40 * num_ranks, element_size=4, num_ranks=num_ranks, rank=1)
        cost = collective_cost(collective, 160 * num_ranks, num_ranks=num_ranks)
        assert (sent.messages, sent.bytes) == (cost.num_messages, cost.sent_bytes)


def test_by_thought():
    assert collective_cost("all_reduce", 100, num_ranks=2).sent_bytes == 100  # half there, half back
    assert collective_cost("all_reduce", 100, num_ranks=10**6).sent_bytes == pytest.approx(200, rel=1e-5)
    naive = collective_cost("all_reduce", 100, num_ranks=9, algorithm="naive")
    assert (naive.num_messages, naive.chain_bytes, naive.sent_bytes) == (16, 1600, 800)
    assert collective_cost("broadcast", 100, num_ranks=9, algorithm="naive").num_messages == 8
    assert collective_cost("send", 100, num_ranks=2).chain_bytes == 100


def test_one_rank_sends_nothing():
    for collective in ("send", "broadcast", "all_gather", "reduce_scatter", "all_reduce"):
        cost = collective_cost(collective, 100, num_ranks=1)
        assert (cost.num_messages, cost.chain_bytes, cost.sent_bytes) == (0, 0, 0)


def test_an_all_reduce_is_a_scatter_and_a_gather():
    parts = [collective_cost(each, 96, num_ranks=7) for each in ("reduce_scatter", "all_gather")]
    whole = collective_cost("all_reduce", 96, num_ranks=7)
    assert whole.num_messages == sum(part.num_messages for part in parts)
    assert whole.chain_bytes == pytest.approx(math.fsum(part.chain_bytes for part in parts))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: collective_cost("all_to_all", 1, num_ranks=2), "collective must be one of .*got 'all_to_all'"),
        (lambda: collective_cost("all_gather", 1, num_ranks=2, algorithm="tree"), "no 'tree' algorithm is counted"),
        (lambda: collective_cost("all_gather", -1, num_ranks=2), "0 or more bytes and 1 or more ranks, got -1 and 2"),
        (lambda: collective_cost("all_gather", 1, num_ranks=0), "got 1 and 0"),
        (lambda: collective_cost("all_gather", math.nan, num_ranks=2), "0 or more bytes .* got nan and 2"),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
