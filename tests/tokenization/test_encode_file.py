"""Encoding a file in chunks: exactly the ids of the whole text, wherever the chunks end."""

import tracemalloc

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from course_lib.tokenization import BPETokenizer, text_chunks, train_bpe
from course_lib.tokenization.stream import cut_safely


@pytest.mark.parametrize("pattern", ["gpt2", "gpt4"])
@pytest.mark.parametrize("special", ["token", "text"])
def test_chunks_of_any_size_give_the_ids_of_the_whole(pattern, special, texts, tokenizers_by_pattern, tmp_path):
    tokenizer = tokenizers_by_pattern[pattern]
    path = tmp_path / "text"

    @settings(max_examples=60, deadline=None, derandomize=True)
    @given(texts, st.integers(1, 40))
    def check(text, chunk_bytes):
        path.write_bytes(text.encode())
        lists = list(tokenizer.encode_file(path, special=special, chunk_bytes=chunk_bytes))
        assert [number for ids in lists for number in ids] == tokenizer.encode(text, special=special)

    check()


@pytest.mark.parametrize("pattern", ["gpt2", "gpt4"])
def test_every_chunk_size_on_a_text_full_of_traps(pattern, tmp_path):
    names = ["<|end|>", "<|end|> of", "| >", "<|end|><|end|>!", "stop.", "I !<|end|><|end|>?"]
    tokenizer = train_bpe(["we'll sell 12345 cells. " * 9], vocab_size=266, pattern=pattern, special_tokens=names)
    text = "we'll<|end|> o<|end|> of 1234567 'l 'll\r\n\r\n  \u3000 x<|end|><|end|>! <|end|><|end|><|end| >"
    text += "stop. I !<|end|><|end|>?👩‍🚀 é漢字。\n\n \n!"
    path = tmp_path / "text"
    path.write_bytes(text.encode())
    whole = tokenizer.encode(text, special="token")
    for chunk_bytes in range(1, len(text.encode()) + 2):
        lists = list(tokenizer.encode_file(path, special="token", chunk_bytes=chunk_bytes))
        assert [number for ids in lists for number in ids] == whole


def test_parts_cut_anywhere_are_cut_anew_where_it_is_safe(texts):
    @settings(max_examples=60, deadline=None, derandomize=True)
    @given(st.lists(texts, max_size=5), st.sampled_from(["gpt2", "gpt4"]))
    def check(parts, pattern):
        plain = BPETokenizer([], pattern=pattern)
        chunks = list(cut_safely(parts, pattern=pattern))
        assert "" not in chunks
        assert "".join(chunks) == "".join(parts)
        assert [piece for chunk in chunks for piece in plain.pieces(chunk)] == plain.pieces("".join(parts))

    check()


def test_text_is_let_go_as_soon_as_it_can_be():
    assert list(cut_safely("ab cd ef", pattern="gpt2")) == ["ab", " cd", " ef"]  # handed over character by character
    assert list(cut_safely(["ab cd", " ef"], pattern="gpt2")) == ["ab", " cd", " ef"]
    chunks = list(cut_safely(["!" * 50] * 100 + ["words and "] * 1000, pattern="gpt2"))
    assert max(map(len, chunks[1:])) < 25  # one long piece is held whole; after it chunks are short again


def test_training_on_a_files_chunks_is_training_on_its_text(corpora, tmp_path):
    path = tmp_path / "text"
    text = "\n".join(corpora["scripts"] + corpora["blanks"] + corpora["code"])
    path.write_bytes(text.encode())
    for pattern in ("gpt2", "gpt4"):
        chunks = text_chunks(path, pattern=pattern, chunk_bytes=7)
        assert train_bpe(chunks, vocab_size=350, pattern=pattern) == train_bpe([text], vocab_size=350, pattern=pattern)


def test_line_ends_are_kept_and_an_empty_file_has_no_ids(tmp_path):
    plain, path = BPETokenizer([]), tmp_path / "text"
    path.write_bytes(b"a\r\nb\rc\n")
    assert plain.decode([number for ids in plain.encode_file(path) for number in ids]) == "a\r\nb\rc\n"
    path.write_bytes(b"")
    assert list(plain.encode_file(path)) == []


def test_memory_does_not_grow_with_the_file(tmp_path):
    plain, peaks = BPETokenizer([]), []
    for size in (1, 4):
        path = tmp_path / str(size)
        path.write_bytes(b"some words and 12 more " * (size * 3_000))
        tracemalloc.start()
        count = sum(len(ids) for ids in plain.encode_file(path, chunk_bytes=1 << 12))
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        assert count == path.stat().st_size
    assert peaks[1] < 1.1 * peaks[0]  # four times the file, the same memory


def test_a_special_token_is_refused_across_a_border_too(tokenizer, tmp_path):
    path = tmp_path / "text"
    path.write_text("words " * 10 + "<|endoftext|>" + " words" * 10)
    for chunk_bytes in range(1, 30):
        with pytest.raises(ValueError, match="name of the special token"):
            list(tokenizer.encode_file(path, chunk_bytes=chunk_bytes))


@pytest.mark.parametrize("chunk_bytes", [1, 2, 3, 100])
@pytest.mark.parametrize(("contents", "place"), [(b"good \xff bad", 5), (b"caf\xc3", 3), ("é".encode() + b"\xc3(", 2)])
def test_a_file_that_is_not_utf8_is_named_with_the_place(contents, place, chunk_bytes, tmp_path):
    path = tmp_path / "latin.txt"
    path.write_bytes(contents)
    with pytest.raises(ValueError, match=rf"latin.txt is not UTF-8: .* at byte {place}\."):
        list(BPETokenizer([]).encode_file(path, chunk_bytes=chunk_bytes))


def test_mistakes_are_named_at_the_call(tmp_path, tokenizers_by_pattern):
    path = tmp_path / "text"
    path.write_text("a b")
    for pattern in (None, r"\s+|[\p{L}\p{N}]{1,4}"):
        with pytest.raises(ValueError, match="text can be cut safely for the patterns gpt2 and gpt4 only"):
            tokenizers_by_pattern[pattern].encode_file(path)
    with pytest.raises(ValueError, match="chunk_bytes must be at least 1, got 0"):
        BPETokenizer([]).encode_file(path, chunk_bytes=0)
    with pytest.raises(ValueError, match="special must be"):
        BPETokenizer([]).encode_file(path, special="yes")
    with pytest.raises(FileNotFoundError):
        BPETokenizer([]).encode_file(tmp_path / "missing")
