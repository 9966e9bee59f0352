"""Generation: greedy and drawn, each row as if alone, its log-probabilities, where it stops, what it refuses."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from course_lib.nn.transformer import EncoderDecoder, Transformer, generate, gpt, llama, sampling_distribution

EXACT = {"rtol": 0, "atol": 0}
ROUNDING = {"rtol": 1e-12, "atol": 1e-12}
PROMPTS = [[3, 1, 4, 1], [5], [9, 2]]


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


@torch.no_grad()
def slow_greedy(model, prompt, num_new, **options):
    """The most probable next token of the whole text, again and again, without a cache."""
    tokens, log_probs = list(prompt), []
    for _ in range(num_new):
        next_log_probs = model(torch.tensor([tokens]), **options)[0, -1].log_softmax(-1)
        tokens.append(int(next_log_probs.argmax()))
        log_probs.append(next_log_probs.max())
    return tokens[len(prompt) :], torch.stack(log_probs)


def test_greedy_is_the_most_probable_token_again_and_again(decoder, small):
    model = small(decoder)
    out = generate(model, PROMPTS, max_new_tokens=8, temperature=0)
    for row, prompt in enumerate(PROMPTS):
        tokens, log_probs = slow_greedy(model, prompt, 8)
        assert out.tokens[row].tolist() == tokens
        assert_close(out.log_probs[row], log_probs, **ROUNDING)
    assert out.mask.all()


def test_a_row_does_not_know_of_the_others(decoder, small):
    model = small(decoder)
    settings = {"max_new_tokens": 8, "temperature": 1.3, "top_k": 9, "top_p": 0.95}
    together = generate(model, PROMPTS, generator=seeded(), **settings)
    first = generate(model, PROMPTS[:1], generator=seeded(), **settings)
    others = generate(model, [PROMPTS[0], PROMPTS[1], [7, 7, 7]], generator=seeded(), **settings)
    assert together.tokens[:2].tolist() == others.tokens[:2].tolist()
    assert together.tokens[:1].tolist() == first.tokens.tolist()
    assert_close(together.log_probs[:1], first.log_probs, **ROUNDING)


@torch.no_grad()
def test_log_probs_are_the_models_own(small, sizes):
    """Not those of the sharpened and cut distribution that the tokens were drawn from."""
    model = small(llama(**sizes))
    out = generate(model, torch.tensor(PROMPTS[:1]), max_new_tokens=8, temperature=0.5, top_k=3, generator=seeded())
    whole = torch.cat([torch.tensor(PROMPTS[:1]), out.tokens], dim=1)
    log_probs = model(whole[:, :-1]).log_softmax(-1)[:, 3:]
    assert_close(out.log_probs, log_probs.gather(-1, out.tokens[..., None])[..., 0], **ROUNDING)


@torch.no_grad()
def test_tokens_are_drawn_as_often_as_they_should(small, sizes):
    model, settings = small(gpt(**sizes)), {"temperature": 1.5, "top_k": 8, "top_p": 0.9}
    out = generate(model, [[1, 2, 3]] * 4000, max_new_tokens=2, generator=seeded(), **settings)
    first = sampling_distribution(model(torch.tensor([[1, 2, 3]]))[0, -1], **settings)
    counts = out.tokens[:, 0].bincount(minlength=11)
    assert_close(counts / 4000, first.float(), rtol=0, atol=4 * 0.5 / 4000**0.5)  # 4 standard deviations
    assert not counts[first == 0].any()
    likeliest = int(first.argmax())
    followers = out.tokens[out.tokens[:, 0] == likeliest, 1]
    second = sampling_distribution(model(torch.tensor([[1, 2, 3, likeliest]]))[0, -1], **settings)
    shares = followers.bincount(minlength=11) / len(followers)
    assert_close(shares, second.float(), rtol=0, atol=4 * 0.5 / len(followers) ** 0.5)


def test_the_generator_decides(small, sizes):
    model = small(gpt(**sizes))
    state = torch.get_rng_state()
    one, same, other = (generate(model, PROMPTS, max_new_tokens=8, generator=seeded(seed)) for seed in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(one.tokens, same.tokens)
    assert not torch.equal(one.tokens, other.tokens)
    torch.manual_seed(5)
    by_global = generate(model, PROMPTS, max_new_tokens=8)
    assert torch.equal(by_global.tokens, generate(model, PROMPTS, max_new_tokens=8, generator=seeded(5)).tokens)


def test_greedy_leaves_random_numbers_alone(small, sizes):
    state, generator = torch.get_rng_state(), seeded()
    model = small(gpt(**sizes))
    generate(model, PROMPTS, max_new_tokens=8, temperature=0)
    generate(model, PROMPTS, max_new_tokens=8, temperature=0, generator=generator)
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(generator.get_state(), seeded().get_state())


def test_ids_of_numpy_and_torch_are_ids(small, sizes):
    model = small(gpt(**sizes))
    expected = generate(model, PROMPTS, max_new_tokens=4, temperature=0, stop_tokens=[2])
    for kind in (np.array, torch.tensor):
        found = generate(
            model, [kind(prompt) for prompt in PROMPTS], max_new_tokens=4, temperature=0, stop_tokens=kind([2])
        )
        assert found.lists() == expected.lists()


@pytest.mark.parametrize("temperature", [0, 1.0])
@pytest.mark.parametrize("bad", [torch.nan, torch.inf])
def test_broken_logits_are_named(small, sizes, temperature, bad):
    model = small(gpt(**sizes, tied=False))
    with torch.no_grad():
        model.head.weight[3, 0] = bad
    with pytest.raises(ValueError, match="logits are NaN or infinite at new token 0"):
        generate(model, PROMPTS, max_new_tokens=2, temperature=temperature)


def test_a_row_ends_with_its_first_stop_token(small, sizes):
    model = small(gpt(**sizes))
    settings = {"max_new_tokens": 8, "temperature": 2.0}
    free = generate(model, PROMPTS * 5, generator=seeded(), **settings)
    stopped = generate(model, PROMPTS * 5, generator=seeded(), stop_tokens=[2, 6], **settings)
    expected = []
    for row in free.tokens.tolist():
        ends = [place for place, token in enumerate(row) if token in (2, 6)]
        expected.append(row[: ends[0] + 1] if ends else row)
    assert any(len(row) < 8 for row in expected)
    assert any(len(row) == 8 for row in expected)
    assert stopped.lists() == expected
    assert not stopped.tokens[~stopped.mask].any()
    assert not stopped.log_probs[~stopped.mask].any()
    assert_close(stopped.log_probs[stopped.mask], free.log_probs[stopped.mask], **EXACT)


def test_it_stops_when_all_rows_have(small, sizes):
    out = generate(small(gpt(**sizes)), PROMPTS, max_new_tokens=8, stop_tokens=range(11), generator=seeded())
    assert out.tokens.shape == (3, 1)
    assert out.mask.all()


def test_dropout_is_off_meanwhile_and_modes_come_back(sizes):
    model = Transformer(gpt(**sizes, dropout=0.5), generator=seeded())
    model.blocks[1].eval()
    modes = [module.training for module in model.modules()]
    one, two = (generate(model, PROMPTS, max_new_tokens=8, temperature=0) for _ in range(2))
    assert_close(one.log_probs, two.log_probs, **EXACT)
    assert [module.training for module in model.modules()] == modes
    assert model.training


def test_a_decoder_writes_what_it_reads_in_the_memory(sizes, shaken, text):
    config = gpt(**sizes)
    model = shaken(EncoderDecoder(replace(config, causal=False), config)).eval()
    source = text(3, 6)
    mask = torch.arange(6) < torch.tensor([[6], [2], [4]])
    memory = model.encode(source, mask=mask)
    out = generate(model.decoder, PROMPTS, max_new_tokens=6, temperature=0, memory=memory, memory_mask=mask)
    for row, prompt in enumerate(PROMPTS):
        alone = model.encode(source[row : row + 1, : int(mask[row].sum())])
        tokens, log_probs = slow_greedy(model.decoder, prompt, 6, memory=alone)
        assert out.tokens[row].tolist() == tokens
        assert_close(out.log_probs[row], log_probs, **ROUNDING)


@pytest.mark.parametrize(
    ("prompts", "settings", "message"),
    [
        ([], {}, "at least one prompt, got none"),
        (torch.zeros(0, 3, dtype=torch.int64), {}, "at least one prompt, got none"),
        ([[1], []], {}, "prompt 1 is empty: give it a start token"),
        (torch.zeros(2, 0, dtype=torch.int64), {}, "An empty prompt needs a start token"),
        (torch.zeros(3, dtype=torch.int64), {}, r"prompts must be \(B, T\), or a list of lists, got \(3,\)"),
        (torch.zeros(1, 3), {}, r"tokens must be \(B, T\) of int64, got \(1, 3\) of torch.float32"),
        ([[1] * 9], {"max_new_tokens": 4}, "has 9 tokens; with 4 new ones that is more than the context length 12"),
        ([[11]], {}, r"token ids must lie in \[0, 11\), got 11 to 11"),
        ([1, 2, 3], {}, r"prompt 0 must be a list of token ids \(whole numbers\), got 1"),
        ("abc", {}, "prompt 0 must be a list of token ids .* got 'a'"),
        (["abc"], {}, "prompt 0 must be a list of token ids .* got 'abc'"),
        ([[1], [2, 1.5]], {}, r"prompt 1 must be a list of token ids .* got \[2, 1.5\]"),
        ([[1]], {"stop_tokens": 3}, "stop_tokens must be a list of token ids .* got 3"),
        ([[1]], {"stop_tokens": [0.5]}, r"stop_tokens must be a list of token ids .* got \[0.5\]"),
        ([[1]], {"top_k": 1.5}, "top_k must be a whole number, got 1.5"),
        ([[1]], {"max_new_tokens": 0}, "max_new_tokens must be a whole number of at least 1, got 0"),
        ([[1]], {"max_new_tokens": 2.0}, "max_new_tokens must be a whole number of at least 1, got 2.0"),
        ([[1]], {"temperature": -1}, "temperature must be finite"),
        ([[1]], {"top_p": 2}, "top_p must be in"),
    ],
)
def test_bad_input_is_named(sizes, prompts, settings, message):
    model = Transformer(gpt(**sizes))
    with pytest.raises(ValueError, match=message):
        generate(model, prompts, **{"max_new_tokens": 2} | settings)


def test_models_that_cannot_write_are_named(sizes):
    with pytest.raises(ValueError, match="causal models"):
        generate(Transformer(gpt(**sizes, causal=False)), [[1]], max_new_tokens=2)
    with pytest.raises(ValueError, match="hidden states, but no logits"):
        generate(Transformer(gpt(**sizes), head=False), [[1]], max_new_tokens=2)
