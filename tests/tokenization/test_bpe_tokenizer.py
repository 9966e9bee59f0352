"""The tokenizer: round trips, ids equal to Hugging Face's, special tokens, decoding of what is no text."""

import copy
import pickle
import random

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from course_lib.tokenization import BPETokenizer, piece_cache, stream, train_bpe

PATTERNS = ["gpt2", "gpt4", None, r"\s+|[\p{L}\p{N}]{1,4}"]


@pytest.mark.parametrize("pattern", PATTERNS)
def test_any_text_comes_back(pattern, texts, tokenizers_by_pattern):
    tokenizer = tokenizers_by_pattern[pattern]

    @settings(max_examples=60, deadline=None, derandomize=True)
    @given(texts | st.text())  # st.text() has characters that Unicode has not assigned, too
    def check(text):
        for special in ("token", "text"):
            ids = tokenizer.encode(text, special=special)
            assert tokenizer.decode(ids) == text
            assert len(ids) <= len(text.encode())
        assert not set(tokenizer.encode(text, special="text")) & set(tokenizer.special.values())

    check()


@pytest.mark.parametrize("pattern", PATTERNS)
def test_ids_are_those_of_hugging_face(pattern, texts, tokenizers_by_pattern):
    tokenizer = tokenizers_by_pattern[pattern]
    theirs = tokenizer.to_huggingface()

    @settings(max_examples=60, deadline=None, derandomize=True)
    @given(texts)
    def check(text):
        ids = tokenizer.encode(text, special="token")
        assert ids == theirs.encode(text).ids
        assert tokenizer.decode(ids, skip_special=True) == theirs.decode(ids, skip_special_tokens=True)

    check()


def test_every_token_is_the_bytes_of_its_two_parts(tokenizer):
    first_new = len(tokenizer.special) + 256
    for rank, (first, second) in enumerate(tokenizer.merges):
        parts = tokenizer.token_bytes(first) + tokenizer.token_bytes(second)
        assert tokenizer.token_bytes(first_new + rank) == parts == tokenizer.decode_bytes([first_new + rank])


def test_special_tokens_are_refused_unless_allowed(tokenizer):
    text = "one<|end|>two"
    with pytest.raises(ValueError, match=r"special token '<\|end\|>' \('one<\|end\|>two'\): say special='token'"):
        tokenizer.encode(text)
    with pytest.raises(ValueError, match="special token"):
        list(tokenizer.encode_many(["fine", text]))
    one, two, end = tokenizer.encode("one"), tokenizer.encode("two"), tokenizer.special["<|end|>"]
    assert tokenizer.encode(text, special="token") == [*one, end, *two]
    assert tokenizer.encode(text, special="text") == [*one, *tokenizer.encode("<|end|>", special="text"), *two]
    assert tokenizer.decode([*one, end, *two]) == text
    assert tokenizer.decode([*one, end, *two], skip_special=True) == "onetwo"


def test_of_special_tokens_that_begin_alike_the_longest_is_meant(tokenizer):
    assert tokenizer.encode("<|end|>of<|end|>o", special="token") == [2, 1, *tokenizer.encode("o")]


def test_without_special_tokens_nothing_is_special():
    plain = BPETokenizer([])
    assert plain.decode(plain.encode("<|endoftext|>")) == "<|endoftext|>"


@pytest.mark.parametrize("errors", ["replace", "ignore"])
def test_any_ids_decode_as_their_bytes_do(errors, tokenizer):
    @settings(max_examples=60, deadline=None, derandomize=True)
    @given(st.lists(st.integers(0, tokenizer.vocab_size - 1), max_size=30))
    def check(ids):
        exact = tokenizer.decode_bytes(ids)
        assert exact == b"".join(tokenizer.token_bytes(number) for number in ids)
        assert tokenizer.decode(ids, errors=errors) == exact.decode("utf-8", errors)
        streamed = list(tokenizer.decode_stream(iter(ids), errors=errors))
        assert len(streamed) == len(ids) + 1
        assert "".join(streamed) == tokenizer.decode(ids, errors=errors)

    check()


