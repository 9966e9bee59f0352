"""Text through `datasets`: streamed, written as Parquet, tokenised by map, packed, and gone on with after a stop."""

import datasets
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from course_lib.data import PackedStream, from_files, pack
from course_lib.loops import Checkpoints, Run, classification, fit

END = 256
TEXTS = ["Käse", "one\ntwo", "a longer line of text", "x"]


def to_ids(row):
    return {"ids": list(row["text"].encode())}


class TestFiles:
    def test_parquet_gives_back_what_was_written(self, tmp_path):
        written = datasets.Dataset.from_dict({"text": TEXTS, "stars": [1, 2, 3, 4]})
        path = tmp_path / "a.parquet"
        written.to_parquet(path)
        assert from_files(path, kind="text").to_list() == written.to_list()
        stream = from_files(path, kind="text", streaming=True)
        assert isinstance(stream, datasets.IterableDataset)
        assert list(stream) == written.to_list()

    @pytest.mark.parametrize("streaming", [False, True])
    @pytest.mark.parametrize(
        ("sample_by", "rows"),
        [
            ("line", ["one", "", "two", "three", "four"]),
            ("paragraph", ["one", "two", "three\nfour"]),
            ("document", ["one\n\ntwo", "three\nfour"]),
        ],
    )
    def test_a_row_is_a_line_a_paragraph_or_a_file(self, tmp_path, sample_by, rows, streaming):
        (tmp_path / "a.txt").write_text("one\n\ntwo")
        (tmp_path / "b.txt").write_text("three\nfour")
        found = from_files(tmp_path, kind="text", sample_by=sample_by, streaming=streaming)
        assert [row["text"] for row in found] == rows

    def test_a_stream_renames_its_column_of_text(self, tmp_path):
        (tmp_path / "a.csv").write_text("body,id\nhello,1\n")
        assert list(from_files(tmp_path, kind="text", text_column="body", streaming=True)) == [
            {"text": "hello", "id": 1}
        ]

    @pytest.mark.parametrize(
        ("content", "message"),
        [
            ('{"body": "hello", "id": 1}', r"expected a column 'text' in .* found body, id"),
            ('{"text": 5}', "column 'text' of .* holds int, expected text"),
            ('{"text": "cut off', r"cannot read .* as \.jsonl .* Expected UTF-8"),
        ],
    )
    def test_what_is_wrong_with_a_stream_is_said_at_the_call(self, tmp_path, content, message):
        (tmp_path / "a.jsonl").write_text(content)
        with pytest.raises(ValueError, match=message):
            from_files(tmp_path, kind="text", streaming=True)

    def test_bad_options_are_refused(self, tmp_path):
        (tmp_path / "a.csv").write_text("text\nhello\n")
        with pytest.raises(ValueError, match=r"sample_by must be one of line, paragraph, document, got 'word'"):
            from_files(tmp_path, kind="text", sample_by="word")
        with pytest.raises(ValueError, match=r"sample_by is for \.txt files; .* holds \.csv files"):
            from_files(tmp_path, kind="text", sample_by="document")
        with pytest.raises(ValueError, match=r"each of text_column, sample_by and streaming is for kind='text'"):
            from_files(tmp_path, kind="images", streaming=True)


@pytest.fixture
def rows(tmp_path):
    """Rows of ids that are made while a Parquet file is read."""
    datasets.Dataset.from_dict({"text": TEXTS}).to_parquet(tmp_path / "data" / "a.parquet")
    return from_files(tmp_path / "data", kind="text", streaming=True).map(to_ids, remove_columns=["text"])


