"""Each operation on each kind of shape: value and gradients against torch, against differences, and forward mode."""

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose

from course_lib.autodiff import Variable, apply, gradcheck, jvp
from course_lib.autodiff.rules import power

# name: (ours, torch's, shapes of the inputs, lowest and highest entry)
ANY, POSITIVE = (-2.0, 2.0), (0.3, 2.0)
SHAPES = [((3, 4), (3, 4)), ((3, 4), (4,)), ((3, 1), (1, 4)), ((), (2, 3)), ((2, 1, 3), (4, 1)), ((0, 3), (3,))]
BINARY = {
    "add": (lambda x, y: x + y, ANY),
    "subtract": (lambda x, y: x - y, ANY),
    "multiply": (lambda x, y: x * y, ANY),
    "divide": (lambda x, y: x / y, POSITIVE),
    "power": (lambda x, y: x**y, POSITIVE),
}
MATMUL_SHAPES = [
    ((3, 4), (4, 5)), ((4,), (4,)), ((4,), (4, 5)), ((3, 4), (4,)), ((2, 3, 4), (2, 4, 5)), ((2, 3, 4), (4, 5)),
    ((3, 4), (2, 4, 5)), ((6, 1, 3, 4), (2, 4, 5)), ((2, 3, 4), (4,)), ((4,), (2, 4, 5)), ((3, 0), (0, 2)),
]  # fmt: skip
MASK = np.arange(24).reshape(2, 3, 4) % 5 == 0
UNARY = {
    "negative": (lambda x: -x, lambda x: -x, ANY),
    "exp": (lambda x: x.exp(), torch.exp, ANY),
    "log": (lambda x: x.log(), torch.log, POSITIVE),
    "tanh": (lambda x: x.tanh(), torch.tanh, ANY),
    "relu": (lambda x: x.relu(), torch.relu, ANY),
    "square": (lambda x: x**2, lambda x: x**2, ANY),
    "root": (lambda x: x**0.5, lambda x: x**0.5, POSITIVE),
    "base": (lambda x: 3.0**x, lambda x: 3.0**x, ANY),
    "constants": (lambda x: 1 - 2 / (3 + x * np.float64(4)), lambda x: 1 - 2 / (3 + x * 4), POSITIVE),
    "sum": (lambda x: x.sum(), torch.sum, ANY),
    "sum axis": (lambda x: x.sum(1), lambda x: x.sum(1), ANY),
    "sum axes": (lambda x: x.sum((0, -1), keepdims=True), lambda x: x.sum((0, -1), keepdim=True), ANY),
    "mean": (lambda x: x.mean(), torch.mean, ANY),
    "mean axes": (lambda x: x.mean((0, 2)), lambda x: x.mean((0, 2)), ANY),
    "max": (lambda x: x.max(), torch.amax, ANY),
    "max axis": (lambda x: x.max(-2, keepdims=True), lambda x: x.amax(-2, keepdim=True), ANY),
    "max axes": (lambda x: x.max((0, 1)), lambda x: x.amax((0, 1)), ANY),
    "logsumexp": (lambda x: x.logsumexp(), lambda x: x.logsumexp(-1), ANY),
    "logsumexp axes": (lambda x: x.logsumexp((0, 2), keepdims=True), lambda x: x.logsumexp((0, 2), keepdim=True), ANY),
    "log_softmax": (lambda x: x.log_softmax(), lambda x: x.log_softmax(-1), ANY),
    "log_softmax axis": (lambda x: x.log_softmax(1), lambda x: x.log_softmax(1), ANY),
    "reshape": (lambda x: x.reshape(4, -1), lambda x: x.reshape(4, -1), ANY),
    "transpose": (lambda x: x.T, lambda x: x.permute(2, 1, 0), ANY),
    "transpose axes": (lambda x: x.transpose(1, -1, 0), lambda x: x.permute(1, 2, 0), ANY),
    "index": (lambda x: x[1], lambda x: x[1], ANY),
    "slice": (lambda x: x[:, ::2, None, 1:], lambda x: x[:, ::2, None, 1:], ANY),
    "pick": (lambda x: x[[0, 1, 0], [2, 1, 2]], lambda x: x[[0, 1, 0], [2, 1, 2]], ANY),
    "mask": (lambda x: x[MASK], lambda x: x[torch.tensor(MASK)], ANY),
}  # fmt: skip


