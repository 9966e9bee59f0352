"""Exercises 05.1 and 05.2: a schedule with warmup, accumulating and clipping."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np

from course_lib.study.exercises import Case, Exercise


def warmup_linear(step, total, warmup, floor):
    """Return the factor of the peak learning rate at ``step``."""
    if step < warmup:
        return (step + 1) / warmup
    return max(floor, 1 - (1 - floor) * (step - warmup) / (total - warmup))


def _schedule_oracle(step, total, warmup, floor):
    end = Fraction(floor)
    if step < warmup:
        return float(Fraction(step + 1, warmup))
    if step >= total:
        return float(end)
    return float(1 + (end - 1) * Fraction(step - warmup, total - warmup))


def _draw_schedule(rng):
    warmup = int(rng.integers(0, 12))
    total = warmup + int(rng.integers(1, 20))
    return int(rng.integers(0, total + 6)), total, warmup, float(rng.choice([0.0, 0.1, 0.5]))


def _explain_schedule(case, expected, got):
    step, total, warmup, _ = case.args
    if step < warmup:
        return f"update {step + 1} of {warmup} in the warmup: a share of {expected:.4g} of the way up"
    if step >= total:
        return "from step `total` on the factor stays at the floor"
    return f"{step - warmup} of {total - warmup} steps down: {expected:.4g}, you gave {float(got):.4g}"


def _starts_at_zero(step, total, warmup, floor):
    if step < warmup:
        return step / warmup
    return warmup_linear(step, total, warmup, floor)


def _decays_from_the_start(step, total, warmup, floor):
    rise = min(1.0, (step + 1) / warmup) if warmup else 1.0
    return rise * max(floor, 1 - (1 - floor) * step / total)


def _forgets_the_floor(step, total, warmup, floor):
    if step < warmup:
        return (step + 1) / warmup
    return max(0.0, 1 - (step - warmup) / (total - warmup))


def _goes_below_the_floor(step, total, warmup, floor):
    if step < warmup:
        return (step + 1) / warmup
    return 1 - (1 - floor) * (step - warmup) / (total - warmup)


def _cuts_at_the_floor(step, total, warmup, floor):
    return max(floor, _forgets_the_floor(step, total, warmup, floor))


def _counts_updates(step, total, warmup, floor):
    if step < warmup:
        return (step + 1) / warmup
    return max(floor, 1 - (1 - floor) * (step + 1 - warmup) / (total - warmup))


def _floor_in_the_warmup_too(step, total, warmup, floor):
    return max(floor, warmup_linear(step, total, warmup, floor))


def accumulated(gradients, counts, limit):
    """Return the mean gradient over all targets of the step, clipped to ``limit``."""
    mean = np.sum(gradients, axis=0) / sum(counts)
    norm = np.sqrt((mean**2).sum())
    return (mean * (limit / norm) if norm > limit else mean).astype(gradients[0].dtype)


def _accumulate_oracle(gradients, counts, limit):
    total = sum(counts)
    mean = np.empty(gradients[0].shape)
    for index in np.ndindex(mean.shape):
        mean[index] = math.fsum(float(gradient[index]) for gradient in gradients) / total
    norm = math.sqrt(math.fsum(value**2 for value in mean.ravel().tolist()))
    return mean * min(1.0, limit / norm) if norm else mean


def _draw_gradients(rng):
    parts, shape = int(rng.integers(1, 5)), tuple(rng.integers(1, 4, rng.integers(1, 3)))
    dtype = (np.float32, np.float64)[rng.integers(2)]
    counts = [int(count) for count in rng.integers(0, 9, parts)]
    counts[0] += 1
    gradients = [(count * rng.normal(0.5, 1, shape)).astype(dtype) for count in counts]
    return gradients, counts, float(rng.choice([0.3, 1.0, 5.0]))


def _explain_accumulate(case, expected, got):
    norm = math.sqrt(float((np.asarray(expected) ** 2).sum()))
    if np.shape(got) != np.shape(expected):
        return "the result has the shape of one of the gradients"
    if norm > case.args[2] * (1 - 1e-6):
        return "here the mean gradient is longer than the limit, so the result has exactly the limit's length"
    return "here the mean gradient is shorter than the limit, so it is returned as it is"


def _mean_of_means(gradients, counts, limit):
    means = [g / count for g, count in zip(gradients, counts, strict=True) if count]
    return accumulated(means, [1] * len(means), limit)


def _divides_by_the_parts(gradients, counts, limit):
    return accumulated(gradients, [1] * len(gradients), limit)


def _clips_each(gradients, counts, limit):
    clipped = [accumulated([g], [1], limit * count) if count else g for g, count in zip(gradients, counts, strict=True)]
    return accumulated(clipped, counts, limit)


def _clips_before_dividing(gradients, counts, limit):
    return (accumulated(gradients, [1], limit) / sum(counts)).astype(gradients[0].dtype)


def _clips_each_entry(gradients, counts, limit):
    return np.clip(np.sum(gradients, axis=0) / sum(counts), -limit, limit).astype(gradients[0].dtype)


def _always_scales(gradients, counts, limit):
    mean = np.sum(gradients, axis=0) / sum(counts)
    return (mean * limit / max(np.sqrt((mean**2).sum()), 1e-12)).astype(gradients[0].dtype)


def _adds_in_place(gradients, counts, limit):
    total = gradients[0]
    for gradient in gradients[1:]:
        total += gradient
    return accumulated([total], [sum(counts)], limit)


EXERCISES = (
    Exercise(
        id="05.1",
        title="A schedule of your own",
        difficulty=1,
        minutes=10,
        solution=warmup_linear,
        cases=_draw_schedule,
        oracle=_schedule_oracle,
        edge_cases=(
            Case((0, 10, 0, 0.0), note="no warmup: the first update has the whole rate"),
            Case((0, 10, 4, 0.0), note="the first update of a warmup of 4"),
            Case((0, 100, 20, 0.5), note="the floor is no floor for the warmup"),
            Case((3, 10, 4, 0.0), note="the last update of the warmup"),
            Case((4, 10, 4, 0.0), note="the update after it"),
            Case((7, 10, 4, 0.2), note="half way down"),
            Case((10, 10, 4, 0.2), note="at the end"),
            Case((25, 10, 4, 0.2), note="long after the end"),
        ),
        explain=_explain_schedule,
        hints=(
            "Three stretches: the way up, the way down, and after the end. Write them as three cases.",
            "Up: `(step + 1) / warmup`, so the first update already moves. Down: count steps from `warmup` on.",
            "`1 - (1 - floor) * (step - warmup) / (total - warmup)`, and never less than `floor`.",
        ),
        wrong={
            "starts at zero": _starts_at_zero,
            "falls from step 0 on, under the warmup": _decays_from_the_start,
            "falls to zero": _forgets_the_floor,
            "falls on below the floor": _goes_below_the_floor,
            "falls to zero and is cut at the floor": _cuts_at_the_floor,
            "is one update early on the way down": _counts_updates,
            "applies the floor to the warmup": _floor_in_the_warmup_too,
        },
    ),
    Exercise(
        id="05.2",
        title="Accumulate and clip",
        difficulty=2,
        minutes=15,
        solution=accumulated,
        cases=_draw_gradients,
        oracle=_accumulate_oracle,
        edge_cases=(
            Case(([np.array([3.0, 0.0]), np.array([0.0, 4.0])], [1, 0], 1.0), note="a part without targets"),
            Case(([np.array([30.0]), np.array([2.0])], [30, 1], 5.0), note="ragged parts"),
            Case(([np.array([0.0, 0.0])], [3], 1.0), note="a gradient of zeros"),
            Case(([np.array([3.0, 4.0])], [1], 5.0), note="exactly at the limit"),
        ),
        explain=_explain_accumulate,
        hints=(
            "First add up, then divide once, by all targets together; clipping comes last.",
            "The norm is the root of the sum of squares of the whole mean gradient.",
            "`mean * (limit / norm)` if the norm is larger than the limit, and `mean` otherwise.",
        ),
        wrong={
            "averages the means": _mean_of_means,
            "divides by the number of micro-batches": _divides_by_the_parts,
            "clips each micro-batch": _clips_each,
            "clips before dividing": _clips_before_dividing,
            "clips each entry": _clips_each_entry,
            "scales short gradients up": _always_scales,
            "adds into the first array": _adds_in_place,
        },
    ),
)