class TestPackedStream:
    @pytest.mark.parametrize("batch_size", [1, 2, 3, 100])
    def test_its_windows_are_those_of_pack(self, rows, batch_size):
        packed = pack([list(text.encode()) for text in TEXTS], context_length=4, separator=END)
        batches = list(PackedStream(rows, context_length=4, separator=END, batch_size=batch_size))
        assert [len(x) for x, _ in batches[:-1]] == [batch_size] * (len(batches) - 1)
        for side, whole in enumerate(packed):
            assert torch.equal(torch.cat([batch[side] for batch in batches]), whole)

    @given(
        documents=st.lists(st.lists(st.integers(0, 9), max_size=20), min_size=1, max_size=6).filter(any),
        context_length=st.integers(1, 5),
        batch_size=st.integers(1, 4),
        skipped=st.integers(0, 9),
    )
    def test_no_token_is_lost_and_skip_leaves_out_the_first(self, documents, context_length, batch_size, skipped):
        options = {"context_length": context_length, "separator": END, "batch_size": batch_size, "epochs": 2}
        stream = PackedStream([{"ids": document} for document in documents], **options)
        batches = [y for _, y in stream]
        assert torch.cat([y[y != -100] for y in batches]).tolist() == 2 * [
            token for document in documents if document for token in (*document, END)
        ]
        rest = [y for _, y in stream.skip(1).skip(skipped)]
        assert [y.tolist() for y in rest] == [y.tolist() for y in batches[1 + skipped :]]

    def test_a_stream_without_end_goes_round(self):
        stream = PackedStream([{"ids": [1]}], context_length=2, separator=END, batch_size=1, epochs=None)
        assert next(iter(stream.skip(1000)))[1].tolist() == [[1, END]]

    def test_stopped_and_started_again_fit_ends_with_the_same_bits(self, rows, tmp_path):
        def script(folder, steps):
            torch.manual_seed(0)
            model = torch.nn.Sequential(torch.nn.Embedding(257, 8), torch.nn.Linear(8, 257))
            run = Run(model, classification, torch.optim.AdamW(model.parameters(), lr=0.01))
            batches = PackedStream(rows, context_length=4, separator=END, batch_size=2, epochs=None)
            checkpoints = Checkpoints(tmp_path / folder)
            return fit(run, batches, steps=steps, every=2, checkpoints=checkpoints, progress=False).losses

        unbroken = script("unbroken", 10)
        script("broken", 6)
        assert script("broken", 10) == unbroken

    @pytest.mark.parametrize(
        ("rows", "options", "message"),
        [
            (iter([{"ids": [1]}]), {}, "used up after one pass"),
            ([], {"batch_size": 0}, "batch_size must be at least 1 window, got 0"),
            ([], {"epochs": 0}, "epochs must be at least 1"),
            ([], {"start": -1}, "start counts batches consumed"),
            ([], {"context_length": 0}, "context_length must be at least 1"),
        ],
    )
    def test_bad_settings_are_named_at_the_call(self, rows, options, message):
        with pytest.raises(ValueError, match=message):
            PackedStream(rows, **({"context_length": 4, "separator": END, "batch_size": 2} | options))

    @pytest.mark.parametrize(
        ("rows", "message"),
        [
            ([{"text": "x", "id": 1}], "expected a column 'ids' of token ids in row 0, found text, id"),
            ([{"ids": [1]}, {"ids": None}], "a list of token ids in column 'ids', row 1 holds None"),
            ([{"ids": [1]}, {"ids": ["x"]}], "document 1 must be a sequence of token ids"),
            ([{"ids": []}], "no token in the whole stream"),
            ([], "no token in the whole stream"),
        ],
    )
    def test_bad_rows_are_named_when_they_come(self, rows, message):
        with pytest.raises(ValueError, match=message):
            list(PackedStream(rows, context_length=4, separator=END, batch_size=2))

    def test_skip_goes_forward_only(self):
        with pytest.raises(ValueError, match="skip needs a number of batches"):
            PackedStream([], context_length=4, separator=END, batch_size=2).skip(-1)


@pytest.mark.parametrize("rank", [0, 1])
def test_two_ranks_share_every_batch(rank, monkeypatch):
    x, y = pack([list(range(30))], context_length=4, separator=END)
    for name, answer in (("is_initialized", True), ("get_rank", rank), ("get_world_size", 2)):
        monkeypatch.setattr(torch.distributed, name, lambda answer=answer: answer)
    stream = PackedStream([{"ids": list(range(30))}], context_length=4, separator=END, batch_size=3)
    batches = list(stream)
    assert stream.split_by_rank
    assert len(batches) == 3  # 31 targets are 8 windows
    for first, (x_mine, y_mine) in zip((0, 3, 6), batches, strict=True):
        assert torch.equal(x_mine, x[first + rank : first + 3 : 2])
        assert torch.equal(y_mine, y[first + rank : first + 3 : 2])


def test_a_place_that_is_given_wins():
    """Ranks that split the model, not the rows, must all see the same ones."""
    options = {"context_length": 4, "separator": END, "batch_size": 3}
    rows = [{"ids": list(range(30))}]
    whole = list(PackedStream(rows, **options))
    parts = [list(PackedStream(rows, **options, rank=rank, world_size=2).skip(1)) for rank in (0, 1)]
    for (x, y), *places in zip(whole[1:], *parts, strict=True):
        for rank, (x_mine, y_mine) in enumerate(places):
            assert torch.equal(x_mine, x[rank::2])
            assert torch.equal(y_mine, y[rank::2])
    with pytest.raises(ValueError, match="give rank and world_size together, got rank=1, world_size=None"):
        PackedStream(rows, **options, rank=1)
    with pytest.raises(ValueError, match="rank must lie in 0 to world_size - 1, got rank 2 of 2"):
        PackedStream(rows, **options, rank=2, world_size=2)
