"""Learnt task weights: the paper's two equations, the optimum by thought, invariants, gradients, extremes."""

import math

import pytest
import torch
from torch.testing import assert_close

from course_lib.losses import UncertaintyWeighting, gaussian_nll, mse


def weighting_at(*log_variances):
    """A module in float64 whose parameters are these."""
    module = UncertaintyWeighting(len(log_variances)).double()
    with torch.no_grad():
        module.log_variances.copy_(torch.tensor(log_variances, dtype=torch.float64))
    return module


def test_two_regressions_are_equation_seven():
    first, second, sigma = 0.8, 3.0, (0.5, 2.0)  # mean squared errors, without the half
    expected = first / (2 * sigma[0] ** 2) + second / (2 * sigma[1] ** 2) + math.log(sigma[0] * sigma[1])
    module = weighting_at(*(2 * math.log(s) for s in sigma))
    halves = (torch.tensor(value / 2, dtype=torch.float64) for value in (first, second))
    assert_close(module(*halves).item(), expected, rtol=1e-14, atol=0)


def test_regression_and_classification_are_equation_ten():
    squared, surprise, sigma = 0.8, 1.7, (0.5, 2.0)
    expected = squared / (2 * sigma[0] ** 2) + surprise / sigma[1] ** 2 + math.log(sigma[0]) + math.log(sigma[1])
    module = weighting_at(*(2 * math.log(s) for s in sigma))
    losses = (torch.tensor(squared / 2, dtype=torch.float64), torch.tensor(surprise, dtype=torch.float64))
    assert_close(module(*losses).item(), expected, rtol=1e-14, atol=0)


def test_one_regression_is_the_gaussian_likelihood_up_to_its_constant():
    generator = torch.Generator().manual_seed(0)
    prediction, target = (torch.randn(5, generator=generator, dtype=torch.float64) for _ in range(2))
    expected = gaussian_nll(prediction, target, torch.tensor(0.7, dtype=torch.float64)) - math.log(2 * math.pi) / 2
    assert_close(weighting_at(0.7)(mse(prediction, target) / 2), expected, rtol=1e-14, atol=0)


def test_all_weights_start_at_one():
    module = UncertaintyWeighting(3)
    assert module.weights.tolist() == [1, 1, 1]
    assert module(torch.tensor(1.0), torch.tensor(2.0), torch.tensor(4.0)).item() == 7
    assert [name for name, _ in module.named_parameters()] == ["log_variances"]


def test_the_best_weight_is_one_over_twice_the_loss_and_every_task_contributes_a_half():
    losses = torch.tensor([0.01, 2.0, 300.0], dtype=torch.float64)
    module = weighting_at(*(2 * losses).log().tolist())
    total = module(*losses)
    total.backward()
    assert_close(module.log_variances.grad, torch.zeros(3, dtype=torch.float64), rtol=0, atol=1e-15)
    assert_close(module.weights, 1 / (2 * losses), rtol=1e-14, atol=0)
    assert_close(total.item(), 1.5 + (2 * losses).log().sum().item() / 2, rtol=1e-14, atol=0)


def test_a_change_of_units_moves_the_log_variance_and_leaves_the_weighted_loss():
    losses = torch.tensor([0.3, 2.0], dtype=torch.float64)
    before, after = weighting_at(0.1, -0.4), weighting_at(0.1 + math.log(100), -0.4)
    moved = after(100 * losses[0], losses[1])
    assert_close(moved, before(*losses) + math.log(100) / 2, rtol=1e-14, atol=0)


def test_reordering_the_tasks_changes_nothing():
    losses = torch.tensor([0.3, 2.0, 1.0], dtype=torch.float64)
    expected = weighting_at(0.1, -0.4, 1.0)(*losses)
    assert_close(weighting_at(1.0, 0.1, -0.4)(losses[2], losses[0], losses[1]), expected, rtol=1e-14, atol=0)


def test_losses_per_row_sum_to_the_same_over_any_split():
    generator = torch.Generator().manual_seed(0)
    first, second = (torch.rand(7, generator=generator, dtype=torch.float64) for _ in range(2))
    module = weighting_at(0.5, -0.5)
    rows = module(first, second)
    assert rows.shape == (7,)
    parts = module(first[:2], second[:2]).sum() + module(first[2:], second[2:]).sum()
    assert_close(parts, rows.sum(), rtol=1e-14, atol=0)
    assert_close(rows.mean(), module(first.mean(), second.mean()), rtol=1e-14, atol=0)


def test_gradcheck():
    module = weighting_at(0.5, -0.5)
    losses = (torch.tensor([0.3, 1.0], dtype=torch.float64), torch.tensor([2.0, 0.1], dtype=torch.float64))

    def total(log_variances, *losses):
        return torch.func.functional_call(module, {"log_variances": log_variances}, losses)

    inputs = (module.log_variances.detach(), *losses)
    assert torch.autograd.gradcheck(total, tuple(x.clone().requires_grad_() for x in inputs))


def test_extreme_losses_and_half_precision():
    module = UncertaintyWeighting(2)
    total = module(torch.tensor(1e30), torch.tensor(0.0))
    total.backward()
    assert total.item() == torch.tensor(1e30).item()
    assert_close(module.log_variances.grad, torch.tensor([-1e30, 0.5]))
    halves = module(torch.tensor(256.0, dtype=torch.bfloat16), torch.tensor(1.0, dtype=torch.bfloat16))
    assert halves.dtype == torch.float32
    assert halves.item() == 257  # bf16 itself would round to 256


def test_the_weights_property_carries_no_gradient():
    module = weighting_at(0.0, math.log(4))
    assert_close(module.weights, torch.tensor([1.0, 0.25], dtype=torch.float64), rtol=1e-15, atol=0)
    assert not module.weights.requires_grad


def test_no_tasks_are_refused():
    with pytest.raises(ValueError, match="num_tasks must be at least 1, got 0"):
        UncertaintyWeighting(0)


@pytest.mark.parametrize(
    ("losses", "message"),
    [
        ([torch.tensor(1.0)], r"expected 2 losses of one shape, got shapes \[\(\)\]"),
        ([torch.tensor(1.0)] * 3, r"expected 2 losses of one shape, got shapes \[\(\), \(\), \(\)\]"),
        ([torch.tensor(1.0), torch.ones(1)], r"expected 2 losses of one shape, got shapes \[\(\), \(1,\)\]"),
    ],
)
def test_losses_that_do_not_fit_are_refused(losses, message):
    with pytest.raises(ValueError, match=message):
        UncertaintyWeighting(2)(*losses)
