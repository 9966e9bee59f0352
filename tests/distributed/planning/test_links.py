"""Links and clusters: planted figures found again, two levels against one, published figures with their sources."""

import math

import numpy as np
import pytest

from course_lib.distributed import (
    FABRICS,
    Cluster,
    CommunicationModel,
    cluster,
    collective_cost,
    fit_communication,
)
from course_lib.distributed.planning.clusters import LINK_EFFICIENCY
from course_lib.scaling import CHIPS

SIZES = [1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8]


@pytest.mark.parametrize(
    ("collective", "algorithm"), [("send", None), ("all_reduce", "ring"), ("all_reduce", "naive"), ("broadcast", None)]
)
def test_planted_figures_are_found(collective, algorithm):
    link = CommunicationModel(40e-6, 3e9)
    times = [link.seconds(size, collective, num_ranks=4, algorithm=algorithm) for size in SIZES]
    fit = fit_communication(SIZES, times, collective, num_ranks=4, algorithm=algorithm)
    assert fit.latency_seconds == pytest.approx(40e-6, rel=1e-9)
    assert fit.bytes_per_second == pytest.approx(3e9, rel=1e-9)


def test_measurements_of_several_worlds_are_fitted_together():
    link = CommunicationModel(40e-6, 3e9)
    ranks = [2, 4, 8, 2, 4, 8, 2]
    times = [link.seconds(size, "all_reduce", num_ranks=r) for size, r in zip(SIZES, ranks, strict=True)]
    fit = fit_communication(SIZES, times, "all_reduce", num_ranks=ranks)
    assert (fit.latency_seconds, fit.bytes_per_second) == pytest.approx((40e-6, 3e9))


def test_noise_of_a_tenth_moves_the_fit_by_about_as_much():
    link, noise = CommunicationModel(40e-6, 3e9), np.random.default_rng(0)
    times = [link.seconds(size) * noise.lognormal(0, 0.1) for size in SIZES * 4]
    fit = fit_communication(SIZES * 4, times)
    assert fit.latency_seconds == pytest.approx(40e-6, rel=0.1)
    assert fit.bytes_per_second == pytest.approx(3e9, rel=0.15)


def test_a_latency_is_never_negative():
    fit = fit_communication([10, 1000], [0.5, 100.0])  # steeper than proportional
    assert fit.latency_seconds == 0
    residuals = np.array([10, 1000]) / fit.bytes_per_second / np.array([0.5, 100.0]) - 1
    for factor in (0.99, 1.01):
        other = np.array([10, 1000]) / (fit.bytes_per_second * factor) / np.array([0.5, 100.0]) - 1
        assert (other**2).sum() > (residuals**2).sum()


def test_small_messages_pay_latency_and_large_ones_bandwidth():
    link = CommunicationModel(10e-6, 1e9)
    assert link.seconds(0) == 10e-6
    assert link.seconds(link.half_speed_bytes) == pytest.approx(20e-6)
    tree, ring = (
        [link.seconds(size, "all_reduce", num_ranks=64, algorithm=way) for size in (1e2, 1e9)]
        for way in ("tree", "ring")
    )
    assert tree[0] < ring[0]
    assert ring[1] < tree[1]


def flat(chips, a_node):
    link = CommunicationModel(0.0, 1e9)
    return Cluster(CHIPS["H100 SXM"], chips, a_node, link, link)


@pytest.mark.parametrize("collective", ["all_gather", "reduce_scatter", "all_reduce"])
def test_two_levels_over_equal_links_move_what_one_ring_does(collective):
    """(k - 1)/k of the tensor inside and (n - 1)/n of a k-th between nodes are (p - 1)/p together."""
    two_levels = flat(32, 8).seconds(collective, 1e9, num_ranks=32)
    one_ring = flat(32, 32).seconds(collective, 1e9, num_ranks=32)
    assert two_levels == pytest.approx(one_ring, rel=1e-12)


def test_strides_decide_which_links_are_used():
    machines = Cluster(
        CHIPS["H100 SXM"], 64, 8, inside=CommunicationModel(0.0, 100e9), between=CommunicationModel(0.0, 1e9)
    )
    ring = collective_cost("all_reduce", 1e9, num_ranks=8).chain_bytes
    assert machines.seconds("all_reduce", 1e9, num_ranks=8, stride=1) == pytest.approx(ring / 100e9)
    assert machines.seconds("all_reduce", 1e9, num_ranks=8, stride=8) == pytest.approx(ring / 1e9)
    across = collective_cost("all_reduce", 1e9 / 2, num_ranks=4).chain_bytes / 1e9  # two a node, four nodes
    inside = collective_cost("all_reduce", 1e9, num_ranks=2).chain_bytes / 100e9
    assert machines.seconds("all_reduce", 1e9, num_ranks=8, stride=4) == pytest.approx(across + inside)
    assert machines.seconds("send", 1e9, num_ranks=2, stride=4) == pytest.approx(0.01)
    assert machines.seconds("send", 1e9, num_ranks=4, stride=4) == pytest.approx(1.0)
    assert machines.seconds("broadcast", 1e9, num_ranks=64) == pytest.approx(3 * 1.0 + 3 * 0.01)


def test_published_figures_carry_their_source():
    for fabric in FABRICS.values():
        assert fabric.chip in CHIPS
        for figure in (fabric.inside, fabric.between):
            assert figure.source.publisher
            assert figure.source.read_on == "2026-11-23"
            assert figure.note
    assert LINK_EFFICIENCY.value == pytest.approx(0.822, abs=1e-3)
    machines = cluster("H100, 400 Gb/s", num_chips=16)
    assert machines.inside.bytes_per_second == pytest.approx(370e9)
    assert machines.between.bytes_per_second == pytest.approx(50e9 * 370 / 450)
    assert cluster("A100, InfiniBand", num_chips=4, link_efficiency=1.0).inside.bytes_per_second == 300e9


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: CommunicationModel(-1.0, 1.0), "latency of 0 or more seconds and a positive bandwidth, got -1.0 s"),
        (lambda: CommunicationModel(0.0, 0.0), "positive bandwidth"),
        (lambda: fit_communication([1, 1], [1.0, 1.0]), "at least two different sizes"),
        (lambda: fit_communication([1, 2], [1.0]), "one time each"),
        (lambda: fit_communication([1, 2], [1.0, math.nan]), "times positive and finite"),
        (lambda: fit_communication([1, 1000], [1.0, 0.5]), "times do not grow with the size"),
        (lambda: fit_communication([1, 9], [1.0, 2.0], num_ranks=1), "from 2 .a rank alone sends nothing.; got 1"),
        (lambda: fit_communication([1, 9], [1.0, 2.0], num_ranks=[2, 4, 8]), "for all 2 measurements or one for each"),
        (lambda: flat(12, 8), "whole nodes: got 12 chips, 8 a node"),
        (lambda: flat(16, 8).seconds("all_reduce", 1, num_ranks=8, stride=4), "8 ranks with stride 4 do not fit on 16"),
        (lambda: cluster("TPU", num_chips=4), "no figures of 'TPU' here; there are A100, InfiniBand, H100"),
        (lambda: cluster("H100, 400 Gb/s", num_chips=8, link_efficiency=1.1), "in .0, 1.; got 1.1"),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
