"""The reward model: one number at the last real token, whatever the padding; scoring, centring, what is not finite."""

import math

import pytest
import torch
from torch.testing import assert_close

from course_lib.alignment import (
    NonFiniteReward,
    RewardModel,
    centre,
    check_rewards,
    completion_features,
    joined,
    pack_completions,
    score_completions,
    score_packed,
)
from course_lib.nn.transformer import Transformer, bert, gpt, llama

SIZES = {"vocab_size": 20, "width": 16, "num_layers": 2, "num_heads": 2, "context_length": 12}
TEXTS = [[1, 2, 3, 4, 5], [6], [7, 8, 9], [10, 11, 12, 13, 14, 15, 16]]


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def reward_model(make=llama, dtype=torch.float64, pooling="last", **options):
    model = RewardModel(Transformer(make(**SIZES, **options), generator=generator()).to(dtype), pooling=pooling)
    with torch.no_grad():
        model.head.weight.normal_(generator=generator(1))
        model.head.bias.fill_(0.25)
    return model.eval()


def by_hand(model, ids):
    """One row by itself: the hidden state of its last token, or the mean of all, times the head."""
    hidden = model.transformer.hidden_states(torch.tensor([ids]))[0]
    read = hidden[-1] if model.pooling == "last" else sum(hidden) / len(ids)
    return (read @ model.head.weight[0] + model.head.bias).squeeze()


def padded(side):
    longest = max(map(len, TEXTS))
    rows, masks = [], []
    for text in TEXTS:
        gap = longest - len(text)
        rows.append([0] * gap + text if side == "left" else text + [0] * gap)
        masks.append([False] * gap + [True] * len(text) if side == "left" else [True] * len(text) + [False] * gap)
    return torch.tensor(rows), torch.tensor(masks)


@pytest.mark.parametrize("make", [gpt, llama])
@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("pooling", ["last", "mean"])
def test_the_reward_is_that_of_the_row_by_itself_on_whichever_side_padding_is(make, side, pooling):
    model = reward_model(make, pooling=pooling)
    expected = torch.stack([by_hand(model, text) for text in TEXTS])
    tokens, mask = padded(side)
    assert_close(model(tokens, mask), expected, rtol=1e-12, atol=1e-12)
    other = tokens.masked_fill(~mask, 19)  # what stands at padding is not read
    assert_close(model(other, mask), expected, rtol=1e-12, atol=1e-12)
    assert_close(model(tokens[3:]), expected[3:], rtol=1e-12, atol=1e-12)  # no padding, no mask


@pytest.mark.parametrize("pooling", ["last", "mean"])
def test_padding_gets_no_gradient(pooling):
    model = reward_model(gpt, pooling=pooling)
    tokens, mask = padded("right")
    model(tokens.masked_fill(~mask, 19), mask).sum().backward()
    assert model.transformer.embedding.weight.grad[19].abs().max() == 0
    assert model.transformer.embedding.weight.grad[16].abs().max() > 0


def test_untrained_all_texts_are_equal_and_the_head_learns_first():
    model = RewardModel(Transformer(llama(**SIZES), generator=generator()))
    rewards = model(*padded("right"))
    assert rewards.tolist() == [0.0] * 4
    rewards[0].backward()
    assert model.head.weight.grad.abs().max() > 0
    assert model.transformer.embedding.weight.grad.abs().max() == 0


def test_the_transformer_is_taken_over_not_copied():
    transformer = Transformer(llama(**SIZES), head=False, generator=generator())
    assert RewardModel(transformer).transformer is transformer


def test_rewards_keep_their_precision_under_autocast():
    model = reward_model(dtype=torch.float32)
    tokens, mask = padded("right")
    with torch.autocast("cpu", dtype=torch.bfloat16):
        rewards = model(tokens, mask)
    assert rewards.dtype == torch.float32
    assert (rewards != rewards.bfloat16().float()).any()
    assert_close(rewards, model(tokens, mask), rtol=0.1, atol=0.1)  # the body is bf16: 3 digits


