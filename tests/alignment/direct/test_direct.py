"""DPO and IPO as objectives: token by token against the losses, splitting, ragged and empty completions, training."""

import copy

import pytest
import torch
from torch.testing import assert_close

from course_lib.alignment import (
    DirectBatch,
    Preferences,
    direct_batch,
    dpo_loss,
    dpo_objective,
    ipo_loss,
    ipo_objective,
    reference_log_probs,
)
from course_lib.data import Batches
from course_lib.loops import Run, train
from course_lib.nn.transformer import Transformer, llama


@pytest.fixture
def policy():
    config = llama(vocab_size=11, width=8, num_layers=1, num_heads=2, context_length=12)
    return Transformer(config, generator=torch.Generator().manual_seed(0)).double()


@pytest.fixture
def reference(policy):
    generator = torch.Generator().manual_seed(1)
    other = copy.deepcopy(policy)
    with torch.no_grad():
        for weight in other.parameters():
            weight += 0.2 * torch.randn(weight.shape, generator=generator, dtype=torch.float64)
    return other


@pytest.fixture
def pairs():
    """Unequal lengths, prompts of unequal lengths, an empty completion on either side."""
    prompts = [[1], [2, 3, 4], [5], [6, 7]]
    return Preferences(prompts, [[2, 3, 9], [9], [], [1, 2, 3, 4, 9]], [[4, 9], [8, 8, 8], [3], []], torch.ones(4))


def log_prob(model, prompt, completion):
    """One token at a time, each from a pass of its own."""
    total = torch.zeros((), dtype=torch.float64)
    for place, token in enumerate(completion):
        logits = model(torch.tensor([prompt + completion[:place]]))[0, -1]
        total = total + logits.log_softmax(0)[token]
    return total


def columns(model, pairs):
    chosen = [log_prob(model, *row) for row in zip(pairs.prompts, pairs.chosen, strict=True)]
    rejected = [log_prob(model, *row) for row in zip(pairs.prompts, pairs.rejected, strict=True)]
    return torch.stack(chosen), torch.stack(rejected)


def test_the_reference_speaks_of_completions_alone(pairs, reference):
    batch = direct_batch(pairs, reference, batch_size=3)
    chosen, rejected = columns(reference, pairs)
    assert_close(batch.reference_chosen, chosen.detach(), rtol=1e-12, atol=1e-14)
    assert_close(batch.reference_rejected, rejected.detach(), rtol=1e-12, atol=1e-14)
    assert batch.reference_chosen[2] == 0 == batch.reference_rejected[3]
    assert not batch.reference_chosen.requires_grad


@pytest.mark.parametrize(
    ("objective", "loss", "per_token"),
    [
        (dpo_objective(beta=0.3), lambda *x: dpo_loss(*x, beta=0.3, reduction="sum"), False),
        (
            dpo_objective(beta=0.3, label_smoothing=0.1),
            lambda *x: dpo_loss(*x, beta=0.3, label_smoothing=0.1, reduction="sum"),
            False,
        ),
        (ipo_objective(beta=0.3), lambda *x: ipo_loss(*x, beta=0.3, reduction="sum"), False),
        (ipo_objective(beta=0.3, per_token=True), lambda *x: ipo_loss(*x, beta=0.3, reduction="sum"), True),
    ],
)
def test_loss_and_every_gradient_are_those_of_single_tokens(pairs, policy, reference, objective, loss, per_token):
    result = objective(policy, direct_batch(pairs, reference))
    result.total.backward()
    found = [weight.grad.clone() for weight in policy.parameters()]
    policy.zero_grad()
    four = [*columns(policy, pairs), *(x.detach() for x in columns(reference, pairs))]
    if per_token:
        lengths = [torch.tensor([max(len(row), 1) for row in side]) for side in (pairs.chosen, pairs.rejected)]
        four = [column / length for column, length in zip(four, lengths * 2, strict=True)]
    total = loss(*four)
    total.backward()
    assert result.count == 4
    assert_close(result.total, total, rtol=1e-10, atol=0)
    for mine, weight in zip(found, policy.parameters(), strict=True):
        assert_close(mine, weight.grad, rtol=1e-9, atol=1e-12)


