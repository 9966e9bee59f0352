"""Other libraries run the same merges: tiktoken, Hugging Face's tokenizers, transformers."""

import pytest
from hypothesis import given, settings

from course_lib.tokenization import BPETokenizer


@pytest.mark.parametrize("pattern", ["gpt2", "gpt4", None])
def test_tiktoken_gives_the_same_ids(pattern, texts, tokenizers_by_pattern):
    tokenizer = tokenizers_by_pattern[pattern]
    theirs = tokenizer.to_tiktoken()
    assert theirs.n_vocab == tokenizer.vocab_size

    @settings(max_examples=60, deadline=None, derandomize=True)
    @given(texts)
    def check(text):
        assert theirs.encode_ordinary(text) == tokenizer.encode(text, special="text")
        if "<|end|>of" not in text:  # tiktoken promises nothing for special tokens of which one begins another
            ids = tokenizer.encode(text, special="token")
            assert theirs.encode(text, allowed_special="all") == ids
            assert theirs.decode_bytes(ids) == tokenizer.decode_bytes(ids)

    check()


def test_tiktoken_refuses_special_tokens_as_we_do(tokenizer):
    theirs = tokenizer.to_tiktoken(name="mine")
    assert theirs.name == "mine"
    for encode in (theirs.encode, tokenizer.encode):
        with pytest.raises(ValueError, match=r"<\|endoftext\|>"):
            encode("a<|endoftext|>b")


def test_transformers_loads_what_hugging_face_saves(tokenizer, corpora, tmp_path):
    from transformers import PreTrainedTokenizerFast

    path = tmp_path / "tokenizer.json"
    tokenizer.to_huggingface().save(str(path))
    loaded = PreTrainedTokenizerFast(tokenizer_file=str(path), eos_token="<|endoftext|>")
    assert loaded.eos_token_id == tokenizer.special["<|endoftext|>"]
    for text in corpora["scripts"] + corpora["prose"]:
        assert loaded(text)["input_ids"] == tokenizer.encode(text)


def test_tiktoken_is_refused_what_it_would_do_otherwise(tokenizers_by_pattern):
    with pytest.raises(ValueError, match="tiktoken would drop text that the expression does not match"):
        tokenizers_by_pattern[r"\s+|[\p{L}\p{N}]{1,4}"].to_tiktoken()
    a, b, c = 64, 65, 66  # "abc" is ab c here, and never becomes token 258; tiktoken would join ab and c
    never_made = BPETokenizer([(a, b), (b, c), (a, 257)])
    assert never_made.encode("abc") == [256, c]
    with pytest.raises(ValueError, match="token 258, b'abc', is never made from its own bytes"):
        never_made.to_tiktoken()
