"""The linear probe: scikit-learn's solution, the gradient at the minimum, invariants, few labels, refusals."""

import math

import pytest
import torch
from torch.testing import assert_close

from course_lib.evaluation import fit_linear_probe, linear_probe
from course_lib.evaluation import linear_probe as module_or_function

CLOSE = {"rtol": 1e-6, "atol": 1e-6}  # both stop at a small gradient, not at 0


@pytest.fixture
def blobs():
    """120 rows of 6 features in 3 mixed-up classes, the features of different size."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(120) % 3
    rows = torch.randn(120, 6, generator=generator, dtype=torch.float64)
    rows[:, :3] += torch.nn.functional.one_hot(labels)
    return rows * torch.tensor([1.0, 10.0, 0.1, 1.0, 5.0, 100.0]).double() + 3, labels


@pytest.mark.parametrize("l2", [0.3, 1e-2, 1e-4])
def test_it_is_scikit_learns_logistic_regression(blobs, l2):
    from sklearn.linear_model import LogisticRegression
    from sklearn.preprocessing import StandardScaler

    features, labels = blobs
    scaler = StandardScaler().fit(features[:80].numpy())
    peer = LogisticRegression(C=1 / (l2 * 80), tol=1e-10, max_iter=10_000)
    peer.fit(scaler.transform(features[:80].numpy()), labels[:80].numpy())
    probe = fit_linear_probe(features[:80], labels[:80], l2=l2)
    assert_close(probe.weights, torch.from_numpy(peer.coef_.T), rtol=1e-4, atol=1e-5)
    assert_close(probe.bias, torch.from_numpy(peer.intercept_), rtol=1e-4, atol=1e-5)
    expected = peer.score(scaler.transform(features[80:].numpy()), labels[80:].numpy())
    assert 0.4 < expected < 0.9
    assert_close(linear_probe(features[:80], labels[:80], features[80:], labels[80:], l2=l2), expected)


def test_the_gradient_of_the_stated_loss_is_zero_there(blobs):
    features, labels = blobs
    probe = fit_linear_probe(features, labels, l2=0.01)
    weights, bias = probe.weights.clone().requires_grad_(), probe.bias.clone().requires_grad_()
    rows = (features - features.mean(dim=0)) / features.std(dim=0, correction=0)
    loss = torch.nn.functional.cross_entropy(rows @ weights + bias, labels) + 0.01 / 2 * weights.square().sum()
    for gradient in torch.autograd.grad(loss, (weights, bias)):
        assert_close(gradient, torch.zeros_like(gradient), rtol=0, atol=1e-7)


def test_it_gives_the_same_bits_twice_and_leaves_the_global_generator_alone(blobs):
    state = torch.get_rng_state()
    one, two = fit_linear_probe(*blobs), fit_linear_probe(*blobs)
    assert_close(one.weights, two.weights, rtol=0, atol=0)
    assert torch.equal(torch.get_rng_state(), state)


def test_units_and_offsets_of_features_do_not_matter(blobs):
    features, labels = blobs
    moved = features * torch.tensor([3.0, 0.1, 1.0, 7.0, 1.0, 1.0]).double() - 20
    one, two = fit_linear_probe(features, labels), fit_linear_probe(moved, labels)
    assert_close(one.logits(features), two.logits(moved), **CLOSE)


def test_constant_features_say_nothing_and_do_no_harm(blobs):
    features, labels = blobs
    constant = torch.full((120, 1), 0.1).double()  # its computed variance is not exactly 0
    probe = fit_linear_probe(torch.cat([features, constant], dim=1), labels)
    assert_close(probe.weights[-1], torch.zeros(3).double(), rtol=0, atol=1e-9)
    assert_close(probe.weights[:-1], fit_linear_probe(features, labels).weights, **CLOSE)


def test_it_knows_only_the_classes_it_was_shown(blobs):
    features, labels = blobs
    names = torch.tensor([4, 9, 2])[labels]
    probe = fit_linear_probe(features, names)
    assert probe.classes.tolist() == [2, 4, 9]
    assert set(probe.predict(features).tolist()) == {2, 4, 9}
    assert probe.accuracy(features, names) == fit_linear_probe(features, labels).accuracy(features, labels)
    assert linear_probe(features, names, features[:5], torch.full((5,), 7)) == 0.0


def test_one_label_per_class_and_more_features_than_rows():
    rows = torch.eye(4, 50)
    assert linear_probe(rows, torch.arange(4), 3 * rows, torch.arange(4)) == 1.0


def test_two_rows_have_the_minimum_that_thought_finds():
    """Features -1 and 1, weights (-w, w): minimises log(1 + exp(-2 w)) + l2 w^2, so 1 / (1 + exp(2 w)) = l2 w."""
    probe = fit_linear_probe(torch.tensor([[-5.0], [5.0]]), torch.tensor([0, 1]), l2=0.1)
    w = probe.weights[0, 1].item()
    assert_close(1 / (1 + math.exp(2 * w)), 0.1 * w, **CLOSE)
    assert_close(probe.weights[0, 0].item(), -w, **CLOSE)


def test_features_come_in_any_precision_and_with_a_graph(blobs):
    features, labels = blobs
    floats = features.float().requires_grad_()
    probe = fit_linear_probe(floats, labels)
    assert probe.weights.dtype == torch.float64
    assert not probe.weights.requires_grad
    assert_close(
        probe.logits(floats), fit_linear_probe(floats.detach().double(), labels).logits(floats), rtol=0, atol=0
    )


def test_a_minimum_that_was_not_reached_is_said(blobs, monkeypatch):
    import sys

    monkeypatch.setattr(sys.modules["course_lib.evaluation.linear_probe"], "MAX_STEPS", 3)
    with pytest.warns(UserWarning, match="minimum was not reached.*after 3 steps"):
        linear_probe(*blobs, *blobs, l2=1e-4)


def test_the_name_in_the_package_is_the_function():
    assert module_or_function is linear_probe


@pytest.mark.parametrize("l2", [0.0, -1.0, math.nan, math.inf])
def test_a_penalty_that_is_none_is_refused(blobs, l2):
    with pytest.raises(ValueError, match="l2 must be positive and finite"):
        fit_linear_probe(*blobs, l2=l2)


@pytest.mark.parametrize(
    ("features", "labels", "message"),
    [
        (torch.eye(3), torch.zeros(3, dtype=torch.int64), "two classes to tell apart, got labels of class 0 only"),
        (torch.eye(3).long(), torch.arange(3), "features must be a floating-point matrix"),
        (torch.eye(3), torch.arange(4), r"labels must be int64 .* each of 3 rows, got \(4,\)"),
        (torch.eye(3) / 0, torch.arange(3), "features holds nan or inf"),
    ],
)
def test_bad_input_is_named(features, labels, message):
    with pytest.raises(ValueError, match=message):
        fit_linear_probe(features, labels)


def test_other_features_of_another_width_are_refused(blobs):
    with pytest.raises(ValueError, match=r"\(N, 6\).* got \(2, 5\)"):
        fit_linear_probe(*blobs).predict(torch.ones(2, 5))
