"""Training: merges and ids equal to Hugging Face's, to a trainer that counts everything anew, and to thought."""

import random
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from course_lib.tokenization import count_pieces, learn_merges, train_bpe
from course_lib.tokenization.byte_alphabet import BYTES_BY_ID, visible

GPT4 = (  # cl100k, as tiktoken first published it
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
EXHAUSTED = pytest.mark.filterwarnings("ignore:no pair occurs:UserWarning")


def naive_merges(counts, first_new_id, num_merges):
    """The definition read aloud: count all pairs, join the commonest everywhere, and begin again."""
    pieces = {piece: list(piece) for piece in counts}
    merges = []
    for new in range(first_new_id, first_new_id + num_merges):
        pairs = Counter()
        for piece, count in counts.items():
            for pair in zip(pieces[piece], pieces[piece][1:], strict=False):
                pairs[pair] += count
        if not pairs:
            break
        best = min(pairs, key=lambda pair: (-pairs[pair], pair))
        merges.append(best)
        for piece, ids in pieces.items():
            joined, place = [], 0
            while place < len(ids):
                here = tuple(ids[place : place + 2]) == best
                joined.append(new if here else ids[place])
                place += 2 if here else 1
            pieces[piece] = joined
    return merges


def assert_equal_to_huggingface(texts, hf_train, hf_merges, *, pattern="gpt2", **options):
    ours = train_bpe(texts, pattern=pattern, **options)
    split = {"gpt2": {}, "gpt4": {"expression": GPT4}, None: {"use_regex": False}}[pattern]
    theirs = hf_train(texts, **split, **options)
    assert ours.merges == hf_merges(theirs)
    names = {number: name for name, number in ours.special.items()}
    shown = {names.get(k) or visible(ours.token_bytes(k)): k for k in range(ours.vocab_size)}
    assert shown == theirs.get_vocab()
    return ours, theirs


@pytest.mark.parametrize("pattern", ["gpt2", "gpt4", None])
@pytest.mark.parametrize("kind", ["prose", "code", "scripts", "digits", "blanks", "ties"])
@EXHAUSTED
def test_merges_and_ids_are_those_of_hugging_face(corpora, kind, pattern, hf_train, hf_merges):
    options = {"vocab_size": 600, "pattern": pattern, "special_tokens": ["<|endoftext|>", "<|user|>"]}
    ours, theirs = assert_equal_to_huggingface(corpora[kind], hf_train, hf_merges, **options)
    for text in (*corpora[kind], *corpora["scripts"], *corpora["blanks"]):
        assert ours.encode(text) == theirs.encode(text).ids


@EXHAUSTED
def test_min_frequency_is_that_of_hugging_face(corpora, hf_train, hf_merges):
    for least in (2, 3, 40):
        options = {"vocab_size": 2000, "min_frequency": least}
        ours, _ = assert_equal_to_huggingface(corpora["code"], hf_train, hf_merges, **options)
        assert ours.vocab_size < 2000


@EXHAUSTED
@pytest.mark.parametrize("pattern", ["gpt2", None])
@pytest.mark.parametrize("alphabet", ["ab", "abc", "zyx ", "aAé ", "01 ab"])
def test_ties_break_as_in_hugging_face(alphabet, pattern, hf_train, hf_merges):
    for seed in range(15):
        chance = random.Random(f"{alphabet}{seed}")
        texts = ["".join(chance.choices(alphabet, k=chance.randrange(1, 60))) for _ in range(4)]
        assert_equal_to_huggingface(texts, hf_train, hf_merges, vocab_size=330, pattern=pattern)


@EXHAUSTED
def test_any_text_trains_as_in_hugging_face(texts, hf_train, hf_merges):
    @settings(max_examples=50, deadline=None, derandomize=True)
    @given(st.lists(texts.filter(bool), min_size=1, max_size=4), st.sampled_from(["gpt2", "gpt4", None]))
    def check(documents, pattern):
        options = {"vocab_size": 300, "pattern": pattern, "special_tokens": ["<|endoftext|>", "<|end|>"]}
        assert_equal_to_huggingface(documents, hf_train, hf_merges, **options)

    check()


@settings(max_examples=100, deadline=None, derandomize=True)
@given(
    st.dictionaries(st.lists(st.integers(0, 3), min_size=1, max_size=12).map(tuple), st.integers(1, 4), max_size=6),
    st.integers(0, 12),
)
def test_incremental_training_equals_counting_everything_anew(counts, num_merges):
    assert learn_merges(counts, first_new_id=4, num_merges=num_merges) == naive_merges(counts, 4, num_merges)


def test_real_text_equals_counting_everything_anew(corpora):
    pieces = count_pieces(corpora["prose"], pattern="gpt2")
    counts = {tuple(piece.encode()): count for piece, count in pieces.items()}
    assert learn_merges(counts, first_new_id=256, num_merges=60) == naive_merges(counts, 256, 60)


def test_merges_known_by_thought():
    # "ab" is there 3 times; joined, (ab, c) is there twice and (c, a) once.
    tokenizer = train_bpe(["abc", "abc", "ab", "ca"], vocab_size=259)
    a, b, c = (tokenizer.encode(letter)[0] for letter in "abc")
    assert tokenizer.merges == ((a, b), (256, c), (c, a))


def test_of_equally_common_pairs_the_one_with_smaller_ids_goes_first():
    tokenizer = train_bpe([" a", "ÿ", "zz", "yx", "yw"], vocab_size=261)
    tokens = [tokenizer.token_bytes(number).decode() for number in range(256, 261)]
    assert tokens == ["yw", "yx", "zz", "ÿ", " a"]  # a space is shown as Ġ, so it comes after the visible bytes


def test_bytes_are_numbered_visible_ones_first():
    assert BYTES_BY_ID[:3] == b'!"#'
    assert sorted(BYTES_BY_ID) == list(range(256))
    assert visible(bytes(BYTES_BY_ID)) == "".join(sorted(visible(bytes(range(256)))))


def test_a_special_tokens_name_in_the_training_text_is_ordinary_text(hf_train, hf_merges):
    options = {"vocab_size": 261, "special_tokens": ["<|end|>"]}
    ours, _ = assert_equal_to_huggingface(["<|end|>a" * 9], hf_train, hf_merges, **options)
    assert b"end" in [ours.token_bytes(number) for number in range(257, 261)]


def test_special_tokens_come_first_and_bytes_after_them():
    tokenizer = train_bpe(["aa"], vocab_size=259, special_tokens=["<|b|>", "<|a|>"])
    assert dict(tokenizer.special) == {"<|b|>": 0, "<|a|>": 1}
    assert tokenizer.token_bytes(2) == b"!"
    assert tokenizer.token_bytes(258) == b"aa"


def test_texts_are_not_joined():
    with pytest.warns(UserWarning, match="no pair occurs 1 times any more: the vocabulary has 256 tokens, not 257"):
        assert train_bpe(["a", "b"], vocab_size=257).merges == ()


def test_order_and_repetition_of_texts_count_as_they_should(corpora):
    texts = corpora["prose"]
    once = train_bpe(texts, vocab_size=400)
    assert train_bpe(reversed(texts), vocab_size=400) == once
    assert train_bpe([*texts, *texts], vocab_size=400) == once


def test_one_enormous_piece_does_not_take_quadratic_time():
    text = "".join(random.Random(0).choices("abcd", k=100_000))  # rewriting the piece at each merge would take minutes
    assert len(train_bpe([text], vocab_size=600, pattern=None).merges) == 344


def test_a_very_long_text_counts_as_it_would_in_one_go(monkeypatch, corpora):
    from course_lib.tokenization import stream

    whole = count_pieces(corpora["code"], pattern="gpt4")
    monkeypatch.setattr(stream, "CHUNK", 50)
    assert count_pieces(corpora["code"], pattern="gpt4") == whole


@pytest.mark.parametrize(
    ("texts", "options", "message"),
    [
        ("abc", {"vocab_size": 300}, r"texts must be an iterable of texts, got one string: write \[text\]"),
        ([b"abc"], {"vocab_size": 300}, r"texts must be texts \(str\), got bytes"),
        ([], {"vocab_size": 300}, "there is no text to train on"),
        ([""], {"vocab_size": 300}, "there is no text to train on"),
        (["ok", "bad \ud800"], {"vocab_size": 300}, r"lone surrogate U\+D800 at character 4"),
        (["a"], {"vocab_size": 255}, r"vocab_size must be at least 256 \(256 bytes and 0 special tokens\), got 255"),
        (["a"], {"vocab_size": 256, "special_tokens": ["<|x|>"]}, "vocab_size must be at least 257"),
        (["a"], {"vocab_size": 300, "min_frequency": 0}, "min_frequency must be at least 1, got 0"),
        (["a"], {"vocab_size": 300, "pattern": "gpt3"}, "there is no pattern named 'gpt3'"),
        (["a"], {"vocab_size": 300, "special_tokens": "<|x|>"}, "special_tokens must be a sequence of names"),
        (["a"], {"vocab_size": 300, "special_tokens": [""]}, "a text of one character or more, got ''"),
        (["a"], {"vocab_size": 300, "special_tokens": ["<x>", "<x>"]}, "special token '<x>' is given twice"),
        (["a"], {"vocab_size": 300, "special_tokens": ["a"]}, "'a' is also an ordinary token, made by byte 97"),
        (["the the"], {"vocab_size": 260, "special_tokens": ["the"]}, "'the' is also an ordinary token, made by merge"),
    ],
)
def test_bad_arguments_are_named(texts, options, message):
    with pytest.raises(ValueError, match=message):
        train_bpe(texts, **options)
