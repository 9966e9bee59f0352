"""How answers are judged: right ones of any form pass, wrong ones are told the reason, a stub is known as a stub."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from course_lib.study.exercises import Case, Exercise, check, load_exercises, stub_of

SAMPLE = Path(__file__).parent / "sample_course" / "exercises" / "05_sample.py"
LOG_SUM_EXP, MERGE, FAIR_ACCURACY = load_exercises(SAMPLE)
SEEDS = range(5)


def reason(exercise, attempt, seed=0):
    verdict = check(exercise, attempt, seed=seed)
    assert verdict.status == "wrong"
    return verdict.reason


# Right answers, in whatever form they come


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize(
    ("exercise", "attempt"),
    [
        (LOG_SUM_EXP, torch.logsumexp),
        (LOG_SUM_EXP, lambda x, dim: torch.logsumexp(x.double(), dim).to(x.dtype)),
        (MERGE, lambda gradients, counts: sum(c / sum(counts) * g.nan_to_num() for g, c in zip(gradients, counts))),  # noqa: B905
        (FAIR_ACCURACY, lambda scores, labels: torch.tensor(FAIR_ACCURACY.solution(scores, labels))),
        (FAIR_ACCURACY, lambda scores, labels: float(FAIR_ACCURACY.solution(scores, labels))),
        (FAIR_ACCURACY, lambda scores, labels: np.float32(FAIR_ACCURACY.solution(scores, labels))),
    ],
)
def test_other_right_answers_pass(exercise, attempt, seed):
    assert check(exercise, attempt, seed=seed).status == "right"


def test_a_right_answer_prints_one_line(capsys):
    check(FAIR_ACCURACY, FAIR_ACCURACY.solution)
    assert capsys.readouterr().out == "✓ 05.3 right: it passed on 24 fresh random inputs and 1 fixed ones.\n"


# Not attempted


def empty(scores, labels):
    """A docstring."""
    ...


def passing(scores, labels):
    """A docstring."""
    pass


def raising(scores, labels):
    raise NotImplementedError("write me")


def returning_none(scores, labels):
    return None


def with_a_gap(scores, labels):
    best = ...
    return best.mean()


def raising_inside_a_helper(scores, labels):
    return raising(scores, labels) + 1


def from_no_source(text):
    namespace = {}
    exec(text, namespace)
    return namespace["f"]


@pytest.mark.parametrize(
    "attempt",
    [
        empty,
        passing,
        raising,
        returning_none,
        with_a_gap,
        raising_inside_a_helper,
        lambda scores, labels: ...,
        None,
        from_no_source("def f(scores, labels):\n    '''doc'''\n    ..."),
        from_no_source("def f(scores, labels):\n    raise NotImplementedError"),
    ],
)
def test_a_stub_is_not_attempted(attempt):
    assert check(FAIR_ACCURACY, attempt).status == "not attempted"


def test_a_stub_always_prints_the_same(capsys):
    for _ in range(3):
        check(FAIR_ACCURACY, empty)
    lines = capsys.readouterr().out.splitlines()
    assert set(lines) == {"○ 05.3 not attempted: write the body of the function, then run this cell again."}


def test_a_forgotten_return_is_wrong_and_no_stub():
    def attempt(scores, labels):
        scores.mean()

    assert "the result is None" in reason(FAIR_ACCURACY, attempt)
    assert "the result is None" in reason(FAIR_ACCURACY, from_no_source("def f(scores, labels):\n    scores.mean()"))


def test_an_answer_with_a_leftover_ellipsis_is_an_answer():
    def attempt(scores, labels):
        """A docstring."""
        ...
        return FAIR_ACCURACY.solution(scores, labels)

    assert check(FAIR_ACCURACY, attempt).status == "right"


def test_an_operation_that_torch_lacks_is_wrong_and_no_stub():
    def attempt(x, dim):
        return torch.nn.Module()(x)  # raises NotImplementedError from inside torch

    assert "raised NotImplementedError" in reason(LOG_SUM_EXP, attempt)


def test_the_stub_of_an_exercise_has_signature_and_docstring_and_counts_as_not_attempted():
    stub = stub_of(LOG_SUM_EXP)
    assert stub == (
        'def log_sum_exp(x, dim):\n    """Return log(sum(exp(x))) along one axis, without overflow."""\n    ...'
    )
    assert check(LOG_SUM_EXP, from_no_source(stub.replace("log_sum_exp(", "f("))).status == "not attempted"


# Adversaries


def memorising(scores, labels):
    """Right on the fixed case, and on nothing else."""
    return 0.5


def remembering_answers():
    known = {}

    def attempt(scores, labels):
        return known.setdefault(scores.shape, FAIR_ACCURACY.solution(scores, labels))

    return attempt


def swallowing(scores, labels):
    try:
        return scores.argmax(1) == labels.nonexistent
    except Exception:
        return 0.0


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize(
    "attempt",
    [memorising, remembering_answers(), swallowing, lambda scores, labels: scores, lambda scores, labels: "1.0"],
)
def test_lazy_answers_are_wrong(attempt, seed):
    assert check(FAIR_ACCURACY, attempt, seed=seed).status == "wrong"


def test_every_check_draws_other_inputs():
    drawn = []

    def attempt(scores, labels):
        drawn[-1].append(scores.tolist())
        return FAIR_ACCURACY.solution(scores, labels)

    for _ in range(2):
        drawn.append([])
        check(FAIR_ACCURACY, attempt)
    fixed = len(FAIR_ACCURACY.edge_cases)
    assert drawn[0][:fixed] == drawn[1][:fixed]
    assert drawn[0][fixed:] != drawn[1][fixed:]


def test_modified_arguments_are_named_and_the_original_input_shown():
    def attempt(gradients, counts):
        gradients[0] *= 2
        return MERGE.solution([gradients[0] / 2, *gradients[1:]], counts)

    text = reason(replace(MERGE, edge_cases=(Case(([torch.ones(1)], [1])),)), attempt)
    assert "changed its argument gradients" in text
    assert "after     gradients = [tensor([2.], float32)]" in text


def test_working_in_place_can_be_allowed():
    def attempt(gradients, counts):
        merged = MERGE.solution(gradients, counts)
        gradients.clear()
        return merged

    assert "changed its argument gradients" in reason(MERGE, attempt)
    assert check(replace(MERGE, may_modify_arguments=True), attempt).status == "right"


def test_the_learners_inputs_are_copies():
    edge = FAIR_ACCURACY.edge_cases[0].args[0].copy()

    def attempt(scores, labels):
        scores[:] = 0
        return 0.0

    check(FAIR_ACCURACY, attempt)
    np.testing.assert_array_equal(FAIR_ACCURACY.edge_cases[0].args[0], edge)


def test_an_exception_is_told_with_its_line():
    def attempt(scores, labels):
        return scores[labels + 100]

    text = reason(FAIR_ACCURACY, attempt)
    line = attempt.__code__.co_firstlineno + 1
    assert f"it raised IndexError at line {line}, `return scores[labels + 100]`: index 10" in text
    assert "Traceback" not in text


def test_a_wrong_signature_is_told():
    assert "takes 1 positional argument but 2 were given" in reason(FAIR_ACCURACY, lambda scores: 0.0)


def test_a_violated_property_is_named():
    weigh = replace(FAIR_ACCURACY, oracle=None)

    def attempt(scores, labels):
        return float(labels[0])

    text = reason(weigh, attempt)
    assert "a right answer does not care about the order of the rows; here the order of the rows matters" in text


def test_a_property_that_chokes_on_the_result_counts_as_violated():
    assert "cannot be read that way (TypeError" in reason(
        replace(FAIR_ACCURACY, oracle=None), lambda scores, labels: "a"
    )


def test_the_smallest_counter_example_is_shown():
    text = reason(replace(FAIR_ACCURACY, edge_cases=(), num_draws=200), lambda scores, labels: -1.0)
    assert text.count("[") <= 4  # one row of scores, one label


def test_explain_replaces_the_general_advice_where_only_numbers_are_wrong():
    assert "look at   how many classes share" in reason(FAIR_ACCURACY, lambda scores, labels: 2.0)
    assert "look at   how many classes share" not in reason(FAIR_ACCURACY, lambda scores, labels: scores)


def test_a_call_instead_of_a_function_is_refused():
    with pytest.raises(ValueError, match=r"needs your function itself, got 0\.5"):
        check(FAIR_ACCURACY, 0.5)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"oracle": None, "properties": ()}, "nothing tells right from wrong"),
        ({"difficulty": 6}, "difficulty goes from 1 to 5, got 6"),
        ({"minutes": 0}, "at least 1, got 0, 24"),
        ({"tolerance": {"float8": (1, 1)}}, "got float8"),
    ],
)
def test_bad_exercises_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        replace(LOG_SUM_EXP, **change)


def test_the_dtype_of_a_custom_tolerance_is_honoured():
    noisy = Exercise(
        id="05.4",
        title="identity",
        difficulty=1,
        minutes=1,
        solution=lambda x: x,
        cases=lambda rng: (torch.tensor(rng.normal(size=3)),),
        oracle=lambda x: x,
    )

    def attempt(x):
        return x * (1 + 1e-4)

    assert check(noisy, attempt).status == "wrong"
    assert check(replace(noisy, tolerance={"float64": (1e-3, 0.0)}), attempt).status == "right"
