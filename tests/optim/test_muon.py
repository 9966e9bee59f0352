"""Muon against torch with the same Newton-Schulz, against torch's own to the bit, and against thought alone."""

import math
from functools import partial

import pytest
import torch
from torch.testing import assert_close

from course_lib.optim import Muon, newton_schulz

MATRICES = ((3, 5), (6, 4), (3, 5), (2, 2))
VARIANTS = [
    {},
    {"nesterov": False, "weight_decay": 0.3},
    {"momentum": 0.5, "adjust_lr_fn": "match_rms_adamw"},
    {"ns_steps": 3, "ns_coefficients": (1.875, -1.25, 0.375), "eps": 10.0},
]


@pytest.mark.parametrize("options", VARIANTS)
@pytest.mark.parametrize("foreach", [False, True])
def test_torch_with_this_newton_schulz_walks_the_same_way(options, foreach, trajectory, monkeypatch):
    def ours_in_float64(matrix, coefficients, steps, eps):
        return newton_schulz(matrix, steps=steps, coefficients=coefficients, eps=eps)

    monkeypatch.setattr("torch.optim._muon._zeropower_via_newtonschulz", ours_in_float64)
    found = trajectory(partial(Muon, lr=0.03, foreach=foreach, **options), MATRICES)
    theirs = trajectory(partial(torch.optim.Muon, lr=0.03, **options), MATRICES)
    assert_close(found, theirs, rtol=0, atol=1e-10)


@pytest.mark.parametrize("options", VARIANTS)
def test_in_bfloat16_it_is_torchs_to_the_bit(options, trajectory):
    found = trajectory(partial(Muon, lr=0.03, foreach=False, ns_dtype="bfloat16", **options), MATRICES, torch.float32)
    assert torch.equal(found, trajectory(partial(torch.optim.Muon, lr=0.03, **options), MATRICES, torch.float32))


@pytest.mark.parametrize("foreach", [False, True])
def test_the_formula_read_aloud(foreach, after, gradients_of):
    gradients, theta = gradients_of((4, 2), steps=20), gradients_of((4, 2), steps=1, seed=4)[0]
    build = partial(Muon, lr=0.1, momentum=0.8, weight_decay=0.2, foreach=foreach)
    found = after(build, theta, gradients)
    average = torch.zeros(4, 2, dtype=torch.float64)
    for gradient in gradients:
        average = 0.8 * average + 0.2 * gradient
        theta = theta - 0.1 * 0.2 * theta
        theta = theta - 0.1 * math.sqrt(4 / 2) * newton_schulz(0.2 * gradient + 0.8 * average)
    assert_close(found, theta, rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("adjust", "shape", "factor"),
    [
        ("original", (8, 2), 2.0),
        ("original", (2, 8), 1.0),
        ("match_rms_adamw", (4, 2), 0.4),
        ("match_rms_adamw", (2, 4), 0.4),
        ("original", (18, 2, 1, 1), 3.0),
    ],
)
def test_how_the_rate_is_adjusted_to_the_shape(adjust, shape, factor, after):
    gradient = torch.zeros(1, *shape, dtype=torch.float64)
    gradient[(0,) * gradient.ndim] = 5.0  # one singular value, which becomes 1
    polynomial = {"ns_coefficients": (1.875, -1.25, 0.375), "ns_steps": 1}
    build = partial(Muon, lr=1.0, adjust_lr_fn=adjust, **polynomial)
    moved = after(build, torch.zeros(shape, dtype=torch.float64), gradient)
    assert_close(moved.flatten()[0].item(), -factor, rtol=1e-12, atol=0)


@pytest.mark.parametrize("foreach", [False, True])
def test_a_convolution_is_the_matrix_of_its_rows(foreach, after, gradients_of):
    start, gradients = gradients_of((4, 3, 2, 2), steps=1, seed=4)[0], gradients_of((4, 3, 2, 2), steps=5)
    build = partial(Muon, lr=0.1, foreach=foreach)
    assert torch.equal(after(build, start, gradients).flatten(1), after(build, start.flatten(1), gradients.flatten(2)))


def test_a_channels_last_convolution_is_no_other(after, gradients_of):
    start, gradients = gradients_of((4, 3, 2, 2), steps=1, seed=4)[0], gradients_of((4, 3, 2, 2), steps=5)
    weight = start.to(memory_format=torch.channels_last).requires_grad_()
    optimizer = Muon([weight], lr=0.1)
    for gradient in gradients:
        weight.grad = gradient.to(memory_format=torch.channels_last)
        optimizer.step()
    assert_close(weight.detach(), after(partial(Muon, lr=0.1), start, gradients), rtol=0, atol=1e-13)


def test_the_size_of_the_gradient_does_not_matter(after, gradients_of):
    start, gradients = gradients_of((3, 4), steps=1, seed=4)[0], gradients_of((3, 4), steps=10)
    assert torch.equal(after(Muon, start, 1024 * gradients), after(Muon, start, gradients))


def test_turning_the_space_turns_the_walk(after, gradients_of):
    start, gradients = gradients_of((3, 3), steps=1, seed=4)[0], gradients_of((3, 3), steps=10)
    turn = torch.linalg.qr(gradients_of((3, 3), steps=1, seed=6)[0])[0]
    assert_close(after(Muon, turn @ start, turn @ gradients), turn @ after(Muon, start, gradients), rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("shape", "options", "message"),
    [
        ((3,), {}, r"Muon makes matrices orthogonal, got a parameter of shape \(3,\): give biases, .* to AdamW"),
        ((), {}, r"of shape \(\)"),
        ((2, 2), {"momentum": 1.0}, "Muon: momentum must be .* got 1.0"),
        ((2, 2), {"eps": -1.0}, "Muon: eps must be .* got -1.0"),
        ((2, 2), {"ns_steps": 0}, "Muon: ns_steps must be a whole number >= 1, got 0; usual is 5"),
        ((2, 2), {"ns_steps": 2.5}, "ns_steps must be a whole number >= 1, got 2.5"),
        ((2, 2), {"ns_coefficients": (1.5, -0.5)}, r"ns_coefficients must be three numbers, got \[1.5, -0.5\]"),
        ((2, 2), {"adjust_lr_fn": None}, "adjust_lr_fn must be 'original' or 'match_rms_adamw', got None"),
        ((2, 2), {"ns_dtype": "float16"}, r"ns_dtype must be one of \[None, 'bfloat16', 'float32'\], got 'float16'"),
    ],
)
def test_bad_options_are_named(shape, options, message):
    with pytest.raises(ValueError, match=message):
        Muon([torch.zeros(shape, requires_grad=True)], **options)
