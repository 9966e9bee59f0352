"""The recipe that teaches a story model to answer: what it learns from, what it writes, what it says to a mistake."""

import re
from dataclasses import asdict, replace

import pytest
import torch
import torch.nn.functional as F
from torch.testing import assert_close

from course_lib.alignment import ChatTemplate, demonstrations, follows, story_instructions, story_taste
from course_lib.data.tales import tales
from course_lib.loops.fit_record import FitRecord
from course_lib.nn.transformer import Transformer, llama
from course_lib.recipes import fine_tune
from course_lib.recipes.story_chats import answered, following, story_examples
from course_lib.recipes.tensor_training import TensorSettings
from course_lib.tokenization import train_bpe
from course_lib.zoo import Card, Pretrained, load_folder, save

EXACT = {"rtol": 0, "atol": 0}
SETTINGS = TensorSettings(steps=12, batch_size=2, warmup=1, learning_rate=1e-2, ema=0.0)


@pytest.fixture(scope="module")
def base():
    """A small model that knows no story."""
    tokenizer = train_bpe([tale.text for tale in tales(200, seed=0)], vocab_size=600, special_tokens=["<|endoftext|>"])
    config = llama(vocab_size=600, width=16, num_layers=1, num_heads=2, context_length=400, tied=True)
    model = Transformer(config, generator=torch.Generator().manual_seed(0)).eval()
    card = Card(
        "tiny",
        "",
        architecture=asdict(config),
        num_parameters=0,
        tokenizer="",
        data="a line",
        data_licence="CC0-1.0",
        licence="",
        limits="",
        recipe="",
        seed=0,
        training={},
        versions={},
        validation={},
    )
    return Pretrained(model, tokenizer, card)


@pytest.fixture(autouse=True)
def small(monkeypatch):
    monkeypatch.setattr(fine_tune, "_HELD_OUT", 6)
    monkeypatch.setattr(fine_tune, "_NUM_REQUESTS", 4)


def train(base, out, settings=SETTINGS, **options):
    chosen = {"num_demonstrations": 20, "every": 5} | options
    return fine_tune.fine_tune(base, settings, out=out, name="small", recipe="by hand", progress=False, **chosen)


class TestExamples:
    def test_each_conversation_comes_once_and_only_answers_are_learnt(self, base):
        template = ChatTemplate()
        tokenizer = base.tokenizer.with_special(template.marks)
        rows = story_examples(30, tokenizer, template=template, length=400, seed=3)
        whole = "".join(tokenizer.decode(row.tokens) for row in rows)
        talks = demonstrations(30, seed=3)
        assert sorted(whole.split("<|user|>")[1:]) == sorted(
            template.render(talk).removeprefix("<|user|>") for talk in talks
        )
        learnt = [
            tokenizer.decode([token for token, kept in zip(row.tokens, row.trained, strict=True) if kept])
            for row in rows
        ]
        assert sorted("".join(learnt).split("<|end|>")[:-1]) == sorted(talk[-1]["content"] for talk in talks)

    def test_nothing_that_is_learnt_is_held_out(self):
        learnt = {talk[-1]["content"] for talk in demonstrations(400, seed=0)}
        held_out = {
            talk[-1]["content"] for seed in (0, 1) for talk in demonstrations(100, seed=seed, split="evaluation")
        }
        assert not learnt & held_out


class TestFigures:
    def test_the_loss_is_that_of_the_answers(self, base):
        """The oracle goes through each conversation alone, token by token."""
        template = ChatTemplate()
        tokenizer = base.tokenizer.with_special(template.marks)
        config = replace(base.model.config, vocab_size=tokenizer.vocab_size)
        model = Transformer(config, generator=torch.Generator().manual_seed(1)).eval()
        examples = [template.encode(tokenizer, talk) for talk in demonstrations(5, seed=2)]
        found = answered(model, examples, tokenizer)
        nats, num_tokens = 0.0, 0
        for example in examples:
            logits = model(torch.tensor([example.tokens]))[0].double()
            for place, learnt in enumerate(example.trained):
                if learnt:
                    nats += F.cross_entropy(logits[place - 1], torch.tensor(example.tokens[place])).item()
                    num_tokens += 1
        num_bytes = sum(len(talk[-1]["content"].encode()) for talk in demonstrations(5, seed=2))
        assert (found["num_tokens"], found["num_bytes"]) == (num_tokens, num_bytes)
        assert found["nats_per_token"] == pytest.approx(nats / num_tokens, abs=1e-4)
        assert found["bits_per_byte"] == pytest.approx(nats / num_bytes / 0.6931471805599453, abs=1e-4)

    def test_answers_are_counted_beside_the_best_and_beside_ignoring_the_request(self):
        requests = story_instructions(20, seed=5, split="evaluation")
        _, scores = following({"silence": lambda asked: [""] * len(asked)}, num=20, seed=5)
        assert scores["silence"] == {
            "met of what was asked": 0.0,
            **dict.fromkeys(("hero", "wish", "kindness", "ending", "length"), 0.0),
            "met in every point": 0.0,
            "whole tales": 0.0,
            "gold reward": -1.0,
        }
        best, other = scores["the tale behind the request"], scores["the tale behind another"]
        assert (best["met of what was asked"], best["met in every point"], best["whole tales"]) == (1.0, 1.0, 1.0)
        told = [talk[-1]["content"] for talk in demonstrations(20, seed=5, split="evaluation")]
        assert best["gold reward"] == pytest.approx(story_taste(told, requests).mean().item(), abs=5e-4)
        shares = [follows(text, request).share for text, request in zip(told[1:] + told[:1], requests, strict=True)]
        assert other["met of what was asked"] == pytest.approx(sum(shares) / 20, abs=5e-4)
        assert other["met of what was asked"] < 0.7
        named = [
            follows(text, each)
            for text, each in zip(told[1:] + told[:1], requests, strict=True)
            if "ending" in each.asked
        ]
        assert other["ending"] == pytest.approx(sum("ending" in each.met for each in named) / len(named), abs=5e-4)


