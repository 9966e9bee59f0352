"""Exercise 33.3: signal and noise from the gradients of the ranks."""

from __future__ import annotations

from itertools import combinations

import numpy as np

from course_lib.study.exercises import Case, Exercise


def signal_and_noise(gradients, batch_size):
    """Return unbiased estimates of the true gradient's squared length and of the trace of one row's covariance."""
    ranks = len(gradients)
    small = (gradients**2).sum(axis=1).mean()
    large = (gradients.mean(axis=0) ** 2).sum()
    noise = (small - large) / (1 / batch_size - 1 / (ranks * batch_size))
    return float(large - noise / (ranks * batch_size)), float(noise)


def _oracle(gradients, batch_size):
    """Two different ranks' noises are independent, so their dot product has mean |G|^2; what is left over is noise."""
    ranks = len(gradients)
    dots = [float(np.dot(gradients[a], gradients[b])) for a, b in combinations(range(ranks), 2)]
    signal = sum(dots) / len(dots)
    squares = [float(np.dot(gradient, gradient)) for gradient in gradients]
    return signal, batch_size * (sum(squares) / ranks - signal)


def _draw(rng):
    ranks, width = int(rng.integers(2, 7)), int(rng.integers(1, 6))
    batch_size = int(rng.integers(2, 33))
    true = rng.standard_normal(width) * 2
    return true + rng.standard_normal((ranks, width)) * 3 / batch_size**0.5, batch_size


def _explain(case, expected, got):
    gradients, batch_size = case.args
    return (
        f"each rank has {batch_size} rows, all {len(gradients)} together {len(gradients) * batch_size}: write down "
        "what the squared length of each mean gradient is on average"
    )


def _biased_signal(gradients, batch_size):
    return float((gradients.mean(axis=0) ** 2).sum()), signal_and_noise(gradients, batch_size)[1]


def _noise_of_a_rank(gradients, batch_size):
    signal, noise = signal_and_noise(gradients, batch_size)
    return signal, noise / batch_size


def _population_variance(gradients, batch_size):
    noise = float(batch_size * gradients.var(axis=0).sum())
    return float((gradients.mean(axis=0) ** 2).sum() - noise / (len(gradients) * batch_size)), noise


def _swapped(gradients, batch_size):
    return signal_and_noise(gradients, batch_size)[::-1]


def _clamped(gradients, batch_size):
    signal, noise = signal_and_noise(gradients, batch_size)
    return max(signal, 0.0), noise


def _mean_over_parameters(gradients, batch_size):
    signal, noise = signal_and_noise(gradients, batch_size)
    return signal / gradients.shape[1], noise / gradients.shape[1]


def _small_batch_signal(gradients, batch_size):
    noise = signal_and_noise(gradients, batch_size)[1]
    return float((gradients**2).sum(axis=1).mean()), noise


def _ratio(gradients, batch_size):
    signal, noise = signal_and_noise(gradients, batch_size)
    return signal, noise / signal


EXERCISES = (
    Exercise(
        id="33.3",
        title="The noise scale from the ranks' gradients",
        difficulty=3,
        minutes=20,
        solution=signal_and_noise,
        cases=_draw,
        oracle=_oracle,
        edge_cases=(
            Case((np.array([[1.0, 0.0], [0.0, 1.0]]), 1), note="two orthogonal gradients: no signal, noise 1"),
            Case((np.array([[3.0, 4.0], [3.0, 4.0], [3.0, 4.0]]), 8), note="three equal ones: signal 25, no noise"),
            Case((np.array([[1.0], [-1.0]]), 4), note="the estimate of the square may be negative: here -1"),
        ),
        hints=(
            "The mean gradient of $B$ rows has the expected squared length $|G|^2 + \\mathrm{tr}\\,\\Sigma / B$. "
            "You have it for $B$ = `batch_size` and for all rows together.",
            "Two equations, two unknowns: subtract them to get the trace, put it back to get $|G|^2$.",
            "`noise = (small - large) / (1 / b - 1 / (p * b))`, then `signal = large - noise / (p * b)`. Do not clamp: "
            "a negative estimate is right on average.",
        ),
        wrong={
            "square of the mean gradient as it is": _biased_signal,
            "noise of a rank's batch instead of a row": _noise_of_a_rank,
            "variance divided by p": _population_variance,
            "the two swapped": _swapped,
            "negative squares set to zero": _clamped,
            "means over parameters": _mean_over_parameters,
            "signal from the small batches": _small_batch_signal,
            "the ratio for the noise": _ratio,
        },
        explain=_explain,
    ),
)
