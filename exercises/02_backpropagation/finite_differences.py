"""Exercise 02.1: the gradient by central differences, to check any other gradient with."""

from __future__ import annotations

import numpy as np

from course_lib.study.exercises import Case, Exercise


def numerical_gradient(function, x, h):
    """Return the gradient of ``function`` at ``x`` by central differences with step ``h``."""
    point = x.copy()
    found = np.empty_like(x)
    for index in np.ndindex(x.shape):
        point[index] = x[index] + h
        above = function(point)
        point[index] = x[index] - h
        below = function(point)
        point[index] = x[index]
        found[index] = (above - below) / (2 * h)
    return found


class _Smooth:
    """A function of an array with a third derivative, and its exact central differences; compares equal to itself."""

    def __init__(self, weights):
        self.weights = weights

    def __call__(self, x):
        # Mixed terms too, so that a coordinate that was not put back changes the others' derivatives.
        flat, w = np.ravel(x), np.ravel(self.weights)
        return float((w * flat**3).sum() + (w * flat).sum() ** 2 + flat.sum())

    def __repr__(self):
        return "f(x) = sum(a * x**3) + sum(a * x)**2 + sum(x)"


def _differences_oracle(function, x, h):
    found = np.zeros(x.shape)
    for index in np.ndindex(x.shape):
        unit = np.zeros(x.shape)
        unit[index] = h
        found[index] = (function(x + unit) - function(x - unit)) / (2 * h)
    return found


def _draw_function(rng):
    shape = tuple(rng.integers(1, 4, rng.integers(0, 3)))
    x = np.asarray(rng.uniform(-2, 2, shape))
    return _Smooth(np.asarray(rng.uniform(0.5, 2, shape))), x, float(rng.choice([0.5, 0.1, 0.01]))


def _one_sided(function, x, h):
    before, found = function(x), np.empty_like(x)
    for index in np.ndindex(x.shape):
        point = x.copy()
        point[index] += h
        found[index] = (function(point) - before) / h
    return found


def _divides_by_h(function, x, h):
    return 2 * numerical_gradient(function, x, h)


def _wiggles_the_callers_array(function, x, h):
    found = np.empty_like(x)
    for index in np.ndindex(x.shape):
        x[index] += h
        above = function(x)
        x[index] -= 2 * h
        below = function(x)
        x[index] += h
        found[index] = (above - below) / (2 * h)
    return found


def _does_not_put_back(function, x, h):
    point, found = x.copy(), np.empty_like(x)
    for index in np.ndindex(x.shape):
        point[index] += h
        above = function(point)
        point[index] -= 2 * h
        found[index] = (above - function(point)) / (2 * h)
    return found


def _wiggles_all_at_once(function, x, h):
    return np.full_like(x, (function(x + h) - function(x - h)) / (2 * h))


def _one_dimension_only(function, x, h):
    found = np.zeros_like(x)
    for index in range(len(x)):
        unit = np.zeros_like(x)
        unit[index] = h
        found[index] = (function(x + unit) - function(x - unit)) / (2 * h)
    return found


EXERCISES = (
    Exercise(
        id="02.1",
        title="Your own gradient check",
        difficulty=1,
        minutes=10,
        solution=numerical_gradient,
        cases=_draw_function,
        oracle=_differences_oracle,
        edge_cases=(
            Case(
                (_Smooth(np.ones((2, 2))), np.array([[0.1, 0.2], [0.3, 0.7]]), 0.1), note="0.1 + 0.1 - 0.1 is not 0.1"
            ),
            Case((_Smooth(np.array(1.0)), np.array(0.3), 0.1), note="no axis at all"),
            Case((_Smooth(np.ones((0,))), np.zeros((0,)), 0.1), note="no entry"),
        ),
        tolerance={"float64": (1e-7, 1e-9)},
        hints=(
            "One coordinate at a time: a little up, a little down, all others as they were.",
            "`for index in np.ndindex(x.shape)` goes through all entries of an array of any shape, `()` included.",
            "Work on `point = x.copy()`. After each coordinate put it back by `point[index] = x[index]`.",
        ),
        wrong={
            "takes one-sided differences": _one_sided,
            "divides by h instead of 2h": _divides_by_h,
            "wiggles the caller's array": _wiggles_the_callers_array,
            "does not put the entry back": _does_not_put_back,
            "wiggles all entries at once": _wiggles_all_at_once,
            "works in one dimension only": _one_dimension_only,
        },
    ),
)
