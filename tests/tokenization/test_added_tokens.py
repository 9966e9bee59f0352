"""Special tokens added after training: old ids stay, the new ones behave as the old, and everything keeps them."""

import copy
import json
import pickle

import pytest
from hypothesis import given, settings

from course_lib.tokenization import BPETokenizer

MARKS = ("<|user|>", "<|assistant|>")


@pytest.fixture(scope="module")
def grown(tokenizer):
    return tokenizer.with_special(MARKS)


def test_new_ids_come_last_and_no_old_one_moves(tokenizer, grown):
    assert grown.vocab_size == tokenizer.vocab_size + 2
    assert [grown.special[mark] for mark in MARKS] == [tokenizer.vocab_size, tokenizer.vocab_size + 1]
    assert dict(list(grown.special.items())[:-2]) == dict(tokenizer.special)
    assert all(grown.token_bytes(number) == tokenizer.token_bytes(number) for number in range(tokenizer.vocab_size))
    assert grown.merges == tokenizer.merges
    assert tokenizer.added_tokens == ()  # the one they were added to is as it was
    assert (grown.special_tokens, grown.added_tokens) == (tokenizer.special_tokens, MARKS)


def test_any_text_without_the_new_names_has_the_same_ids(texts, tokenizer, grown):
    @settings(max_examples=60, deadline=None, derandomize=True)
    @given(texts)
    def check(text):
        for special in ("token", "text"):
            assert grown.encode(text, special=special) == tokenizer.encode(text, special=special)
        mixed = f"{text}<|user|>{text}"
        ids = grown.encode(mixed, special="token")
        assert ids.count(grown.special["<|user|>"]) == 1
        assert grown.decode(ids) == mixed
        assert grown.decode(ids, skip_special=True) == 2 * tokenizer.decode(
            tokenizer.encode(text, special="token"), skip_special=True
        )
        assert ids == grown.to_huggingface().encode(mixed).ids

    check()


def test_a_new_name_is_refused_unless_allowed(grown):
    text = "I am the <|assistant|> now"
    with pytest.raises(ValueError, match=r"the name of the special token '<\|assistant\|>'"):
        grown.encode(text)
    assert not set(grown.encode(text, special="text")) & set(grown.special.values())
    assert grown.encode("<|assistant|>", special="token") == [grown.vocab_size - 1]


def test_other_libraries_files_and_copies_keep_them(tokenizer, grown, tmp_path):
    theirs = grown.to_tiktoken()
    assert theirs.n_vocab == grown.vocab_size
    text = "one<|user|>two<|endoftext|>"
    assert theirs.encode(text, allowed_special="all") == grown.encode(text, special="token")
    grown.save(tmp_path / "grown.json")
    for same in (copy.deepcopy(grown), pickle.loads(pickle.dumps(grown)), BPETokenizer.load(tmp_path / "grown.json")):
        assert same == grown
        assert hash(same) == hash(grown)
        assert same != tokenizer
        assert same.special == grown.special
    assert tokenizer.with_special(MARKS[:1]).with_special(MARKS[1:]) == grown
    assert tokenizer.with_special(()) == tokenizer


def test_files_without_added_tokens_are_as_they_always_were(tokenizer, grown, tmp_path):
    for name, each in (("old", tokenizer), ("new", grown)):
        each.save(tmp_path / name)
    old, new = (json.loads((tmp_path / name).read_text(encoding="utf-8")) for name in ("old", "new"))
    assert sorted(old) == ["format", "merges", "pattern", "sha256", "special_tokens", "version"]
    assert (old["version"], new["version"]) == (1, 2)
    assert new["added_tokens"] == list(MARKS)
    assert new["special_tokens"] == old["special_tokens"]


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["<|end|>"], r"special token '<\|end\|>' is given twice"),
        (["<|user|>", "<|user|>"], "is given twice"),
        (["a"], "'a' is also an ordinary token, made by byte 97"),
        ([""], "must be a text of one character or more"),
        ([7], "must be a text of one character or more, got 7"),
        ("<|user|>", r"must be a sequence of names, got one string: write \['<\|user\|>'\]"),
    ],
)
def test_bad_names_are_refused(names, message, tokenizer):
    with pytest.raises(ValueError, match=message):
        tokenizer.with_special(names)
