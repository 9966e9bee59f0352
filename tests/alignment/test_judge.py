"""The judge: true labels, log-odds against a regression by scikit-learn, nothing changed by judging, agreement."""

import copy

import pytest
import torch
from torch.testing import assert_close

from course_lib.alignment import Judge, Judgement, Principle, SimulatedRater, judgements, written_principles
from course_lib.data.tales import parse, split_of
from course_lib.nn.transformer import Transformer, llama
from course_lib.tokenization import BPETokenizer

KIND, SHORT = Principle("Be kind.", "kindness", "kind"), Principle("Be short.", "length", "short")
DEEDS = ["helped", "ran", "helped a heron", "left the heron", "helped two lambs", "slept", "was helped", "ran away"]
CASES = [Judgement(KIND, f"A fox {deed}.", "helped" in deed) for deed in DEEDS]
CASES += [Judgement(SHORT, case.story, len(case.story) < 14) for case in CASES]


@pytest.fixture
def model():
    config = llama(vocab_size=257, width=16, num_layers=1, num_heads=2, context_length=32)
    return Transformer(config, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def tokenizer():
    return BPETokenizer([], special_tokens=["<|endoftext|>"])


def test_labels_are_true_of_the_stories():
    cases = judgements(64, seed=3, principles=written_principles(), split="evaluation")
    for case in cases:
        tale = parse(case.story)
        truth = getattr(tale, case.principle.aspect) == case.principle.value
        assert case.keeps == truth == case.principle.holds(tale)
        assert split_of(case.story) == "evaluation"
    assert cases == judgements(64, seed=3, principles=written_principles(), split="evaluation")


def test_every_principle_comes_as_often_and_half_of_the_answers_are_yes():
    asked = written_principles()
    cases = judgements(480, seed=0, principles=asked)
    assert all(sum(case.principle == principle for case in cases) == 60 for principle in asked)
    assert abs(sum(case.keeps for case in cases) - 240) < 4 * 11  # 4 standard deviations of a fair coin
    assert {principle.aspect for principle in written_principles(aspect="ending")} == {"ending"}


def test_no_story_comes_twice_even_where_few_keep_to_a_principle():
    long = [principle for principle in written_principles() if principle.value == "long"]
    cases = judgements(300, seed=0, principles=long)
    assert len({case.story for case in cases}) == 300
    assert judgements(4, seed=0, principles=long) == judgements(300, seed=0, principles=long)[:4]
    with pytest.raises(ValueError, match=r"too few stories keep to .*bravely"):
        judgements(9, seed=0, principles=[Principle("Be brave.", "ending", "bravely")])


def test_log_odds_are_those_of_a_regression_on_the_mean_of_what_was_read(model, tokenizer):
    from sklearn.linear_model import LogisticRegression
    from sklearn.preprocessing import StandardScaler

    def read(story):
        tokens = torch.tensor([[0, *tokenizer.encode(story)]])
        return model.hidden_states(tokens)[0].mean(0).detach().double().numpy()

    judge = Judge(model, tokenizer, CASES, separator=0, l2=0.05)
    scaler = StandardScaler()
    rows = scaler.fit_transform([read(case.story) for case in CASES[:8]])
    # of two classes both have weights to be penalised here, one has there: half the penalty
    regression = LogisticRegression(C=2 / (0.05 * 8), tol=1e-10, max_iter=2000)
    regression.fit(rows, [case.keeps for case in CASES[:8]])
    stories = ["A mole helped.", "", "A fox ran home."]
    expected = regression.decision_function(scaler.transform([read(story) for story in stories]))
    # features are computed in float32 in batches of other widths
    assert_close(judge.log_odds(KIND.text, stories), torch.tensor(expected), rtol=1e-3, atol=1e-3)
    assert_close(judge.probability(KIND.text, stories), judge.log_odds(KIND.text, stories).sigmoid())
    assert judge.log_odds(KIND.text, []).shape == (0,)


def test_each_principle_has_its_own_say_and_agreement_counts_what_is_right(model, tokenizer):
    judge = Judge(model, tokenizer, CASES, separator=0, l2=1e-3)
    assert judge.principles == ["Be kind.", "Be short."]
    assert judge.agreement(CASES).all()  # 16 features can tell 8 stories apart
    wrong = [Judgement(case.principle, case.story, not case.keeps) for case in CASES]
    assert judge.agreement([CASES[0], wrong[1], wrong[8], CASES[9]]).tolist() == [True, False, False, True]


def test_a_constitution_adds_up_and_makes_a_rater(model, tokenizer):
    judge = Judge(model, tokenizer, CASES, separator=0)
    stories = ["A fox helped.", "A heron slept for long."]
    both = judge.taste("Be kind.", "Be short.")(stories)
    assert_close(both, judge.log_odds("Be kind.", stories) + judge.log_odds("Be short.", stories))
    rater = SimulatedRater(judge.taste("Be kind."))
    odds = judge.log_odds("Be kind.", stories)
    assert_close(rater.probability(stories[:1], stories[1:]), (odds[:1] - odds[1:]).sigmoid())


def test_judging_changes_nothing_and_a_special_tokens_name_is_text(model, tokenizer):
    before, training = copy.deepcopy(model.state_dict()), model.training
    judge = Judge(model, tokenizer, CASES, separator=0)
    told = judge.log_odds("Be kind.", ["A fox.<|endoftext|>", "A fox."])
    assert told[0] != told[1]
    assert model.training == training
    for name, value in model.state_dict().items():
        assert_close(value, before[name], rtol=0, atol=0)


@pytest.mark.parametrize(
    ("ask", "message"),
    [
        (lambda judge: judge.log_odds("Be brave.", ["A fox."]), r"not learnt 'Be brave.'; it knows: \['Be kind.'"),
        (lambda judge: judge.log_odds("Be kind.", ["A fox.", "a" * 40]), "story 1 has 40 tokens, more than the 31"),
        (lambda judge: judge.taste(), "at least one principle"),
    ],
)
def test_a_question_that_cannot_be_answered_is_refused(model, tokenizer, ask, message):
    judge = Judge(model, tokenizer, CASES, separator=0)
    with pytest.raises(ValueError, match=message):
        ask(judge)


def test_bad_input_is_named(model, tokenizer):
    with pytest.raises(ValueError, match="needs labelled cases"):
        Judge(model, tokenizer, [], separator=0)
    with pytest.raises(ValueError, match=r"'Be kind.' needs cases of both kinds, got 2 of one"):
        Judge(model, tokenizer, [CASES[0], CASES[2]], separator=0)
    with pytest.raises(ValueError, match="aspect must be one of ending, kindness, length"):
        written_principles(aspect="hero")
    with pytest.raises(ValueError, match="at least one principle, got 3 and 0"):
        judgements(3, seed=0, principles=[])
