"""Exercise 11.4: CLIP's loss where pairs with equal captions are not each other's negatives."""

from __future__ import annotations

import math

import numpy as np

from course_lib.study.exercises import Case, Exercise


def clip_without_duplicates(images, texts, captions, temperature):
    """Return CLIP's loss where pairs with equal captions are not each other's negatives."""
    images = images / np.linalg.norm(images, axis=1, keepdims=True)
    texts = texts / np.linalg.norm(texts, axis=1, keepdims=True)
    logits = images @ texts.T / temperature
    match = np.diag(logits).copy()
    for i, own in enumerate(captions):
        for j, other in enumerate(captions):
            if i != j and own == other:
                logits[i, j] = -np.inf
    total = 0.0
    for rows in (logits, logits.T):
        largest = rows.max(axis=1)
        total += (largest + np.log(np.exp(rows - largest[:, None]).sum(axis=1)) - match).mean()
    return float(total / 2)


def _oracle(images, texts, captions, temperature):
    def unit(row):
        length = math.sqrt(math.fsum(float(v) ** 2 for v in row))
        return [float(v) / length for v in row]

    a, b = [unit(row) for row in images], [unit(row) for row in texts]
    means = []
    for asking, answering in ((a, b), (b, a)):
        losses = []
        for i, query in enumerate(asking):
            scores = [math.fsum(p * q for p, q in zip(query, key, strict=True)) / temperature for key in answering]
            kept = [score for j, score in enumerate(scores) if j == i or captions[j] != captions[i]]
            top = max(kept)
            losses.append(top + math.log(math.fsum(math.exp(score - top) for score in kept)) - scores[i])
        means.append(math.fsum(losses) / len(losses))
    return sum(means) / 2


def _draw(rng):
    num, width = int(rng.integers(3, 8)), int(rng.integers(2, 6))
    texts = rng.standard_normal((num, width)) * rng.uniform(0.2, 5, (num, 1))
    images = texts + rng.uniform(0.3, 2) * rng.standard_normal((num, width))
    words = [f"a {'bold' if rng.integers(2) else 'plain'} {'RS'[rng.integers(2)]}" for _ in range(num)]
    words[0] = words[-1]  # at least one caption comes twice
    return images, texts, words, float(rng.choice([0.07, 0.2, 1.0]))


def _explain(case, expected, got):
    captions = case.args[2]
    return f"{len(captions)} pairs with {len(set(captions))} different captions; each keeps its own match"


def _plain(images, texts, captions, temperature):
    return clip_without_duplicates(images, texts, [str(i) for i in range(len(captions))], temperature)


def _first_of_each(images, texts, captions, temperature):
    rows = [i for i, caption in enumerate(captions) if caption not in captions[:i]]
    return clip_without_duplicates(images[rows], texts[rows], [captions[i] for i in rows], temperature)


def _loss(logits, match):
    largest = logits.max(axis=1)
    return (largest + np.log(np.exp(logits - largest[:, None]).sum(axis=1)) - match).mean()


def _logits(images, texts, temperature):
    images = images / np.linalg.norm(images, axis=1, keepdims=True)
    texts = texts / np.linalg.norm(texts, axis=1, keepdims=True)
    return images @ texts.T / temperature


def _same(captions):
    names = np.array(captions)
    return (names[:, None] == names[None]) & ~np.eye(len(names), dtype=bool)


def _zero_logit(images, texts, captions, temperature):
    logits = _logits(images, texts, temperature)
    match = np.diag(logits).copy()
    logits = np.where(_same(captions), 0.0, logits)
    return float((_loss(logits, match) + _loss(logits.T, match)) / 2)


def _one_direction(images, texts, captions, temperature):
    logits = _logits(images, texts, temperature)
    match = np.diag(logits).copy()
    return float(_loss(np.where(_same(captions), -np.inf, logits), match))


def _masks_rows_only(images, texts, captions, temperature):
    logits = _logits(images, texts, temperature)
    match = np.diag(logits).copy()
    return float((_loss(np.where(_same(captions), -np.inf, logits), match) + _loss(logits.T, match)) / 2)


def _adds_directions(images, texts, captions, temperature):
    return 2 * clip_without_duplicates(images, texts, captions, temperature)


def _all_are_matches(images, texts, captions, temperature):
    logits, same = _logits(images, texts, temperature), _same(captions) | np.eye(len(captions), dtype=bool)
    total = 0.0
    for rows in (logits, logits.T):
        log_p = rows - rows.max() - np.log(np.exp(rows - rows.max()).sum(axis=1, keepdims=True))
        total += -(np.where(same, log_p, 0.0).sum(axis=1) / same.sum(axis=1)).mean()
    return float(total / 2)


def _not_normalised(images, texts, captions, temperature):
    logits = images @ texts.T / temperature
    match = np.diag(logits).copy()
    logits = np.where(_same(captions), -np.inf, logits)
    return float((_loss(logits, match) + _loss(logits.T, match)) / 2)


_THREE = np.array([[1.0, 0.0], [0.9, 0.3], [0.0, 2.0]])

EXERCISES = (
    Exercise(
        id="11.4",
        title="The same caption twice",
        difficulty=4,
        minutes=20,
        solution=clip_without_duplicates,
        cases=_draw,
        oracle=_oracle,
        edge_cases=(
            Case((np.eye(2), np.eye(2), ["an R", "an S"], 1.0), note="nothing comes twice: ln(1 + 1/e)"),
            Case(
                (_THREE, _THREE[::-1].copy(), ["a B", "a B", "a B"], 0.1),
                note="one caption alone: no candidates, loss 0",
            ),
            Case((_THREE, _THREE + 0.1, ["a B", "a D", "a B"], 0.001), note="very cold"),
        ),
        explain=_explain,
        hints=(
            "Begin with CLIP's loss: one table of cosines over the temperature, cross-entropy by rows and by columns.",
            "What is no candidate has probability 0: put minus infinity there, in the table, before the softmax.",
            "What to leave out is symmetric: the same for rows and columns. The diagonal always stays.",
        ),
        wrong={
            "is CLIP's own loss": _plain,
            "drops the repeated pairs": _first_of_each,
            "puts a logit of 0 there": _zero_logit,
            "looks from images to texts only": _one_direction,
            "leaves them out in one direction": _masks_rows_only,
            "adds the directions": _adds_directions,
            "counts equal captions as matches": _all_are_matches,
            "does not normalise": _not_normalised,
        },
    ),
)
