"""KTO: the formula read aloud, the reference point, saturation, mismatched completions, messages."""

import math

import pytest
import torch
from torch.testing import assert_close

from course_lib.alignment import (
    KTOBatch,
    Preferences,
    kto_batch,
    kto_loss,
    kto_objective,
    kto_reference_point,
    sequence_log_probs,
)
from course_lib.loops import Run
from course_lib.nn.transformer import Transformer, llama


@pytest.fixture
def rows():
    generator = torch.Generator().manual_seed(0)
    policy, reference = (-30 + 5 * torch.randn(6, generator=generator, dtype=torch.float64) for _ in range(2))
    return policy, reference, torch.tensor([True, True, False, True, False, False])


@pytest.fixture
def models():
    config = llama(vocab_size=11, width=8, num_layers=1, num_heads=2, context_length=12)
    return [Transformer(config, generator=torch.Generator().manual_seed(seed)).double() for seed in (0, 1)]


@pytest.fixture
def pairs():
    return Preferences([[1], [2, 3], [5]], [[2, 3, 9], [9], []], [[4, 9], [8, 8, 8], [3]], torch.ones(3))


def sigmoid(x):
    return 1 / (1 + math.exp(-x))


@pytest.mark.parametrize("beta", [0.1, 1.0])
@pytest.mark.parametrize("point", [0.0, 2.5])
def test_the_formula_read_aloud(rows, beta, point):
    losses = []
    for policy, reference, desirable in zip(*(x.tolist() for x in rows), strict=True):
        reward = policy - reference
        value = 1.5 * sigmoid(beta * (reward - point)) if desirable else 0.5 * sigmoid(beta * (point - reward))
        losses.append((1.5 if desirable else 0.5) - value)
    kwargs = {"beta": beta, "desirable_weight": 1.5, "undesirable_weight": 0.5}
    each = kto_loss(*rows, torch.tensor(point).double(), reduction="none", **kwargs)
    assert_close(each, torch.tensor(losses, dtype=torch.float64), rtol=1e-10, atol=1e-12)
    assert_close(kto_loss(*rows, torch.tensor(point).double(), **kwargs).item(), sum(losses) / 6, rtol=1e-10, atol=0)


def test_the_reference_itself_loses_a_half(rows):
    policy, _, desirable = rows
    assert kto_loss(policy, policy, desirable, torch.tensor(0.0)).item() == 0.5


def test_what_is_far_gone_has_no_gradient_either_way():
    policy = torch.tensor([-1000.0, 1000.0, -10.0], requires_grad=True)
    kto_loss(policy, torch.full((3,), -10.0), torch.tensor([True, True, True]), torch.tensor(0.0), beta=1.0).backward()
    assert_close(policy.grad, torch.tensor([0.0, 0.0, -0.25 / 3]))


def test_gradcheck(rows):
    policy, reference, desirable = rows
    point = torch.tensor(1.0, dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda x: kto_loss(x, reference, desirable, point), (policy.requires_grad_(),))


def test_the_reference_point_is_a_mean_that_is_never_negative_and_never_learns(rows):
    policy, reference, _ = rows
    point = kto_reference_point(policy.requires_grad_(), reference)
    assert not point.requires_grad
    expected = sum(p - r for p, r in zip(policy.tolist(), reference.tolist(), strict=True)) / 6
    assert_close(max(point.item(), kto_reference_point(reference, policy).item()), abs(expected), rtol=1e-12, atol=0)
    assert min(point.item(), kto_reference_point(reference, policy).item()) == 0


def test_the_reference_point_is_over_all_ranks(monkeypatch):
    def another_rank(tensors):  # with two completions, whose log-ratios add up to 4
        tensors[0].add_(torch.tensor([4.0, 2.0]))

    monkeypatch.setattr("course_lib.alignment.direct.kto.all_sum", another_rank)
    assert kto_reference_point(torch.tensor([-9.0]), torch.tensor([-14.0])).item() == 3.0  # (5 + 4) / (1 + 2)


