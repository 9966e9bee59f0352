"""The fits: against known laws, an optimiser of another kind, and the trap of averaging."""

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from scipy.optimize import approx_fprime, least_squares

from course_lib.scaling import (
    BESIROGLU_2024,
    KAPLAN_2020,
    ChinchillaLaw,
    KaplanLaw,
    PowerLaw,
    fit_chinchilla,
    fit_kaplan,
    fit_power_law,
)
from course_lib.scaling.huber_fit import log_sum_exp, minimise_huber

FIELDS = ("irreducible", "parameter_coefficient", "token_coefficient", "parameter_exponent", "token_exponent")


def runs(num=240, noise=0.0, seed=0):
    """Runs like Hoffmann's: budgets of 6e18 to 3e21 FLOP, 1 to 300 tokens a parameter."""
    rng = np.random.default_rng(seed)
    flops, ratio = 10 ** rng.uniform(18.8, 21.5, num), 10 ** rng.uniform(0, 2.5, num)
    n = np.sqrt(flops / 6 / ratio)
    d = flops / 6 / n
    return n, d, BESIROGLU_2024.loss(n, d) * np.exp(noise * rng.standard_normal(num))


def as_numbers(law):
    return np.array([getattr(law, name) for name in FIELDS])


def residuals(parameters, n, d, loss):
    a, b, e, alpha, beta = parameters
    predicted = np.log(np.exp(a - alpha * np.log(n)) + np.exp(b - beta * np.log(d)) + np.exp(e))
    return predicted - np.log(loss)


def test_a_law_without_noise_is_found_again():
    assert_allclose(as_numbers(fit_chinchilla(*runs())), as_numbers(BESIROGLU_2024), rtol=1e-4)


@pytest.mark.parametrize("seed", range(3))
def test_noisy_runs_give_the_minimum_that_another_optimiser_finds(seed):
    n, d, loss = runs(noise=0.01, seed=seed)
    law = fit_chinchilla(n, d, loss)
    ours = np.array([*np.log(as_numbers(law)[[1, 2, 0]]), *as_numbers(law)[3:]])
    theirs = least_squares(  # trust region with Huber's loss, from the truth
        residuals,
        [*np.log([482.01, 2085.43, 1.8172]), 0.3478, 0.3658],
        args=(n, d, loss),
        loss="huber",
        f_scale=1e-3,
        x_scale="jac",
        xtol=1e-14,
        ftol=1e-14,
        gtol=1e-14,
        max_nfev=5000,
    ).x

    def huber(parameters):
        gap = torch.from_numpy(residuals(parameters, n, d, loss))
        return float(torch.nn.functional.huber_loss(gap, torch.zeros_like(gap), delta=1e-3, reduction="sum"))

    assert huber(ours) <= huber(theirs) * (1 + 1e-6)
    assert_allclose(ours[3:], theirs[3:], rtol=1e-3)


def test_averaging_stops_early_and_biases_the_exponents():
    n, d, loss = runs(noise=0.01)
    summed, averaged = (fit_chinchilla(n, d, loss, reduction=kind, tolerance=1e-5) for kind in ("sum", "mean"))
    patient = fit_chinchilla(n, d, loss, reduction="mean", tolerance=1e-10)
    assert_allclose(as_numbers(patient), as_numbers(summed), rtol=1e-3)  # the same minimum, if one waits for it
    assert abs(averaged.parameter_exponent - summed.parameter_exponent) > 0.05
    assert abs(averaged.token_exponent - summed.token_exponent) > 0.05


def test_one_run_gone_wrong_changes_little():
    n, d, loss = runs(noise=0.003)
    clean = fit_chinchilla(n, d, loss)
    loss[7] *= 1.5
    assert_allclose(as_numbers(fit_chinchilla(n, d, loss))[[0, 3, 4]], as_numbers(clean)[[0, 3, 4]], rtol=0.02)


def test_other_units_of_parameters_and_tokens_change_only_the_coefficients():
    n, d, loss = runs(noise=0.003)
    law, scaled = fit_chinchilla(n, d, loss), fit_chinchilla(n / 1e3, d / 1e3, loss)
    assert_allclose(as_numbers(scaled)[[0, 3, 4]], as_numbers(law)[[0, 3, 4]], rtol=1e-3)
    assert_allclose(scaled.parameter_coefficient, law.parameter_coefficient * 1e3**-law.parameter_exponent, rtol=5e-3)


