"""Exercises 11.1 and 11.2: recall at k, and SimCLR's loss."""

from __future__ import annotations

import math

import numpy as np

from course_lib.study.exercises import Case, Exercise


def recall(queries, gallery, k):
    """Return how many queries find their own row among the k nearest by cosine."""
    cosines = queries @ (gallery / np.linalg.norm(gallery, axis=1, keepdims=True)).T  # but for the queries' lengths
    num_nearer = (cosines > np.diag(cosines)[:, None]).sum(axis=1)
    return (num_nearer < k).mean()


def _recall_oracle(queries, gallery, k):
    found = 0
    for i, query in enumerate(queries):
        cosines = []
        for row in gallery:
            length = math.sqrt(math.fsum(float(v) ** 2 for v in row))
            cosines.append(math.fsum(float(a) * float(b) for a, b in zip(query, row, strict=True)) / length)
        nearest = sorted(range(len(gallery)), key=lambda j: -cosines[j])[:k]
        found += i in nearest
    return found / len(queries)


def _draw_gallery(rng):
    num, width = int(rng.integers(1, 9)), int(rng.integers(2, 6))
    gallery = rng.standard_normal((num, width)) * rng.uniform(0.1, 10, (num, 1))
    near = gallery / np.linalg.norm(gallery, axis=1, keepdims=True)
    queries = (near + 0.7 * rng.standard_normal((num, width))) * rng.uniform(0.1, 10, (num, 1))
    return queries, gallery, int(rng.integers(1, num + 1))


def _explain_recall(case, expected, got):
    num, k = len(case.args[0]), case.args[2]
    return f"of {num} queries {round(float(expected) * num)} have their own row among the {k} nearest by cosine"


def _by_products(queries, gallery, k):
    scores = queries @ gallery.T
    return float(((scores > np.diag(scores)[:, None]).sum(axis=1) < k).mean())


def _by_distance(queries, gallery, k):
    distances = ((queries[:, None] - gallery[None]) ** 2).sum(-1)
    return float(((distances < np.diag(distances)[:, None]).sum(axis=1) < k).mean())


def _other_direction(queries, gallery, k):
    return recall(gallery, queries, k)


def _one_too_many(queries, gallery, k):
    return recall(queries, gallery, k + 1)


def _farthest(queries, gallery, k):
    return recall(-queries, gallery, k)


def _counts(queries, gallery, k):
    return recall(queries, gallery, k) * len(queries)


def _precision(queries, gallery, k):
    return recall(queries, gallery, k) / k


def nt_xent_loss(first, second, temperature):
    """Return SimCLR's loss of a batch of two views."""
    views = np.concatenate([first, second]).astype(np.float64)
    views = views / np.linalg.norm(views, axis=1, keepdims=True)
    logits = views @ views.T / temperature
    np.fill_diagonal(logits, -np.inf)
    rows = np.arange(len(views))
    largest = logits.max(axis=1)
    log_sums = largest + np.log(np.exp(logits - largest[:, None]).sum(axis=1))
    return float((log_sums - logits[rows, np.roll(rows, len(first))]).mean())


def _nt_xent_oracle(first, second, temperature):
    z = []
    for row in [*first, *second]:
        length = math.sqrt(math.fsum(float(v) ** 2 for v in row))
        z.append([float(v) / length for v in row])
    total, half = 0.0, len(first)
    for i, anchor in enumerate(z):
        scores = [math.fsum(a * b for a, b in zip(anchor, other, strict=True)) / temperature for other in z]
        others = [score for m, score in enumerate(scores) if m != i]
        partner = scores[i + half if i < half else i - half]
        total += max(others) + math.log(math.fsum(math.exp(s - max(others)) for s in others)) - partner
    return total / len(z)


def _draw_views(rng):
    num, width = int(rng.integers(2, 6)), int(rng.integers(2, 6))
    first = rng.standard_normal((num, width)) * rng.uniform(0.2, 5, (num, 1))
    second = first + rng.uniform(0.2, 2) * rng.standard_normal((num, width))
    dtype = (np.float32, np.float64)[rng.integers(2)]
    return first.astype(dtype), second.astype(dtype), float(rng.choice([0.05, 0.1, 0.5, 1.0]))


def _explain_views(case, expected, got):
    first, _, temperature = case.args
    return f"{2 * len(first)} views, each with {2 * len(first) - 1} candidates, at temperature {temperature:g}"


def _itself_among_them(first, second, temperature):
    views = np.concatenate([first, second]).astype(np.float64)
    views /= np.linalg.norm(views, axis=1, keepdims=True)
    logits, rows = views @ views.T / temperature, np.arange(len(views))
    largest = logits.max(axis=1)
    log_sums = largest + np.log(np.exp(logits - largest[:, None]).sum(axis=1))
    return float((log_sums - logits[rows, np.roll(rows, len(first))]).mean())


