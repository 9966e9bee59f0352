"""Completions: packing, what a cache drew against one pass over it all, ragged rows, stops, groups, messages."""

import math

import pytest
import torch
from torch.testing import assert_close

from course_lib.alignment import Packed, TokenRollout, pack_completions, sample_completions, sequence_log_probs
from course_lib.data import Batches
from course_lib.nn.adapters import add_lora
from course_lib.nn.transformer import Transformer, generate, gpt, llama

PROMPTS = [[1, 2, 3, 4], [5], [6, 7]]
STOP = 0


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def small(make=llama, dtype=torch.float64, vocab_size=11, **options):
    config = make(vocab_size=vocab_size, width=16, num_layers=2, num_heads=2, context_length=24, **options)
    model = Transformer(config, generator=seeded()).to(dtype)
    with torch.no_grad():
        for weight in model.parameters():
            weight.mul_(3)  # far from uniform
    return model


def slow_log_probs(model, prompt, completion, temperature=1.0):
    """One token at a time, each from all before it, in float64."""
    found = []
    for place, token in enumerate(completion):
        logits = model(torch.tensor([[*prompt, *completion[:place]]]))[0, -1].double() / temperature
        found.append((logits[token] - logits.logsumexp(0)).item())
    return found


def test_packing_by_hand():
    tokens, mask = pack_completions([[1, 2, 3], [4], [5, 6]], [[7], [8, 9, 8], []])
    assert tokens.tolist() == [[1, 2, 3, 7], [4, 8, 9, 8], [5, 6, 0, 0]]
    assert mask.int().tolist() == [[0, 0, 0, 1], [0, 1, 1, 1], [0, 0, 0, 0]]
    assert tokens.dtype == torch.int64
    assert mask.dtype == torch.bool


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 1e-5)])
@pytest.mark.parametrize("temperature", [1.0, 0.7])
@pytest.mark.parametrize("make", [llama, gpt])
def test_what_the_cache_drew_is_as_likely_in_one_pass(make, temperature, dtype, tolerance):
    model = small(make, dtype)
    rollout = sample_completions(
        model, PROMPTS, max_new_tokens=15, num_each=4, temperature=temperature, stop_tokens=[STOP], generator=seeded(1)
    )
    assert len(set(rollout.lengths.tolist())) > 2  # they are ragged
    again = sequence_log_probs(model, *rollout.packed, temperature=temperature)
    assert_close(rollout.log_probs, again.detach(), rtol=0, atol=tolerance)
    assert again.requires_grad
    assert not rollout.log_probs.requires_grad
    assert rollout.log_probs[~rollout.mask].eq(0).all()
    assert rollout.log_probs[rollout.mask].lt(0).all()


@pytest.mark.parametrize("temperature", [1.0, 1.7])
def test_log_probs_are_those_of_one_token_after_the_other(temperature):
    model = small()
    completions = [[3, 9], [8, 1, 1, 4, 2], []]
    found = sequence_log_probs(model, *pack_completions(PROMPTS, completions), temperature=temperature)
    for row, (prompt, completion) in enumerate(zip(PROMPTS, completions, strict=True)):
        written = slow_log_probs(model, prompt, completion, temperature)
        expected = [0.0] * len(prompt) + written + [0.0] * (found.shape[1] - len(prompt) - len(completion))
        assert_close(found[row], torch.tensor(expected, dtype=torch.float64), rtol=0, atol=1e-12)


def test_any_function_of_tokens_will_do():
    model, packed = small(), pack_completions(PROMPTS, [[3, 9], [8, 1], [4]])
    assert_close(sequence_log_probs(lambda tokens: model(tokens), *packed), sequence_log_probs(model, *packed))
    drawn = torch.distributions.Categorical(logits=model(packed.tokens[:1])[:, 3:5]).log_prob(packed.tokens[:1, 4:6])
    assert_close(sequence_log_probs(model, *packed)[0, 4:6], drawn[0], rtol=0, atol=1e-12)


