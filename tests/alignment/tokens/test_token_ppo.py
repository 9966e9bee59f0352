"""PPO on tokens: a case by hand, one dimension against two, the critic before each token, empty rows, splitting."""

import math

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from course_lib.alignment import (
    PolicyAndValue,
    TokenBatch,
    TokenJudged,
    pack_completions,
    sample_completions,
    sequence_log_probs,
    token_ppo_objective,
)
from course_lib.loops import Run
from course_lib.nn.transformer import Transformer, bert, llama
from course_lib.rl import Judged, PolicyBatch, ppo_objective


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def transformer(seed=0, make=llama, **options):
    config = make(**{"vocab_size": 7, "width": 8, "num_layers": 1, "num_heads": 2, "context_length": 12} | options)
    return Transformer(config, generator=seeded(seed)).double()


def model_with_opinions(**options):
    model = PolicyAndValue(transformer(), **options)
    with torch.no_grad():
        model.value_head.weight.normal_(generator=seeded(5))
        model.value_head.bias.fill_(0.3)
    return model


class Given(nn.Module):
    """A model that says what it was told to say."""

    def __init__(self, log_probs, values, entropy):
        super().__init__()
        self.log_probs, self.values, self.entropy = log_probs, values, entropy

    def forward(self, tokens, mask, *, entropy=False):
        return TokenJudged(self.log_probs, self.values, self.entropy if entropy else None)


@pytest.fixture
def by_hand():
    """Two completions, of three tokens and one; ratios 1, 2, 2 and 1/2, advantages 3, 1, -1 and -4; clip 0.25."""
    mask = torch.tensor([[0, 1, 1, 1], [0, 1, 0, 0]]).bool()

    def columns(*numbers):
        return torch.zeros(2, 4).double().masked_scatter(mask, torch.tensor(numbers).double())

    new, old = columns(0.5, 0.8, 0.6, 0.2), columns(0.5, 0.4, 0.3, 0.4)
    model = Given((new + ~mask).log(), columns(1, 2, 3, 4), columns(0.5, 0.25, 0.25, 1.0))
    advantages, returns, values = columns(3, 1, -1, -4), columns(2, 0, 3, 5), columns(1, 1, 2.5, 6)
    tokens = torch.ones(2, 4, dtype=torch.int64)
    return model, TokenBatch(tokens, mask, (old + ~mask).log(), advantages, returns, values)


@pytest.fixture
def drawn():
    """Completions of three prompts, drawn from another model than the one that learns, with any advantages."""
    rollout = sample_completions(
        transformer(1), [[1, 2, 3], [4], [5, 6]], max_new_tokens=8, stop_tokens=[0], num_each=4, generator=seeded()
    )
    g = seeded(1)
    columns = [torch.randn(rollout.tokens.shape, generator=g, dtype=torch.float64) for _ in range(3)]
    return TokenBatch(rollout.tokens, rollout.mask, rollout.log_probs, *columns)


def test_the_case_by_hand(by_hand):
    # surrogates: min(3, 3) = 3; min(2, 1.25) = 1.25; min(-2, -1.25) = -2; min(-2, -3) = -3.  Sum -0.75.
    # value errors: 1, 4, 0, 1. Sum 6.  entropy: 2.
    loss = token_ppo_objective(clip=0.25, value_coefficient=0.5, entropy_coefficient=0.1)(*by_hand)
    assert int(loss.count) == 4
    assert loss.total.item() == pytest.approx(0.75 + 0.5 * 6 - 0.1 * 2, abs=1e-12)
    assert loss.metrics["policy_loss"].item() == pytest.approx(0.75, abs=1e-12)
    assert loss.metrics["value_loss"].item() == pytest.approx(6.0, abs=1e-12)
    assert loss.metrics["entropy"].item() == pytest.approx(2.0, abs=1e-12)
    assert loss.metrics["clip_fraction"].item() == 3
    kl = 0 + 2 * (2 - 1 - math.log(2)) + (0.5 - 1 + math.log(2))
    assert loss.metrics["kl"].item() == pytest.approx(kl, abs=1e-12)
    assert "entropy" not in token_ppo_objective()(*by_hand).metrics


def test_values_clip_by_hand(by_hand):
    # values moved by 0, 1, 0.5, -2; held within 0.5: 1, 1.5, 3, 5.5. Returns 2, 2, 3, 4.
    # errors 1, 0, 0, 0; held back 1, 0.25, 0, 2.25; the worse of both adds up to 3.5
    model, batch = by_hand
    returns = torch.tensor([[0.0, 2.0, 2.0, 3.0], [0.0, 4.0, 0.0, 0.0]]).double()
    loss = token_ppo_objective(clip=0.25, value_clip=0.5)(model, batch._replace(returns=returns))
    assert loss.metrics["value_loss"].item() == pytest.approx(3.5, abs=1e-12)


