"""Exercises 33.1 and 33.2: the mean gradient over ragged ranks, and the efficiency that a ring leaves."""

from __future__ import annotations

import numpy as np

from course_lib.study.exercises import Case, Exercise


def batch_gradient(means, counts):
    """Return the mean gradient over the rows of all ranks."""
    present = counts > 0
    return counts[present] @ means[present] / counts.sum()


def _mean_oracle(means, counts):
    """Row by row: each row of a rank stands for its rank's mean."""
    total, rows = np.zeros(means.shape[1]), 0
    for mean, count in zip(means, counts, strict=True):
        for _ in range(int(count)):
            total = total + mean
            rows += 1
    return total / rows


def _draw_ranks(rng):
    ranks, width = int(rng.integers(2, 6)), int(rng.integers(1, 4))
    counts = rng.integers(1, 9, ranks)
    if rng.uniform() < 0.5:
        counts[rng.integers(ranks)] = 0
    means = rng.standard_normal((ranks, width)) * 2
    means[counts == 0] = np.nan
    return means, counts


def _explain_mean(case, expected, got):
    _, counts = case.args
    return f"the ranks have {counts.tolist()} rows, {counts.sum()} together: how much should each of their means count?"


def _mean_of_means(means, counts):
    return means.mean(axis=0)


def _mean_of_present_means(means, counts):
    return means[counts > 0].mean(axis=0)


def _nan_as_zero_mean(means, counts):
    return np.nan_to_num(means).mean(axis=0)


def _weighted_with_nan(means, counts):
    return counts @ means / counts.sum()


def _sum_over_ranks(means, counts):
    present = counts > 0
    return counts[present] @ means[present] / len(counts)


def _not_divided(means, counts):
    present = counts > 0
    return counts[present] @ means[present]


def _divides_by_the_largest(means, counts):
    present = counts > 0
    return counts[present] @ means[present] / (counts.max() * present.sum())


def efficiency(num_ranks, num_bytes, latency, bandwidth, compute, hidden):
    """Return the efficiency of weak scaling on so many ranks."""
    messages = 2 * (num_ranks - 1)
    communication = messages * (latency + num_bytes / num_ranks / bandwidth)
    return compute / (compute + max(0.0, communication - hidden))


def _efficiency_oracle(num_ranks, num_bytes, latency, bandwidth, compute, hidden):
    """Message by message: in both halves of the ring each rank passes on p - 1 chunks."""
    seconds = 0.0
    for _half in ("reduce-scatter", "all-gather"):
        for _step in range(num_ranks - 1):
            seconds += latency
            seconds += (num_bytes / num_ranks) / bandwidth
    exposed = seconds - hidden if seconds > hidden else 0.0
    return float(compute / (compute + exposed))


def _draw_link(rng):
    num_ranks = int(rng.choice([1, 2, 3, 8, 64, 1024]))
    latency, bandwidth = float(10 ** rng.uniform(-5, -3)), float(10 ** rng.uniform(8, 11))
    num_bytes, compute = float(10 ** rng.uniform(5, 9)), float(10 ** rng.uniform(-2, 0))
    hidden = float(rng.choice([0.0, 0.3, 0.6])) * compute
    return num_ranks, num_bytes, latency, bandwidth, compute, hidden


def _explain_efficiency(case, expected, got):
    num_ranks, num_bytes, latency, bandwidth, _, hidden = case.args
    part = num_bytes / num_ranks / bandwidth
    return (
        f"{num_ranks} ranks, each message {latency:.3g} s of latency and {part:.3g} s for its chunk, "
        f"{hidden:.3g} s of all messages together hidden"
    )


def _one_half_only(num_ranks, num_bytes, latency, bandwidth, compute, hidden):
    communication = (num_ranks - 1) * (latency + num_bytes / num_ranks / bandwidth)
    return compute / (compute + max(0.0, communication - hidden))