def test_a_model_that_knows_nothing():
    model = small()
    with torch.no_grad():
        model.embedding.weight.zero_()
    packed = pack_completions([[1], [2]], [[3, 4, 5], [6]])
    if model.head is not None:
        with torch.no_grad():
            model.head.weight.zero_()
    assert_close(sequence_log_probs(model, *packed).sum(1), -math.log(11) * torch.tensor([3.0, 1.0]).double())


def test_the_sum_over_all_completions_is_one():
    """All completions of two tokens after one prompt: their probabilities add up to 1."""
    model = small(vocab_size=5)
    completions = [[a, b] for a in range(5) for b in range(5)]
    log_probs = sequence_log_probs(model, *pack_completions([[1, 2]] * 25, completions)).sum(1)
    assert_close(log_probs.exp().sum().item(), 1.0, rtol=0, atol=1e-12)


def test_padding_and_the_other_rows_do_not_matter():
    model = small()
    alone = sequence_log_probs(model, *pack_completions([[5]], [[8, 1]]))
    beside = sequence_log_probs(model, *pack_completions([[5], [1, 2, 3]], [[8, 1], [4, 4, 4, 4]]))
    assert_close(beside[0, :3], alone[0], rtol=0, atol=1e-12)
    tokens, mask = pack_completions([[5], [1, 2, 3]], [[8, 1], [4, 4, 4, 4]])
    other = tokens.clone()
    other[0, 3:] = 9  # what stands in the padding
    assert_close(sequence_log_probs(model, other, mask), beside, rtol=0, atol=1e-12)


def test_empty_completions():
    model = small()
    packed = pack_completions(PROMPTS, [[], [], []])
    log_probs = sequence_log_probs(model, *packed)
    assert log_probs.shape == (3, 4)
    assert log_probs.eq(0).all()
    log_probs.sum().backward()
    assert all(weight.grad is None or weight.grad.eq(0).all() for weight in model.parameters())


def test_no_gradient_comes_from_prompt_or_padding():
    """The logits at every other place may be anything, nan included."""
    packed = pack_completions([[1, 2], [3]], [[4], [2, 1]])
    logits = torch.randn(2, 3, 5, generator=seeded(), dtype=torch.float64)
    needed = torch.tensor([[False, True, False], [True, True, False]])  # one column before each token asked about
    logits[~needed] = math.nan
    logits.requires_grad_()
    sequence_log_probs(lambda tokens: logits, *packed).sum().backward()
    assert logits.grad[~needed].eq(0).all()
    assert logits.grad[needed].ne(0).all()


def test_drawing_takes_the_tokens_that_generate_takes():
    model = small()
    drawn = generate(model, PROMPTS, max_new_tokens=12, stop_tokens=[STOP], generator=seeded(3))
    rollout = sample_completions(model, PROMPTS, max_new_tokens=12, stop_tokens=[STOP], generator=seeded(3))
    assert rollout.lists() == drawn.lists()
    assert rollout.lengths.tolist() == [len(row) for row in drawn.lists()]
    for row, prompt in enumerate(PROMPTS):
        assert rollout.tokens[row, : len(prompt)].tolist() == prompt


def test_groups_stops_and_rows():
    model = small()
    rollout = sample_completions(model, PROMPTS, max_new_tokens=8, num_each=5, stop_tokens=[STOP], generator=seeded(1))
    assert rollout.prompt_indices.tolist() == [0] * 5 + [1] * 5 + [2] * 5
    ended = [row[-1] == STOP for row in rollout.lists()]
    assert rollout.finished.tolist() == ended
    assert 0 < sum(ended) < 15
    assert all(len(row) == 8 for row, end in zip(rollout.lists(), ended, strict=True) if not end)
    assert all(STOP not in row[:-1] for row in rollout.lists())
    some = rollout.rows(rollout.finished)
    assert isinstance(some, TokenRollout)
    assert some.lists() == [row for row, end in zip(rollout.lists(), ended, strict=True) if end]
    assert isinstance(rollout.packed, Packed)
    first = next(iter(Batches(rollout, batch_size=4, seed=0)))
    assert [len(column) for column in first] == [4] * 5


