"""Optima that account for use and for repeated data: against brute force, limits, and the authors' own numbers."""

import math

import numpy as np
import pytest
from numpy.testing import assert_allclose

from course_lib.scaling import (
    BESIROGLU_2024,
    HOFFMANN_2022,
    LAWS,
    cheapest_lifetime,
    effective_tokens,
    lifetime_of,
    tokens_for_loss,
)


@pytest.mark.parametrize("law", [HOFFMANN_2022, BESIROGLU_2024])
def test_tokens_for_a_loss_are_the_inverse_of_the_law(law):
    for n, d in [(1e8, 1e10), (7e10, 1.4e12)]:
        assert_allclose(tokens_for_loss(law, n, float(law.loss(n, d))), d, rtol=1e-9)


def test_without_use_the_cheapest_model_is_the_compute_optimal_one():
    for flops in (1e21, 5.76e23):
        best = cheapest_lifetime(BESIROGLU_2024, loss=float(BESIROGLU_2024.best_loss(flops)), served_tokens=0)
        assert_allclose(best.flops, flops, rtol=1e-9)
        assert_allclose(best.num_parameters, BESIROGLU_2024.frontier().num_parameters(flops), rtol=1e-3)
        assert best.inference_flops == 0


@pytest.mark.parametrize("served_tokens", [1e10, 1e12, 1e14])
def test_the_cheapest_lifetime_beats_every_other_size(served_tokens):
    loss = 2.1
    best = cheapest_lifetime(HOFFMANN_2022, loss=loss, served_tokens=served_tokens)
    others = np.geomspace(best.num_parameters / 3, best.num_parameters * 30, 1001)
    smallest = (HOFFMANN_2022.parameter_coefficient / (loss - HOFFMANN_2022.irreducible)) ** (1 / 0.34)
    costs = [
        lifetime_of(HOFFMANN_2022, float(n), loss=loss, served_tokens=served_tokens).flops
        for n in others[others > smallest * 1.001]
    ]
    assert best.flops <= min(costs)
    assert_allclose(best.flops, min(costs), rtol=1e-3)
    assert_allclose(float(HOFFMANN_2022.loss(best.num_parameters, best.num_tokens)), loss, rtol=1e-9)
    assert best.flops == 6 * best.num_parameters * best.num_tokens + 2 * best.num_parameters * served_tokens


def test_the_more_is_served_the_smaller_and_the_longer_trained():
    found = [cheapest_lifetime(BESIROGLU_2024, loss=2.0, served_tokens=served) for served in (0, 1e11, 1e13, 1e15)]
    sizes, tokens = [one.num_parameters for one in found], [one.num_tokens for one in found]
    assert sizes == sorted(sizes, reverse=True)
    assert tokens == sorted(tokens)


def test_one_pass_is_worth_itself_and_endless_passes_sixteen_times_as_much():
    assert effective_tokens(7.0, 1.0) == 7.0
    assert_allclose(effective_tokens(1.0, 1e9), 1 + 15.387756)
    assert_allclose(effective_tokens(1e9, [2.0, 3.0]) / 1e9, [1 + 0.9682, 1 + 1.8755], rtol=1e-3)
    assert_allclose(effective_tokens(5.0, 3.0, half_life=1e12), 15.0)  # nothing decays: every pass is fresh data


def test_repetitions_add_up_a_geometric_series():
    """Whole repetitions as the paper derives them: each is worth exp(-1 / R*) of the one before, up to its rounding."""
    decay = 15.387756
    share = 1 - math.exp(-1 / decay)
    series = sum(decay * share * math.exp(-k / decay) for k in range(8))
    assert_allclose(effective_tokens(1.0, 9.0), 1 + series, rtol=1e-12)


def test_the_authors_own_example_of_repeated_data():
    """The two models of the paper's figure 1, 25 billion unique tokens: the losses that its published code prints."""
    law = LAWS["Muennighoff 2023"].law
    for n, d, published in [(6.34e9, 242e9, 2.2256440889984477), (8.67e9, 178e9, 2.2269634075087867)]:
        unique = 25e9
        best_n = best_size_for(law, unique)
        surplus = n / best_n - 1
        n_effective = best_n * (1 + 5.309743 * (1 - math.exp(-surplus / 5.309743)))
        d_effective = float(effective_tokens(unique, d / unique))
        assert float(law.loss(n_effective, d_effective)) == pytest.approx(published, abs=2e-3)  # rounded coefficients


def best_size_for(law, tokens):
    """The size for which this many tokens are compute-optimal: alpha A / N ** alpha equals beta B / D ** beta."""
    gain = law.parameter_exponent * law.parameter_coefficient / (law.token_exponent * law.token_coefficient)
    return (gain * tokens**law.token_exponent) ** (1 / law.parameter_exponent)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: tokens_for_loss(HOFFMANN_2022, 1e9, 2.0), "1e.09 parameters stay above 2.0"),
        (lambda: cheapest_lifetime(HOFFMANN_2022, loss=1.6, served_tokens=0), "above the law's 1.69 nats, got 1.6"),
        (lambda: cheapest_lifetime(HOFFMANN_2022, loss=math.inf, served_tokens=0), "loss must be finite"),
        (lambda: cheapest_lifetime(HOFFMANN_2022, loss=2, served_tokens=-1), "at least 0, got -1"),
        (lambda: effective_tokens(1e9, 0.5), "epochs must be at least 1, got 0.5"),
        (lambda: effective_tokens(0, 2), "unique_tokens must be positive and finite, got 0"),
        (lambda: effective_tokens(1, 2, half_life=0), "half_life must be positive and finite, got 0"),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
