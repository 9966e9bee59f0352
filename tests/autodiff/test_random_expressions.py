"""Random programs over random shapes: our gradient against torch's, against differences, and forward mode."""

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from course_lib.autodiff import Variable, gradcheck, jvp, topological_order

# Both libraries understand these; each keeps values moderate and is smooth, so that differences can be trusted.
ONE = {
    "tanh": lambda x: x.tanh(),
    "exp": lambda x: (x * 0.3).tanh().exp(),
    "log": lambda x: (x * x + 1.0).log(),
    "root": lambda x: (x * x + 0.5) ** 0.5,
    "negative": lambda x: -x,
    "reshape": lambda x: x.reshape(-1),
    "transpose": lambda x: x.T,
    "row": lambda x: x[0] if len(x.shape) else x,
    "twice": lambda x: x[[0, -1, 0]] if len(x.shape) else x,
    "sum": lambda x: x.sum() * 0.2,
    "mean": lambda x: x.mean(),
    "sum of rows": lambda x: x.sum(-1) if len(x.shape) else x,
    "softmax": lambda x: x.logsumexp(-1) if len(x.shape) else x,
    "gram": lambda x: (x.T @ x * 0.1).tanh() if len(x.shape) == 2 else x,
}
TWO = {
    "add": lambda x, y: x + y,
    "subtract": lambda x, y: x - y,
    "multiply": lambda x, y: x * y,
    "divide": lambda x, y: x / (y * y + 1.0),
    "power": lambda x, y: (x * x + 0.5) ** (y * 0.3).tanh(),
}
SIZES = st.sampled_from([1, 2, 3])


@st.composite
def programs(draw):
    """Shapes of the leaves, all broadcastable with one another, and steps ``(operation, places of its inputs)``."""
    full = draw(st.lists(SIZES, min_size=0, max_size=3))
    shapes = []
    for _ in range(draw(st.integers(1, 3))):
        start = draw(st.integers(0, len(full)))
        shapes.append(tuple(size if draw(st.booleans()) else 1 for size in full[start:]))
    names = draw(st.lists(st.sampled_from([*ONE, *TWO]), min_size=1, max_size=9))
    picks = [draw(st.tuples(st.integers(0, 30), st.integers(0, 30))) for _ in names]
    return shapes, list(zip(names, picks, strict=True)), draw(st.integers(0, 10**6))


def run(steps, leaves):
    """Carry out the steps on any kind of array; an operation on shapes that do not fit is left out."""
    values = list(leaves)
    for name, (first, second) in steps:
        x, y = values[-1 - first % len(values)], values[second % len(values)]
        if name in ONE:
            values.append(ONE[name](x))
        else:
            try:
                size = int(np.prod(np.broadcast_shapes(tuple(x.shape), tuple(y.shape))))
            except ValueError:
                continue
            if size <= 100:
                values.append(TWO[name](x, y))
    # Every value counts, those that nothing was computed from too.
    total = values[0].sum()
    for value in values[1:]:
        total = total + value.mean()
    return total


@settings(deadline=None, derandomize=True, max_examples=100)
@given(programs())
def test_gradients_of_random_programs(program):
    shapes, steps, seed = program
    rng = np.random.default_rng(seed)
    arrays = [rng.standard_normal(shape) for shape in shapes]
    variables, tensors = [Variable(a) for a in arrays], [torch.tensor(a, requires_grad=True) for a in arrays]
    ours, theirs = run(steps, variables), run(steps, [Reversed(t) for t in tensors]).tensor
    assert_allclose(ours.item(), theirs.item(), rtol=1e-9)
    ours.backward()
    theirs.backward()
    for variable, tensor in zip(variables, tensors, strict=True):
        assert_allclose(variable.grad, tensor.grad.numpy(), rtol=1e-8, atol=1e-10)
    gradcheck(lambda *leaves: run(steps, leaves), *arrays, tolerance=1e-5)
    direction = tuple(rng.standard_normal(shape) for shape in shapes)
    value, along = jvp(lambda *leaves: run(steps, leaves), tuple(arrays), direction)
    assert_allclose(value, ours.item(), rtol=1e-12)
    pulled = sum((v.grad * d).sum() for v, d in zip(variables, direction, strict=True))
    assert_allclose(along, pulled, rtol=1e-8, atol=1e-10)


@settings(deadline=None, derandomize=True, max_examples=100)
@given(programs())
def test_every_variable_comes_once_and_after_its_parents(program):
    shapes, steps, seed = program
    rng = np.random.default_rng(seed)
    order = topological_order(run(steps, [Variable(rng.standard_normal(shape)) for shape in shapes]))
    place = {variable: index for index, variable in enumerate(order)}
    assert len(place) == len(order)
    assert all(place[parent] < place[variable] for variable in order for parent in variable.parents)


class Reversed:
    """A torch tensor whose ``T`` reverses all axes, as NumPy's does; torch's own is deprecated beyond two."""

    def __init__(self, tensor):
        self.tensor = tensor

    @property
    def shape(self):
        return self.tensor.shape

    @property
    def T(self):
        return Reversed(self.tensor.permute(tuple(reversed(range(self.tensor.ndim)))))

    def __getattr__(self, name):
        return lambda *arguments: Reversed(getattr(self.tensor, name)(*arguments))

    def __getitem__(self, index):
        return Reversed(self.tensor[index])

    def __neg__(self):
        return Reversed(-self.tensor)


def _binary(name):
    return lambda self, other: Reversed(getattr(self.tensor, name)(getattr(other, "tensor", other)))


for _name in ("__add__", "__sub__", "__mul__", "__truediv__", "__pow__", "__matmul__"):
    setattr(Reversed, _name, _binary(_name))
