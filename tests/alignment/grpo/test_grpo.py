"""GRPO: advantages and the loss read aloud, cases by hand, where the gradient vanishes, splitting, messages."""

import math

import pytest
import torch
from torch.testing import assert_close

from course_lib.alignment import GRPOBatch, group_advantages, grpo_objective, sequence_log_probs
from course_lib.nn.transformer import Transformer, llama

# three completions of 3, 1 and 0 tokens after prompts of 2, 1 and 1
TOKENS = torch.tensor([[1, 2, 3, 4, 5], [6, 7, 0, 0, 0], [8, 0, 0, 0, 0]])
MASK = torch.tensor([[0, 0, 1, 1, 1], [0, 1, 0, 0, 0], [0, 0, 0, 0, 0]]).bool()
ADVANTAGES = torch.tensor([1.5, -0.75, -0.75], dtype=torch.float64)


@pytest.fixture
def model():
    config = llama(vocab_size=11, width=8, num_layers=1, num_heads=2, context_length=12)
    return Transformer(config, generator=torch.Generator().manual_seed(0)).double()


@pytest.fixture
def batch(model):
    """Tokens whose ratios lie on either side of the clipping range."""
    generator = torch.Generator().manual_seed(1)
    new = sequence_log_probs(model, TOKENS, MASK).detach()
    old, reference = (
        (new + 0.4 * torch.randn(new.shape, generator=generator, dtype=torch.float64)) * MASK for _ in range(2)
    )
    return GRPOBatch(TOKENS, MASK, old, ADVANTAGES, reference)


def read_aloud(model, batch, *, low=0.2, high=0.2, kl_coefficient=0.0, average="sequence", max_tokens=None):
    """Token by token, completion by completion; the mean that ``average`` asks for."""
    new = sequence_log_probs(model, batch.tokens, batch.mask).detach()
    per_completion, tokens = [], 0
    for row in range(len(batch.tokens)):
        losses = []
        for t in range(batch.tokens.shape[1]):
            if not batch.mask[row, t]:
                continue
            ratio = math.exp(new[row, t] - batch.log_probs[row, t])
            advantage = float(batch.advantages[row])
            clipped = min(max(ratio, 1 - low), 1 + high)
            r = math.exp(batch.reference_log_probs[row, t] - new[row, t])
            losses.append(-min(ratio * advantage, clipped * advantage) + kl_coefficient * (r - math.log(r) - 1))
        tokens += len(losses)
        per_completion.append(losses)
    if average == "token":
        return sum(map(sum, per_completion)) / tokens
    lengths = [max_tokens or max(len(losses), 1) for losses in per_completion]
    return sum(sum(losses) / length for losses, length in zip(per_completion, lengths, strict=True)) / len(lengths)


@pytest.mark.parametrize(
    "kwargs",
    [
        {},
        {"kl_coefficient": 0.04},
        {"average": "token"},
        {"average": "constant", "max_tokens": 7, "kl_coefficient": 0.5},
    ],
)
@pytest.mark.parametrize("high", [None, 0.28])
def test_the_formula_read_aloud(model, batch, kwargs, high):
    loss = grpo_objective(clip=0.2, clip_high=high, **kwargs)(model, batch)
    expected = read_aloud(model, batch, high=high or 0.2, **kwargs)
    assert_close(loss.total.item() / int(loss.count), expected, rtol=1e-10, atol=0)


def test_at_the_sampler_itself_it_is_the_policy_gradient(model, batch):
    batch = batch._replace(log_probs=sequence_log_probs(model, TOKENS, MASK).detach())
    loss = grpo_objective()(model, batch)
    assert_close(
        loss.total.item(), -(1.5 - 0.75), rtol=1e-12, atol=0
    )  # two completions with tokens; means of one number
    loss.total.backward()
    found = [weight.grad.clone() for weight in model.parameters()]
    model.zero_grad()
    new = sequence_log_probs(model, TOKENS, MASK)
    (-(new.sum(1) / torch.tensor([3, 1, 1])) * ADVANTAGES).sum().backward()
    for mine, weight in zip(found, model.parameters(), strict=True):
        assert_close(mine, weight.grad, rtol=1e-9, atol=1e-14)


