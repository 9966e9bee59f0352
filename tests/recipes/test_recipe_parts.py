"""The parts of the recipe: settings that are checked, text that is held out, batches of tokens."""

from dataclasses import replace

import datasets
import numpy as np
import pytest

from course_lib.data import PackedStream
from course_lib.nn.transformer import Transformer
from course_lib.recipes.corpus import Corpus, from_name, from_path, from_tales
from course_lib.recipes.settings import Settings
from course_lib.recipes.tokens import tokenise, tokenizer_for


def corpus_of(train, validation):
    return Corpus(
        datasets.Dataset.from_dict({"text": train}), datasets.Dataset.from_dict({"text": validation}), "", "", "", ("",)
    )


class TestCorpus:
    def test_with_few_documents_the_end_of_each_is_held_out(self, tmp_path):
        (tmp_path / "a.txt").write_text("abcdefghij")
        (tmp_path / "b.txt").write_text("0123456789")
        found = from_path(tmp_path, validation_share=0.2, seed=0)
        assert list(found.train["text"]) == ["abcdefgh", "01234567"]
        assert list(found.validation["text"]) == ["ij", "89"]

    def test_with_many_documents_some_are_held_out(self, text_file):
        folder = text_file.parent
        text_file.unlink()
        for number in range(50):
            (folder / f"{number}.txt").write_text(f"document {number}")
        found = from_path(folder, validation_share=0.1, seed=0)
        train, validation = set(found.train["text"]), set(found.validation["text"])
        assert (len(train), len(validation)) == (45, 5)
        assert train | validation == {f"document {number}" for number in range(50)}
        assert set(from_path(folder, validation_share=0.1, seed=1).validation["text"]) != validation

    def test_a_table_has_a_document_a_row_and_empty_ones_are_passed_over(self, tmp_path):
        (tmp_path / "a.csv").write_text("body,id\n" + "".join(f"line {n},1\n  ,2\n" for n in range(30)))
        found = from_path(tmp_path, text_column="body", validation_share=0.1, seed=0)
        assert len(found.train) + len(found.validation) == 30

    def test_any_one_file_of_text_will_do(self, tmp_path):
        (tmp_path / "a.md").write_text("# Title\n\nText with an ä.\n")
        found = from_path(tmp_path / "a.md", validation_share=0.25, seed=0)
        assert found.train["text"][0] + found.validation["text"][0] == "# Title\n\nText with an ä.\n"
        (tmp_path / "b.md").write_bytes("ä".encode("latin-1"))
        with pytest.raises(ValueError, match=r"b\.md is not UTF-8 text"):
            from_path(tmp_path / "b.md", validation_share=0.25, seed=0)

    def test_a_set_of_the_hub_with_another_column(self, tmp_path):
        rows = {"text": ["no"] * 40, "story": [f"story {number}" for number in range(40)]}
        datasets.Dataset.from_dict(rows).to_parquet(tmp_path / "set" / "data" / "train-00000-of-00001.parquet")
        found = from_name(str(tmp_path / "set"), config=None, text_column="story", validation_share=0.1, seed=0)
        assert {*found.train["text"], *found.validation["text"]} == set(rows["story"])
        with pytest.raises(ValueError, match="has no column 'tale', it has text, story"):
            from_name(str(tmp_path / "set"), config=None, text_column="tale", validation_share=0.1, seed=0)

    def test_a_text_too_short_to_be_divided_is_said(self, tmp_path):
        for share in (0.05, 0.95):
            (tmp_path / "a.txt").write_text("ab")
            with pytest.raises(ValueError, match=r"the text in a\.txt.* is too short: .* leaves nothing"):
                from_path(tmp_path / "a.txt", validation_share=share, seed=0)

    def test_the_folder_one_stands_in_has_its_name_on_the_card(self, text_file, monkeypatch):
        monkeypatch.chdir(text_file.parent)
        assert from_path(".", validation_share=0.1, seed=0).data.startswith("files in text;")

    @pytest.mark.parametrize("num_documents", [30, 1000])
    def test_a_stream_needs_more_than_is_held_out(self, tmp_path, num_documents):
        table = tmp_path / "rows.jsonl"
        table.write_text("".join(f'{{"text": "document {number}"}}\n' for number in range(num_documents)))
        with pytest.raises(ValueError, match=rf"has {num_documents} documents, the first 1,000 .* without streaming"):
            from_path(table, validation_share=0.1, seed=0, streaming=True)

    def test_a_stream_of_one_more_document_learns_from_that(self, tmp_path):
        table = tmp_path / "rows.jsonl"
        table.write_text("".join(f'{{"text": "document {number}"}}\n' for number in range(1001)))
        found = from_path(table, validation_share=0.1, seed=0, streaming=True)
        assert len(found.validation) == 1000
        assert [row["text"] for row in found.train] == ["document 1000"]

    @pytest.mark.parametrize("option", [{"streaming": True}, {"text_column": "body"}])
    def test_one_file_of_text_has_no_rows(self, tmp_path, option):
        (tmp_path / "a.md").write_text("Some text.")
        with pytest.raises(ValueError, match=r"a\.md is one document: .* do not apply"):
            from_path(tmp_path / "a.md", validation_share=0.25, seed=0, **option)

    @pytest.mark.parametrize("share", [0.0, 1.0, -1.0])
    def test_the_share_held_out_is_a_share(self, text_file, share):
        with pytest.raises(ValueError, match="must lie between 0 and 1"):
            from_path(text_file, validation_share=share, seed=0)

    def test_only_white_space_is_no_text(self, tmp_path):
        (tmp_path / "a.txt").write_text(" \n ")
        with pytest.raises(ValueError, match=r"there is no text in a\.txt"):
            from_path(tmp_path / "a.txt", validation_share=0.1, seed=0)

    def test_stories_are_not_those_held_out(self):
        found = from_tales(200, seed=3)
        assert not set(found.train["text"]) & set(found.validation["text"])
        assert (len(found.train), len(found.validation)) == (200, 20)
        assert found.validation_nats > 20 * 10


