"""Message passing: the sum over neighbours read aloud, a dense matrix, and nodes that have no order."""

import pytest
import torch
from torch.testing import assert_close

from course_lib.nn import MessagePassing

EXACT = {"rtol": 0, "atol": 0}
ROUNDING = {"rtol": 1e-12, "atol": 1e-12}
EDGES = torch.tensor([[0, 1, 2, 2, 3, 0, 4], [1, 0, 0, 3, 2, 0, 3]])  # 0 to itself; nothing reaches 4 and 5


@torch.no_grad()
def slow_message_passing(layer, nodes, edges):
    """For each node: its own term, and the sum or mean of the messages of those who point at it."""
    out = []
    for i in range(len(nodes)):
        messages = [layer.message.weight @ nodes[source] for source, target in edges.T.tolist() if target == i]
        received = sum(messages, torch.zeros(layer.message.out_features).double())
        if layer.aggregation == "mean" and messages:
            received = received / len(messages)
        out.append(layer.self_term.weight @ nodes[i] + received + layer.self_term.bias)
    return torch.stack(out)


@pytest.fixture(params=["mean", "sum"])
def layer(request, shaken):
    return shaken(MessagePassing(3, 4, aggregation=request.param))


def test_matches_the_slow_sum(layer, randn):
    nodes = randn(6, 3)
    assert_close(layer(nodes, EDGES).detach(), slow_message_passing(layer, nodes, EDGES), **ROUNDING)


def test_is_a_product_with_the_adjacency_matrix(layer, randn):
    nodes = randn(6, 3)
    adjacency = torch.zeros(6, 6).double()
    adjacency[EDGES[1], EDGES[0]] = 1  # row: target
    if layer.aggregation == "mean":
        adjacency /= adjacency.sum(1, keepdim=True).clamp(min=1)
    assert_close(layer(nodes, EDGES), layer.self_term(nodes) + adjacency @ layer.message(nodes), **ROUNDING)


@pytest.mark.parametrize("seed", range(5))
def test_renumbering_the_nodes_renumbers_the_output_exactly(layer, seed):
    """Exact, with whole numbers: sums in another order are the same, and with four neighbours so is their mean."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.copy_(torch.randint(-9, 10, parameter.shape, generator=generator))
    nodes = torch.randint(-9, 10, (7, 3), generator=generator).double()
    edges = torch.stack([torch.randint(0, 7, (24,), generator=generator), torch.arange(6).repeat(4)])
    order = torch.randperm(7, generator=generator)  # new node k is old node order[k]
    new_number = order.argsort()
    assert_close(layer(nodes[order], new_number[edges]), layer(nodes, edges)[order], **EXACT)


def test_renumbering_with_any_numbers(layer, randn):
    nodes, order = randn(6, 3), torch.tensor([3, 1, 5, 0, 2, 4])
    assert_close(layer(nodes[order], order.argsort()[EDGES]), layer(nodes, EDGES)[order], **ROUNDING)


def test_the_order_of_the_edges_does_not_matter(layer, randn):
    nodes = randn(6, 3)
    assert_close(layer(nodes, EDGES[:, [6, 2, 0, 1, 5, 4, 3]]), layer(nodes, EDGES), **ROUNDING)


def test_a_node_that_no_edge_reaches_keeps_its_own_term(layer, randn):
    nodes = randn(6, 3)
    assert_close(layer(nodes, EDGES)[4:], layer.self_term(nodes)[4:], **EXACT)
    assert_close(layer(nodes, torch.empty(2, 0, dtype=torch.int64)), layer.self_term(nodes), **EXACT)


def test_messages_go_from_source_to_target_only(layer, randn):
    nodes = randn(3, 3).requires_grad_()
    reached = layer(nodes, torch.tensor([[0], [1]]))
    gradient = torch.autograd.grad(reached[1].sum(), nodes, retain_graph=True)[0]
    assert gradient.count_nonzero(dim=1).tolist() == [3, 3, 0]
    gradient = torch.autograd.grad(reached[0].sum(), nodes)[0]
    assert gradient.count_nonzero(dim=1).tolist() == [3, 0, 0]


def test_equal_neighbours_count_in_a_sum_and_not_in_a_mean():
    one, three = torch.tensor([[1], [0]]), torch.tensor([[1, 2, 3], [0, 0, 0]])
    nodes = torch.tensor([[0.0], [5.0], [5.0], [5.0]])
    for aggregation, expected in (("mean", (5.0, 5.0)), ("sum", (5.0, 15.0))):
        layer = MessagePassing(1, 1, aggregation=aggregation, initialiser=lambda weight, **_: weight.fill_(1))
        assert (layer(nodes, one)[0].item(), layer(nodes, three)[0].item()) == expected


def test_a_repeated_edge_counts_twice(layer, randn):
    nodes = randn(2, 3)
    once, twice = (layer(nodes, torch.tensor([[0], [1]]).repeat(1, times)) for times in (1, 2))
    message = layer.message(nodes)[0]
    assert_close(twice[1] - once[1], message if layer.aggregation == "sum" else 0 * message, **ROUNDING)


def test_gradients(layer, randn, gradients_are_right):
    assert gradients_are_right(layer, randn(6, 3), EDGES)


@pytest.mark.parametrize(("aggregation", "expected"), [("sum", 1025.0), ("mean", 2.0)])
def test_many_neighbours_are_counted_and_added_in_float32_under_autocast(aggregation, expected):
    """In bfloat16 counting one by one stops at 256."""
    layer = MessagePassing(1, 1, aggregation=aggregation, initialiser=lambda weight, **_: weight.fill_(1))
    edges = torch.stack([torch.arange(1, 1025), torch.zeros(1024, dtype=torch.int64)])
    with torch.autocast("cpu", torch.bfloat16):
        out = layer(torch.ones(1025, 1), edges)
    assert_close(out[0], torch.tensor([expected], dtype=torch.bfloat16), **EXACT)


def test_extreme_features_do_not_spoil_nodes_out_of_reach(layer, randn):
    nodes = randn(6, 3)
    before = layer(nodes, EDGES)
    nodes[4] = torch.inf
    after = layer(nodes, EDGES)  # 4 points at 3
    assert_close(after[[0, 1, 2, 5]], before[[0, 1, 2, 5]], **EXACT)
    assert not after[[3, 4]].isfinite().any()


@pytest.mark.parametrize(
    ("nodes", "edges", "message"),
    [
        (torch.ones(6, 2), EDGES, r"needs nodes \(V, 3\), got \(6, 2\)"),
        (torch.ones(3), EDGES, r"got \(3,\)"),
        (torch.ones(6, 3), EDGES.T, r"edges \(2, E\) of int64 .* got \(7, 2\) of torch.int64"),
        (torch.ones(6, 3), EDGES[0], r"got \(7,\)"),
        (torch.ones(6, 3), EDGES.float(), r"got \(2, 7\) of torch.float32"),
    ],
)
def test_bad_input_is_named(nodes, edges, message):
    with pytest.raises(ValueError, match=message):
        MessagePassing(3, 4)(nodes, edges)


def test_unknown_aggregation_is_named():
    with pytest.raises(ValueError, match='"mean" or "sum", got \'max\''):
        MessagePassing(3, 4, aggregation="max")