def test_a_stream_never_shows_half_a_character(texts):
    by_bytes = BPETokenizer([])

    @settings(max_examples=50, deadline=None, derandomize=True)
    @given(texts)
    def check(text):
        shown = [part for part in by_bytes.decode_stream(by_bytes.encode(text)) if part]
        assert shown == list(text)  # byte by byte, each character appears when its last byte is there

    check()


def test_half_a_character_is_replaced_or_refused(tokenizer):
    half = BPETokenizer([]).encode("é")[:1]
    plain = BPETokenizer([])
    assert plain.decode(half) == "\ufffd"
    assert list(plain.decode_stream(half)) == ["", "\ufffd"]
    assert plain.decode(half, errors="ignore") == ""
    with pytest.raises(ValueError, match="unexpected end of data"):
        plain.decode(half, errors="strict")
    with pytest.raises(ValueError, match="unexpected end of data"):
        list(plain.decode_stream(half, errors="strict"))


def test_ids_may_be_tensors_arrays_and_tuples(tokenizer):
    ids = tokenizer.encode("Tensors, too.")
    for same in (tuple(ids), torch.tensor(ids), np.array(ids, dtype=np.uint16), iter(ids), list(np.array(ids))):
        assert tokenizer.decode(same) == "Tensors, too."
    assert "".join(tokenizer.decode_stream(torch.tensor(ids))) == "Tensors, too."
    assert tokenizer.token_bytes(np.int64(ids[0])) == tokenizer.token_bytes(ids[0])


@pytest.mark.parametrize("kind", [str, pickle.dumps, hash, repr])
def test_copies_are_equal_whatever_they_have_encoded(kind, tokenizer):
    fresh = BPETokenizer(tokenizer.merges, special_tokens=list(tokenizer.special), pattern=tokenizer.pattern)
    tokenizer.encode("used before")
    for other in (fresh, copy.deepcopy(tokenizer), pickle.loads(pickle.dumps(tokenizer))):
        assert other == tokenizer
        assert kind(other) == kind(tokenizer)
        assert other.encode("the text") == tokenizer.encode("the text")
    assert fresh != BPETokenizer(tokenizer.merges[:-1], special_tokens=list(tokenizer.special))
    assert fresh != "a tokenizer"


def test_copies_keep_their_pattern(tokenizers_by_pattern):
    for pattern, tokenizer in tokenizers_by_pattern.items():
        assert pickle.loads(pickle.dumps(tokenizer)).pattern == pattern
    same_merges = [BPETokenizer([], pattern=pattern) for pattern in tokenizers_by_pattern]
    assert len(set(same_merges)) == len(same_merges)


def test_it_maps_over_a_hugging_face_dataset_with_a_stable_fingerprint(tokenizer):
    datasets = pytest.importorskip("datasets")
    rows = datasets.Dataset.from_dict({"text": ["one two", "three"]})
    first = rows.map(lambda row: {"ids": tokenizer.encode(row["text"])}, load_from_cache_file=False)
    tokenizer.encode("words that were not in the cache before")
    again = rows.map(lambda row: {"ids": tokenizer.encode(row["text"])}, load_from_cache_file=False)
    assert first["ids"][:] == [tokenizer.encode("one two"), tokenizer.encode("three")]
    assert datasets.fingerprint.Hasher.hash(tokenizer) == datasets.fingerprint.Hasher.hash(copy.copy(tokenizer))
    assert again["ids"][:] == first["ids"][:]


def test_the_cache_is_bounded_and_changes_nothing(monkeypatch, tokenizer):
    chance = random.Random(0)
    words = ["".join(chance.choices("abcdefgh", k=chance.randrange(1, 60))) for _ in range(300)]
    expected = [tokenizer.encode(word) for word in words]
    monkeypatch.setattr(piece_cache, "MAX_PIECES", 7)
    small = copy.deepcopy(tokenizer)
    for ids, known in zip(small.encode_many(words), expected, strict=True):
        assert ids == known
        assert len(small._ids_of) <= 7
        assert all(len(piece) <= piece_cache.MAX_CHARACTERS for piece in small._ids_of)
    assert small._ids_of  # it is in use


