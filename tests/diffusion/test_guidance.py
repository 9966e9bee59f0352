"""Classifier-free guidance: which way it goes, how often it asks, and what it does to an exact model's samples."""

import pytest
import torch
from torch.testing import assert_close

from course_lib.diffusion import GaussianMixture, flow_heun, guided

SHAPE = (5, 1, 3, 3)


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def tells(x, time, labels):
    """Says its label, and 10 times the time."""
    return (labels.double() + 10 * time.double()).view(-1, 1, 1, 1) * torch.ones_like(x)


@pytest.mark.parametrize(("scale", "factor"), [(0.0, 0.0), (1.0, 1.0), (1.5, 1.5), (-1.0, -1.0), (7.5, 7.5)])
def test_guidance_goes_from_nobody_towards_somebody(scale, factor):
    labels = torch.tensor([0, 1, 5, -1, 9])
    said = guided(tells, labels, scale)(torch.zeros(SHAPE).double(), torch.full((5,), 0.5))
    expected = 5 - 1 + factor * (labels + 1)  # nobody is -1
    assert_close(said[:, 0, 0, 0], expected.double(), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(("scale", "rows"), [(0.0, 5), (1.0, 5), (2.0, 10)])
def test_guidance_asks_once(scale, rows):
    asked = []

    def model(x, time, labels):
        asked.append((len(x), len(time), len(labels)))
        return x

    guided(model, torch.zeros(5, dtype=torch.int64), scale)(torch.zeros(SHAPE), torch.zeros(5))
    assert asked == [(rows, rows, rows)]


def test_guidance_of_the_exact_model_sharpens_the_class():
    """Guided towards one component of two that overlap, samples keep farther from the other, as a class would."""
    mixture = GaussianMixture(torch.tensor([[-0.5, 0.0], [0.5, 0.0]]), stds=0.5)
    labels, centres = torch.ones(2000, dtype=torch.int64), []
    for scale in (0.0, 1.0, 3.0):
        velocity = guided(mixture.exact_velocity(), labels, scale)
        centres.append(flow_heun(velocity, (2000, 2), num_steps=20, generator=seeded())[:, 0].mean().item())
    assert abs(centres[0]) < 0.07  # four standard errors
    assert abs(centres[1] - 0.5) < 0.05
    assert centres[2] > 0.7


@pytest.mark.parametrize("scale", [0.0, 1.0, 2.0])
def test_no_rows_are_no_rows(scale):
    no_labels = torch.zeros(0, dtype=torch.int64)
    assert guided(tells, no_labels, scale)(torch.zeros(0, 1, 3, 3), torch.zeros(0)).shape == (0, 1, 3, 3)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: guided(tells, torch.zeros(2), 1.5), r"labels must be int64 of shape \(N,\), got torch.float32"),
        (lambda: guided(tells, torch.zeros(1, 2, dtype=torch.int64), 1.5), r"of shape \(1, 2\)"),
        (lambda: guided(tells, torch.zeros(2, dtype=torch.int64), float("nan")), "scale must be finite, got nan"),
        (
            lambda: guided(tells, torch.zeros(2, dtype=torch.int64), 1.5)(torch.zeros(SHAPE), torch.zeros(5)),
            "was given 2 labels, the batch has 5 rows",
        ),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
