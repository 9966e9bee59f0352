"""Exercise 06.4: a message-passing step whose aggregate is the largest message."""

from __future__ import annotations

import numpy as np

from course_lib.study.exercises import Case, Exercise, Property


def pass_largest(nodes, edges):
    """Return, for each node, the largest of what its neighbours send, minus its own features."""
    source, target = edges
    largest = np.full(nodes.shape, -np.inf, dtype=nodes.dtype)
    np.maximum.at(largest, target, nodes[source])
    heard = np.isin(np.arange(len(nodes)), target)
    return np.where(heard[:, None], largest - nodes, np.zeros_like(nodes))


def _oracle(nodes, edges):
    found = np.zeros(nodes.shape)
    for node in range(len(nodes)):
        senders = [source for source, target in zip(*edges.tolist(), strict=True) if target == node]
        for entry in range(nodes.shape[1]):
            if senders:
                found[node, entry] = max(nodes[sender, entry] for sender in senders) - nodes[node, entry]
    return found


def _draw(rng):
    dtype = (np.float32, np.float64)[rng.integers(2)]
    num_nodes, width, num_edges = int(rng.integers(1, 8)), int(rng.integers(1, 5)), int(rng.integers(0, 16))
    nodes = (rng.standard_normal((num_nodes, width)) + rng.uniform(-4, 4)).astype(dtype)
    return nodes, rng.integers(0, num_nodes, (2, num_edges))


def _renumbered(function, case, result):
    nodes, edges = case.args
    order = np.random.default_rng(len(nodes)).permutation(len(nodes))
    again = function(nodes[order], np.argsort(order)[edges])
    if not np.allclose(again, np.asarray(result)[order], rtol=1e-4, atol=1e-4):
        return "with the nodes in another order, the rows of the result are other rows, not the same rows moved"
    return None


def _explain(case, expected, got):
    nodes, edges = case.args
    silent = [node for node in range(len(nodes)) if node not in edges[1]]
    if silent and not np.allclose(np.asarray(got)[silent], 0):
        return f"nodes that nothing is sent to: {silent}; they get 0"
    return f"the graph has {len(nodes)} nodes and the edges (source, target) {list(zip(*edges.tolist(), strict=True))}"


def _the_other_direction(nodes, edges):
    return pass_largest(nodes, edges[::-1])


def _both_directions(nodes, edges):
    return pass_largest(nodes, np.concatenate([edges, edges[::-1]], 1))


def _starts_from_zero(nodes, edges):
    largest = np.zeros_like(nodes)
    np.maximum.at(largest, edges[1], nodes[edges[0]])
    return np.where(np.isin(np.arange(len(nodes)), edges[1])[:, None], largest - nodes, 0).astype(nodes.dtype)


def _starts_from_minus_ten(nodes, edges):
    largest = np.full_like(nodes, -10)
    np.maximum.at(largest, edges[1], nodes[edges[0]])
    return np.where(np.isin(np.arange(len(nodes)), edges[1])[:, None], largest - nodes, 0).astype(nodes.dtype)


def _hears_itself(nodes, edges):
    largest = nodes.copy()
    np.maximum.at(largest, edges[1], nodes[edges[0]])
    return largest - nodes


def _last_message_wins(nodes, edges):
    found = np.zeros_like(nodes)
    for source, target in edges.T:
        found[target] = nodes[source] - nodes[target]
    return found


def _mean_message(nodes, edges):
    found = np.zeros_like(nodes)
    for node in range(len(nodes)):
        senders = edges[0][edges[1] == node]
        if len(senders):
            found[node] = nodes[senders].mean(0) - nodes[node]
    return found


def _own_minus_largest(nodes, edges):
    return -pass_largest(nodes, edges)


def _forgets_the_silent(nodes, edges):
    largest = np.full_like(nodes, -np.inf)
    np.maximum.at(largest, edges[1], nodes[edges[0]])
    return largest - nodes


def _silent_lose_themselves(nodes, edges):
    return np.where(np.isin(np.arange(len(nodes)), edges[1])[:, None], pass_largest(nodes, edges), -nodes)


EXERCISES = (
    Exercise(
        id="06.4",
        title="A layer that passes the largest message",
        difficulty=4,
        minutes=20,
        solution=pass_largest,
        cases=_draw,
        oracle=_oracle,
        edge_cases=(
            Case((np.array([[1.0, -5.0], [2.0, -7.0], [0.0, -6.0]]), np.array([[1, 2], [0, 0]])), note="two messages"),
            Case((np.array([[-3.0], [-4.0]]), np.array([[1], [0]])), note="all features below 0, one silent node"),
            Case((np.array([[2.0], [5.0]]), np.zeros((2, 0), dtype=int)), note="no edge at all"),
            Case((np.array([[2.0], [5.0]]), np.array([[0, 0, 1], [1, 1, 1]])), note="a double edge, an edge to itself"),
            Case((np.array([[-1e12], [-3e12], [2.0]]), np.array([[1, 0], [0, 2]])), note="features far below 0"),
        ),
        properties=(Property("moves its rows when the nodes are renumbered", _renumbered),),
        explain=_explain,
        hints=(
            "Start each node's largest message at minus infinity, not at 0: features may all be negative.",
            "`np.maximum.at(largest, target, nodes[source])` goes through all edges, also where a target comes twice.",
            "Nodes that are no target still have minus infinity: `np.isin(np.arange(len(nodes)), target)` finds the "
            "others.",
        ),
        wrong={
            "sends from target to source": _the_other_direction,
            "sends both ways": _both_directions,
            "starts the maximum from zero": _starts_from_zero,
            "starts the maximum from -10": _starts_from_minus_ten,
            "lets every node hear itself": _hears_itself,
            "keeps the last message": _last_message_wins,
            "takes the mean": _mean_message,
            "turns the difference round": _own_minus_largest,
            "gives silent nodes minus infinity": _forgets_the_silent,
            "subtracts silent nodes from nothing": _silent_lose_themselves,
        },
    ),
)