class TestTokens:
    def test_what_is_learnt_is_the_text(self, lines, settings, tmp_path):
        corpus = corpus_of(lines[:50], lines[50:])
        tokenizer = tokenizer_for(corpus, tmp_path / "tokenizer.json", vocab_size=settings.vocab_size)
        tokens = tokenise(corpus, tokenizer, settings)
        end = "<|endoftext|>"
        assert tokenizer.decode(tokens.stream(10**9)) == "".join(line + end for line in lines[:50])
        assert tokenizer.decode(tokens.held_out()) == "".join(line + end for line in lines[50:])
        assert tokens.num_train == len(tokens.stream(10**9))
        assert tokens.num_validation_bytes == sum(map(len, lines[50:]))
        assert tokenizer_for(corpus, tmp_path / "tokenizer.json", vocab_size=999) == tokenizer  # it was kept

    def test_a_stream_gives_the_same_tokens(self, lines, settings, tmp_path):
        corpus = corpus_of(lines[:50], lines[50:])
        streaming = replace(corpus, train=corpus.train.to_iterable_dataset())
        tokenizer = tokenizer_for(streaming, tmp_path / "tokenizer.json", vocab_size=settings.vocab_size)
        tokens = tokenise(streaming, tokenizer, settings)
        assert isinstance(tokens.train, PackedStream)
        whole = tokenise(corpus, tokenizer, settings).stream(300)
        assert np.array_equal(tokens.stream(300), whole)

    def test_what_does_not_fit_into_memory_is_read_from_disk_shuffled(self, lines, settings, tmp_path, monkeypatch):
        monkeypatch.setattr("course_lib.recipes.tokens._IN_MEMORY_TOKENS", 100)
        corpus = corpus_of(lines[:50], lines[50:])
        tokenizer = tokenizer_for(corpus, tmp_path / "tokenizer.json", vocab_size=settings.vocab_size)
        tokens = tokenise(corpus, tokenizer, settings)
        assert isinstance(tokens.train, PackedStream)
        found = tokenizer.decode(tokens.stream(10**9)).split("<|endoftext|>")[:-1]
        assert found != lines[:50]
        assert sorted(found) == sorted(lines[:50])
        assert tokens.num_train == len(tokens.stream(10**9))

    def test_text_that_looks_like_a_special_token_is_text(self, settings, tmp_path):
        corpus = corpus_of(["about <|endoftext|> " * 50], ["x"])
        tokenizer = tokenizer_for(corpus, tmp_path / "tokenizer.json", vocab_size=settings.vocab_size)
        tokens = tokenise(corpus, tokenizer, settings)
        assert (tokens.stream(10**9) == tokenizer.special["<|endoftext|>"]).sum() == 1


