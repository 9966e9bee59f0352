"""LAMB against the paper's equations, against AdamW's direction, and against what thought alone says."""

import math
from functools import partial

import pytest
import torch
from torch.testing import assert_close

from course_lib.optim import LAMB, AdamW


def slow(theta, gradients, lr, beta1, beta2, eps, decay):
    """Algorithm 2 of You et al. 2020 with phi the identity, one number at a time, for one layer."""
    m, v = [0.0] * len(theta), [0.0] * len(theta)

    def length(numbers):
        return math.sqrt(sum(number**2 for number in numbers))

    for t, gradient in enumerate(gradients, start=1):
        m = [beta1 * old + (1 - beta1) * g for old, g in zip(m, gradient, strict=True)]
        v = [beta2 * old + (1 - beta2) * g**2 for old, g in zip(v, gradient, strict=True)]
        m_hat, v_hat = [value / (1 - beta1**t) for value in m], [value / (1 - beta2**t) for value in v]
        r = [mean / (math.sqrt(square) + eps) for mean, square in zip(m_hat, v_hat, strict=True)]
        u = [ratio + decay * x for ratio, x in zip(r, theta, strict=True)]
        trust = length(theta) / length(u)
        theta = [x - lr * trust * change for x, change in zip(theta, u, strict=True)]
    return theta


@pytest.mark.parametrize("foreach", [False, True])
def test_the_papers_equations_over_50_steps(foreach, gradients_of):
    shapes = ((4,), (2, 3), (1,))
    starts = [gradients_of(shape, steps=1, seed=7)[0] for shape in shapes]
    gradients = [gradients_of(shape, seed=8) for shape in shapes]
    parameters = [start.clone().requires_grad_() for start in starts]
    optimizer = LAMB(parameters, lr=0.02, betas=(0.8, 0.95), eps=1e-3, weight_decay=0.3, foreach=foreach)
    for step in range(50):
        for parameter, series in zip(parameters, gradients, strict=True):
            parameter.grad = series[step].clone()
        optimizer.step()
    for parameter, start, series in zip(parameters, starts, gradients, strict=True):
        expected = slow(start.flatten().tolist(), series.flatten(1).tolist(), 0.02, 0.8, 0.95, 1e-3, 0.3)
        assert_close(parameter.detach().flatten(), torch.tensor(expected, dtype=torch.float64), rtol=0, atol=1e-12)


@pytest.mark.parametrize("foreach", [False, True])
def test_every_step_is_the_rate_times_the_length(foreach, gradients_of):
    weight = torch.full((3, 4), 5.0, dtype=torch.float64, requires_grad=True)
    optimizer = LAMB([weight], lr=0.01, foreach=foreach)
    for gradient in gradients_of((3, 4), steps=10):
        before = weight.detach().clone()
        weight.grad = gradient
        optimizer.step()
        assert_close((weight.detach() - before).norm(), 0.01 * before.norm(), rtol=1e-12, atol=0)


def test_the_direction_is_adamws(after, gradients_of):
    start, gradient = torch.full((6,), 2.0, dtype=torch.float64), gradients_of((6,), steps=1)
    lamb = after(partial(LAMB, lr=0.1, eps=1e-8, weight_decay=0.3), start, gradient) - start
    adam = after(partial(AdamW, lr=0.1, eps=1e-8, weight_decay=0.3), start, gradient) - start
    assert_close(lamb / lamb.norm(), adam / adam.norm(), rtol=0, atol=1e-12)


@pytest.mark.parametrize("foreach", [False, True])
def test_a_parameter_at_zero_moves_as_adams(foreach, after):
    build = partial(LAMB, lr=0.1, eps=0.0, foreach=foreach)
    moved = after(build, torch.zeros(2, dtype=torch.float64), torch.tensor([[3.0, -5.0]], dtype=torch.float64))
    assert_close(moved, torch.tensor([-0.1, 0.1], dtype=torch.float64), rtol=0, atol=1e-15)


def test_the_trust_ratio_is_not_clamped(after):
    gradient = torch.tensor([[1.0]], dtype=torch.float64)
    build = partial(LAMB, lr=0.1, eps=0.0, weight_decay=0.0)
    moved = after(build, torch.tensor([1e6], dtype=torch.float64), gradient)
    assert_close(moved.item(), 0.9e6, rtol=1e-12, atol=0)


def test_scaling_the_parameter_scales_the_walk(after, gradients_of):
    build = partial(LAMB, lr=0.1, eps=0.0, weight_decay=0.0)
    start, gradients = torch.ones(5, dtype=torch.float64), gradients_of((5,), steps=10)
    assert torch.equal(after(build, 1024 * start, gradients), 1024 * after(build, start, gradients))
    assert torch.equal(after(build, start, 1024 * gradients), after(build, start, gradients))


def test_shuffled_numbers_take_shuffled_walks(after, gradients_of):
    order, start, gradients = torch.tensor([2, 0, 1]), torch.arange(3.0).double(), gradients_of((3,), steps=10)
    shuffled = after(LAMB, start[order], gradients[:, order])
    assert_close(shuffled, after(LAMB, start, gradients)[order], rtol=0, atol=1e-14)  # lengths add in another order


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"betas": (0.9, 1.0)}, r"LAMB: betas\[1\] must be .* got 1.0"),
        ({"eps": -1.0}, "LAMB: eps must be .* got -1.0; usual is 1e-6"),
    ],
)
def test_bad_options_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        LAMB([torch.zeros(1, requires_grad=True)], **options)
