"""Strong and weak scaling: by hand, their limits, and what overlap hides."""

import pytest

from course_lib.distributed import CommunicationModel, cluster, exposed_seconds, strong_scaling, weak_scaling

LINK = CommunicationModel(0.0, 1e9)


def test_by_hand():
    """Four workers, 1 GB: a ring takes 1.5 s. Strong: 8 / 4 + 1.5 s; weak: 8 + 1.5 s."""
    (strong,) = strong_scaling(compute_seconds=8.0, gradient_bytes=1e9, num_ranks=[4], link=LINK)
    assert (strong.compute_seconds, strong.step_seconds) == pytest.approx((2.0, 3.5))
    assert (strong.speedup, strong.efficiency) == pytest.approx((8 / 3.5, 2 / 3.5))
    (weak,) = weak_scaling(compute_seconds=8.0, gradient_bytes=1e9, num_ranks=[4], link=LINK)
    assert (weak.step_seconds, weak.speedup, weak.efficiency) == pytest.approx((9.5, 4 * 8 / 9.5, 8 / 9.5))


def test_limits_of_thousands():
    """A ring's bytes stop growing at twice the tensor: 2 s here, plus two latencies for every worker."""
    (weak,) = weak_scaling(compute_seconds=8.0, gradient_bytes=1e9, num_ranks=[10**6], link=LINK)
    assert weak.efficiency == pytest.approx(0.8, rel=1e-5)
    slow = CommunicationModel(1e-3, 1e9)
    (late,) = weak_scaling(compute_seconds=8.0, gradient_bytes=1e9, num_ranks=[4000], link=slow)
    assert late.step_seconds == pytest.approx(8 + 2 + 2 * 3999 * 1e-3, rel=1e-3)
    (strong,) = strong_scaling(compute_seconds=8.0, gradient_bytes=1e9, num_ranks=[10**6], link=LINK)
    assert strong.speedup == pytest.approx(4.0, rel=1e-4)  # never faster than its gradients travel


def test_overlap_hides_up_to_the_backward_pass():
    assert exposed_seconds(1.0, 1.5, overlap=1.0) == 0.0
    assert exposed_seconds(1.0, 0.75, overlap=1.0) == pytest.approx(0.5)
    assert exposed_seconds(1.0, 1.5, overlap=0.5) == pytest.approx(0.5)
    for overlap in (0.0, 0.5, 1.0):
        points = weak_scaling(compute_seconds=3.0, gradient_bytes=1e9, num_ranks=[1, 16], link=LINK, overlap=overlap)
        assert points[0].efficiency == 1.0
        assert points[1].exposed_seconds == pytest.approx(max(0, 1.875 - overlap * 2))


def test_a_cluster_and_other_algorithms():
    machines = cluster("H100, 400 Gb/s", num_chips=1024)
    points = weak_scaling(compute_seconds=0.5, gradient_bytes=2e9, num_ranks=[8, 16, 1024], link=machines)
    assert points[0].efficiency > points[1].efficiency > points[2].efficiency  # the network begins at the ninth
    assert points[1].exposed_seconds == pytest.approx(machines.seconds("all_reduce", 2e9, num_ranks=16))
    naive, ring = (
        weak_scaling(compute_seconds=0.5, gradient_bytes=2e9, num_ranks=[64], link=LINK, algorithm=way)[0]
        for way in ("naive", "ring")
    )
    assert naive.exposed_seconds == pytest.approx(63 * 2 * 2.0)
    assert ring.exposed_seconds == pytest.approx(2 * 63 / 64 * 2.0)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: exposed_seconds(1.0, 1.0, overlap=1.5), "overlap is a share of the backward pass, in .0, 1.; got 1.5"),
        (
            lambda: weak_scaling(compute_seconds=0.0, gradient_bytes=1, num_ranks=[1], link=LINK),
            "expected a positive time",
        ),
        (
            lambda: strong_scaling(compute_seconds=1.0, gradient_bytes=1, num_ranks=[0], link=LINK),
            "numbers of workers from 1",
        ),
        (
            lambda: weak_scaling(
                compute_seconds=1.0,
                gradient_bytes=1,
                num_ranks=[8],
                link=cluster("H100, 400 Gb/s", num_chips=8),
                algorithm="naive",
            ),
            "a cluster works by rings in two levels, got algorithm='naive'",
        ),
        (lambda: weak_scaling(compute_seconds=1.0, gradient_bytes=-1, num_ranks=[1], link=LINK), "0 or more bytes"),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
