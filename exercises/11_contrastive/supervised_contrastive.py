"""Exercise 11.3: the contrastive loss in which all rows with one label are positives."""

from __future__ import annotations

import math

import numpy as np

from course_lib.study.exercises import Case, Exercise


def supervised_contrastive(embeddings, labels, temperature):
    """Return the contrastive loss in which rows with one label are positives of each other."""
    rows = embeddings.astype(np.float64)
    rows = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    logits = rows @ rows.T / temperature
    losses = []
    for anchor in range(len(rows)):
        others = np.arange(len(rows)) != anchor
        positives = logits[anchor, others & (labels == labels[anchor])]
        if len(positives):
            largest = logits[anchor, others].max()
            log_sum = largest + np.log(np.exp(logits[anchor, others] - largest).sum())
            losses.append((log_sum - positives).mean())
    return np.mean(losses) if losses else 0.0


def _oracle(embeddings, labels, temperature):
    unit = []
    for row in embeddings:
        length = math.sqrt(math.fsum(float(v) ** 2 for v in row))
        unit.append([float(v) / length for v in row])
    losses = []
    for i, anchor in enumerate(unit):
        scores = {
            j: math.fsum(a * b for a, b in zip(anchor, other, strict=True)) / temperature
            for j, other in enumerate(unit)
            if j != i
        }
        top = max(scores.values())
        log_sum = top + math.log(math.fsum(math.exp(score - top) for score in scores.values()))
        own = [log_sum - score for j, score in scores.items() if labels[j] == labels[i]]
        if own:
            losses.append(math.fsum(own) / len(own))
    return math.fsum(losses) / len(losses) if losses else 0.0


def _draw(rng):
    num, width = int(rng.integers(4, 10)), int(rng.integers(2, 6))
    rows = rng.standard_normal((num, width)) * rng.uniform(0.2, 5, (num, 1))
    labels = rng.integers(0, 4, num)
    labels[:3], labels[3] = 7, 9  # one class of at least three rows, and a row that is alone
    order = rng.permutation(num)
    dtype = (np.float32, np.float64)[rng.integers(2)]
    return rows[order].astype(dtype), labels[order], float(rng.choice([0.1, 0.5, 1.0]))


def _explain(case, expected, got):
    labels = np.asarray(case.args[1])
    alone = sum((labels == label).sum() == 1 for label in labels)
    return f"{len(labels)} rows, {alone} of them without a positive; the others count equally, whatever their class"


def _pieces(embeddings, labels, temperature):
    rows = embeddings.astype(np.float64)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    logits, labels = rows @ rows.T / temperature, np.asarray(labels)
    positive = labels[:, None] == labels[None]
    np.fill_diagonal(positive, False)
    return logits, positive


def _finish(logits, positive, allowed):
    weights = np.where(allowed, np.exp(logits - logits.max()), 0.0)
    log_p = logits - logits.max() - np.log(weights.sum(axis=1, keepdims=True))
    asked = positive.any(axis=1)
    if not asked.any():
        return 0.0
    return float((-np.where(positive, log_p, 0.0).sum(axis=1)[asked] / positive.sum(axis=1)[asked]).mean())


def _counts_lone_rows(embeddings, labels, temperature):
    _, positive = _pieces(embeddings, labels, temperature)
    return supervised_contrastive(embeddings, labels, temperature) * positive.any(axis=1).mean()


def _all_pairs_alike(embeddings, labels, temperature):
    logits, positive = _pieces(embeddings, labels, temperature)
    np.fill_diagonal(logits, -np.inf)
    log_p = logits - logits.max() - np.log(np.exp(logits - logits.max()).sum(axis=1, keepdims=True))
    return float(-log_p[positive].mean()) if positive.any() else 0.0


def _itself_is_a_candidate(embeddings, labels, temperature):
    logits, positive = _pieces(embeddings, labels, temperature)
    return _finish(logits, positive, np.ones_like(positive))


def _itself_is_a_positive(embeddings, labels, temperature):
    logits, positive = _pieces(embeddings, labels, temperature)
    return _finish(logits, positive | np.eye(len(logits), dtype=bool), np.ones_like(positive))


def _log_of_the_sum(embeddings, labels, temperature):
    logits, positive = _pieces(embeddings, labels, temperature)
    weights = np.exp(logits - logits.max())
    np.fill_diagonal(weights, 0.0)
    asked = positive.any(axis=1)
    shares = (weights * positive).sum(axis=1)[asked] / weights.sum(axis=1)[asked]
    return float(-np.log(shares).mean()) if asked.any() else 0.0


def _negatives_only(embeddings, labels, temperature):
    logits, positive = _pieces(embeddings, labels, temperature)
    own = np.eye(len(logits), dtype=bool)
    if not (~positive & ~own).any(axis=1).all():
        return 0.0
    return _finish(logits, positive, ~positive & ~own)


def _first_positive_only(embeddings, labels, temperature):
    logits, positive = _pieces(embeddings, labels, temperature)
    only = np.zeros_like(positive)
    rows = np.flatnonzero(positive.any(axis=1))
    only[rows, positive[rows].argmax(axis=1)] = True
    return _finish(logits, only, ~np.eye(len(logits), dtype=bool))


def _not_normalised(embeddings, labels, temperature):
    _, positive = _pieces(embeddings, labels, temperature)
    logits = embeddings.astype(np.float64) @ embeddings.astype(np.float64).T / temperature
    return _finish(logits, positive, ~np.eye(len(logits), dtype=bool))


EXERCISES = (
    Exercise(
        id="11.3",
        title="When there are labels",
        difficulty=3,
        minutes=20,
        solution=supervised_contrastive,
        cases=_draw,
        oracle=_oracle,
        edge_cases=(
            Case((np.ones((4, 2)), np.array([0, 0, 1, 1]), 0.5), note="all equal: ln 3"),
            Case((np.eye(3), np.array([0, 1, 2]), 0.5), note="nobody has a positive"),
            Case((np.eye(2) + 0.1, np.array([5, 5]), 0.1), note="one candidate, and it is right"),
            Case((np.eye(3) + 0.2, np.array([1, 1, 2]), 0.001), note="very cold"),
        ),
        tolerance={"float32": (1e-4, 1e-5)},
        explain=_explain,
        hints=(
            "Go through the anchors. Candidates are `others = np.arange(N) != anchor`, whatever their label.",
            "Positives are `others & (labels == labels[anchor])`. An anchor without any is left out of the mean.",
            "Its loss: log-sum over its candidates (largest taken out first) minus the mean logit of its positives.",
        ),
        wrong={
            "counts lone rows as loss 0": _counts_lone_rows,
            "averages over all pairs at once": _all_pairs_alike,
            "has the anchor among its candidates": _itself_is_a_candidate,
            "has the anchor among its positives": _itself_is_a_positive,
            "takes the log of the summed probability": _log_of_the_sum,
            "leaves positives out of the sum below": _negatives_only,
            "uses one positive an anchor": _first_positive_only,
            "does not normalise": _not_normalised,
        },
    ),
)
