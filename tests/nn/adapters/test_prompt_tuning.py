"""A learnt prompt: the same as real words with those embeddings, with masks, caches and every kind of transformer."""

import pytest
import torch
from torch.testing import assert_close

from course_lib.nn.adapters import PromptTuned
from course_lib.nn.transformer import Transformer, bert, generate, gpt, llama

EXACT = {"rtol": 0, "atol": 0}
ROUNDING = {"rtol": 1e-11, "atol": 1e-11}
SIZES = {"vocab_size": 11, "width": 8, "num_layers": 2, "num_heads": 2, "context_length": 12}
CONFIGS = {"gpt": gpt(**SIZES), "llama": llama(**SIZES), "bert": bert(**SIZES)}
TEXT = torch.tensor([[1, 5, 2, 7], [4, 4, 0, 9]])


@pytest.fixture(params=CONFIGS.values(), ids=CONFIGS.keys())
def model(request, shaken):
    return shaken(Transformer(request.param, generator=torch.Generator().manual_seed(0))).eval()


def test_a_prompt_that_starts_as_words_is_these_words(model):
    words = torch.tensor([[8, 3, 6]]).expand(2, -1)
    expected = model(torch.cat([words, TEXT], dim=1))[:, 3:]
    tuned = PromptTuned(model, 3, start=[8, 3, 6])
    assert_close(tuned(TEXT), expected, **EXACT)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_transformers_have_a_float32_prompt(model, dtype):
    model = model.to(dtype)
    expected = model(torch.cat([torch.tensor([[8, 3], [8, 3]]), TEXT], dim=1))[:, 2:]
    tuned = PromptTuned(model, 2, start=[8, 3])
    assert_close(tuned(TEXT), expected, **EXACT)
    tuned(TEXT).float().square().sum().backward()
    assert tuned.prompt.dtype == tuned.prompt.grad.dtype == torch.float32
    assert tuned.prompt.grad.count_nonzero() > 0


def test_masked_padding_changes_nothing(model):
    tuned = PromptTuned(model, 3, generator=torch.Generator().manual_seed(0))
    expected = tuned(TEXT[:1])
    padded = torch.tensor([[1, 5, 2, 7, 0, 0]])
    mask = torch.tensor([[True] * 4 + [False] * 2])
    assert_close(tuned(padded, mask=mask)[:, :4], expected, **ROUNDING)
    left = torch.tensor([[0, 0, 1, 5, 2, 7]])
    assert_close(tuned(left, mask=mask.flip(1))[:, 2:], expected, **ROUNDING)


def test_only_the_prompt_learns_and_by_the_right_gradient(randn):
    model = Transformer(CONFIGS["gpt"], generator=torch.Generator().manual_seed(0)).double().eval()
    tuned = PromptTuned(model, 3, generator=torch.Generator().manual_seed(0))
    assert [name for name, p in tuned.named_parameters() if p.requires_grad] == ["transformer.embedding.prompt.vectors"]
    weights = randn(2, 4, 11)

    def loss(vectors):
        return (
            torch.func.functional_call(tuned, {"transformer.embedding.prompt.vectors": vectors}, (TEXT,)) * weights
        ).sum()

    assert torch.autograd.gradcheck(loss, [tuned.prompt.detach().clone().requires_grad_()])
    loss(tuned.prompt).backward()
    assert tuned.prompt.grad.count_nonzero() == tuned.prompt.numel()


def test_it_starts_from_different_words_of_the_vocabulary_drawn_by_the_generator(model):
    table, state = model.embedding.weight.detach().clone(), torch.get_rng_state()
    tuned = PromptTuned(model, 11, generator=torch.Generator().manual_seed(0))
    assert torch.equal(torch.get_rng_state(), state)
    order = torch.randperm(11, generator=torch.Generator().manual_seed(0))
    assert_close(tuned.prompt.detach(), table[order], **EXACT)
    assert tuned.prompt.data_ptr() != model.embedding.weight.data_ptr()


def test_writing_with_the_prompt_is_reading_it_again_and_again():
    model = Transformer(CONFIGS["gpt"], generator=torch.Generator().manual_seed(0)).double().eval()
    tuned = PromptTuned(model, 3, generator=torch.Generator().manual_seed(0))
    written = generate(model, tuned.prefixed(TEXT), max_new_tokens=4, temperature=0).tokens
    text = TEXT
    for _ in range(4):
        text = torch.cat([text, tuned(text)[:, -1:].argmax(-1)], dim=1)
    assert torch.equal(text[:, 4:], written)


def test_without_a_head_it_gives_hidden_states(shaken):
    model = shaken(Transformer(CONFIGS["gpt"], head=False)).eval()
    expected = model(torch.cat([torch.tensor([[8], [8]]), TEXT], dim=1))[:, 1:]
    assert_close(PromptTuned(model, 1, start=[8])(TEXT), expected, **EXACT)


def test_its_state_dict_makes_it_again(model):
    tuned = PromptTuned(model, 2, generator=torch.Generator().manual_seed(0))
    torch.nn.init.ones_(tuned.prompt)
    again = PromptTuned(Transformer(model.config).double(), 2).eval()
    again.load_state_dict(tuned.state_dict())
    assert_close(again(TEXT), tuned(TEXT), **EXACT)


def tuned(num_tokens=3, **options):
    return PromptTuned(Transformer(CONFIGS["gpt"]), num_tokens, **options)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: tuned(0), "num_tokens must be from 1 to 11 .* got 0"),
        (lambda: tuned(12), "got 12"),
        (lambda: tuned(2.5), "got 2.5"),
        (lambda: tuned(start=[1, 2]), r"start must be 3 token ids .* got \[1, 2\]"),
        (lambda: tuned(start=[1, 2, 11]), r"token ids in \[0, 11\)"),
        (lambda: PromptTuned(tuned().transformer, 2), "adapted already: it is a PromptEmbedding"),
        (lambda: tuned()(torch.tensor([[11]])), r"token ids must lie in \[0, 11\), got 11"),
        (lambda: tuned()(torch.tensor([[-1]])), "token ids must lie in"),
        (lambda: tuned()(TEXT, mask=TEXT[0] > 0), r"mask must be \(2, 4\) of bool .* got \(4,\) of torch.bool"),
        (lambda: tuned()(TEXT, mask=TEXT), r"mask must be \(2, 4\) of bool .* got \(2, 4\) of torch.int64"),
        (lambda: tuned()(torch.tensor([1, 2])), r"must be \(B, T\), got \(2,\)"),
        (lambda: tuned()(torch.ones(1, 10, dtype=torch.int64)), "13 tokens do not fit into the context length 12"),
        (lambda: tuned().transformer(torch.tensor([[14]])), "token ids must lie in"),
    ],
)
def test_mistakes_are_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
