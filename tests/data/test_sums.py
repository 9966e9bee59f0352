"""sums: right answers, true steps, a verifier that takes nothing else, and splits that do not meet."""

import math
import re
from collections import Counter

import pytest

from course_lib.data.sums import Sum, sums, verify

HARD = sums(500, seed=0, digits=3, operations="+-*", num_terms=4)


def python_value(problem):
    return eval(problem.removesuffix(" ="))


@pytest.mark.parametrize("settings", [{}, {"digits": 1, "operations": "-"}, {"operations": "*"}, {"num_terms": 5}])
def test_values_are_what_python_says(settings):
    for problem in [*sums(200, seed=1, **settings), *HARD]:
        assert problem.value == python_value(problem.problem)
        assert problem.answer == f" {problem.value}"


def test_every_step_of_the_work_is_true_and_it_ends_with_the_answer():
    for problem in HARD:
        work, _, answer = problem.worked.partition(". Answer: ")
        steps = re.findall(r"([0-9+*-]+)=([0-9]+)", work)
        assert len(steps) == work.count(";") + 1
        assert all(eval(left) == int(right) for left, right in steps)
        assert int(steps[-1][1]) == int(answer) == problem.value


@pytest.mark.parametrize(
    ("problem", "worked"),
    [
        ("47 + 85 =", " 7+5=12 carry 1; 4+8+1=13 carry 1; 47+85=132. Answer: 132"),
        ("52 - 37 =", " 12-7=5 borrow 1; 5-3-1=1; 52-37=15. Answer: 15"),
        ("7 + 8 =", " 7+8=15. Answer: 15"),
        ("35 * 12 =", " 35*2=70; 35*10=350; 70+350=420. Answer: 420"),
        ("35 * 20 =", " 35*20=700. Answer: 700"),
        ("35 * 0 =", " 35*0=0. Answer: 0"),
        ("1 + 2 * 3 =", " 2*3=6; 1+6=7. Answer: 7"),
    ],
)
def test_work_as_it_is_done_by_hand(problem, worked):
    assert Sum(problem, python_value(problem)).worked == worked


def test_the_right_completions_are_verified():
    for problem in HARD:
        assert verify(problem.problem, problem.answer)
        assert verify(problem.problem, problem.worked)
        assert not verify(problem.problem, f" {problem.value + 1}")


@pytest.mark.parametrize(
    ("completion", "right"),
    [
        ("132", True),
        (" 132\n", True),
        ("We guess. Answer: 132", True),
        ("Answer: 5. Answer: 132", True),
        ("Answer: 132. Answer: 5", False),
        ("132 Answer:", False),
        ("", False),
        ("132 133", False),
        ("132.", False),
        ("132.0", False),
        ("0132", False),
        ("+132", False),
        ("- 132", False),
        ("-132", False),
        ("about 132", False),
        ("1 3 2", False),
        ("\uff11\uff13\uff12", False),  # the digits of another script
        ("9" * 10_000, False),  # longer than Python turns into a number
        ("1e2", False),
        ("47 + 85", False),
    ],
)
def test_nothing_but_the_number_counts(completion, right):
    assert verify("47 + 85 =", completion) is right


def test_minus_zero_is_no_answer():
    assert verify("5 - 5 =", "0")
    assert not verify("5 - 5 =", "-0")


def test_no_value_on_the_way_is_negative():
    for problem in sums(300, seed=2, digits=2, operations="+-", num_terms=4):
        words = problem.problem.split()
        for stop in range(1, len(words), 2):
            assert eval(" ".join(words[:stop])) >= 0


def test_each_length_of_number_is_as_likely_as_another():
    lengths = Counter(len(word) for s in sums(2000, seed=3, digits=4) for word in s.problem.split()[:3:2])
    error = math.sqrt(0.25 * 0.75 / 4000)
    assert set(lengths) == {1, 2, 3, 4}
    assert all(abs(count / 4000 - 0.25) < 4 * error for count in lengths.values())


@pytest.mark.parametrize("operations", ["+", "*", "-", "+-*"])
def test_the_splits_do_not_meet_even_turned_round(operations):
    def turned(split):
        drawn = sums(1500, seed=4, digits=2, operations=operations, split=split)
        sorts = [s.problem.split()[1::2][:-1] + sorted(s.problem.split()[:-1:2]) for s in drawn]
        return {tuple(sort) for sort in sorts}

    train, evaluation = turned("train"), turned("evaluation")
    assert len(train) > len(evaluation) > 100
    assert not train & evaluation


def test_longer_problems_do_not_meet_turned_round_either():
    train, evaluation = (
        {frozenset(Counter(s.problem.split()[:-1:2]).items()) for s in sums(800, seed=5, num_terms=3, split=split)}
        for split in ("train", "evaluation")
    )
    assert not train & evaluation


@pytest.mark.parametrize("operations", ["+", "-", "*"])
@pytest.mark.parametrize("num_terms", [2, 5])
def test_even_the_smallest_problems_have_an_evaluation_split(operations, num_terms):
    drawn = sums(20, seed=6, digits=1, operations=operations, num_terms=num_terms, split="evaluation")
    assert len(drawn) == 20


def test_the_seed_decides_and_a_longer_list_starts_with_the_shorter_one(global_random_states):
    before = global_random_states()
    assert sums(20, seed=7)[:5] == sums(5, seed=7)
    assert sums(5, seed=7) != sums(5, seed=8)
    assert sums(0, seed=7) == []
    assert global_random_states() == before


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: sums(-1, seed=0), "num >= 0, .* got num -1"),
        (lambda: sums(1, seed=0, digits=0), "got num 1, digits 0 and num_terms 2"),
        (lambda: sums(1, seed=0, digits=16), "digits from 1 to 15 .* got num 1, digits 16"),
        (lambda: sums(1, seed=0, num_terms=1), "num_terms from 2 to 5, got .* num_terms 1"),
        (lambda: sums(1, seed=0, num_terms=6), "num_terms from 2 to 5, got .* num_terms 6"),
        (lambda: sums(1, seed=0, operations=""), "some of .*; got ''"),
        (lambda: sums(1, seed=0, operations="+/"), "some of .*; got '\\+/'"),
        (lambda: sums(1, seed=0, split="test"), "'train' or 'evaluation', got 'test'"),
        (lambda: verify("47 + 85", "132"), "written as in '47 \\+ 85 =', got '47 \\+ 85'"),
        (lambda: verify("47 / 85 =", "0"), "written as in"),
        (lambda: Sum("47+85=", 132).worked, "written as in"),
    ],
)
def test_bad_arguments_are_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
