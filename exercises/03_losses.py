"""Exercises 03.1 and 03.2: the loss behind a quantile, and the cross-entropy of yes or no from logits."""

from __future__ import annotations

import math

import numpy as np
import torch

from course_lib.study.exercises import Case, Exercise, Property


def pinball(prediction, target, q):
    """Return the mean pinball loss of ``prediction`` for the quantile ``q``."""
    above = target - prediction  # positive where the target lies above
    return torch.maximum(q * above, (q - 1) * above).mean()


def _pinball_oracle(prediction, target, q):
    total = 0.0
    for p, t in zip(prediction.flatten().tolist(), target.flatten().tolist(), strict=True):
        total += q * (t - p) if t > p else (1 - q) * (p - t)
    return torch.tensor(total / prediction.numel(), dtype=torch.float64)


def _draw_pinball(rng):
    shape = tuple(int(n) for n in rng.integers(1, 5, rng.integers(1, 4)))
    dtype = (torch.float32, torch.float64)[rng.integers(2)]
    prediction, target = (torch.tensor(rng.standard_normal(shape) * 3, dtype=dtype) for _ in range(2))
    return prediction, target, float(rng.uniform(0.02, 0.98))


def _explain_pinball(case, expected, got):
    prediction, target, q = case.args
    swapped = 1 - q
    sides = (target > prediction).double().mean().item()
    return f"q is {q:.2f} (1 - q is {swapped:.2f}), and {sides:.0%} of the targets lie above their prediction"


def _pull_complaint(function, case, result):
    prediction, target, q = case.args
    leaf = prediction.clone().requires_grad_()
    leaf.__deepcopy__ = lambda memo: leaf  # the function is given copies, but here its gradient is wanted
    loss = function(leaf, target, q)
    found = torch.autograd.grad(loss, leaf)[0] if getattr(loss, "grad_fn", None) is not None else None
    if found is None:
        return "no gradient reaches the prediction: the result is cut off from it"
    wanted = torch.where(target > prediction, -q, 1 - q) / target.numel()
    off = target != prediction  # at equality either slope will do
    if not torch.allclose(found[off].double(), wanted[off].double(), rtol=1e-4):
        return "the gradient that reaches the prediction is not the slope of the loss"
    return None


def _sides_swapped(prediction, target, q):
    above = target - prediction
    return torch.maximum((1 - q) * above, -q * above).mean()


def _absolute_error(prediction, target, q):
    return (target - prediction).abs().mean() / 2


def _sums(prediction, target, q):
    return pinball(prediction, target, q) * prediction.numel()


def _squares(prediction, target, q):
    above = target - prediction
    return torch.where(above > 0, q * above**2, (1 - q) * above**2).mean()


def _counts_one_side(prediction, target, q):
    return (q * (target - prediction).clamp(min=0)).mean()


def _cut_off(prediction, target, q):
    return pinball(prediction.detach(), target, q)


def _plain_number(prediction, target, q):
    return pinball(prediction, target, q).item()


def _doubles(prediction, target, q):
    return 2 * pinball(prediction, target, q)


def binary_cross_entropy(logits, targets):
    """Return the mean cross-entropy of yes-or-no targets, computed from logits."""
    return np.mean((np.logaddexp(0, -logits)) * targets + np.logaddexp(0, logits) * (1 - targets))


def _binary_oracle(logits, targets):
    def cost(s):  # -log sigmoid(s)
        return math.log1p(math.exp(-s)) if s > 0 else -s + math.log1p(math.exp(s))

    rows = zip(logits.flatten().tolist(), targets.flatten().tolist(), strict=True)
    return math.fsum(t * cost(s) + (1 - t) * cost(-s) for s, t in rows) / logits.size


def _draw_binary(rng):
    shape = tuple(int(n) for n in rng.integers(1, 6, rng.integers(1, 3)))
    size = float(rng.choice([1.0, 10.0, 300.0, 5000.0]))
    targets = rng.integers(0, 2, shape).astype(np.float64) if rng.random() < 0.6 else rng.random(shape)
    return rng.standard_normal(shape) * size, targets


def _explain_binary(case, expected, got):
    logits = case.args[0]
    if not np.isfinite(got):
        return f"logits go from {logits.min():.4g} to {logits.max():.4g}, and the result is not a finite number"
    return None


