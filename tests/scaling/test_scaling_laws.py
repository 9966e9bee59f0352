"""The laws and their optima: against the formulas read aloud, numerical minimisation, and values known by thought."""

import math

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.optimize import minimize_scalar

from course_lib.scaling import BESIROGLU_2024, HOFFMANN_2022, ChinchillaLaw, Frontier, KaplanLaw, PowerLaw, six_nd

SIZES, TOKENS = np.geomspace(1e6, 1e11, 6), np.geomspace(1e8, 1e13, 6)


def slow_chinchilla(law, n, d):
    return (
        law.irreducible
        + law.parameter_coefficient / n**law.parameter_exponent
        + (law.token_coefficient / d**law.token_exponent)
    )


def slow_kaplan(law, n, d):
    too_small = (law.critical_parameters / n) ** (law.parameter_exponent / law.token_exponent)
    return (too_small + law.critical_tokens / d) ** law.token_exponent


@pytest.mark.parametrize(
    ("law", "slow"), [(HOFFMANN_2022, slow_chinchilla), (KaplanLaw(6.4e13, 1.8e13, 0.076, 0.103), slow_kaplan)]
)
def test_losses_are_the_formulas(law, slow):
    expected = [slow(law, n, d) for n, d in zip(SIZES, TOKENS, strict=True)]
    assert_allclose(law.loss(SIZES, TOKENS), expected, rtol=1e-14)
    assert law.loss(SIZES[:, None], TOKENS).shape == (6, 6)


def test_a_power_law_falls_by_the_same_share_of_the_excess():
    law = PowerLaw(coefficient=3.0, exponent=0.25, irreducible=0.5)
    excess = law.loss([1.0, 10.0, 100.0]) - 0.5
    assert_allclose(excess[1:] / excess[:-1], 10**-0.25, rtol=1e-12)
    assert_allclose(law.loss(1e300), 0.5)


def test_endless_data_and_endless_models_leave_one_term():
    chinchilla, kaplan = ChinchillaLaw(1.5, 400.0, 500.0, 0.3, 0.35), KaplanLaw(1e13, 2e13, 0.07, 0.1)
    assert_allclose(chinchilla.loss(1e6, 1e300), 1.5 + 400 / 1e6**0.3)
    assert_allclose(kaplan.loss(1e6, 1e300), (1e13 / 1e6) ** 0.07)
    assert_allclose(kaplan.loss(1e300, 1e9), (2e13 / 1e9) ** 0.1)


@pytest.mark.parametrize("law", [HOFFMANN_2022, BESIROGLU_2024, ChinchillaLaw(0.3, 5.0, 80.0, 0.5, 0.2)])
@pytest.mark.parametrize("flops", [1e15, 5.76e23, 1e27])
def test_the_closed_form_is_the_minimum_found_numerically(law, flops):
    found = minimize_scalar(
        lambda log_n: float(law.loss(math.exp(log_n), flops / 6 / math.exp(log_n))),
        bounds=(1, 40),
        method="bounded",
        options={"xatol": 1e-9},
    )
    best = law.frontier()
    assert_allclose(best.num_parameters(flops), math.exp(found.x), rtol=1e-4)  # a flat minimum: half the digits
    assert_allclose(law.best_loss(flops), found.fun, rtol=1e-12)
    assert_allclose(6 * best.num_parameters(flops) * best.num_tokens(flops), flops, rtol=1e-12)


def test_at_the_optimum_one_per_cent_more_of_either_gains_the_same():
    best = BESIROGLU_2024.frontier()
    n, d = float(best.num_parameters(1e24)), float(best.num_tokens(1e24))
    start = float(BESIROGLU_2024.loss(n, d))
    gains = start - BESIROGLU_2024.loss([1.0001 * n, n], [d, 1.0001 * d])
    assert_allclose(gains[0], gains[1], rtol=1e-3)


def test_equal_exponents_and_coefficients_split_compute_evenly():
    best = ChinchillaLaw(1.0, 7.0, 7.0, 0.3, 0.3).frontier()
    assert best.exponent == 0.5
    assert_allclose(best.num_parameters(6e20), 1e10, rtol=1e-12)
    assert_allclose(best.num_tokens(6e20), 1e10, rtol=1e-12)


def test_chinchilla_and_gpt_3_by_the_rule_of_thumb():
    assert six_nd(70e9, 1.4e12) == pytest.approx(5.88e23, rel=1e-12)
    assert six_nd(175e9, 300e9) == pytest.approx(3.15e23, rel=1e-12)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: HOFFMANN_2022.loss(0, 1e9), "num_parameters must be positive and finite, got 0"),
        (lambda: HOFFMANN_2022.loss(1e9, [1e9, np.nan]), "num_tokens must be positive and finite, got nan"),
        (lambda: PowerLaw(1, 1).loss(-1), "x must be positive and finite, got -1"),
        (lambda: Frontier(1, 0.5).num_tokens(np.inf), "flops must be positive and finite, got inf"),
        (lambda: ChinchillaLaw(1, 1, 1, 0.3, -0.1).frontier(), "two positive exponents, got alpha 0.3 and beta -0.1"),
        (lambda: six_nd(1e9, 0), "six_nd needs positive finite numbers"),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