def test_draws_follow_the_policy():
    """Of 4,000 single tokens each comes as often as the model says, within four standard deviations."""
    model = small(vocab_size=5)
    rollout = sample_completions(model, [[1]], max_new_tokens=1, num_each=4000, temperature=1.3, generator=seeded())
    probabilities = (model(torch.tensor([[1]]))[0, -1] / 1.3).softmax(0)
    shares = torch.bincount(rollout.tokens[:, 1], minlength=5) / 4000
    deviations = (probabilities * (1 - probabilities) / 4000).sqrt()
    assert ((shares - probabilities).abs() < 4 * deviations).all()
    assert_close(rollout.log_probs[:, 1], probabilities.log()[rollout.tokens[:, 1]].detach(), rtol=0, atol=1e-12)


def test_dropout_is_off_and_adapters_count():
    model = small(gpt, dropout=0.5)
    model.train()
    before = sample_completions(model, PROMPTS, max_new_tokens=6, generator=seeded())
    assert model.training
    assert_close(before.log_probs, sequence_log_probs(model.eval(), *before.packed).detach(), rtol=0, atol=1e-12)
    add_lora(model, ["query"], rank=2, generator=seeded(), train_also=["embedding"])
    with torch.no_grad():
        model.blocks[0].attention.query.lora["default"].B.normal_(std=3.0, generator=seeded())
    after = sample_completions(model, PROMPTS, max_new_tokens=6, generator=seeded())
    assert_close(after.log_probs, sequence_log_probs(model, *after.packed).detach(), rtol=0, atol=1e-12)
    assert not torch.equal(sequence_log_probs(model, *before.packed).detach(), before.log_probs)


def test_bfloat16_is_summed_in_float32():
    model = small(dtype=torch.bfloat16)
    rollout = sample_completions(model, PROMPTS, max_new_tokens=6, generator=seeded())
    assert rollout.log_probs.dtype == torch.float32
    assert sequence_log_probs(model, *rollout.packed).dtype == torch.float32


def test_bad_input_is_named():
    model, (tokens, mask) = small(), pack_completions([[1], [2]], [[3], [4, 5]])
    with pytest.raises(ValueError, match="one completion, got 2 prompts and 1 completions"):
        pack_completions([[1], [2]], [[3]])
    with pytest.raises(ValueError, match="got 0 prompts"):
        pack_completions([], [])
    with pytest.raises(ValueError, match="prompt 1 is empty"):
        pack_completions([[1], []], [[3], [3]])
    with pytest.raises(ValueError, match="num_each must be at least 1, got 0"):
        sample_completions(model, PROMPTS, max_new_tokens=3, num_each=0)
    for temperature in (0, -1.0, math.inf, math.nan):
        with pytest.raises(ValueError, match="temperature must be above 0 and finite"):
            sample_completions(model, PROMPTS, max_new_tokens=3, temperature=temperature)
        with pytest.raises(ValueError, match="temperature must be above 0 and finite"):
            sequence_log_probs(model, tokens, mask, temperature=temperature)
    with pytest.raises(ValueError, match="more than the context length 24"):
        sample_completions(model, PROMPTS, max_new_tokens=30)
    with pytest.raises(ValueError, match=r"tokens must be \(B, T\) of int64, got \(2, 3\) of torch.int32"):
        sequence_log_probs(model, tokens.int(), mask)
    with pytest.raises(ValueError, match=r"mask must be \(2, 3\) of bool .* got \(2, 3\) of torch.int64"):
        sequence_log_probs(model, tokens, mask.long())
    with pytest.raises(ValueError, match=r"mask must be \(2, 3\) of bool .* got \(2, 2\)"):
        sequence_log_probs(model, tokens, mask[:, 1:])
    mask[1, 0] = True
    with pytest.raises(ValueError, match="row 1 asks about its first token"):
        sequence_log_probs(model, tokens, mask)