def test_it_is_rls_objective_over_the_real_tokens(drawn):
    """Loss and every gradient, as if each token were a step of an environment."""
    model = model_with_opinions()
    options = {"clip": 0.1, "value_clip": 0.2, "value_coefficient": 0.3, "entropy_coefficient": 0.05}
    found = token_ppo_objective(**options)(model, drawn)
    found.total.backward()
    gradients = [weight.grad.clone() for weight in model.parameters()]
    model.zero_grad()

    class Flat(nn.Module):
        def forward(self, tokens, mask):
            judged = model(drawn.tokens, drawn.mask, entropy=True)
            return Judged(judged.log_probs[drawn.mask], judged.entropy[drawn.mask], judged.values[drawn.mask])

    steps = PolicyBatch(drawn.tokens, drawn.mask, *(column[drawn.mask] for column in drawn[2:]))
    expected = ppo_objective(**options)(Flat(), steps)
    expected.total.backward()
    assert_close(found.total, expected.total, rtol=1e-12, atol=0)
    assert int(found.count) == expected.count == int(drawn.mask.sum())
    assert_close(gradients, [weight.grad for weight in model.parameters()], rtol=1e-10, atol=1e-14)
    for name, value in expected.metrics.items():
        assert_close(found.metrics[name].double(), value.double(), rtol=1e-12, atol=1e-14)


def test_on_fresh_completions_it_is_the_policy_gradient(drawn):
    model = PolicyAndValue(transformer())
    log_probs = sequence_log_probs(model.policy, drawn.tokens, drawn.mask)
    fresh = drawn._replace(log_probs=log_probs.detach())
    objective = token_ppo_objective(value_coefficient=0.0)
    found = torch.autograd.grad(objective(model, fresh).total, list(model.policy.parameters()))
    expected = torch.autograd.grad(-(log_probs * drawn.advantages * drawn.mask).sum(), list(model.policy.parameters()))
    assert_close(found, expected, rtol=1e-10, atol=1e-14)


def test_log_probs_and_entropy_are_torchs(drawn):
    model = PolicyAndValue(transformer(), temperature=0.6)
    judged = model(drawn.tokens, drawn.mask, entropy=True)
    each = torch.distributions.Categorical(logits=model.policy(drawn.tokens)[:, :-1] / 0.6)
    mask = drawn.mask[:, 1:]
    assert_close(judged.log_probs[:, 1:], each.log_prob(drawn.tokens[:, 1:]) * mask, rtol=0, atol=1e-12)
    assert_close(judged.entropy[:, 1:], each.entropy() * mask, rtol=0, atol=1e-12)
    again = sequence_log_probs(model.policy, drawn.tokens, drawn.mask, temperature=0.6)
    assert_close(judged.log_probs, again, rtol=0, atol=1e-12)
    assert model(drawn.tokens, drawn.mask).entropy is None


@pytest.mark.parametrize("own_critic", [False, True])
def test_a_value_is_of_what_was_read_before_the_token(own_critic):
    model = model_with_opinions(critic=transformer(3, width=8) if own_critic else None)
    reads = model.critic if own_critic else model.policy
    tokens, mask = pack_completions([[1, 2], [3]], [[4, 5], [6]])
    values = model(tokens, mask).values
    expected = model.value_head(reads.hidden_states(tokens))[..., 0]
    assert_close(values[0, 2:4], expected[0, 1:3], rtol=0, atol=1e-12)
    assert_close(
        values[1], torch.stack([torch.zeros(()), expected[1, 0], *torch.zeros(2)]).double(), rtol=0, atol=1e-12
    )
    other = tokens.clone()
    other[0, 3] = 6  # the token itself is not known to its value
    assert_close(model(other, mask).values, values, rtol=0, atol=0)


def test_the_value_head_starts_at_zero_and_draws_nothing():
    before = torch.get_rng_state()
    critic = transformer(3, width=16)
    model = PolicyAndValue(transformer(), critic=critic)
    assert torch.equal(torch.get_rng_state(), before)
    assert model.value_head.weight.shape == (1, 16)
    assert model.value_head.weight.dtype == torch.float64
    tokens, mask = pack_completions([[1, 2]], [[4, 5]])
    model(tokens, mask).values.sum().backward()
    assert model.value_head.weight.grad.abs().sum() > 0
    assert all(weight.grad is None or weight.grad.eq(0).all() for weight in critic.parameters())