class TestWhatItWrites:
    def test_the_folder_holds_a_model_that_answers_and_its_card(self, base, tmp_path):
        found = train(base, tmp_path)
        back = load_folder(tmp_path / "model")
        assert_close(back.model.state_dict(), found.model.state_dict(), **EXACT)
        assert back.card == found.card
        assert back.tokenizer.special["<|end|>"] == 603
        assert len(back.chat.reply(["Tell a story."], max_new_tokens=5)) == 1
        taught, before = back.card.validation, back.card.baselines["tiny, not taught"]
        assert taught["nats_per_token"] < before["nats_per_token"] - 0.3
        assert set(back.card.scores) == {
            "this model",
            "tiny, not taught",
            "the tale behind the request",
            "the tale behind another",
        }

    def test_old_rows_are_where_it_begins(self, base, tmp_path):
        found = train(base, tmp_path, replace(SETTINGS, learning_rate=1e-12))
        kept = found.model.embedding.weight[:600]
        assert_close(kept, base.model.embedding.weight.bfloat16().float(), **EXACT)

    def test_interrupted_and_started_again_it_ends_with_the_same_bits(self, base, tmp_path, monkeypatch):
        take = FitRecord.take

        def interrupt(record, step):
            if step.index == 8:
                raise KeyboardInterrupt
            take(record, step)

        monkeypatch.setattr(FitRecord, "take", interrupt)
        with (
            pytest.warns(UserWarning, match="interrupted after"),
            pytest.raises(KeyboardInterrupt, match=r"after 8 of 12 updates: .* from the checkpoint at update 5"),
        ):
            train(base, tmp_path / "broken")
        monkeypatch.setattr(FitRecord, "take", take)
        found = [train(base, tmp_path / name).model.state_dict() for name in ("broken", "unbroken")]
        assert_close(found[0], found[1], **EXACT)

    def test_another_base_in_the_same_folder_is_refused(self, base, tmp_path):
        train(base, tmp_path)
        with pytest.raises(ValueError, match="base was None and is 'abc'"):
            train(replace(base, card=replace(base.card, files={"weights.safetensors": "abc"})), tmp_path)

    def test_mistakes_are_named(self, base, tmp_path):
        with pytest.raises(ValueError, match=r"2 demonstrations make \d rows of text, a batch takes 8"):
            train(base, tmp_path, replace(SETTINGS, batch_size=8), num_demonstrations=2)
        taught = train(base, tmp_path / "taught")
        with pytest.raises(ValueError, match=r"<\|system\|>"):
            train(taught, tmp_path / "again")


def test_from_the_command_line(base, tmp_path, monkeypatch, capsys):
    save(tmp_path / "base", base)
    words = "--num-demonstrations 8 --steps 2 --warmup 1 --batch-size 2 --device cpu --no-progress --out"

    def start(*more):
        monkeypatch.setattr("sys.argv", ["fine_tune", *words.split(), str(tmp_path / "run"), *more])
        with pytest.raises(SystemExit) as ended:
            fine_tune.main()
        return ended.value.code, *capsys.readouterr()

    code, out, _ = start("--base", str(tmp_path / "base"))
    assert (code, "nats a token of the answers" in out, "the tale behind another: met of" in out) == (0, True, True)
    assert load_folder(tmp_path / "run" / "model").card.name == "run"
    code, _, err = start("--base", "tales")
    assert code == 2
    assert re.fullmatch(r"fine_tune: there is no model 'tales' in the zoo; there are: .*\n", err)


def test_a_model_that_was_never_taught_says_so(base):
    with pytest.raises(ValueError, match=r"has no special token <\|system\|>"):
        base.chat.reply(["Hello?"])
