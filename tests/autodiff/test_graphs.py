"""How gradients travel: accumulation, reuse, diamonds, deep graphs, constants, no_grad; and what is refused."""

import contextlib
import re

import numpy as np
import pytest
import torch

from course_lib.autodiff import Variable, apply, backward, no_grad, rules, topological_order


def test_gradients_accumulate_like_torch():
    x, t = Variable([1.0, 2.0]), torch.tensor([1.0, 2.0], requires_grad=True)
    for _ in range(2):
        (x * x).sum().backward()
        (t * t).sum().backward()
    assert x.grad.tolist() == t.grad.tolist() == [4.0, 8.0]
    x.zero_grad()
    assert x.grad is None


def test_every_way_to_the_output_counts():
    x = Variable(3.0)
    y = x * x  # used twice below: a diamond
    (y * y + y + x).backward()
    assert x.grad == 4 * 27 + 2 * 3 + 1


def test_diamonds_in_a_row_are_walked_once_each():
    x = Variable(1.0)
    y = x
    for _ in range(60):  # 2**60 ways from x to y, 61 variables
        y = y + y
    y.backward()
    assert x.grad == 2.0**60
    assert len(topological_order(y)) == 61


def test_a_graph_deeper_than_the_recursion_limit():
    x = Variable(1.0)
    y = x
    for _ in range(20_000):
        y = y + 1.0
    y.backward()
    assert x.grad == 1.0
    assert y.item() == 20_001.0


def test_constants_get_no_gradient_and_arrays_may_stand_on_the_left():
    x, fixed = Variable([1.0, 2.0]), Variable([3.0, 4.0], requires_grad=False)
    y = np.array([5.0, 6.0]) * x + fixed
    y.sum().backward()
    assert isinstance(y, Variable)
    assert x.grad.tolist() == [5.0, 6.0]
    assert fixed.grad is None


def test_a_rule_applied_to_plain_arrays_alone_is_not_recorded():
    output = apply(rules.exp, [0.0, 0.0])
    assert (output.data.tolist(), output.requires_grad) == ([1.0, 1.0], False)


def test_gradients_share_no_memory():
    x, y = Variable([1.0]), Variable([2.0])
    (x + y).sum().backward()
    x.grad *= 10
    assert y.grad.tolist() == [1.0]


def test_inner_gradients_are_kept_on_request():
    x = Variable(2.0)
    y, z = x * 3.0, x * 4.0
    y.retain_grad()
    (y * z).backward()
    assert (y.grad, z.grad) == (8.0, None)


def test_no_grad_records_nothing_and_ends_with_its_block():
    x = Variable([1.0])
    with contextlib.suppress(KeyError), no_grad():
        assert (x * x).parents == ()
        raise KeyError
    assert (x * x).requires_grad


def test_a_vector_may_be_handed_in():
    x = Variable([1.0, 2.0, 3.0])
    backward(x * x, [1.0, 0.0, -1.0])
    assert x.grad.tolist() == [2.0, 0.0, -6.0]


def test_a_kept_graph_can_be_walked_again_and_gives_the_same():
    x = Variable(3.0)
    y = x * x
    z = y * y
    z.backward(retain_graph=True)
    first = x.grad.copy()
    x.zero_grad()
    z.backward()
    assert x.grad == first == 4 * 27


def test_a_leaf_is_its_own_gradient():
    x = Variable(5.0)
    x.backward()
    x.backward()
    assert x.grad == 2.0


@pytest.mark.parametrize("change", ["leaf", "inner", "view"])
def test_a_change_in_place_of_what_is_needed_is_noticed_and_touches_no_gradient(change):
    source = np.ones((2, 2))
    x, w = Variable(source[:, :1] if change == "view" else source), Variable(3.0)
    y = x.exp()
    z = (y * w + x * x).sum()
    {"leaf": x.data, "inner": y.data, "view": source}[change][0, 0] += 1e-9
    with pytest.raises(ValueError, match=r"shape \(2, [12]\) that '(multiply|exp)' needs.*changed in place"):
        z.backward()
    assert x.grad is None
    assert w.grad is None