def drawn(shapes, limits, seed=0):
    rng = np.random.default_rng(seed)
    return [rng.uniform(*limits, shape) for shape in shapes]


def check(ours, theirs, arrays):
    """Value and every gradient to float64's rounding, then differences, then forward mode by <v, J t> = <J^T v, t>."""
    variables = [Variable(array) for array in arrays]
    tensors = [torch.tensor(array, requires_grad=True) for array in arrays]
    output, expected = ours(*variables), theirs(*tensors)
    assert_allclose(output.data, expected.detach().numpy(), rtol=1e-12, atol=1e-14)
    assert output.shape == tuple(expected.shape)
    rng = np.random.default_rng(1)
    v = rng.standard_normal(output.shape)
    output.backward(v)
    expected.backward(torch.tensor(v))
    for variable, tensor in zip(variables, tensors, strict=True):
        assert variable.grad.shape == variable.shape
        assert_allclose(variable.grad, tensor.grad.numpy(), rtol=1e-11, atol=1e-13)
    assert gradcheck(ours, *arrays, tolerance=1e-7) < 1e-7
    t = tuple(rng.standard_normal(array.shape) for array in arrays)
    value, along = jvp(ours, tuple(arrays), t)
    assert_allclose(value, output.data, rtol=0, atol=0)
    pulled = sum((variable.grad * one).sum() for variable, one in zip(variables, t, strict=True))
    assert_allclose((v * along).sum(), pulled, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("shapes", SHAPES, ids=str)
@pytest.mark.parametrize("name", BINARY)
def test_two_inputs_of_shapes_that_broadcast(name, shapes):
    function, limits = BINARY[name]
    check(function, function, drawn(shapes, limits))


@pytest.mark.parametrize("shapes", MATMUL_SHAPES, ids=str)
def test_matrix_products(shapes):
    check(lambda x, y: x @ y, lambda x, y: x @ y, drawn(shapes, ANY))


@pytest.mark.parametrize("name", UNARY)
def test_one_input(name):
    ours, theirs, limits = UNARY[name]
    check(ours, theirs, drawn([(2, 3, 4)], limits))


@pytest.mark.parametrize("name", ["exp", "tanh", "relu", "sum", "mean", "max"])
def test_scalars(name):
    ours, theirs, limits = UNARY[name]
    check(ours, theirs, drawn([()], limits))


def test_values_known_by_thought():
    x = Variable([2.0, 2.0, 1.0])
    x.max().backward()
    assert x.grad.tolist() == [0.5, 0.5, 0.0]  # two entries tie for the largest
    x = Variable([-1.0, 0.0, 1.0])
    x.relu().sum().backward()
    assert x.grad.tolist() == [0.0, 0.0, 1.0]
    x = Variable([5.0, 7.0])
    x[[0, 0, 1]].sum().backward()
    assert x.grad.tolist() == [2.0, 1.0]  # picked twice, so counted twice
    x = Variable(np.zeros(10))
    assert x.log_softmax().data.tolist() == pytest.approx([-np.log(10)] * 10)


def test_power_at_zero_follows_torch():
    bases, exponents = np.array([0.0, 0.0, 0.0, -2.0]), np.array([0.0, 1.0, 2.0, 3.0])
    x = Variable(bases)
    (x**exponents).sum().backward()
    t = torch.tensor(bases, requires_grad=True)
    (t ** torch.tensor(exponents)).sum().backward()
    assert_allclose(x.grad, t.grad.numpy())
    y = Variable(exponents[:3])
    apply(power, np.zeros(3), y).sum().backward()
    assert y.grad.tolist() == [0.0, 0.0, 0.0]


def test_extreme_logits_stay_finite():
    x = Variable([1e4, 0.0, -1e4])
    x.log_softmax()[0].backward()
    assert x.log_softmax().data.tolist() == [0.0, -1e4, -2e4]
    assert_allclose(x.grad, [0.0, 0.0, 0.0])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_dtype_is_kept(dtype):
    x = Variable(np.ones((2, 3), dtype))
    y = ((2 * x + 1) / 3 - 0.5).tanh().mean(0).log_softmax() ** 2
    assert y.dtype == dtype
    y.sum().backward()
    assert x.grad.dtype == dtype
    value, along = jvp(lambda x: (2 * x + 1).mean().exp(), x.data, np.ones((2, 3), dtype))
    assert value.dtype == along.dtype == dtype


def test_whole_numbers_become_float64():
    assert Variable([1, 2]).dtype == Variable(True).dtype == np.float64