def test_pairs_are_taken_apart_and_mismatched(pairs, models):
    batch = kto_batch(pairs, models[1], batch_size=4)
    assert batch.desirable.tolist() == [True, False] * 3
    assert batch.tokens.tolist()[0][:4] == [1, 2, 3, 9]
    assert batch.tokens.tolist()[3][:5] == [2, 3, 8, 8, 8]
    # prompt [1] with the next pair's chosen [9]; the last prompt [5] with the first pair's chosen [2, 3, 9]
    assert [row[keep].tolist() for row, keep in zip(batch.mismatched, batch.mismatched_mask, strict=True)] == [
        [9], [8, 8, 8], [], [3], [2, 3, 9], [4, 9],
    ]  # fmt: skip
    assert batch.mismatched[4, :4].tolist() == [5, 2, 3, 9]
    expected = sequence_log_probs(models[1], batch.mismatched, batch.mismatched_mask).sum(1).detach()
    assert_close(batch.mismatched_reference, expected, rtol=1e-12, atol=1e-12)


def test_the_objective_is_the_loss_of_its_parts(pairs, models):
    policy, reference = models
    batch = kto_batch(pairs, reference)
    result = kto_objective(beta=0.3, desirable_weight=1.2)(policy, batch)
    result.total.backward()
    found = [weight.grad.clone() for weight in policy.parameters()]
    policy.zero_grad()
    mismatched = sequence_log_probs(policy, batch.mismatched, batch.mismatched_mask).sum(1).detach()
    point = (mismatched - batch.mismatched_reference).mean().clamp(min=0)
    log_probs = sequence_log_probs(policy, batch.tokens, batch.mask).sum(1)
    loss = kto_loss(log_probs, batch.reference, batch.desirable, point, beta=0.3, desirable_weight=1.2)
    loss.backward()
    assert_close(result.total, loss, rtol=1e-10, atol=0)
    assert_close(result.metrics["reference_point"], point, rtol=1e-10, atol=1e-12)
    for mine, weight in zip(found, policy.parameters(), strict=True):
        assert_close(mine, weight.grad, rtol=1e-9, atol=1e-12)
    gains = (log_probs - batch.reference - point).detach()
    assert_close(result.metrics["accuracy"].item(), float(((gains > 0) == batch.desirable).double().mean()))


def test_one_reference_point_cannot_be_split(pairs, models):
    batch = kto_batch(pairs, models[1])
    run = Run(models[0], kto_objective(), torch.optim.SGD(models[0].parameters(), lr=0.1))
    halves = [KTOBatch(*(x[rows] for x in batch)) for rows in (slice(0, 3), slice(3, 6))]
    with pytest.raises(ValueError, match="cannot be split into 2"):
        run.step(*halves)


@pytest.mark.parametrize(
    ("arguments", "kwargs", "message"),
    [
        ((torch.zeros(2), torch.zeros(3), torch.ones(2).bool(), torch.tensor(0.0)), {}, r"reference \(3,\)"),
        ((torch.zeros(2), torch.zeros(2), torch.ones(2), torch.tensor(0.0)), {}, "desirable must be bool"),
        ((torch.zeros(2), torch.zeros(2), torch.ones(2).bool(), torch.zeros(2)), {}, r"shape \(2,\)"),
        ((torch.zeros(2), torch.zeros(2), torch.ones(2).bool(), torch.tensor(0.0)), {"beta": 0}, "beta must be"),
        (
            (torch.zeros(2), torch.zeros(2), torch.ones(2).bool(), torch.tensor(0.0)),
            {"undesirable_weight": -1.0},
            "undesirable_weight must be",
        ),
    ],
)
def test_bad_input_is_named(arguments, kwargs, message):
    with pytest.raises(ValueError, match=message):
        kto_loss(*arguments, **kwargs)


def test_bad_settings_are_refused_before_training(pairs, models):
    with pytest.raises(ValueError, match="desirable_weight must be positive"):
        kto_objective(desirable_weight=0.0)
    with pytest.raises(ValueError, match="at least two pairs, got 1"):
        kto_batch(pairs[:1], models[1])
