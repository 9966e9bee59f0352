"""Barlow Twins and VICReg: the formulas read aloud, torch's own statistics, values by thought, invariants."""

import math
import statistics

import pytest
import torch
import torch.nn.functional as F
from torch.testing import assert_close

from course_lib.losses import barlow_twins, vicreg

BOTH = [barlow_twins, vicreg]
CLOSE = {"rtol": 1e-11, "atol": 1e-13}  # float64, the same sums in another order


@pytest.fixture
def views():
    generator = torch.Generator().manual_seed(0)
    first = torch.randn(9, 4, generator=generator, dtype=torch.float64)
    return first, 0.7 * first + 0.4 * torch.randn(9, 4, generator=generator, dtype=torch.float64)


def columns(view):
    return [list(column) for column in zip(*view.tolist(), strict=True)]


@pytest.mark.parametrize("redundancy", [0.0, 0.005, 2.0])
def test_barlow_twins_is_the_formula_read_aloud(views, redundancy):
    """With eps next to nothing the entries are Pearson's correlations."""
    total = 0.0
    for i, one in enumerate(columns(views[0])):
        for j, other in enumerate(columns(views[1])):
            correlation = statistics.correlation(one, other)
            total += (1 - correlation) ** 2 if i == j else redundancy * correlation**2
    assert_close(barlow_twins(*views, redundancy=redundancy, eps=1e-15).item(), total, **CLOSE)


def test_barlow_twins_standardises_as_torchs_batch_norm_does(views):
    first, second = (F.batch_norm(view, None, None, training=True, eps=1e-5) for view in views)
    correlation = first.T @ second / 9
    weights = torch.full((4, 4), 0.005, dtype=torch.float64).fill_diagonal_(1)
    expected = ((correlation - torch.eye(4)).square() * weights).sum()
    assert_close(barlow_twins(*views), expected, **CLOSE)


@pytest.mark.parametrize("weights", [(25.0, 25.0, 1.0), (1.0, 2.0, 3.0), (0.0, 1.0, 0.0)])
def test_vicreg_is_the_formula_read_aloud(views, weights):
    first, second = (columns(view) for view in views)
    differences = [
        (a - b) ** 2 for one, other in zip(first, second, strict=True) for a, b in zip(one, other, strict=True)
    ]
    spread = covariance = 0.0
    for view in (first, second):
        spread += statistics.mean(max(0, 1 - math.sqrt(statistics.variance(one) + 1e-4)) for one in view) / 2
        for i, one in enumerate(view):
            covariance += sum(statistics.covariance(one, other) ** 2 for j, other in enumerate(view) if j != i) / 4
    expected = weights[0] * statistics.mean(differences) + weights[1] * spread + weights[2] * covariance
    ours = vicreg(*views, invariance=weights[0], variance=weights[1], covariance=weights[2])
    assert_close(ours.item(), expected, **CLOSE)


def test_vicreg_uses_torchs_covariance(views):
    expected = sum(
        (torch.cov(view.T).square().sum() - torch.cov(view.T).diagonal().square().sum()) / 4 for view in views
    )
    assert_close(vicreg(*views, invariance=0, variance=0), expected, **CLOSE)


def test_collapse_costs_what_thought_says():
    ones = torch.ones(5, 3, dtype=torch.float64)
    assert barlow_twins(ones, ones).item() == 3.0
    assert_close(vicreg(ones, ones).item(), 25 * (1 - 0.01), **CLOSE)


def test_unrelated_features_that_agree_cost_nothing():
    """The columns of a Hadamard matrix but the first: mean 0, variance 1, no correlation."""
    two = torch.tensor([[1.0, 1.0], [1.0, -1.0]], dtype=torch.float64)
    rows = torch.kron(two, torch.kron(two, two))[:, 1:]
    assert_close(barlow_twins(rows, rows, eps=1e-15).item(), 0.0, rtol=0, atol=1e-20)
    assert vicreg(rows, rows).item() == 0.0
    assert_close(barlow_twins(rows, -rows, eps=1e-15).item(), 4.0 * 7, **CLOSE)
    assert vicreg(rows, -rows).item() == 25 * 4


@pytest.mark.parametrize("loss", BOTH)
def test_the_order_of_samples_features_and_views_does_not_matter(views, loss):
    expected = loss(*views)
    rows, features = torch.tensor([3, 1, 5, 0, 2, 8, 4, 7, 6]), torch.tensor([2, 0, 3, 1])
    assert_close(loss(*(view[rows][:, features] for view in views)), expected, **CLOSE)
    assert_close(loss(*reversed(views)), expected, **CLOSE)
    assert_close(loss(*(view + 3 for view in views)), expected, **CLOSE)  # moved together


def test_barlow_twins_does_not_mind_units(views):
    scaled = [view * torch.tensor([1.0, 10.0, 0.1, 3.0]) + 5 for view in views]
    assert_close(barlow_twins(*scaled, eps=1e-15), barlow_twins(*views, eps=1e-15), **CLOSE)


@pytest.mark.parametrize("loss", BOTH)
def test_gradients(views, loss):
    assert torch.autograd.gradcheck(loss, [view.clone().requires_grad_() for view in views])


@pytest.mark.parametrize("loss", BOTH)
def test_collapsed_and_huge_embeddings_have_finite_gradients(loss):
    for rows in (torch.ones(4, 3), torch.eye(4, 3) * 1e4):
        first = rows.clone().requires_grad_()
        loss(first, rows).backward()
        assert first.grad.isfinite().all()


@pytest.mark.parametrize("loss", BOTH)
def test_half_precision_is_computed_in_float32_also_under_autocast(views, loss):
    halves = [view.bfloat16() for view in views]
    expected = loss(*(half.float() for half in halves))
    assert expected.dtype == torch.float32
    with torch.autocast("cpu", torch.bfloat16):
        assert_close(loss(*halves), expected, rtol=0, atol=0)


@pytest.mark.parametrize("loss", BOTH)
@pytest.mark.parametrize(
    ("first", "second", "options", "message"),
    [
        (torch.ones(4, 3), torch.ones(4, 2), {}, r"first \(4, 3\), second \(4, 2\)"),
        (torch.ones(1, 3), torch.ones(1, 3), {}, "needs at least 2, got 1"),
        (torch.ones(4, 3), torch.ones(4, 3).int(), {}, "second must be floating point"),
        (torch.ones(4, 3), torch.ones(4, 3), {"eps": 0.0}, "eps must be positive"),
    ],
)
def test_bad_input_is_named(loss, first, second, options, message):
    with pytest.raises(ValueError, match=message):
        loss(first, second, **options)


def test_negative_weights_are_refused():
    rows = torch.eye(3)
    with pytest.raises(ValueError, match=r"redundancy must be 0 or more and finite, got -1\.0"):
        barlow_twins(rows, rows, redundancy=-1.0)
    for name in ("invariance", "variance", "covariance"):
        with pytest.raises(ValueError, match=f"{name} must be 0 or more and finite, got inf"):
            vicreg(rows, rows, **{name: math.inf})