def test_scoring_puts_rows_back_in_order_and_changes_nothing():
    model = reward_model(dropout=0.5).train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    prompts, completions = [text[:1] for text in TEXTS], [text[1:] for text in TEXTS]  # the second completion is empty
    torch.manual_seed(0)
    state = torch.get_rng_state()
    scores = [score_completions(model, prompts, completions, batch_size=size) for size in (1, 3, 64)]
    assert torch.equal(torch.get_rng_state(), state)
    assert model.training
    model.eval()
    expected = torch.stack([by_hand(model, text) for text in TEXTS])
    for score in scores:
        assert_close(score, expected.detach(), rtol=1e-12, atol=1e-12)
        assert not score.requires_grad
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


@pytest.mark.parametrize("pooling", ["last", "mean"])
def test_the_head_on_features_is_the_reward(pooling):
    model = reward_model(pooling=pooling)
    features = completion_features(model, [[0]] * 4, TEXTS, batch_size=3)
    assert features.shape == (4, 16)
    assert not features.requires_grad
    assert_close(model.head(features)[:, 0], score_completions(model, [[0]] * 4, TEXTS), rtol=1e-12, atol=1e-12)


def test_scoring_what_is_packed():
    model = reward_model()
    prompts, completions = [[1, 2], [3], [4, 5, 6]], [[7], [8, 9, 10, 11], [12, 13]]
    packed = pack_completions(prompts, completions)
    assert_close(score_packed(model, *packed), score_completions(model, prompts, completions), rtol=1e-12, atol=1e-12)
    with pytest.raises(ValueError, match=r"rows \[1\] are empty"):
        score_packed(model, *pack_completions(prompts, [[7], [], [8]]))


def test_centring_makes_the_mean_zero_and_keeps_differences():
    model = reward_model(dtype=torch.float32)
    prompts, completions = [[0]] * 4, TEXTS
    before = score_completions(model, prompts, completions)
    taken = centre(model, prompts, completions)
    after = score_completions(model, prompts, completions)
    assert taken == pytest.approx(before.mean().item(), abs=1e-6)
    assert_close(after.mean(), torch.tensor(0.0), rtol=0, atol=1e-6)
    assert_close(after - after[0], before - before[0])
    assert centre(model, prompts, completions) == pytest.approx(0.0, abs=1e-6)


def test_rewards_that_are_not_finite_are_refused_by_row():
    model = reward_model()
    with torch.no_grad():
        model.transformer.embedding.weight[8] = math.nan
    with pytest.raises(NonFiniteReward, match="1 of 4 rewards is not finite: nan in row 2"):
        score_completions(model, [[0]] * 4, TEXTS)
    tokens, _, completion = joined([[0]] * 4, TEXTS)
    with pytest.raises(NonFiniteReward, match="row 2"):
        score_packed(model, tokens, completion)
    bias = model.head.bias.clone()
    with pytest.raises(NonFiniteReward):
        centre(model, [[0]] * 4, TEXTS)
    assert torch.equal(model.head.bias, bias)
    with pytest.raises(NonFiniteReward, match="2 of 3 rewards are not finite: inf in row 0, -inf in row 2"):
        check_rewards(torch.tensor([math.inf, 0.0, -math.inf]))
    check_rewards(torch.zeros(3))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: RewardModel(Transformer(bert(**SIZES))), "needs a causal"),
        (lambda: reward_model(pooling="max"), '"last" or "mean", got \'max\''),
        (lambda: reward_model()(torch.ones(2, 3).long(), torch.tensor([[True] * 3, [False] * 3])), r"rows \[1\]"),
        (lambda: score_completions(reward_model(), [[0]], [[1]], batch_size=0), "batch_size"),
        (lambda: score_completions(reward_model(), [[0], [1]], [[1]]), "one completion, got 2 and 1"),
        (lambda: centre(reward_model(), [], []), "some reference completions"),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_no_completions_have_no_scores():
    assert score_completions(reward_model(), [], []).shape == (0,)