def _one_direction(first, second, temperature):
    a = first / np.linalg.norm(first, axis=1, keepdims=True)
    b = second / np.linalg.norm(second, axis=1, keepdims=True)
    logits = (a @ b.T / temperature).astype(np.float64)
    largest = logits.max(axis=1)
    return float((largest + np.log(np.exp(logits - largest[:, None]).sum(axis=1)) - np.diag(logits)).mean())


def _not_normalised(first, second, temperature):
    views = np.concatenate([first, second]).astype(np.float64)
    logits, rows = views @ views.T / temperature, np.arange(len(views))
    np.fill_diagonal(logits, -np.inf)
    largest = logits.max(axis=1)
    log_sums = largest + np.log(np.exp(logits - largest[:, None]).sum(axis=1))
    return float((log_sums - logits[rows, np.roll(rows, len(first))]).mean())


def _multiplies(first, second, temperature):
    return nt_xent_loss(first, second, 1 / temperature)


def _neighbour_as_partner(first, second, temperature):
    order = np.arange(2 * len(first)).reshape(-1, 2)
    views = np.concatenate([first, second])
    return nt_xent_loss(views[order[:, 0]], views[order[:, 1]], temperature)


def _sums(first, second, temperature):
    return 2 * len(first) * nt_xent_loss(first, second, temperature)


def _negatives_only(first, second, temperature):
    views = np.concatenate([first, second]).astype(np.float64)
    views /= np.linalg.norm(views, axis=1, keepdims=True)
    logits, rows = views @ views.T / temperature, np.arange(len(views))
    partner = np.roll(rows, len(first))
    wanted = logits[rows, partner].copy()
    np.fill_diagonal(logits, -np.inf)
    logits[rows, partner] = -np.inf
    largest = logits.max(axis=1)
    return float((largest + np.log(np.exp(logits - largest[:, None]).sum(axis=1)) - wanted).mean())


def _overflows(first, second, temperature):
    views = np.concatenate([first, second]).astype(np.float64)
    views /= np.linalg.norm(views, axis=1, keepdims=True)
    weights = np.exp(views @ views.T / temperature)
    np.fill_diagonal(weights, 0.0)
    rows = np.arange(len(views))
    return float(-np.log(weights[rows, np.roll(rows, len(first))] / weights.sum(axis=1)).mean())


_EYE = np.eye(3)

EXERCISES = (
    Exercise(
        id="11.1",
        title="Recall at k",
        difficulty=1,
        minutes=10,
        solution=recall,
        cases=_draw_gallery,
        oracle=_recall_oracle,
        edge_cases=(
            Case((_EYE + 0.1, 5 * _EYE + 0.2, 1), note="everyone finds its own"),
            Case((_EYE[[1, 2, 0]] + [0.1, 0.2, 0.3], _EYE, 1), note="nobody does"),
            Case((np.array([[1.0, 0.1], [0.3, 1.0]]), np.array([[2.0, 0.0], [90.0, 80.0]]), 1), note="a long row"),
        ),
        explain=_explain_recall,
        hints=(
            "Divide the gallery's rows by their lengths; `queries @ gallery.T` then orders them as the cosines do.",
            "What belongs to a query's own row stands on the diagonal. How many in its row are larger?",
            "Own row among the k nearest: fewer than k others are larger. Take the mean of that.",
        ),
        wrong={
            "compares products instead of cosines": _by_products,
            "compares distances": _by_distance,
            "searches in the other direction": _other_direction,
            "looks at one too many": _one_too_many,
            "takes the farthest": _farthest,
            "returns a number of queries": _counts,
            "divides by k": _precision,
        },
    ),
    Exercise(
        id="11.2",
        title="NT-Xent",
        difficulty=2,
        minutes=15,
        solution=nt_xent_loss,
        cases=_draw_views,
        oracle=_nt_xent_oracle,
        edge_cases=(
            Case((np.ones((4, 2)), 3 * np.ones((4, 2)), 0.5), note="all equal: ln 7"),
            Case((np.eye(2), np.eye(2), 1.0), note="two images at right angles"),
            Case((np.array([[1.0, 0.0], [0.0, 2.0]]), np.array([[0.6, 0.8], [1.0, 0.1]]), 0.001), note="very cold"),
        ),
        tolerance={"float32": (1e-4, 1e-5)},
        explain=_explain_views,
        hints=(
            "Stack both into 2B rows, scale each to length 1; all logits are `views @ views.T / temperature`.",
            "Nobody is a candidate for itself: put minus infinity on the diagonal. View i belongs to i + B or i - B.",
            "Subtract each row's largest logit before `exp`: log-sum = largest + log(sum(exp(logits - largest))).",
        ),
        wrong={
            "leaves the view itself among the candidates": _itself_among_them,
            "compares the first views with the second only": _one_direction,
            "does not normalise": _not_normalised,
            "multiplies by the temperature": _multiplies,
            "takes the next row as partner": _neighbour_as_partner,
            "sums over views": _sums,
            "leaves the partner out of the sum": _negatives_only,
            "overflows when it is cold": _overflows,
        },
    ),
)