def test_metrics_are_sums_over_pairs(pairs, policy, reference):
    metrics = dpo_objective(beta=0.3)(policy, direct_batch(pairs, reference)).metrics
    (chosen, rejected), (reference_chosen, reference_rejected) = columns(policy, pairs), columns(reference, pairs)
    margins = 0.3 * (chosen - reference_chosen - rejected + reference_rejected)
    assert_close(metrics["margin"], margins.sum().detach())
    assert metrics["accuracy"].item() == int((margins > 0).sum())
    assert_close(metrics["chosen_log_prob"], chosen.sum().detach())
    assert_close(metrics["rejected_log_prob"], rejected.sum().detach())


def test_a_tie_is_half_right(pairs, policy):
    loss = dpo_objective()(policy, direct_batch(pairs, policy))
    # the very same sums, but for columns that are cut off: margins are 0 or rounding
    batch = direct_batch(pairs, policy)
    exact = batch._replace(reference_chosen=torch.zeros(4).double(), reference_rejected=torch.zeros(4).double())
    same = exact._replace(rejected=exact.chosen, rejected_mask=exact.chosen_mask)
    assert dpo_objective()(policy, same).metrics["accuracy"].item() == 2.0
    assert_close(loss.total.item() / 4, 0.6931471805599453, rtol=1e-12, atol=0)


@pytest.mark.parametrize("objective", [dpo_objective(), ipo_objective(beta=0.5), ipo_objective(per_token=True)])
def test_a_batch_may_be_split_and_permuted(pairs, policy, reference, objective):
    batch = direct_batch(pairs, reference)
    whole = objective(policy, batch)
    parts = [objective(policy, DirectBatch(*(x[rows] for x in batch))) for rows in ([3, 0], [1], [2])]
    assert_close(sum(part.total for part in parts), whole.total, rtol=1e-12, atol=0)
    assert sum(part.count for part in parts) == whole.count
    for name, value in whole.metrics.items():
        assert_close(sum(part.metrics[name] for part in parts), value, rtol=1e-12, atol=1e-12)


def test_nothing_of_prompt_and_padding_counts(pairs, policy, reference):
    batch = direct_batch(pairs, reference)
    padding = torch.ones_like(batch.chosen, dtype=torch.bool)
    for row, (prompt, completion) in enumerate(zip(pairs.prompts, pairs.chosen, strict=True)):
        padding[row, : len(prompt) + len(completion)] = False
    scribbled = batch._replace(chosen=batch.chosen.masked_fill(padding, 10))
    assert_close(dpo_objective()(policy, scribbled).total, dpo_objective()(policy, batch).total, rtol=0, atol=0)


def test_training_learns_the_pairs_and_leaves_the_reference(pairs, policy):
    pairs = pairs[[0, 1]]
    frozen = copy.deepcopy(policy)
    batches = Batches(direct_batch(pairs, policy), batch_size=2, seed=0)
    run = Run(policy, dpo_objective(beta=0.5), torch.optim.Adam(policy.parameters(), lr=1e-2))
    steps = [step.values() for step in train(run, batches, steps=25)]
    assert_close(steps[0]["loss"], 0.6931, rtol=0, atol=1e-4)
    assert steps[-1]["loss"] < 0.2
    assert steps[-1]["accuracy"] == 1
    again = direct_batch(pairs, frozen)
    assert_close(again.reference_chosen, batches.tensors[4], rtol=0, atol=0)


def test_a_broken_reference_is_named(pairs, reference):
    with torch.no_grad():
        reference.embedding.weight[8] = torch.nan  # only the second pair's rejected completion reads token 8
    with pytest.raises(ValueError, match=r"gives rows \[1\] no finite log-probability"):
        reference_log_probs(reference, *(getattr(pairs.batch(), x) for x in ("rejected", "rejected_completion")))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: dpo_objective(beta=-1.0), "beta must be positive"),
        (lambda: dpo_objective(label_smoothing=0.5), "label_smoothing must be"),
        (lambda: ipo_objective(beta=0.0), "beta must be positive"),
    ],
)
def test_bad_settings_are_refused_before_training(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_a_batch_size_of_nothing_is_refused(pairs, reference):
    with pytest.raises(ValueError, match="batch_size must be at least 1"):
        direct_batch(pairs, reference, batch_size=0)
