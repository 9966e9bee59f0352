"""What the tests of the nets share: seeded float64 numbers, and comparing one module's gradients with another's."""

import pytest
import torch
from torch.func import functional_call
from torch.testing import assert_close

ROUNDING = {"rtol": 1e-11, "atol": 1e-11}  # float64, the same sums in another order


@pytest.fixture
def randn():
    """A function that gives seeded float64 numbers of a shape."""
    generator = torch.Generator().manual_seed(0)
    return lambda *shape: torch.randn(*shape, generator=generator, dtype=torch.float64)


def _shaken(module, randn):
    """Move every parameter off its starting value (norm weights of exactly 1 would hide a forgotten factor)."""
    with torch.no_grad():
        for parameter in module.parameters():
            parameter += 0.3 * randn(*parameter.shape)
    return module


@pytest.fixture
def shaken(randn):
    """A function that makes a module float64 and moves its parameters off their starting values."""
    return lambda module: _shaken(module.double(), randn)


@pytest.fixture
def assert_same(randn):
    """A function: two modules give the same output and the same gradient of every parameter and of the input."""

    def check(ours, theirs, x, **tolerance):
        tolerance = tolerance or ROUNDING
        found = []
        for module in (ours, theirs):
            leaf = x.clone().requires_grad_()
            out = module(leaf)
            found.append((out, leaf, dict(module.named_parameters())))
        (out, leaf, parameters), (out2, leaf2, parameters2) = found
        assert_close(out, out2, **tolerance)
        assert parameters.keys() == parameters2.keys()
        weights = randn(*out.shape).to(out.dtype)  # not ones: a norm's outputs sum to 0
        gradients = torch.autograd.grad((out * weights).sum(), [leaf, *parameters.values()])
        gradients2 = torch.autograd.grad((out2 * weights).sum(), [leaf2, *parameters2.values()])
        for gradient, gradient2 in zip(gradients, gradients2, strict=True):
            assert_close(gradient, gradient2, **tolerance)

    return check


@pytest.fixture
def gradients_are_right():
    """A function: gradcheck of a module, for its input and all its parameters."""

    def check(module, x, *others):
        names = [name for name, _ in module.named_parameters()]

        def call(x, *values):
            # buffers are left out: a training forward would change them between two evaluations
            return functional_call(module, dict(zip(names, values, strict=True)), (x, *others))

        inputs = [x.clone().requires_grad_(), *(p.detach().clone().requires_grad_() for p in module.parameters())]
        return torch.autograd.gradcheck(call, inputs)

    return check