def test_what_an_average_is_over(model, batch):
    # all ratios 1, advantages +1 for 3 tokens and -1 for 1: sequence 0, token -1/2, constant (over 4, three rows) -1/6
    batch = batch._replace(
        log_probs=sequence_log_probs(model, TOKENS, MASK).detach(), advantages=torch.tensor([1.0, -1.0, 0.0]).double()
    )
    losses = {
        average: grpo_objective(average=average, max_tokens=4 if average == "constant" else None)(model, batch)
        for average in ("sequence", "token", "constant")
    }
    means = {average: loss.total.item() / loss.count for average, loss in losses.items()}
    assert means == pytest.approx({"sequence": 0.0, "token": -0.5, "constant": -1 / 6}, abs=1e-12)
    assert {average: loss.count for average, loss in losses.items()} == {"sequence": 3, "token": 4, "constant": 3}


def moved(log_ratio, advantage):
    """One token whose ratio to the sampler is exp(log_ratio)."""
    log_probs = torch.tensor([[0.0, math.log(0.25) - log_ratio]], dtype=torch.float64)
    mask = torch.tensor([[False, True]])
    return GRPOBatch(torch.tensor([[0, 1]]), mask, log_probs, torch.tensor([advantage]).double(), log_probs)


@pytest.mark.parametrize(
    ("ratio", "advantage", "loss", "felt"),
    [
        (1.25, 1.0, -1.25, True),  # within clip_high, though beyond clip
        (1.5, 1.0, -1.4, False),
        (0.5, 1.0, -0.5, True),  # a good token that became unlikely: never clipped
        (0.75, -1.0, 0.8, False),  # below 1 - clip
        (1.5, -1.0, 1.5, True),
    ],
)
def test_where_there_is_nothing_more_to_gain(ratio, advantage, loss, felt):
    logits = torch.zeros(1, 2, 4, dtype=torch.float64, requires_grad=True)
    result = grpo_objective(clip=0.2, clip_high=0.4)(lambda tokens: logits, moved(math.log(ratio), advantage))
    result.total.backward()
    assert_close(result.total.item(), loss, rtol=1e-12, atol=0)
    assert bool(logits.grad.any()) == felt
    assert result.metrics["clip_fraction"].item() == (not felt)


@pytest.mark.parametrize("average", ["sequence", "token", "constant"])
def test_a_batch_may_be_split(model, batch, average):
    objective = grpo_objective(average=average, kl_coefficient=0.1, max_tokens=9 if average == "constant" else None)
    whole = objective(model, batch)
    parts = [objective(model, GRPOBatch(*(x[rows] for x in batch))) for rows in ([1], [2, 0])]
    assert_close(sum(part.total for part in parts), whole.total, rtol=1e-12, atol=0)
    assert sum(part.count for part in parts) == whole.count
    for name, value in whole.metrics.items():
        assert_close(sum(part.metrics[name] for part in parts), value, rtol=1e-12, atol=1e-12)


def test_metrics_are_means_over_the_same_tokens(model, batch):
    loss = grpo_objective(average="token", kl_coefficient=0.1)(model, batch)
    new = sequence_log_probs(model, TOKENS, MASK).detach()[MASK]
    old, reference = batch.log_probs[MASK], batch.reference_log_probs[MASK]
    assert_close(loss.metrics["kl_to_sampler"], ((new - old).exp() - 1 - (new - old)).sum(), rtol=1e-10, atol=0)
    k3 = (reference - new).exp() - 1 - (reference - new)
    assert_close(loss.metrics["kl_to_reference"], k3.sum(), rtol=1e-10, atol=0)


def test_only_the_completion_counts(model, batch):
    """Nothing that stands at prompt and padding in any column changes a bit of the loss."""
    objective = grpo_objective(kl_coefficient=0.1)
    scribbled = batch._replace(
        log_probs=batch.log_probs.masked_fill(~MASK, torch.inf),
        reference_log_probs=batch.reference_log_probs.masked_fill(~MASK, -torch.inf),
    )
    found = objective(model, scribbled)
    assert_close(found.total, objective(model, batch).total, rtol=0, atol=0)
    found.total.backward()
    assert all(weight.grad.isfinite().all() for weight in model.parameters())


