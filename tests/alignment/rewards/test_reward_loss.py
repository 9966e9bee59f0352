"""Bradley and Terry's loss: against the formula, trl and scikit-learn; its objective through a Run; its measures."""

import math
from types import SimpleNamespace

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from course_lib.alignment import (
    Preferences,
    RewardModel,
    bradley_terry,
    reward_accuracy,
    reward_calibration,
    reward_objective,
    score_completions,
)
from course_lib.loops import NonFiniteStep, Run
from course_lib.losses import expected_calibration_error
from course_lib.nn.transformer import Transformer, llama


def drawn(num, seed=0):
    return torch.randn(num, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("centring", [0.0, 0.01, 0.5])
def test_the_loss_is_the_formula_read_aloud(centring):
    chosen, rejected = drawn(50), drawn(50, seed=1)
    expected = [
        -math.log(1 / (1 + math.exp(b - a))) + centring * (a + b) ** 2
        for a, b in zip(chosen.tolist(), rejected.tolist(), strict=True)
    ]
    expected = torch.tensor(expected, dtype=torch.float64)
    assert_close(bradley_terry(chosen, rejected, centring=centring, reduction="none"), expected, rtol=1e-12, atol=0)
    assert_close(bradley_terry(chosen, rejected, centring=centring), expected.mean(), rtol=1e-12, atol=0)
    assert_close(bradley_terry(chosen, rejected, centring=centring, reduction="sum"), expected.sum())


@pytest.mark.parametrize("centring", [None, 0.01])
def test_the_loss_is_trls(centring):
    from trl import RewardTrainer

    chosen, rejected = drawn(20), drawn(20, seed=1)
    trainer = SimpleNamespace(
        model=SimpleNamespace(training=False),
        args=SimpleNamespace(center_rewards_coefficient=centring),
        accelerator=SimpleNamespace(gather=lambda x: x, gather_for_metrics=lambda x: x),
        _metrics={"eval": {name: [] for name in _METRICS}},
        _total_train_tokens=0,
    )
    rewards = torch.cat([chosen, rejected])[:, None]  # trl stacks chosen on rejected, and centring is off by default
    inputs = {"attention_mask": torch.ones(40, 1)}
    loss = RewardTrainer.compute_loss(trainer, lambda **_: SimpleNamespace(logits=rewards), inputs)
    assert_close(bradley_terry(chosen, rejected, centring=centring or 0.0), loss, rtol=1e-12, atol=0)
    assert reward_accuracy(chosen, rejected) == pytest.approx(trainer._metrics["eval"]["accuracy"][0], abs=1e-6)


_METRICS = ("num_tokens", "min_reward", "mean_reward", "max_reward", "accuracy", "margin")


def test_what_is_known_by_thought():
    assert_close(bradley_terry(torch.zeros(3), torch.zeros(3)), torch.tensor(math.log(2)))
    assert_close(bradley_terry(torch.tensor([math.log(3.0)]), torch.zeros(1)), -torch.tensor(0.75).log())


def test_only_differences_matter_until_centring_holds_the_mean():
    chosen, rejected = drawn(9), drawn(9, seed=1)
    assert_close(bradley_terry(chosen + 5, rejected + 5), bradley_terry(chosen, rejected))
    common = torch.zeros((), dtype=torch.float64, requires_grad=True)
    bradley_terry(chosen + common, rejected + common).backward()
    assert abs(common.grad) < 1e-15
    best = -(chosen + rejected).mean() / 2
    common = best.clone().requires_grad_()
    bradley_terry(chosen + common, rejected + common, centring=0.1).backward()
    assert abs(common.grad) < 1e-15


def test_gradients_and_extremes():
    chosen, rejected = (x.requires_grad_() for x in (drawn(6), drawn(6, seed=1)))
    assert torch.autograd.gradcheck(lambda c, r: bradley_terry(c, r, centring=0.02), (chosen, rejected))
    far = torch.tensor([-1e4, 1e4], requires_grad=True)
    losses = bradley_terry(far, torch.zeros(2), reduction="none")
    losses.sum().backward()
    assert losses.tolist() == [1e4, 0.0]
    assert far.grad.tolist() == [-1.0, 0.0]
    assert bradley_terry(torch.zeros(2).bfloat16(), torch.zeros(2).bfloat16()).dtype == torch.float32


def test_it_is_logistic_regression_on_differences():
    from sklearn.linear_model import LogisticRegression

    g = torch.Generator().manual_seed(0)
    first, second = (torch.randn(400, 3, generator=g, dtype=torch.float64) for _ in range(2))
    truth = torch.tensor([1.0, -2.0, 0.5], dtype=torch.float64)
    won = torch.rand(400, generator=g, dtype=torch.float64) < ((first - second) @ truth).sigmoid()
    chosen, rejected = (torch.where(won[:, None], a, b) for a, b in ((first, second), (second, first)))
    weight = torch.zeros(3, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS([weight], max_iter=200, tolerance_grad=1e-12, line_search_fn="strong_wolfe")

    def closure():
        optimizer.zero_grad()
        loss = bradley_terry(chosen @ weight, rejected @ weight)
        loss.backward()
        return loss

    optimizer.step(closure)
    reference = LogisticRegression(C=1e12, fit_intercept=False, tol=1e-12, max_iter=1000)
    reference.fit((first - second).numpy(), won.numpy())
    assert_close(weight.detach(), torch.tensor(reference.coef_[0]), rtol=1e-4, atol=1e-4)


class Lookup(nn.Module):
    """A reward for the first token of each row, whatever follows."""

    def __init__(self, num):
        super().__init__()
        self.reward = nn.Parameter(torch.zeros(num))

    def forward(self, tokens, mask):
        return self.reward[tokens[:, 0]]


def pairs_of(winners, losers):
    return Preferences([[w] for w in winners], [[1]] * len(winners), [[1]] * len(winners), torch.ones(len(winners)))


def test_the_objective_counts_pairs_and_can_be_split():
    model = Lookup(4)
    with torch.no_grad():
        model.reward.copy_(torch.tensor([0.0, 1.0, 3.0, 1.0]))
    mask = torch.ones(3, 1, dtype=torch.bool)
    batch = (torch.tensor([[1], [0], [3]]), mask, mask, torch.tensor([[0], [2], [1]]), mask, mask)
    loss = reward_objective(centring=0.1)(model, batch)
    expected = math.log1p(math.exp(-1)) + math.log1p(math.exp(3)) + math.log(2) + 0.1 * (1 + 9 + 4)
    assert loss.count == 3
    assert loss.total.item() == pytest.approx(expected, abs=1e-5)
    assert {name: value.item() for name, value in loss.metrics.items()} == {"accuracy": 1.5, "margin": -2.0}
    runs = []
    for parts in (1, 3):
        copy = Lookup(4)
        run = Run(copy, reward_objective(centring=0.1), torch.optim.SGD(copy.parameters(), lr=1.0))
        run.step(*zip(*(column.tensor_split(parts) for column in batch), strict=True))
        runs.append(copy.reward.detach())
    assert_close(*runs)


def test_a_reward_model_learns_what_the_rater_likes():
    g = torch.Generator().manual_seed(0)
    config = llama(vocab_size=10, width=16, num_layers=1, num_heads=2, context_length=8)
    model = RewardModel(Transformer(config, generator=g))
    liked = [
        [2, *torch.randint(4, 10, (int(n),), generator=g).tolist()] for n in torch.randint(1, 6, (64,), generator=g)
    ]
    other = [
        [3, *torch.randint(4, 10, (int(n),), generator=g).tolist()] for n in torch.randint(0, 7, (64,), generator=g)
    ]
    batch = Preferences([[0]] * 64, liked, other, torch.ones(64)).batch()
    run = Run(model, reward_objective(), torch.optim.AdamW(model.parameters(), lr=3e-3))
    first = run.step(batch).values()
    for _ in range(30):
        last = run.step(batch).values()
    assert first["loss"] == pytest.approx(math.log(2), abs=1e-6)
    assert (first["accuracy"], last["accuracy"]) == (0.5, 1.0)
    unseen = score_completions(model, [[0]] * 2, [[2, 9, 8], [3, 9, 8]])
    assert unseen[0] - unseen[1] > 1


def test_columns_that_are_all_padding_are_not_read():
    config = llama(vocab_size=10, width=16, num_layers=1, num_heads=2, context_length=4)
    model = RewardModel(Transformer(config, generator=torch.Generator().manual_seed(0)))
    pairs = Preferences([[0]] * 2, [[1], [2, 3, 4, 5, 6]], [[2], [1]], torch.ones(2))
    batch = [column[:1] for column in pairs.batch()]  # six columns wide, and the model has a context of four
    assert reward_objective()(model, batch).count == 1


def test_a_reward_that_is_not_finite_never_reaches_the_weights():
    model = Lookup(3)
    with torch.no_grad():
        model.reward[2] = math.nan
    before = model.reward.detach().clone()
    run = Run(model, reward_objective(), torch.optim.SGD(model.parameters(), lr=1.0))
    mask = torch.ones(2, 1, dtype=torch.bool)
    with pytest.raises(NonFiniteStep):
        run.step((torch.tensor([[0], [2]]), mask, mask, torch.tensor([[1], [1]]), mask, mask))
    assert torch.equal(model.reward[:2], before[:2])


def test_calibration_is_the_expected_calibration_error_of_both_sides():
    chosen, rejected = 2 * drawn(300), 2 * drawn(300, seed=1)
    calibration = reward_calibration(chosen, rejected, num_bins=5)
    p = (chosen - rejected).sigmoid()
    expected = expected_calibration_error(torch.stack([p, 1 - p], 1), torch.zeros(300).long(), num_bins=10)
    assert calibration.error == pytest.approx(expected.item(), abs=1e-12)
    sure = torch.maximum(p, 1 - p)
    for k in range(5):
        inside = (sure > 0.5 + 0.1 * k) & (sure <= 0.6 + 0.1 * k)
        assert calibration.count[k] == inside.sum()
        assert_close(calibration.claimed[k], sure[inside].mean())
        assert_close(calibration.observed[k], (p > 0.5)[inside].double().mean())


def test_a_model_that_knows_the_rater_is_calibrated_and_a_bolder_one_is_not():
    worth = 3 * drawn(40_000)
    p = worth.sigmoid()
    won = torch.rand(40_000, generator=torch.Generator().manual_seed(2), dtype=torch.float64) < p
    chosen, rejected = torch.where(won, worth, 0.0), torch.where(won, 0.0, worth)
    true_p = torch.where(won, p, 1 - p)
    assert reward_calibration(chosen, rejected).error < 0.015  # of 10 bins of some 4,000 pairs
    assert reward_calibration(chosen, rejected, probability=true_p).error < 1e-12
    assert reward_calibration(3 * chosen, 3 * rejected, probability=true_p).error > 0.05


def test_ties_and_empty_bins():
    calibration = reward_calibration(torch.tensor([1.0, 5.0]), torch.tensor([1.0, 5.0]))
    assert (calibration.claimed.tolist(), calibration.observed.tolist()) == ([0.5], [0.5])
    assert calibration.count.tolist() == [2]
    assert reward_accuracy(torch.tensor([1.0, 2.0]), torch.tensor([1.0, 0.0])) == 0.75


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: bradley_terry(torch.zeros(2, 1), torch.zeros(2)), r"chosen \(2, 1\), rejected \(2,\)"),
        (lambda: bradley_terry(torch.zeros(2).long(), torch.zeros(2).long()), "floating point"),
        (lambda: bradley_terry(torch.zeros(2), torch.zeros(2), centring=-1.0), "centring must be 0 or more"),
        (lambda: reward_objective(centring=math.nan), "centring must be 0 or more"),
        (lambda: reward_objective()(Lookup(2), (torch.zeros(1), torch.zeros(1))), "6 tensors, got 2"),
        (lambda: reward_accuracy(torch.zeros(0), torch.zeros(0)), r"some pairs, got \(0,\)"),
        (lambda: reward_accuracy(torch.tensor([math.nan]), torch.zeros(1)), "1 of 1 pairs"),
        (lambda: reward_calibration(torch.zeros(1), torch.zeros(1), num_bins=0), "num_bins"),
        (lambda: reward_calibration(torch.zeros(1), torch.zeros(1), probability=torch.tensor([2.0])), r"in \[0, 1\]"),
        (lambda: reward_calibration(torch.zeros(1), torch.zeros(1), probability=torch.zeros(2)), r"got \(2,\)"),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
