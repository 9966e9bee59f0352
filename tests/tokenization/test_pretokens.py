"""Pre-tokenisation: pieces equal to those of other libraries, nothing lost, and every cut a real border."""

import builtins
import sys
from itertools import product

import pytest
import regex
from hypothesis import given, settings
from hypothesis import strategies as st

from course_lib.tokenization import split_pieces
from course_lib.tokenization.pretokens import NAMED, last_cut

# As published with GPT-2; ours puts its alternatives together, which is a third faster.
GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"


def huggingface_pieces(text, expression=None):
    from tokenizers import Regex, pre_tokenizers

    if expression is None:
        splitter = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    else:
        splitter = pre_tokenizers.Split(Regex(expression), behavior="isolated")
    return [text[first:last] for _, (first, last) in splitter.pre_tokenize_str(text)]


def test_pieces_are_those_of_the_published_expression(texts):
    @settings(max_examples=70, deadline=None, derandomize=True)
    @given(texts)
    def check(text):
        assert split_pieces(text, "gpt2") == regex.findall(GPT2, text) == huggingface_pieces(text)

    check()


def test_gpt4_pieces_are_those_of_hugging_face(texts):
    @settings(max_examples=70, deadline=None, derandomize=True)
    @given(texts)
    def check(text):
        assert split_pieces(text, "gpt4") == huggingface_pieces(text, NAMED["gpt4"][0])

    check()


def test_your_own_expression_keeps_what_lies_between_its_matches(texts):
    @settings(max_examples=70, deadline=None, derandomize=True)
    @given(texts)
    def check(text):
        for expression in (r"\p{L}+", r"\d|(?<=a)b", r"\s*"):
            pieces = split_pieces(text, expression)
            assert "".join(pieces) == text
            assert "" not in pieces
            if expression != r"\s*":
                assert pieces == huggingface_pieces(text, expression)

    check()


def test_letters_numbers_and_blanks_are_those_of_hugging_face():
    import unicodedata

    from tokenizers import Regex, pre_tokenizers

    assigned = "".join(c for c in map(chr, range(sys.maxunicode + 1)) if unicodedata.category(c) not in ("Cs", "Cn"))
    for kind in (r"\p{L}", r"\p{N}", r"\s"):
        left = pre_tokenizers.Split(Regex(kind), behavior="removed").pre_tokenize_str(assigned)
        assert regex.sub(kind, "", assigned) == "".join(piece for piece, _ in left)


@pytest.mark.parametrize(
    ("pattern", "pieces"),
    [
        ("gpt2", ["I", "'ll", " pay", " $", "12345", ".", "67", "\n\n ", " ok", "..."]),
        ("gpt4", ["I", "'ll", " pay", " $", "123", "45", ".", "67", "\n\n", " ", " ok", "..."]),
        (None, ["I'll pay $12345.67\n\n  ok..."]),
        (r"\d+", ["I'll pay $", "12345", ".", "67", "\n\n  ok..."]),
    ],
)
def test_pieces_known_by_thought(pattern, pieces):
    assert split_pieces("I'll pay $12345.67\n\n  ok...", pattern) == pieces
    assert split_pieces("", pattern) == []


def test_only_gpt4_knows_contractions_in_capitals():
    assert split_pieces("WE'LLGO", "gpt2") == ["WE", "'", "LLGO"]
    assert split_pieces("WE'LLGO", "gpt4") == ["WE", "'LL", "GO"]


@pytest.mark.parametrize("pattern", NAMED)
def test_cutting_where_it_is_safe_changes_no_piece(pattern, texts):
    @settings(max_examples=100, deadline=None, derandomize=True)
    @given(texts, st.data())
    def check(text, data):
        stop = data.draw(st.integers(0, len(text)))
        cut = last_cut(text, pattern, 1, stop)
        if cut is not None:
            assert 1 <= cut <= stop
            assert split_pieces(text[:cut], pattern) + split_pieces(text[cut:], pattern) == split_pieces(text, pattern)

    check()


@pytest.mark.parametrize("pattern", NAMED)
def test_every_safe_place_is_one_among_all_short_texts(pattern):
    """All texts of up to 5 signs of the kinds that the expressions tell apart, cut at every place called safe."""
    num_safe, signs = 0, "'l1! \n\t"
    for length in range(2, 6):
        for text in map("".join, product(signs, repeat=length)):
            pieces = split_pieces(text, pattern)
            for place in range(1, length):
                if last_cut(text, pattern, place, place) is not None:
                    num_safe += 1
                    assert split_pieces(text[:place], pattern) + split_pieces(text[place:], pattern) == pieces
    assert num_safe > 10_000


def test_ordinary_text_has_many_safe_places():
    text = "Some words, 12 numbers;\nand 漢字、かな。\n"
    for pattern in NAMED:
        places = [place for place in range(1, len(text)) if last_cut(text, pattern, place, place) is not None]
        assert len(places) >= 9
    assert last_cut("", "gpt2", 1, 0) is None
    assert last_cut("!!!!", "gpt2", 1, 3) is None


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("gpt5", "there is no pattern named 'gpt5': expected 'gpt2', 'gpt4', None, or a regular expression"),
        ("(a", "is no regular expression: missing"),
        ("(a)|b", r"has capturing groups: write \(\?:...\)"),
    ],
)
def test_bad_patterns_are_named(pattern, message):
    with pytest.raises(ValueError, match=message):
        split_pieces("text", pattern)


@pytest.mark.parametrize("pattern", [None, r"\w+"])
def test_only_named_patterns_have_safe_places(pattern):
    with pytest.raises(ValueError, match="for the patterns gpt2 and gpt4 only"):
        last_cut("a b", pattern, 1, 2)


def test_a_missing_regex_package_is_named(monkeypatch):
    real_import = builtins.__import__

    def without_regex(name, *args, **kwargs):
        if name == "regex":
            raise ModuleNotFoundError("No module named 'regex'", name="regex")
        return real_import(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without_regex)
    assert split_pieces("a b", None) == ["a b"]
    with pytest.raises(ModuleNotFoundError, match=r"needs the package regex, .* pip install regex"):
        split_pieces("a b", r"[a-z] never compiled before")
