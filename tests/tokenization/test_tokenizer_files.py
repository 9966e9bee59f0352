"""Saving and loading: what comes back is the same, and what is damaged is named."""

import hashlib
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from course_lib.tokenization import BPETokenizer, files


@pytest.fixture
def saved(tokenizer, tmp_path):
    """The path of a saved tokenizer."""
    path = tmp_path / "tokenizer.json"
    tokenizer.save(path)
    return path


def rewrite(path, **changes):
    """Change entries of a tokenizer file and give it the SHA-256 that fits."""
    record = json.loads(path.read_text(encoding="utf-8"))
    record.pop("sha256")
    record.update(changes)
    record = {key: value for key, value in record.items() if value != "left out"}
    record["sha256"] = hashlib.sha256(json.dumps(record, sort_keys=True).encode()).hexdigest()
    path.write_text(json.dumps(record), encoding="utf-8")


def test_it_comes_back_the_same(tokenizers_by_pattern, corpora, tmp_path):
    for number, tokenizer in enumerate(tokenizers_by_pattern.values()):
        path = tmp_path / f"{number}.json"
        tokenizer.save(path)
        loaded = BPETokenizer.load(str(path))
        assert loaded == tokenizer
        assert loaded.special == tokenizer.special
        assert loaded.pattern == tokenizer.pattern
        for text in corpora["scripts"]:
            assert loaded.encode(text) == tokenizer.encode(text)


def test_saving_is_deterministic_and_leaves_nothing_else(saved, tokenizer):
    before = saved.read_bytes()
    tokenizer.encode("filling the cache")
    tokenizer.save(saved)
    assert saved.read_bytes() == before
    assert [path.name for path in saved.parent.iterdir()] == ["tokenizer.json"]


def test_a_failed_save_keeps_the_old_file(saved, tokenizer, monkeypatch):
    before = saved.read_bytes()
    monkeypatch.setattr(files.os, "replace", lambda *_: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        BPETokenizer([]).save(saved)
    assert saved.read_bytes() == before
    assert [path.name for path in saved.parent.iterdir()] == ["tokenizer.json"]


def test_a_file_cut_short_anywhere_is_refused(tmp_path):
    path = tmp_path / "small.json"
    BPETokenizer([(1, 1), (2, 3)], special_tokens=["<|é|>"]).save(path)
    whole = path.read_bytes()
    for length in range(len(whole) - 1):  # without the line end at its end it is still whole
        path.write_bytes(whole[:length])
        with pytest.raises(ValueError, match=r"small.json .*cut short"):
            BPETokenizer.load(path)


def test_a_changed_byte_anywhere_is_refused_or_changes_nothing(tmp_path):
    path = tmp_path / "small.json"
    original = BPETokenizer([(1, 1), (2, 3)], special_tokens=["<|é|>"])
    original.save(path)
    whole = path.read_bytes()

    @settings(max_examples=150, deadline=None, derandomize=True)
    @given(st.integers(0, len(whole) - 1), st.integers(0, 255))
    def check(place, byte):
        path.write_bytes(whole[:place] + bytes([byte]) + whole[place + 1 :])
        try:
            loaded = BPETokenizer.load(path)
        except ValueError as error:
            message = str(error)
        else:
            message = "small.json" if loaded == original else "another tokenizer was loaded"
        assert "small.json" in message

    check()


@pytest.mark.parametrize(
    ("contents", "message"),
    [
        (b"", "not valid JSON"),
        (b"\xff\xfe", "not valid JSON"),
        (b"[" * 100_000, "not valid JSON"),
        (b"[1, 2]", 'expected JSON with "format"'),
        (b'{"model": {}}', 'expected JSON with "format"'),
    ],
)
def test_other_files_are_refused(contents, message, tmp_path):
    path = tmp_path / "other.json"
    path.write_bytes(contents)
    with pytest.raises(ValueError, match=rf"other.json is no tokenizer file.*{message}"):
        BPETokenizer.load(path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"version": 3}, "has version 3 of the format, expected 1 or 2: a newer course_lib wrote it"),
        ({"version": 2}, "lacks 'added_tokens'; it has 'format', 'version', 'pattern', 'special_tokens', 'merges'"),
        ({"version": 2, "added_tokens": "<|user|>"}, "'added_tokens' is of the wrong kind, str"),
        ({"version": 2, "added_tokens": ["<|end|>"]}, r"holds no valid tokenizer: special token '<\|end\|>' is given"),
        ({"added_tokens": ["<|user|>"]}, "has unknown entries: 'added_tokens'"),
        ({"version": "left out"}, "has version None"),
        ({"merges": "left out"}, "lacks 'merges'; it has 'format', 'version', 'pattern', 'special_tokens'"),
        ({"merges": {}}, "'merges' is of the wrong kind, dict"),
        ({"pattern": 7}, "'pattern' is of the wrong kind, int"),
        ({"pattern": "gpt9"}, "holds no valid tokenizer: there is no pattern named 'gpt9'"),
        ({"special_tokens": [1]}, "holds no valid tokenizer: a special token must be a text"),
        ({"more": 1}, "has unknown entries: 'more'"),
        ({"merges": [[3, 4], [3]]}, r"merge 1 must be a pair of ids, got \[3\]"),
        ({"merges": [[3, True]]}, r"merge 0 must be a pair of ids, got \[3, True\]"),
        ({"merges": [[3, 4.0]]}, r"merge 0 must be a pair of ids, got \[3, 4.0\]"),
        ({"merges": [[3, 999]]}, r"holds no valid tokenizer: merge 0 joins the ids \(3, 999\)"),
        ({"merges": [[3, 4], [3, 4]]}, "holds no valid tokenizer: merge 1 makes"),
    ],
)
def test_inconsistent_contents_are_named(changes, message, saved):
    rewrite(saved, **changes)
    with pytest.raises(ValueError, match=message):
        BPETokenizer.load(saved)


def test_a_change_by_hand_does_not_go_unnoticed(saved):
    text = saved.read_text(encoding="utf-8")
    saved.write_text(text.replace('"gpt2"', '"gpt4"'), encoding="utf-8")
    with pytest.raises(ValueError, match="was changed or damaged: its contents do not fit its SHA-256"):
        BPETokenizer.load(saved)


def test_a_missing_file_is_a_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError):
        BPETokenizer.load(tmp_path / "none.json")