def test_a_weight_of_two_is_the_run_twice():
    n, d, loss = runs(num=40, noise=0.01)
    counts = np.arange(40) % 3
    weighted = fit_chinchilla(n, d, loss, weights=counts)
    repeated = fit_chinchilla(*(np.repeat(column, counts) for column in (n, d, loss)))
    assert_allclose(as_numbers(weighted), as_numbers(repeated), rtol=1e-3)


def test_small_models_with_exponents_unlike_hoffmanns_are_found_too():
    truth = ChinchillaLaw(0.4, 60.0, 900.0, 0.55, 0.6)
    n, d = (grid.ravel() for grid in np.meshgrid(np.geomspace(1e4, 1e6, 5), np.geomspace(1e5, 1e7, 5)))
    assert_allclose(as_numbers(fit_chinchilla(n, d, truth.loss(n, d))), as_numbers(truth), rtol=1e-3)


def test_a_power_law_is_found_with_and_without_its_floor():
    x = np.geomspace(1e3, 1e9, 13)
    floored, straight = PowerLaw(7.0, 0.31, 0.8), PowerLaw(7.0, 0.31)
    found = fit_power_law(x, floored.loss(x))
    assert_allclose([found.coefficient, found.exponent, found.irreducible], [7.0, 0.31, 0.8], rtol=1e-4)
    found = fit_power_law(x, straight.loss(x), irreducible=False)
    assert_allclose([found.coefficient, found.exponent, found.irreducible], [7.0, 0.31, 0.0], rtol=1e-5)
    assert fit_power_law(x, floored.loss(x), irreducible=False).exponent < 0.1  # a floor taken for a gentle slope


def test_kaplans_law_is_found():
    n, d = (grid.ravel() for grid in np.meshgrid(np.geomspace(1e6, 1e9, 6), np.geomspace(1e7, 2e10, 6)))
    found = fit_kaplan(n, d, KAPLAN_2020.loss(n, d))
    numbers = [found.critical_parameters, found.critical_tokens, found.parameter_exponent, found.token_exponent]
    assert_allclose(numbers, [6.4e13, 1.8e13, 0.076, 0.103], rtol=1e-3)
    truth = KaplanLaw(5e6, 3e6, 0.3, 0.2)
    found = fit_kaplan(n / 1e3, d / 1e3, truth.loss(n / 1e3, d / 1e3))
    assert_allclose([found.parameter_exponent, found.token_exponent], [0.3, 0.2], rtol=1e-3)


def test_shares_are_the_derivative_of_the_log_of_the_sum():
    terms = np.random.default_rng(0).normal(size=(3, 1)) * 5
    total, shares = log_sum_exp(terms)
    assert_allclose(total, np.log(np.exp(terms).sum(0)), rtol=1e-14)
    assert_allclose(shares[:, 0], approx_fprime(terms[:, 0], lambda t: log_sum_exp(t[:, None])[0][0]), atol=1e-6)
    assert np.isfinite(log_sum_exp(np.array([[1e4], [-1e4]]))[0]).all()


def test_the_least_huber_loss_of_a_constant_is_the_median():
    values = np.array([1.0, 2.0, 3.0, 10.0, 50.0])
    best = minimise_huber(
        lambda p: (np.full(5, p[0]), np.ones((5, 1))),
        values,
        np.array([[7.0]]),
        delta=1e-6,
        reduction="sum",
        tolerance=1e-12,
    )
    assert_allclose(best, 3.0, atol=1e-5)


N, D, LOSS = runs(num=8)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: fit_chinchilla(N, D[1:], LOSS), r"num_parameters \(8,\), num_tokens \(7,\), loss \(8,\)"),
        (lambda: fit_chinchilla(N[:4], D[:4], LOSS[:4]), "at least 5 runs, got 4"),
        (lambda: fit_chinchilla(N, D, -LOSS), "loss must be positive and finite"),
        (lambda: fit_chinchilla(N, D, LOSS, reduction="none"), "reduction must be 'sum' or 'mean', got 'none'"),
        (lambda: fit_chinchilla(N, D, LOSS, delta=0), "delta must be positive and finite, got 0"),
        (lambda: fit_chinchilla(N, D, LOSS, weights=np.zeros(8)), "weights must be 8 numbers of 0 or more, not all 0"),
        (lambda: fit_kaplan(N[:3], D[:3], LOSS[:3]), "at least 4 runs, got 3"),
        (lambda: fit_kaplan(N, D, LOSS, tolerance=np.inf), "tolerance must be positive and finite"),
        (lambda: fit_power_law(N[:2], LOSS[:2]), "at least 3 runs, got 2"),
        (lambda: fit_power_law(N[:, None], LOSS[:, None]), "one-dimensional columns"),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
