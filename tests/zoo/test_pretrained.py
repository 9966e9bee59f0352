"""A pretrained model writes on, the same for the same seed; its card says what it is."""

from dataclasses import replace

import pytest
import torch

from course_lib.nn.transformer import generate
from course_lib.tokenization import train_bpe
from course_lib.zoo import Card, Pretrained


def test_completions_are_what_generate_gives(tiny):
    prompts = ["hello", ""]
    tokens = [[tiny.separator, *tiny.tokenizer.encode(prompt)] for prompt in prompts]
    options = {"max_new_tokens": 9, "temperature": 1.3, "top_k": 50, "top_p": 0.9}
    out = generate(
        tiny.model,
        tokens,
        stop_tokens=(tiny.separator,),
        generator=torch.Generator().manual_seed(4),
        **options,
    )
    expected = [tiny.tokenizer.decode(row, skip_special=True) for row in out.lists()]
    assert tiny.complete(prompts, seed=4, **options) == expected
    assert tiny.complete(prompts, seed=5, **options) != expected


def test_greedy_does_not_depend_on_the_seed(tiny):
    assert tiny.complete(["low"], temperature=0, seed=1, max_new_tokens=5) == tiny.complete(
        ["low"], temperature=0, seed=2, max_new_tokens=5
    )


def test_the_end_of_a_document_is_not_in_the_text(tiny):
    with torch.no_grad():
        tiny.model.norm.weight.zero_()  # all logits equal: greedy takes id 0, the end of text
    assert tiny.complete(["hello"], temperature=0, max_new_tokens=9) == [""]


def test_one_text_is_no_list(tiny):
    with pytest.raises(ValueError, match=r'complete\(\["Once"\]\)'):
        tiny.complete("hello")


def test_more_than_the_context_is_refused(tiny):
    with pytest.raises(ValueError, match="32"):
        tiny.complete(["hello"], max_new_tokens=32)


def test_a_tokenizer_that_does_not_fit_is_refused(tiny):
    no_end = train_bpe(["hello"] * 3, vocab_size=258)
    with pytest.raises(ValueError, match=r"needs the special token <\|endoftext\|>"):
        Pretrained(tiny.model, no_end, tiny.card)
    small = train_bpe(["hello"] * 3, vocab_size=260, special_tokens=["<|endoftext|>"])
    with pytest.raises(ValueError, match="the tokenizer has 260 tokens, the model 265"):
        Pretrained(tiny.model, small, tiny.card)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"vocab_size": 260}, r"differs in vocab_size \(260, not 265\)\.$"),
        ({"num_layers": 3, "window": 8}, r"differs in num_layers \(3, not 2\), window \(8, not None\)\.$"),
        ({"colour": "red"}, r"differs in colour \('red', not None\)\.$"),
    ],
)
def test_a_card_of_another_architecture_is_refused(tiny, change, message):
    card = replace(tiny.card, architecture=tiny.card.architecture | change)
    with pytest.raises(ValueError, match=f"the card's architecture is not the model's: it {message}"):
        Pretrained(tiny.model, tiny.tokenizer, card)


def test_a_card_may_leave_out_what_is_at_its_default(tiny):
    short = {name: value for name, value in tiny.card.architecture.items() if name != "window"}
    assert Pretrained(tiny.model, tiny.tokenizer, replace(tiny.card, architecture=short)).model is tiny.model


def test_a_special_token_is_no_prompt(tiny):
    with pytest.raises(ValueError, match=r'<\|endoftext\|> in prompt .* is no text: leave it out; "" begins') as raised:
        tiny.complete(["hello", "low<|endoftext|>"])
    assert "special=" not in str(raised.value)


def test_a_card_survives_json(card):
    import json

    assert Card.from_json(json.loads(json.dumps(card.to_json()))) == card


def test_the_page_says_it_all(card):
    page = card.markdown()
    for said in (
        "# tiny\n\nKnows nothing.\n",
        "- **Parameters:** 1,234",
        "| this model | 5.500 | 7.900 |\n| uniform | 5.598 | 8.077 |",
        "Do not use it.",
        "```\nmake tiny\n```",
        "- tokens seen: 12,345\n- learning rate: 0.001\n- compiled: no",
        "- seed: 3",
        "- window: default",
        "```\nonce\nupon\n```",
    ):
        assert said in page