def test_a_change_in_place_of_what_is_not_needed_is_allowed():
    x, w = Variable([1.0, 2.0]), np.array([3.0, 4.0])
    y = x + 1.0
    z = (y * w).sum()  # the gradient of x needs w alone
    y.data[0] = x.data[0] = 100.0
    z.backward()
    assert x.grad.tolist() == [3.0, 4.0]


def test_a_new_array_in_place_of_the_old_one_changes_no_gradient():
    w = Variable([1.0, 2.0])
    loss = (w * w).sum()
    w.data = w.data - 1.0
    loss.backward()
    assert w.grad.tolist() == [2.0, 4.0]


def test_a_graph_is_used_once():
    x = Variable(1.0)
    y = x.exp()
    z = y * 2.0
    z.backward()
    for again in (z, y * 3.0):
        with pytest.raises(ValueError, match=r"gone through this graph before .through '(multiply|exp)'"):
            again.backward()
    assert x.grad == 2 * np.e


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda: Variable([1.0, 2.0]).backward(), "starts from a scalar, got shape (2,)"),
        (lambda: Variable([1.0, 2.0]).exp().backward([1.0]), "the output's shape (2,), got (1,)"),
        (lambda: Variable(1.0, requires_grad=False).backward(), "requires a gradient"),
        (lambda: Variable(np.ones((3, 2))) + np.ones(4), "add: shapes (3, 2) and (4,) do not broadcast"),
        (lambda: Variable(np.ones((3, 2))) * np.ones(4), "multiply: shapes (3, 2) and (4,)"),
        (lambda: np.ones(4) / Variable(np.ones((3, 2))), "divide: shapes (4,) and (3, 2)"),
        (lambda: np.ones(4) - Variable(np.ones((3, 2))), "subtract: shapes (4,) and (3, 2)"),
        (lambda: Variable(np.ones((3, 2))) ** np.ones(4), "power: shapes (3, 2) and (4,)"),
        (lambda: Variable(np.ones((3, 2))) @ np.ones((3, 2)), "matmul: (3, 2) @ (3, 2) does not fit"),
        (lambda: Variable(np.ones((3, 2))) @ np.ones(3), "matmul: (3, 2) @ (3,) does not fit"),
        (lambda: Variable(1.0) @ np.ones(3), "matmul: () @ (3,) does not fit"),
        (lambda: Variable(np.ones((2, 3, 2))) @ np.ones((4, 2, 3)), "matmul: shapes (2, 3, 2) and (4, 2, 3)"),
        (lambda: Variable(np.ones((3, 2))).sum(2), "sum: axis 2 does not fit an array of shape (3, 2)"),
        (lambda: Variable(np.ones((3, 2))).mean((0, -2)), "sum: axis (0, -2) does not fit"),
        (lambda: Variable(np.ones((3, 2))).max(-3), "max: axis -3 does not fit"),
        (lambda: Variable(1.0).logsumexp(), "logsumexp: axis -1 does not fit an array of shape ()"),
        (lambda: Variable(np.ones((3, 2))).reshape(4, 2), "reshape: (3, 2) has 6 entries, which do not fit into"),
        (lambda: Variable(np.ones((3, 2))).transpose(0, 0), "transpose: axes must name each axis of (3, 2) once"),
        (lambda: Variable(["a"]), "holds real numbers"),
        (lambda: Variable(Variable(1.0)), "a Variable already"),
    ],
)  # fmt: skip
def test_mistakes_are_named(function, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        function()


def test_what_is_printed():
    x = Variable([1.0, 2.0])
    assert repr(x) == "Variable([1., 2.])"
    assert repr(x * 2.0) == "Variable([2., 4.], op='multiply')"
    assert (len(x), x.ndim, x.shape, x.sum().item()) == (2, 1, (2,), 3.0)