def _through_the_sigmoid(logits, targets):
    with np.errstate(all="ignore"):
        p = 1 / (1 + np.exp(-logits))
        return -np.mean(targets * np.log(p) + (1 - targets) * np.log(1 - p))


def _clips_probabilities(logits, targets):
    with np.errstate(all="ignore"):
        p = np.clip(1 / (1 + np.exp(-logits)), 1e-7, 1 - 1e-7)
    return -np.mean(targets * np.log(p) + (1 - targets) * np.log(1 - p))


def _loses_small_losses(logits, targets):
    softplus = np.maximum(logits, 0) + np.log(1 + np.exp(-np.abs(logits)))
    return np.mean(softplus - targets * logits)


def _digits_on_one_side(logits, targets):
    return np.mean((1 - targets) * logits + np.logaddexp(0, -logits))


def _only_yes(logits, targets):
    return np.mean(targets * np.logaddexp(0, -logits))


def _sum_of_rows(logits, targets):
    return binary_cross_entropy(logits, targets) * logits.size


def _rounds_targets(logits, targets):
    return binary_cross_entropy(logits, np.round(targets))


def _sign_mixed_up(logits, targets):
    return binary_cross_entropy(-logits, targets)


EXERCISES = (
    Exercise(
        id="03.1",
        title='A loss for "nine times out of ten"',
        difficulty=2,
        minutes=10,
        solution=pinball,
        cases=_draw_pinball,
        oracle=_pinball_oracle,
        edge_cases=(
            Case((torch.tensor([1.0, 1.0]), torch.tensor([3.0, 0.0]), 0.9), note="one target above, one below"),
            Case((torch.zeros(3), torch.zeros(3), 0.5), note="every prediction is right"),
        ),
        properties=(Property("passes its gradient on to the prediction", _pull_complaint),),
        explain=_explain_pinball,
        hints=(
            "Compute `above = target - prediction` once. Where it is positive the cost is `q * above`; and where not?",
            "Where it is negative the cost must be positive: `(1 - q) * (-above)`, that is `(q - 1) * above`.",
            "Of the two lines `q * above` and `(q - 1) * above` the right one is always the larger: `torch.maximum`.",
        ),
        wrong={
            "swaps the two sides": _sides_swapped,
            "is half the absolute error": _absolute_error,
            "sums instead of averaging": _sums,
            "squares the error": _squares,
            "charges targets above only": _counts_one_side,
            "is twice as large": _doubles,
            "detaches the prediction": _cut_off,
            "returns a plain number": _plain_number,
        },
    ),
    Exercise(
        id="03.2",
        title="Yes or no, without overflow",
        difficulty=2,
        minutes=15,
        solution=binary_cross_entropy,
        cases=_draw_binary,
        oracle=_binary_oracle,
        tolerance={"float64": (1e-9, 0.0)},
        edge_cases=(
            Case((np.array([10_000.0, -10_000.0]), np.array([0.0, 1.0])), note="sure and wrong"),
            Case((np.array([10_000.0, -10_000.0]), np.array([1.0, 0.0])), note="sure and right"),
            Case((np.array([40.0]), np.array([1.0])), note="a loss of 4e-18"),
            Case((np.array([-40.0]), np.array([0.0])), note="a loss of 4e-18, the other way"),
            Case((np.array([[0.0, 2.0]]), np.array([[0.3, 0.5]])), note="targets that are neither yes nor no"),
        ),
        explain=_explain_binary,
        hints=(
            "$-\\log p = \\log(1 + e^{-s})$, and $-\\log(1 - p) = \\log(1 + e^{s})$. No sigmoid is needed.",
            "$\\log(1 + e^{s})$ is the log-sum-exp of two logits, 0 and $s$.",
            "`np.logaddexp(0, s)` computes it for any `s`, small results included.",
        ),
        wrong={
            "takes the logarithm of the sigmoid": _through_the_sigmoid,
            "clips the probabilities": _clips_probabilities,
            "rounds small losses to zero": _loses_small_losses,
            "keeps small losses on one side only": _digits_on_one_side,
            "charges yes only": _only_yes,
            "sums instead of averaging": _sum_of_rows,
            "rounds the targets": _rounds_targets,
            "has the sign of the logits wrong": _sign_mixed_up,
        },
    ),
)
