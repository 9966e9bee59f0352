"""Sums as a corpus: what is learnt and held out, and how a model's answers to them are counted."""

import random
from types import SimpleNamespace

import pytest

from course_lib.data.sums import sums, verify
from course_lib.recipes import pretrain
from course_lib.recipes.sums_corpus import from_sums, solved
from course_lib.tokenization import train_bpe
from course_lib.zoo import load_folder


def problem_of(text):
    return text[: text.index("=") + 1]


class Answering:
    """A model's stand-in that solves every second problem, and shows its work for those it gets wrong."""

    tokenizer = train_bpe(["1 + 1 = 2"], vocab_size=260, special_tokens=["<|endoftext|>"])
    model = SimpleNamespace(config=SimpleNamespace(context_length=64))

    def __init__(self, problems):
        self.order = {each.problem: number for number, each in enumerate(problems)}
        self.values = {each.problem: each.value for each in problems}
        self.asked = []

    def complete(self, prompts, *, max_new_tokens, temperature):
        self.asked.append((len(prompts), temperature))
        return [" 1+1=3. Answer: 0" if self.order[prompt] % 2 else f" {self.values[prompt]}" for prompt in prompts]


def test_all_are_right_and_as_many_are_worked_out_as_asked():
    found = from_sums(400, seed=3, worked_share=0.35)
    texts = found.train["text"]
    assert all(verify(problem_of(text), text[len(problem_of(text)) :]) for text in texts)
    works = random.Random(3)
    assert ["Answer" in text for text in texts] == [works.random() < 0.35 for _ in texts]
    assert (len(texts), len(found.validation)) == (400, 40)


def test_nothing_that_is_learnt_is_held_out_or_asked():
    found = from_sums(3000, seed=0)
    turned = {problem_of(text) for text in found.train["text"]}
    turned |= {" + ".join(reversed(problem.removesuffix(" =").split(" + "))) + " =" for problem in turned}
    assert not turned & {problem_of(text) for text in found.validation["text"]}
    assert not turned & set(found.prompts)


def test_digits_are_tokens_of_their_own():
    found = from_sums(50, seed=0, digits=3)
    tokenizer = train_bpe(found.train["text"], vocab_size=269, special_tokens=["<|endoftext|>"], pattern=found.pattern)
    pieces = [tokenizer.decode([token]) for token in tokenizer.encode("123 + 45 = 168")]
    assert pieces == list("123 + 45 = 168")
    assert len(tokenizer.encode(" Answer:")) == 1


def test_answers_are_counted():
    problems = list(dict.fromkeys(sums(40, seed=1, split="evaluation")))[:10]
    model = Answering(problems)
    measured, scores = solved(model, problems)
    assert model.asked == [(80, 1.0), (10, 0.0)]
    assert scores["this model, temperature 1"] == {
        "pass@1": 0.5,
        "pass@8": 0.5,
        "shows its work": 0.5,
        "right with its work": 0.0,
        "right at once": 1.0,
    }
    assert scores["greedy"]["pass@1"] == 0.5
    values = [each.value for each in problems]
    assert scores["always the commonest value"]["pass@1"] == max(values.count(value) for value in values) / 10
    assert measured.startswith("Share of 10 problems held out")


def test_mistakes_are_named():
    with pytest.raises(ValueError, match=r"must lie between 0 and 1, got 1\.5"):
        from_sums(10, seed=0, worked_share=1.5)
    with pytest.raises(ValueError, match="the number of sums must be at least 1, got 0"):
        from_sums(0, seed=0)
    with pytest.raises(ValueError, match="operations must be some of"):
        from_sums(10, seed=0, operations="/")


def test_the_command_trains_a_calculator_of_sorts(monkeypatch, tmp_path):
    monkeypatch.setattr("course_lib.recipes.sums_corpus._NUM_PROBLEMS", 8)
    words = (
        "--sums 300 --worked 0.35 --digits 1 --vocab-size 262 --width 16 --layers 1 --heads 2 --context 64 --warmup 1 "
        "--batch-size 4 --steps 4 --device cpu --peak-tflops 0.1 --no-progress --out"
    )
    monkeypatch.setattr("sys.argv", ["pretrain", *words.split(), str(tmp_path / "calculator")])
    with pytest.raises(SystemExit) as ended:
        pretrain.main()
    assert ended.value.code == 0
    card = load_folder(tmp_path / "calculator" / "model").card
    assert "up to 1 digits, operations +, a share of 0.35 with their work shown" in card.data
    assert set(card.scores) == {"this model, temperature 1", "greedy", "always the commonest value"}
    assert "| always the commonest value |" in card.markdown()
    assert all(sample.startswith(problem_of(sample)) for sample in card.samples)
