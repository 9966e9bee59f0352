"""Approaches 1 and 2: valleys and envelopes of laws that are known."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

from course_lib.scaling import (
    BESIROGLU_2024,
    ChinchillaLaw,
    TrainingCurve,
    envelope,
    fit_frontier,
    fit_isoflops,
    frontier_without_embeddings,
)

LAW = ChinchillaLaw(1.8, 480.0, 480.0, 0.35, 0.35)  # equal exponents: N_opt = D_opt, valleys are symmetric
SIZES = np.geomspace(1e8, 1e10, 9)
BUDGETS = np.array([6e18, 6e19])


def valleys(law=LAW, sizes=SIZES, budgets=BUDGETS):
    n, c = np.tile(sizes, len(budgets)), np.repeat(budgets, len(sizes))
    return n, c, law.loss(n, c / 6 / n)


def curves(law=LAW, sizes=SIZES):
    """Losses along runs that obey the law at each moment, as if the rate were always decayed."""
    tokens = np.geomspace(1e7, 1e12, 200)
    return [TrainingCurve(float(n), tokens, law.loss(n, tokens)) for n in sizes]


def test_a_parabola_is_found_exactly():
    n = np.array([1e6, 3e6, 2e7, 5e8])
    loss = 2.5 + 0.04 * (np.log(n) - np.log(4e7)) ** 2
    (valley,) = fit_isoflops(n, np.full(4, 1e18), loss)
    assert_allclose([valley.num_parameters, valley.lowest_loss, valley.curvature], [4e7, 2.5, 0.04], rtol=1e-9)
    assert valley.inside
    assert_allclose(valley.loss(n), loss, rtol=1e-12)


def test_the_bottoms_of_symmetric_valleys_are_the_closed_form():
    first, second = (valleys(sizes=SIZES * c**0.5, budgets=BUDGETS[:1] * c) for c in (1.0, 100.0))
    found = fit_isoflops(*np.concatenate([first, second], axis=1))
    assert [valley.flops for valley in found] == [6e18, 6e20]
    assert_allclose([v.num_parameters for v in found], LAW.frontier().num_parameters([6e18, 6e20]), rtol=1e-6)
    frontier = fit_frontier([6e18, 6e20], [valley.num_parameters for valley in found])
    assert_allclose(frontier.exponent, 0.5, atol=1e-6)


def test_a_valley_seen_from_one_side_has_its_bottom_a_little_off():
    (valley,) = fit_isoflops(*valleys(budgets=BUDGETS[1:]))  # the sizes reach further down from here than up
    assert_allclose(valley.num_parameters, LAW.frontier().num_parameters(6e19), rtol=0.04)


def test_the_order_of_runs_does_not_matter():
    n, c, loss = valleys()
    order = np.random.default_rng(0).permutation(len(n))
    first, second = fit_isoflops(n, c, loss), fit_isoflops(n[order], c[order], loss[order])
    assert_allclose([v.num_parameters for v in second], [v.num_parameters for v in first], rtol=1e-9)


def test_a_bottom_beyond_the_sizes_tried_is_marked():
    n, c, loss = valleys(sizes=SIZES[-4:], budgets=BUDGETS[:1])
    (valley,) = fit_isoflops(n, c, loss)
    assert valley.num_parameters < n.min()
    assert not valley.inside


def test_the_envelope_is_the_lowest_curve_and_leaves_the_edges_out():
    found = envelope(curves(), num_budgets=60)
    assert set(found.num_parameters) == set(SIZES[1:-1])
    for c, n, loss in zip(found.flops, found.num_parameters, found.loss, strict=True):
        everywhere = LAW.loss(SIZES, c / 6 / SIZES)
        assert_allclose(loss, everywhere.min(), rtol=1e-3)  # interpolated
        assert LAW.loss(n, c / 6 / n) <= everywhere.min() * (1 + 1e-3)


def test_no_size_wins_for_want_of_another_that_has_not_begun_or_has_ended():
    whole = envelope(curves(), num_budgets=60)
    size = SIZES[len(SIZES) // 2]
    won = whole.flops[whole.num_parameters == size]
    place = next(i for i, curve in enumerate(curves()) if curve.num_parameters == size)
    for keep, left in ((-1, whole.flops <= won[0]), (1, whole.flops >= won[-1])):
        cut = curves()
        tokens, loss = np.asarray(cut[place].num_tokens), np.asarray(cut[place].loss)
        kept = keep * (6 * size * tokens - won.mean()) >= 0  # from the middle of its stretch on, or up to there
        cut[place] = TrainingCurve(size, tokens[kept], loss[kept])
        found = envelope(cut, num_budgets=60)
        for c, lowest in zip(found.flops, found.loss, strict=True):
            assert_allclose(lowest, LAW.loss(SIZES, c / 6 / SIZES).min(), rtol=1e-3)
        assert set(found.flops) >= set(whole.flops[left])


def test_a_curve_that_ends_or_begins_behind_others_takes_nothing_away():
    whole, short = envelope(curves(), num_budgets=60), curves()
    small, large = short[0], short[-1]
    assert (small.num_parameters, large.num_parameters) == (SIZES[0], SIZES[-1])
    short[0] = TrainingCurve(small.num_parameters, small.num_tokens[:-4], small.loss[:-4])
    short[-1] = TrainingCurve(large.num_parameters, large.num_tokens[4:], large.loss[4:])
    found = envelope(short, num_budgets=60)
    assert_allclose(found.flops, whole.flops)
    assert_allclose(found.num_parameters, whole.num_parameters)


def test_both_approaches_and_the_closed_form_agree_on_the_exponent():
    law = ChinchillaLaw(1.8, 480.0, 2000.0, 0.34, 0.37)
    found = envelope(curves(law, np.geomspace(1e8, 1e10, 40)), num_budgets=200)
    from_curves = fit_frontier(found.flops, found.num_parameters)
    n, c, loss = valleys(law, budgets=np.geomspace(6e18, 6e20, 5))
    bottoms = fit_isoflops(n, c, loss)
    from_valleys = fit_frontier([v.flops for v in bottoms], [v.num_parameters for v in bottoms])
    assert_allclose(from_curves.exponent, law.frontier().exponent, atol=0.02)
    assert_allclose(from_valleys.exponent, law.frontier().exponent, atol=0.02)


def test_a_frontier_through_two_points_is_the_line_through_them():
    frontier = fit_frontier([1e18, 1e20], [1e8, 4e8])
    assert_allclose(frontier.exponent, np.log10(4) / 2)
    assert_allclose(frontier.num_parameters([1e18, 1e20]), [1e8, 4e8])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: fit_isoflops([1e6, 1e7, 1e7], [1e18] * 3, [3, 2, 2]), "three sizes at one budget, 1e.18 FLOP has 2"),
        (lambda: fit_isoflops([1e6, 1e7, 1e8], [1e18] * 3, [2, 3, 2]), "no valley over sizes"),
        (lambda: fit_frontier([1e18, 1e18], [1e7, 1e8]), "two different budgets, got 1e.18 FLOP only"),
        (lambda: envelope(curves()[:2]), "at least three sizes, got 2"),
        (lambda: envelope(curves(), num_budgets=1), "num_budgets must be at least 2, got 1"),
        (lambda: TrainingCurve(1e6, [1e9, 1e8], [2.0, 3.0]), "must rise from point to point"),
        (lambda: TrainingCurve(1e6, [1e9], [2.0]), "at least 2 runs, got 1"),
        (
            lambda: envelope([TrainingCurve(n, [1e13 / n, 1e14 / n], [n / 1e6] * 2) for n in (1e6, 2e6, 3e6)]),
            "no size between the smallest and the largest is ever best",
        ),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_without_embeddings_the_exponent_is_the_laws_own():
    law = ChinchillaLaw(1.8, 480.0, 2000.0, 0.34, 0.37)
    found = frontier_without_embeddings(law, lambda others: 0.0, [1e18, 1e20, 1e22])
    assert_allclose(found.exponent, law.frontier().exponent, atol=1e-4)
    assert_allclose(found.num_parameters(1e20), law.frontier().num_parameters(1e20), rtol=1e-3)


def test_leaving_embeddings_out_raises_the_exponent_towards_kaplans_on_small_models():
    found = frontier_without_embeddings(
        BESIROGLU_2024, lambda others: 47491 * others ** (1 / 3), np.geomspace(1e15, 1e21, 13)
    )
    assert 0.65 < found.exponent < 0.78
