"""Exercise 18.3: the distribution that top-p sampling draws from."""

from __future__ import annotations

import math

import numpy as np

from course_lib.study.exercises import Case, Exercise


def nucleus(logits, temperature, p):
    """Return the distribution that top-p sampling draws from."""
    scaled = (logits - logits.max()) / temperature
    probabilities = np.exp(scaled) / np.exp(scaled).sum()
    order = np.argsort(-probabilities)
    before = np.cumsum(probabilities[order]) - probabilities[order]
    kept = order[before < p]
    found = np.zeros_like(probabilities)
    found[kept] = probabilities[kept] / probabilities[kept].sum()
    return found


def _nucleus_oracle(logits, temperature, p):
    values = [float(value) / temperature for value in logits]
    weights = [math.exp(value - max(values)) for value in values]
    total = math.fsum(weights)
    kept: list[int] = []
    for i in sorted(range(len(values)), key=lambda i: -values[i]):
        if kept and math.fsum(weights[j] for j in kept) / total >= p:
            break
        kept.append(i)
    share = math.fsum(weights[i] for i in kept)
    return np.array([weights[i] / share if i in kept else 0.0 for i in range(len(values))])


def _draw_logits(rng):
    size = int(rng.integers(2, 9))
    temperature = float(rng.choice([0.5, 1.0, 2.0]))
    logits = rng.permutation(np.linspace(-2, 2, size) + rng.uniform(-0.1, 0.1, size)) + float(rng.choice([0, 1e4]))
    while True:  # keep clear of sets that hold p almost exactly, where rounding decides
        p = float(rng.uniform(0.05, 0.99))
        weights = np.sort(np.exp((logits - logits.max()) / temperature))[::-1]
        if np.abs(np.cumsum(weights) / weights.sum() - p).min() > 1e-3:
            return logits, temperature, p


def _explain_nucleus(case, expected, got):
    if np.shape(got) != np.shape(expected):
        return None
    want, have = int((expected > 0).sum()), int((np.asarray(got) > 0).sum())
    return f"{want} tokens belong to the set and you keep {have}" if want != have else "the right tokens, other shares"


def _stops_before(logits, temperature, p):
    full = nucleus(logits, temperature, 1.0)
    order = np.argsort(-full)
    kept = order[np.cumsum(full[order]) <= p]
    found = np.zeros_like(full)
    found[kept] = full[kept]
    return found / max(found.sum(), 1e-300)


def _not_renormalised(logits, temperature, p):
    return np.where(nucleus(logits, temperature, p) > 0, nucleus(logits, temperature, 1.0), 0.0)


def _temperature_afterwards(logits, temperature, p):
    kept = nucleus(logits, 1.0, p) > 0
    weights = np.where(kept, np.exp((logits - logits.max()) / temperature), 0.0)
    return weights / weights.sum()


def _multiplies(logits, temperature, p):
    return nucleus(logits, 1 / temperature, p)


def _trusts_the_order(logits, temperature, p):
    full = nucleus(logits, temperature, 1.0)
    found = np.where(np.cumsum(full) - full < p, full, 0.0)
    return found / found.sum()


def _above_a_threshold(logits, temperature, p):
    full = nucleus(logits, temperature, 1.0)
    found = np.where(full >= 1 - p, full, 0.0)
    return found / max(found.sum(), 1e-300)


def _overflows(logits, temperature, p):
    weights = np.exp(logits / temperature)
    full = weights / weights.sum()
    return full if not np.isfinite(full).all() else nucleus(logits, temperature, p)


EXERCISES = (
    Exercise(
        id="18.3",
        title="The nucleus",
        difficulty=3,
        minutes=15,
        solution=nucleus,
        cases=_draw_logits,
        oracle=_nucleus_oracle,
        edge_cases=(
            Case((np.array([1.0, 3.0, 2.0]), 1.0, 1.0), note="p = 1 keeps all"),
            Case((np.array([0.0, 9.0, 1.0]), 1.0, 0.5), note="one token holds more than p"),
            Case((np.array([9990.0, 10000.0, 9999.0]), 2.0, 0.6), note="large logits"),
        ),
        explain=_explain_nucleus,
        hints=(
            "Subtract the largest logit before `exp`, divide by the temperature, normalise: an ordinary softmax.",
            "Sort in falling order. A token is kept if the tokens *before* it hold less than p together.",
            "`before = np.cumsum(q) - q` for the sorted probabilities q; keep `order[before < p]`, and renormalise.",
        ),
        wrong={
            "leaves out the token that passes p": _stops_before,
            "does not renormalise": _not_renormalised,
            "applies the temperature to what is left": _temperature_afterwards,
            "multiplies by the temperature": _multiplies,
            "does not sort": _trusts_the_order,
            "keeps what is above a threshold": _above_a_threshold,
            "overflows on large logits": _overflows,
        },
    ),
)