def test_temperature_is_the_samplers(model, batch):
    at_two = sequence_log_probs(model, TOKENS, MASK, temperature=2.0).detach()
    loss = grpo_objective(temperature=2.0)(model, batch._replace(log_probs=at_two))
    assert loss.metrics["kl_to_sampler"].item() == 0


def test_advantages_by_hand():
    rewards = torch.tensor([[1.0, 0.0, 0.0, 0.0], [2.0, 2.0, 2.0, 2.0], [0.0, 1.0, 2.0, 5.0]], dtype=torch.float64)
    centred = group_advantages(rewards, divide_by_std=False)
    assert centred.tolist() == [[0.75, -0.25, -0.25, -0.25], [0.0] * 4, [-2.0, -1.0, 0.0, 3.0]]
    scaled = group_advantages(rewards, epsilon=0.0)
    assert_close(scaled[0], torch.tensor([1.5, -0.5, -0.5, -0.5]).double(), rtol=1e-12, atol=0)  # deviation 1/2
    assert_close(scaled[2], centred[2] / math.sqrt(14 / 3), rtol=1e-12, atol=0)
    assert_close(group_advantages(rewards)[0], centred[0] / (0.5 + 1e-4), rtol=1e-12, atol=0)


@pytest.mark.parametrize("divide_by_std", [True, False])
def test_equal_rewards_teach_exactly_nothing(divide_by_std):
    rewards = torch.full((2, 3), 0.1)  # of which the mean is not exactly 0.1 in float32
    assert (group_advantages(rewards, divide_by_std=divide_by_std, epsilon=0.0) == 0).all()


def test_half_precision_is_widened():
    advantages = group_advantages(torch.tensor([[256.0, 258, 260, 264]]).bfloat16(), divide_by_std=False)
    assert advantages.tolist() == [[-3.5, -1.5, 0.5, 4.5]]  # bfloat16 would round the mean 259.5 to 260


def test_advantages_do_not_see_shift_scale_or_order():
    generator = torch.Generator().manual_seed(0)
    rewards = torch.rand(5, 6, generator=generator, dtype=torch.float64)
    order = torch.randperm(6, generator=generator)
    plain = group_advantages(rewards, epsilon=0.0)
    assert_close(group_advantages(3 * rewards - 7, epsilon=0.0), plain, rtol=1e-10, atol=1e-12)
    assert_close(group_advantages(rewards[:, order], epsilon=0.0), plain[:, order], rtol=1e-10, atol=1e-12)
    assert_close(plain.sum(1), torch.zeros(5).double(), rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("rewards", "kwargs", "message"),
    [
        (torch.zeros(4), {}, r"got \(4,\)"),
        (torch.zeros(4, 1), {}, "at least 2 completions"),
        (torch.zeros(4, 2).long(), {}, "int64"),
        (torch.tensor([[0.0, 1.0], [math.nan, 0.0]]), {}, r"completions \[2\] are not finite"),
        (torch.zeros(4, 2), {"epsilon": -1.0}, "epsilon must be 0 or more"),
    ],
)
def test_bad_rewards_are_named(rewards, kwargs, message):
    with pytest.raises(ValueError, match=message):
        group_advantages(rewards, **kwargs)


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"clip": 0.0}, "clip must lie between 0 and 1"),
        ({"clip_high": -0.1}, "clip_high above 0"),
        ({"kl_coefficient": -1.0}, "kl_coefficient must be 0 or more"),
        ({"average": "mean"}, "average must be"),
        ({"average": "constant"}, "max_tokens, at least 1"),
        ({"max_tokens": 5}, "goes with average='constant'"),
    ],
)
def test_bad_settings_are_refused_before_training(kwargs, message):
    with pytest.raises(ValueError, match=message):
        grpo_objective(**kwargs)


def test_shapes_that_would_broadcast_are_refused(model, batch):
    with pytest.raises(ValueError, match=r"advantages must be one for each completion, \(3,\), got \(3, 1\)"):
        grpo_objective()(model, batch._replace(advantages=ADVANTAGES[:, None]))
    with pytest.raises(ValueError, match=r"log_probs must be one for each token, \(3, 5\), got \(3,\)"):
        grpo_objective()(model, batch._replace(log_probs=ADVANTAGES))
