"""Differences and gradcheck find what is wrong; forward mode and the views of a graph say what they should."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

from course_lib.autodiff import (
    Dual,
    GradientMismatch,
    Result,
    Variable,
    Vjp,
    apply,
    as_text,
    central_differences,
    count_operations,
    draw,
    gradcheck,
    graph,
    jvp,
    saved_bytes,
)


def test_central_differences_are_exact_for_a_parabola_and_leave_their_input_alone():
    x = np.array([[1.0, -2.0], [0.5, 4.0]])
    before = x.copy()
    assert_allclose(central_differences(lambda x: (x**2).sum(), x, step=0.25), 2 * x, rtol=1e-14)
    assert np.array_equal(x, before)


def cube_with_derivative(factor):
    def cube(x):
        return Result(x**3, (Vjp(lambda g: g * factor * x**2, (x,)),))

    return lambda x: apply(cube, x)


def test_gradcheck_accepts_a_rule_of_ones_own_and_rejects_a_wrong_one():
    assert gradcheck(cube_with_derivative(3), [0.5, -1.0]) < 1e-9
    with pytest.raises(GradientMismatch, match=r"input 0 at \(1,\) is .*central differences give"):
        gradcheck(cube_with_derivative(3.001), [0.0, -1.0])


def test_gradcheck_sees_a_gradient_sent_to_the_wrong_entry():
    def flip(x):
        return Result(x[::-1], (Vjp(lambda g: g),))

    with pytest.raises(GradientMismatch):
        gradcheck(lambda x: apply(flip, x), [1.0, 2.0])


def test_gradcheck_counts_an_unused_input_as_gradient_zero():
    assert gradcheck(lambda x, y: x * 2.0, [1.0], [5.0]) < 1e-9


def test_gradcheck_rejects_what_is_not_a_number():
    with np.errstate(all="ignore"), pytest.raises(GradientMismatch):
        gradcheck(lambda x: x.log(), [-1.0])


def test_forward_mode_with_several_inputs_and_a_column_of_the_jacobian():
    value, along = jvp(lambda x, y: x * y, (np.array([1.0, 2.0]), 3.0), (np.zeros(2), 1.0))
    assert value.tolist() == [3.0, 6.0]
    assert along.tolist() == [1.0, 2.0]
    constant = jvp(lambda x: x * 0.0 + np.array([7.0]), 1.0, 1.0)
    assert constant[1].tolist() == [0.0]


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda: jvp(lambda x, y: x, (1.0, 2.0), (1.0,)), "one tangent for each input, got 2 inputs, 1 tangents"),
        (lambda: Dual([1.0, 2.0], [1.0]), r"share a shape, got \(2,\) and \(1,\)"),
        (lambda: central_differences(np.sum, [1.0], step=0.0), "step must be positive, got 0.0"),
    ],
)
def test_mistakes_are_named(function, message):
    with pytest.raises(ValueError, match=message):
        function()


def test_graph_of_a_diamond():
    x = Variable(2.0, name="x")
    y = x.exp()
    found = graph(y * x + y)
    assert [node.op for node in found.nodes] == ["leaf", "exp", "multiply", "add"]
    assert found.edges == ((0, 1), (1, 2), (0, 2), (2, 3), (1, 3))
    assert found.layers == (0, 1, 2, 3)


def test_text_names_shapes_and_parents():
    x = Variable(np.ones((2, 3)), name="x")
    assert as_text((x.T @ x).sum()).splitlines() == [
        "0 x         (2,3)  2×3",
        "1 transpose (3,2)  3×2  from 0",
        "2 matmul    (3,3)  3×3  from 1, 0",
        "3 sum       ()     18   from 2",
    ]


def test_drawing_shows_names_values_and_gradients_in_places_of_their_own():
    from matplotlib.figure import Figure

    x, w = Variable(2.0, name="x"), Variable(3.0, name="w")
    loss = (w * x - 1.0) ** 2
    loss.backward()
    ax = Figure().subplots()
    draw(loss, ax)
    texts = [text.get_text() for text in ax.texts]
    assert {"x", "w", "×", "25", "30", "20"} <= set(texts)  # the loss, and its gradients 2 (wx - 1) x and w
    nodes = [text.get_position() for text in ax.texts if text.get_bbox_patch()]
    assert len(set(nodes)) == len(nodes) == len(graph(loss).nodes)


def test_a_drawing_that_nobody_could_read_is_refused():
    from matplotlib.figure import Figure

    x = Variable(1.0)
    for _ in range(40):
        x = x + 1.0
    with pytest.raises(ValueError, match="81 nodes, more than the 40"):
        draw(x, Figure().subplots())


def test_saved_bytes_counts_each_array_once_and_no_leaf():
    x = Variable(np.zeros((10, 10)))
    assert saved_bytes(x.T.reshape(-1)) == 800  # the reshape copies, the transpose is a view of the leaf
    y = x.exp()
    assert saved_bytes((y + y).T) == 1600
    assert saved_bytes(x) == 0


def test_operations_counted_by_hand():
    x, W = np.arange(1.0, 5.0), np.ones((3, 4))
    assert count_operations(lambda x: x * x + 1, x) == 8
    assert count_operations(lambda W, x: np.tanh(W @ x), W, x) == 3 * 4 + 3 * 3 + 3
    assert count_operations(lambda x: 2 / np.exp(-x) - x**2, x) == 5 * 4
    assert count_operations(lambda W: W.T[0].copy(), W) == 0


def test_counting_does_not_change_what_is_computed():
    seen = []
    rng = np.random.default_rng(0)
    W, x = rng.standard_normal((3, 4)), rng.standard_normal(4)
    count_operations(lambda W, x: seen.append(np.tanh(W @ x) / 3 - 1), W, x)
    assert_allclose(seen[0].astype(float), np.tanh(W @ x) / 3 - 1, rtol=1e-14)