def test_a_very_long_text_is_encoded_as_in_one_go(monkeypatch, corpora, tokenizers_by_pattern):
    for tokenizer in tokenizers_by_pattern.values():
        whole = [tokenizer.encode(text) for text in corpora["scripts"]]
        monkeypatch.setattr(stream, "CHUNK", 20)
        assert [tokenizer.encode(text) for text in corpora["scripts"]] == whole
        monkeypatch.undo()


def test_vocabulary_of_bare_bytes_by_thought():
    plain = BPETokenizer([])
    assert plain.vocab_size == 256
    assert plain.encode("!~ ") == [0, 93, 220]
    assert repr(plain) == "BPETokenizer(256 tokens: 0 special, 256 bytes, 0 merges; pattern 'gpt2')"
    assert plain.encode("") == []
    assert plain.decode([]) == ""


def test_longer_vocabularies_of_one_training_begin_alike(corpora):
    small, large = (train_bpe(corpora["prose"], vocab_size=size) for size in (300, 400))
    assert large.merges[:44] == small.merges
    assert len(large.encode(corpora["prose"][0])) < len(small.encode(corpora["prose"][0]))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda t: t.encode("a\udc00b"), r"lone surrogate U\+DC00 at character 1 \('a\\udc00b'\)"),
        (lambda t: t.encode("x<|end|>y\ud800", special="token"), r"lone surrogate U\+D800 at character 9"),
        (lambda t: t.encode(b"abc"), r"encode needs a text \(str\), got bytes"),
        (lambda t: t.encode("a", special="allow"), "special must be 'refuse', 'token' or 'text', got 'allow'"),
        (lambda t: t.encode_many("abc"), "texts must be an iterable of texts, got one string"),
        (lambda t: t.encode_many(["a"], special="no"), "special must be"),
        (lambda t: t.decode([0, 700]), r"there is no token 700 \(at place 1\): ids are whole numbers from 0 to 699"),
        (lambda t: t.decode([-1]), r"there is no token -1 \(at place 0\)"),
        (lambda t: t.decode([np.int64(3), np.int64(-4)]), r"-4\)? \(at place 1\)"),
        (lambda t: t.decode([1.5]), r"there is no token 1.5 \(at place 0\)"),
        (lambda t: t.decode(torch.zeros(2, 2, dtype=torch.int64)), r"there is no token \[0, 0\] \(at place 0\)"),
        (lambda t: t.decode(torch.tensor(5)), r"got the single number 5: write \[5\]"),
        (lambda t: t.decode([[1]], skip_special=True), r"there is no token \[1\]"),
        (lambda t: t.decode([1], errors="maybe"), "errors must be 'replace', 'strict' or 'ignore', got 'maybe'"),
        (lambda t: t.decode_stream([1], errors="maybe"), "errors must be"),
        (lambda t: list(t.decode_stream([5, 1000])), "there is no token 1000"),
        (lambda t: t.token_bytes(700), "there is no token 700"),
        (lambda t: BPETokenizer([(0, 256)]), r"merge 0 joins the ids \(0, 256\), but only ids 0 to 255 are bytes"),
        (lambda t: BPETokenizer([(0, 1)], special_tokens=["<|x|>"]), "only ids 1 to 256 are bytes"),
        (lambda t: BPETokenizer([(1, 2), (1, 2)]), "merge 1 makes b'\"#', as merge 0 does"),
        (lambda t: BPETokenizer([(1, 2, 3)]), r"merge 0 must be a pair of ids, got \(1, 2, 3\)"),
        (lambda t: BPETokenizer([(1, 2.0)]), "merge 0 must be a pair of ids"),
        (lambda t: BPETokenizer([7]), "merge 0 must be a pair of ids, got 7"),
        (lambda t: BPETokenizer([], pattern="gpt9"), "there is no pattern named 'gpt9'"),
        (lambda t: BPETokenizer([], special_tokens=["\ud800"]), "lone surrogate"),
    ],
)
def test_bad_arguments_are_named(call, message, tokenizer):
    with pytest.raises(ValueError, match=message):
        call(tokenizer)
