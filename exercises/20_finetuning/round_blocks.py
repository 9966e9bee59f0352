"""Exercise 20.3: weights rounded in blocks, as QLoRA stores its base."""

from __future__ import annotations

import numpy as np

from course_lib.study.exercises import Case, Exercise


def round_blocks(values, levels, block):
    """Return the values after rounding each block to the levels times its largest absolute value."""
    parts = values.reshape(-1, block)
    largest = np.abs(parts).max(axis=1, keepdims=True)
    nearest = np.abs(parts[..., None] - levels * largest[..., None]).argmin(axis=-1)
    return (levels[nearest] * largest).reshape(-1)


def _oracle(values, levels, block):
    rounded = []
    for first in range(0, len(values), block):
        part = [float(value) for value in values[first : first + block]]
        largest = max(abs(value) for value in part)
        for value in part:
            level = min((float(each) for each in levels), key=lambda each: abs(value - each * largest))
            rounded.append(level * largest)
    return np.array(rounded)


def _draw(rng):
    block, num = int(rng.integers(2, 7)), int(rng.integers(1, 5))
    values = rng.standard_normal((num, block)) * 10.0 ** rng.uniform(-2, 2, (num, 1))
    levels = np.sort(rng.uniform(-1, 1, int(rng.integers(3, 9))))
    levels[0], levels[-1] = -1.0, 1.0
    return values.reshape(-1), rng.permutation(levels), block


def _explain(case, expected, got):
    values, levels, block = case.args
    return f"{len(values) // block} blocks of {block}, levels {np.round(np.sort(levels), 2).tolist()}"


def _one_block(values, levels, block):
    return round_blocks(values, levels, len(values))


def _without_scaling_back(values, levels, block):
    largest = np.abs(values.reshape(-1, block)).max(axis=1, keepdims=True)
    return round_blocks(values, levels, block) / np.where(largest == 0, 1, largest).repeat(block)


def _largest_without_sign(values, levels, block):
    parts = values.reshape(-1, block)
    largest = parts.max(axis=1, keepdims=True)
    nearest = np.abs((parts / np.where(largest == 0, 1, largest))[..., None] - levels).argmin(axis=-1)
    return (levels[nearest] * largest).reshape(-1)


def _even_levels(values, levels, block):
    return round_blocks(values, np.linspace(-1, 1, len(levels)), block)


def _level_below(values, levels, block):
    parts, ordered = values.reshape(-1, block), np.sort(levels)
    largest = np.abs(parts).max(axis=1, keepdims=True)
    below = np.searchsorted(ordered, parts / np.where(largest == 0, 1, largest), side="right") - 1
    return (ordered[below.clip(0)] * largest).reshape(-1)


def _columns(values, levels, block):
    return round_blocks(values.reshape(-1, block).T.reshape(-1), levels, block)


def _standard_deviation(values, levels, block):
    parts = values.reshape(-1, block)
    spread = parts.std(axis=1, keepdims=True)
    nearest = np.abs((parts / np.where(spread == 0, 1, spread))[..., None] - levels).argmin(axis=-1)
    return (levels[nearest] * spread).reshape(-1)


def _zeros_become_nan(values, levels, block):
    parts = values.reshape(-1, block)
    with np.errstate(invalid="ignore"):
        shares = parts / np.abs(parts).max(axis=1, keepdims=True)
    nearest = np.abs(shares[..., None] - levels).argmin(axis=-1)
    return (levels[nearest] * np.abs(parts).max(axis=1, keepdims=True) + 0 * shares).reshape(-1)


_LEVELS = np.array([1.0, -1.0, 0.3, -0.2])

EXERCISES = (
    Exercise(
        id="20.3",
        title="Round in blocks",
        difficulty=3,
        minutes=20,
        solution=round_blocks,
        cases=_draw,
        oracle=_oracle,
        edge_cases=(
            Case((np.array([0.0, 0.0, 2.0, -4.0]), _LEVELS, 2), note="a block of zeros"),
            Case((np.array([-8.0, 1.0, 0.1, 0.02]), _LEVELS, 2), note="blocks of other sizes, the largest negative"),
            Case((np.array([3.0, -3.0, 0.9]), _LEVELS, 3), note="one block, levels hit exactly"),
        ),
        explain=_explain,
        hints=(
            "`values.reshape(-1, block)` has one block a row; its largest absolute value is a maximum over axis 1.",
            "For the nearest level compare every share with every level: `abs(shares[..., None] - levels).argmin(-1)`.",
            "A block of zeros must not be divided by 0: compare with `levels * largest` instead.",
        ),
        wrong={
            "takes one scale for all": _one_block,
            "does not multiply back": _without_scaling_back,
            "takes the largest value with its sign": _largest_without_sign,
            "spaces the levels evenly": _even_levels,
            "takes the level below, not the nearest": _level_below,
            "cuts the blocks the other way": _columns,
            "scales by the standard deviation": _standard_deviation,
            "loses blocks of zeros": _zeros_become_nan,
        },
    ),
)