def test_rows_without_tokens_add_nothing(drawn):
    model, objective = model_with_opinions(), token_ppo_objective(entropy_coefficient=0.1)
    mask = drawn.mask.clone()
    mask[[1, 5]] = False
    kept = torch.tensor([row for row in range(12) if row not in (1, 5)])
    whole, part = (
        objective(model, batch)
        for batch in (drawn._replace(mask=mask), TokenBatch(*(column[kept] for column in drawn)))
    )
    assert_close(whole.total, part.total, rtol=1e-12, atol=0)
    assert int(whole.count) == int(part.count)
    nothing = objective(model, drawn._replace(mask=torch.zeros_like(mask)))
    assert nothing.total.item() == 0
    assert int(nothing.count) == 0
    run = Run(model, objective, torch.optim.SGD(model.parameters(), lr=0.1))
    with pytest.raises(ValueError, match="no targets"):
        run.step(drawn._replace(mask=torch.zeros_like(mask)))


def test_what_stands_outside_the_mask_does_not_matter(drawn):
    model, objective = model_with_opinions(), token_ppo_objective(value_clip=0.1, entropy_coefficient=0.1)
    other = drawn._replace(
        **{
            name: getattr(drawn, name).masked_fill(~drawn.mask, math.nan)
            for name in ("log_probs", "advantages", "returns", "values")
        }
    )
    for batch in (drawn, other):
        model.zero_grad()
        loss = objective(model, batch)
        loss.total.backward()
        found = [loss.total, *loss.metrics.values(), *(weight.grad for weight in model.parameters())]
        if batch is drawn:
            expected = [value.clone() for value in found]
    assert_close(found, expected, rtol=0, atol=0)


def test_micro_batches_give_the_same_update(drawn):
    """Completions are ragged; sums and counts make 12 rows and 5 + 7 rows one update."""
    weights = []
    for cuts in ([(0, 12)], [(0, 5), (5, 12)]):
        model = model_with_opinions()
        objective = token_ppo_objective(entropy_coefficient=0.01)
        run = Run(model, objective, torch.optim.SGD(model.parameters(), lr=0.1), max_grad_norm=0.5)
        run.step(*(TokenBatch(*(column[a:b] for column in drawn)) for a, b in cuts))
        weights.append([weight.detach() for weight in model.parameters()])
    assert_close(weights[0], weights[1], rtol=1e-10, atol=1e-14)


def test_gradcheck():
    mask = torch.tensor([[0, 1, 1], [0, 1, 0]]).bool()
    g = seeded()
    log_probs, values, entropy, old, advantages, returns = torch.randn(6, 2, 3, generator=g, dtype=torch.float64)
    batch = TokenBatch(mask.long(), mask, old, advantages, returns, values.clone())
    objective = token_ppo_objective(value_clip=0.5, entropy_coefficient=0.1)

    def total(*said):
        return objective(Given(*(x * mask for x in said)), batch).total

    assert torch.autograd.gradcheck(total, tuple(x.requires_grad_() for x in (log_probs, values + 1, entropy)))


def test_bfloat16_models_are_judged_in_float32(drawn):
    judged = PolicyAndValue(transformer().bfloat16())(drawn.tokens, drawn.mask, entropy=True)
    assert {column.dtype for column in judged} == {torch.float32}
    model = model_with_opinions().float()
    with torch.autocast("cpu", torch.bfloat16):
        values = model(drawn.tokens, drawn.mask).values
    assert not torch.equal(values, values.bfloat16().float())  # the value layer itself does not round


def test_bad_input_is_named(drawn):
    policy = transformer()
    with pytest.raises(ValueError, match="must be a causal transformer with an output layer"):
        PolicyAndValue(transformer(make=bert))
    with pytest.raises(ValueError, match="with an output layer"):
        PolicyAndValue(Transformer(policy.config, head=False))
    with pytest.raises(ValueError, match="the critic must be causal"):
        PolicyAndValue(policy, critic=transformer(make=bert))
    with pytest.raises(ValueError, match="the critic is the policy itself"):
        PolicyAndValue(policy, critic=policy)
    with pytest.raises(ValueError, match="temperature must be above 0"):
        PolicyAndValue(policy, temperature=0)
    with pytest.raises(ValueError, match="asks about its first token"):
        PolicyAndValue(policy)(drawn.tokens, torch.ones_like(drawn.mask))
    for wrong in ({"clip": 0.0}, {"value_clip": -1.0}):
        with pytest.raises(ValueError, match="clip and value_clip must be above 0"):
            token_ppo_objective(**wrong)
    for name in ("value_coefficient", "entropy_coefficient"):
        with pytest.raises(ValueError, match=f"{name} must be 0 or more, got -1"):
            token_ppo_objective(**{name: -1.0})
    for name in ("mask", "log_probs", "advantages", "returns", "values"):
        wrong = drawn._replace(**{name: getattr(drawn, name)[:, 1:]})
        with pytest.raises(ValueError, match=rf"{name} must be one number for each token, .* got \(12, 10\)"):
            token_ppo_objective()(PolicyAndValue(policy), wrong)