def _whole_tensor_each_time(num_ranks, num_bytes, latency, bandwidth, compute, hidden):
    return efficiency(num_ranks, num_bytes * num_ranks, latency, bandwidth, compute, hidden)


def _one_latency(num_ranks, num_bytes, latency, bandwidth, compute, hidden):
    communication = latency + 2 * (num_ranks - 1) / num_ranks * num_bytes / bandwidth
    return compute / (compute + max(0.0, communication - hidden))


def _hidden_may_win_time(num_ranks, num_bytes, latency, bandwidth, compute, hidden):
    communication = 2 * (num_ranks - 1) * (latency + num_bytes / num_ranks / bandwidth)
    return compute / (compute + communication - hidden)


def _forgets_the_hidden_part(num_ranks, num_bytes, latency, bandwidth, compute, hidden):
    return efficiency(num_ranks, num_bytes, latency, bandwidth, compute, 0.0)


def _returns_the_speedup(num_ranks, num_bytes, latency, bandwidth, compute, hidden):
    return num_ranks * efficiency(num_ranks, num_bytes, latency, bandwidth, compute, hidden)


def _strong(num_ranks, num_bytes, latency, bandwidth, compute, hidden):
    return efficiency(num_ranks, num_bytes, latency, bandwidth, compute / num_ranks, hidden)


EXERCISES = (
    Exercise(
        id="33.1",
        title="The mean over ragged ranks",
        difficulty=1,
        minutes=10,
        solution=batch_gradient,
        cases=_draw_ranks,
        oracle=lambda means, counts: _mean_oracle(np.where(np.isnan(means), 0.0, means), counts),
        edge_cases=(
            Case((np.array([[1.0], [5.0]]), np.array([3, 1])), note="three rows and one: (3 * 1 + 1 * 5) / 4"),
            Case((np.array([[2.0, 1.0], [np.nan, np.nan]]), np.array([2, 0])), note="a rank without rows"),
        ),
        hints=(
            "The mean over all rows is one sum over one count. What is a rank's sum, given its mean and its count?",
            "`nan * 0` is still `nan`: leave ranks without rows out before you multiply.",
            "`present = counts > 0`, then weigh `means[present]` by `counts[present]` and divide by `counts.sum()`.",
        ),
        wrong={
            "mean of means": _mean_of_means,
            "mean of the means that are there": _mean_of_present_means,
            "an empty rank counts as zero": _nan_as_zero_mean,
            "nan times zero": _weighted_with_nan,
            "divided by the number of ranks": _sum_over_ranks,
            "not divided": _not_divided,
            "divided as if all ranks were full": _divides_by_the_largest,
        },
        explain=_explain_mean,
    ),
    Exercise(
        id="33.2",
        title="Predict the efficiency",
        difficulty=2,
        minutes=15,
        solution=efficiency,
        cases=_draw_link,
        oracle=_efficiency_oracle,
        edge_cases=(
            Case((1, 1e9, 1e-3, 1e9, 0.5, 0.0), note="one worker has nobody to talk to"),
            Case((2, 1e9, 0.0, 1e9, 1.0, 0.0), note="two messages of half a second each: 1 / (1 + 1)"),
            Case((4, 1e6, 1e-6, 1e11, 1.0, 0.5), note="all of it is hidden"),
        ),
        hints=(
            "A ring all-reduce is a chain of 2 (p - 1) messages. How many bytes does each of them carry?",
            "What is hidden cannot make a step shorter than the computing itself.",
            "`compute / (compute + max(0, 2 * (p - 1) * (latency + num_bytes / p / bandwidth) - hidden))`",
        ),
        wrong={
            "half a ring": _one_half_only,
            "whole tensors instead of chunks": _whole_tensor_each_time,
            "one latency for all messages": _one_latency,
            "hidden time makes up for computing": _hidden_may_win_time,
            "nothing is hidden": _forgets_the_hidden_part,
            "the speed-up": _returns_the_speedup,
            "strong scaling": _strong,
        },
        explain=_explain_efficiency,
    ),
)
