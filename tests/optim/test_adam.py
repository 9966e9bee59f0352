"""Adam and AdamW against torch, against the formula read aloud, and against what thought alone says."""

import math
from functools import partial

import pytest
import torch
from torch.testing import assert_close

from course_lib.optim import Adam, AdamW

BOTH = pytest.mark.parametrize("ours", [Adam, AdamW])


@BOTH
@pytest.mark.parametrize("options", [{"weight_decay": 0.0}, {"weight_decay": 0.1, "betas": (0.8, 0.95), "eps": 1e-4}])
@pytest.mark.parametrize("foreach", [False, True])
def test_torch_walks_the_same_way(ours, options, foreach, trajectory):
    theirs = getattr(torch.optim, ours.__name__)
    found = trajectory(partial(ours, lr=0.03, foreach=foreach, **options))
    assert_close(found, trajectory(partial(theirs, lr=0.03, **options)), rtol=0, atol=1e-10)


@BOTH
def test_defaults_are_torchs(ours, trajectory):
    assert_close(trajectory(ours), trajectory(getattr(torch.optim, ours.__name__)), rtol=0, atol=1e-10)


@BOTH
def test_the_formula_read_aloud(ours, after, gradients_of):
    def slow(theta, gradients, lr, beta1, beta2, eps, decay):
        mean = square = 0.0
        for t, gradient in enumerate(gradients, start=1):
            if ours is AdamW:
                theta = theta - lr * decay * theta
            else:
                gradient = gradient + decay * theta
            mean = beta1 * mean + (1 - beta1) * gradient
            square = beta2 * square + (1 - beta2) * gradient**2
            theta = theta - lr * (mean / (1 - beta1**t)) / (math.sqrt(square / (1 - beta2**t)) + eps)
        return theta

    gradients = gradients_of((1,), steps=20)
    build = partial(ours, lr=0.1, betas=(0.7, 0.9), eps=1e-2, weight_decay=0.3)
    found = after(build, torch.ones(1, dtype=torch.float64), gradients)
    assert_close(found.item(), slow(1.0, gradients.flatten().tolist(), 0.1, 0.7, 0.9, 1e-2, 0.3), rtol=0, atol=1e-12)


def test_under_a_constant_gradient_every_step_is_the_rate(after):
    gradients = torch.full((30, 1), -7.0, dtype=torch.float64)
    moved = after(partial(Adam, lr=0.1, eps=0.0), torch.zeros(1, dtype=torch.float64), gradients)
    assert_close(moved.item(), 30 * 0.1, rtol=0, atol=1e-12)  # bias correction makes the means right from the start


def test_epsilon_is_added_to_the_corrected_root(after):
    moved = after(
        partial(Adam, lr=1.0, eps=3.0), torch.zeros(1, dtype=torch.float64), torch.ones(1, 1, dtype=torch.float64)
    )
    assert_close(moved.item(), -1 / (1 + 3), rtol=0, atol=1e-15)


def test_decoupled_decay_is_a_shrinking_by_rate_times_decay(after):
    still = torch.zeros(3, 1, dtype=torch.float64)
    moved = after(partial(AdamW, lr=0.5, weight_decay=0.5), torch.ones(1, dtype=torch.float64), still)
    assert moved.item() == 0.75**3


def test_l2_decay_is_divided_away_like_a_gradient(after):
    still = torch.zeros(1, 2, dtype=torch.float64)
    build = partial(Adam, lr=0.1, weight_decay=0.5, eps=0.0)
    moved = after(build, torch.tensor([1.0, 100.0], dtype=torch.float64), still)
    assert_close(moved, torch.tensor([0.9, 99.9], dtype=torch.float64), rtol=0, atol=1e-12)  # the rate, not a share


@BOTH
def test_the_size_of_the_gradient_does_not_matter(ours, after, gradients_of):
    start, gradients = torch.ones(3, dtype=torch.float64), gradients_of((3,), steps=10)
    build = partial(ours, lr=0.1, eps=0.0, weight_decay=0.0)
    assert torch.equal(after(build, start, 1024 * gradients), after(build, start, gradients))  # a power of two: exact


@BOTH
def test_shuffled_numbers_take_shuffled_walks(ours, after, gradients_of):
    build, order = partial(ours, lr=0.1, weight_decay=0.1), torch.tensor([2, 0, 1])
    start, gradients = torch.arange(3.0, dtype=torch.float64), gradients_of((3,), steps=10)
    assert torch.equal(after(build, start[order], gradients[:, order]), after(build, start, gradients)[order])


@BOTH
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"betas": (1.0, 0.9)}, r"{name}: betas\[0\] must be a Python number in \[0, 1\), got 1.0; usual is 0.9"),
        ({"betas": (0.9, -0.1)}, r"{name}: betas\[1\] must be .* got -0.1; usual is 0.999"),
        ({"betas": 0.9}, "{name}: betas must be two numbers, got 0.9"),
        ({"betas": (0.9, 0.99, 0.999)}, "{name}: betas must be two numbers"),
        ({"eps": -1.0}, "{name}: eps must be .* got -1.0"),
    ],
)
def test_bad_options_are_named(ours, options, message):
    with pytest.raises(ValueError, match=message.replace("{name}", ours.__name__)):
        ours([torch.zeros(1, requires_grad=True)], **options)