class TestSettings:
    def test_only_matrices_decay(self, settings):
        model = Transformer(replace(settings, architecture="gpt").config())
        decayed, others = settings.optimizer(model).param_groups
        assert (decayed["weight_decay"], others["weight_decay"]) == (0.1, 0.0)
        assert {weight.ndim for weight in decayed["params"]} == {2}
        assert {weight.ndim for weight in others["params"]} == {1}
        assert len(decayed["params"]) + len(others["params"]) == len(list(model.parameters()))

    @pytest.mark.parametrize(
        ("schedule", "shares"),
        [
            ("cosine", [0.25, 1.0, 1.0, 0.55, 0.1]),
            ("wsd", [0.25, 1.0, 1.0, 1.0, 0.0]),
            ("constant", [0.25, 1.0, 1.0, 1.0, 1.0]),
        ],
    )
    def test_rates_at_the_start_the_peak_half_way_and_the_end(self, schedule, shares):
        chosen = Settings(schedule=schedule, steps=104, warmup=4)
        assert [chosen.rates(step) for step in (0, 3, 4, 54, 104)] == pytest.approx(shares)

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"batch_size": 0}, "batch_size must be at least 1, got 0"),
            ({"accumulate": 0}, "accumulate must be at least 1"),
            ({"steps": 0}, "steps must be at least 1"),
            ({"warmup": 20}, r"less than steps \(20\), got 20"),
            ({"batch_size": 4.0}, "batch_size must be a whole number, got 4.0"),
            ({"steps": True}, "steps must be a whole number, got True"),
            ({"num_heads": None}, "num_heads must be a whole number, got None"),
            ({"num_kv_heads": 1.0}, "num_kv_heads must be a whole number, got 1.0"),
            ({"vocab_size": 256}, "vocab_size must be at least 257, 256 bytes and the end of a text, got 256"),
            ({"max_grad_norm": 0.0}, "max_grad_norm must be positive"),
            ({"max_grad_norm": float("nan")}, "max_grad_norm must be positive"),
            ({"z_loss": -1.0}, "z_loss must be finite and at least 0, got -1.0"),
            ({"z_loss": float("nan")}, "z_loss must be finite and at least 0"),
            ({"learning_rate": float("nan")}, "learning_rate must be positive and finite"),
            ({"weight_decay": -1.0}, "weight_decay must be finite and at least 0"),
            ({"ema": 1.0}, "ema must be at least 0 and less than 1"),
            ({"beta2": 1.0}, "beta2 must be at least 0 and less than 1"),
            ({"seed": -1}, "seed must be 0 or more"),
            ({"architecture": "lstm"}, "architecture must be one of llama, gpt, got 'lstm'"),
            ({"schedule": "steps"}, "schedule must be one of cosine, wsd, constant"),
            ({"precision": "fp8"}, "precision must be one of fp32, bf16, fp16"),
            ({"num_heads": 5}, "5"),
        ],
    )
    def test_what_cannot_be_is_named(self, settings, change, message):
        with pytest.raises(ValueError, match=message):
            replace(settings, **change)
