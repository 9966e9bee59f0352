"""RMSProp against torch, against the formula read aloud, and against what thought alone says."""

import math
from functools import partial

import pytest
import torch
from torch.testing import assert_close

from course_lib.optim import RMSProp

VARIANTS = [
    {},
    {"weight_decay": 0.1},
    {"momentum": 0.9},
    {"centered": True},
    {"momentum": 0.9, "centered": True, "weight_decay": 0.1},
]


@pytest.mark.parametrize("options", VARIANTS)
@pytest.mark.parametrize("foreach", [False, True])
def test_torch_walks_the_same_way(options, foreach, trajectory):
    ours = trajectory(partial(RMSProp, lr=0.01, foreach=foreach, **options))
    theirs = trajectory(partial(torch.optim.RMSprop, lr=0.01, **options))
    assert_close(ours, theirs, rtol=0, atol=1e-10)


@pytest.mark.parametrize("options", VARIANTS)
def test_the_formula_read_aloud(options, after, gradients_of):
    def slow(theta, gradients, lr=0.1, alpha=0.9, eps=1e-3, momentum=0.0, centered=False, weight_decay=0.0):
        square = mean = buffer = 0.0
        for gradient in gradients:
            slope = gradient + weight_decay * theta
            square = alpha * square + (1 - alpha) * slope**2
            mean = alpha * mean + (1 - alpha) * slope
            root = math.sqrt(square - mean**2 if centered else square)
            buffer = momentum * buffer + slope / (root + eps)
            theta = theta - lr * buffer
        return theta

    gradients = gradients_of((1,), steps=20)
    build = partial(RMSProp, lr=0.1, alpha=0.9, eps=1e-3, **options)
    found = after(build, torch.ones(1, dtype=torch.float64), gradients)
    assert_close(found.item(), slow(1.0, gradients.flatten().tolist(), **options), rtol=0, atol=1e-12)


def test_epsilon_is_outside_the_root(after):
    moved = after(partial(RMSProp, lr=1.0, alpha=0.0, eps=3.0), torch.zeros(1), torch.tensor([[1.0]]))
    assert moved.item() == -1 / (1 + 3)  # inside, it would be -1 / sqrt(1 + 3)


@pytest.mark.parametrize("options", [{}, {"momentum": 0.5}, {"centered": True}])
def test_the_size_of_the_gradient_does_not_matter(options, after, gradients_of):
    start, gradients = torch.ones(3, dtype=torch.float64), gradients_of((3,), steps=10)
    build = partial(RMSProp, lr=0.1, eps=0.0, **options)
    assert torch.equal(after(build, start, 1024 * gradients), after(build, start, gradients))  # a power of two: exact


def test_shuffled_numbers_take_shuffled_walks(after, gradients_of):
    build, order = partial(RMSProp, lr=0.1, momentum=0.9), torch.tensor([2, 0, 1])
    start, gradients = torch.arange(3.0, dtype=torch.float64), gradients_of((3,), steps=10)
    assert torch.equal(after(build, start[order], gradients[:, order]), after(build, start, gradients)[order])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"alpha": 1.0}, r"RMSProp: alpha must be a Python number in \[0, 1\), got 1.0; usual is 0.9 or 0.99"),
        ({"eps": -1e-8}, "RMSProp: eps must be .* got -1e-08"),
        ({"momentum": -0.5}, "RMSProp: momentum must be .* got -0.5"),
    ],
)
def test_bad_options_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        RMSProp([torch.zeros(1, requires_grad=True)], **options)
