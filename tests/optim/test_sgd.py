"""SGD against torch, against the formula read aloud, and against what thought alone says."""

from functools import partial

import pytest
import torch
from torch.testing import assert_close

from course_lib.optim import SGD

VARIANTS = [
    {},
    {"weight_decay": 0.1},
    {"momentum": 0.9},
    {"momentum": 0.9, "weight_decay": 0.1},
    {"momentum": 0.9, "dampening": 0.5},
    {"momentum": 0.9, "dampening": 0.5, "weight_decay": 0.1},
    {"momentum": 0.9, "nesterov": True},
    {"momentum": 0.9, "nesterov": True, "weight_decay": 0.1},
]


@pytest.mark.parametrize("options", VARIANTS)
@pytest.mark.parametrize("foreach", [False, True])
def test_torch_walks_the_same_way(options, foreach, trajectory):
    ours = trajectory(partial(SGD, lr=0.02, foreach=foreach, **options))
    theirs = trajectory(partial(torch.optim.SGD, lr=0.02, **options))
    assert_close(ours, theirs, rtol=0, atol=1e-10)


@pytest.mark.parametrize("options", VARIANTS)
def test_the_formula_read_aloud(options, after, gradients_of):
    def slow(theta, gradients, lr=0.1, momentum=0.0, dampening=0.0, nesterov=False, weight_decay=0.0):
        buffer = None
        for gradient in gradients:
            slope = gradient + weight_decay * theta
            buffer = slope if buffer is None else momentum * buffer + (1 - dampening) * slope
            theta = theta - lr * (slope + momentum * buffer if nesterov else buffer if momentum else slope)
        return theta

    gradients = gradients_of((1,), steps=20)
    found = after(partial(SGD, lr=0.1, **options), torch.ones(1, dtype=torch.float64), gradients)
    assert_close(found.item(), slow(1.0, gradients.flatten().tolist(), **options), rtol=0, atol=1e-13)


def test_a_constant_gradient_reaches_one_over_one_minus_momentum_times_the_rate(after):
    steps = torch.ones(200, 1, dtype=torch.float64)
    build = partial(SGD, lr=0.1, momentum=0.9)
    start = torch.zeros(1, dtype=torch.float64)
    last_step = after(build, start, steps[:-1]) - after(build, start, steps)
    assert_close(last_step.item(), 0.1 / (1 - 0.9), rtol=0, atol=1e-8)  # 0.9 ** 200 is 7e-10 of it


def test_dampening_spares_the_first_gradient(after):
    moved = after(partial(SGD, lr=1.0, momentum=0.5, dampening=0.75), torch.zeros(1), torch.tensor([[8.0], [8.0]]))
    assert moved.item() == -(8 + (0.5 * 8 + 0.25 * 8))


@pytest.mark.parametrize("options", VARIANTS[2::2])
def test_twice_the_gradient_at_half_the_rate_is_the_same(options, after, gradients_of):
    start, gradients = torch.ones(3, dtype=torch.float64), gradients_of((3,), steps=10)
    options = options | {"weight_decay": 0.0}
    expected = after(partial(SGD, lr=0.25, **options), start, gradients)
    assert torch.equal(after(partial(SGD, lr=0.125, **options), start, 2 * gradients), expected)


def test_shuffled_numbers_take_shuffled_walks(after, gradients_of):
    build, order = partial(SGD, lr=0.1, momentum=0.9), torch.tensor([2, 0, 1])
    start, gradients = torch.arange(3.0, dtype=torch.float64), gradients_of((3,), steps=10)
    assert torch.equal(after(build, start[order], gradients[:, order]), after(build, start, gradients)[order])


def test_momentum_switched_on_later_starts_at_the_next_gradient():
    weight = torch.zeros(1, requires_grad=True)
    optimizer = SGD([weight], lr=1.0)
    for momentum in (0.0, 0.5, 0.5):
        optimizer.param_groups[0]["momentum"] = momentum
        weight.grad = torch.ones(1)
        optimizer.step()
    assert weight.item() == -(1 + 1 + 1.5)


def test_without_momentum_nothing_is_kept():
    weight = torch.zeros(3, requires_grad=True)
    optimizer = SGD([weight], lr=1.0)
    weight.grad = torch.ones(3)
    optimizer.step()
    assert optimizer.state[weight] == {"momentum_buffer": None}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"momentum": 1.0}, r"SGD: momentum must be a Python number in \[0, 1\), got 1.0; usual is 0.9"),
        ({"momentum": 0.9, "dampening": -0.1}, "SGD: dampening must be .* got -0.1"),
        ({"nesterov": True}, "nesterov=True needs a momentum above 0 and dampening 0, got momentum=0.0"),
        ({"nesterov": True, "momentum": 0.9, "dampening": 0.1}, "got momentum=0.9 and dampening=0.1"),
    ],
)
def test_bad_options_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        SGD([torch.zeros(1, requires_grad=True)], **options)
