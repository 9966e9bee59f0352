"""Means of fine-tunes and task vectors: exact sums, counters, and what does not fit."""

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from course_lib.nn.adapters import add_task_vectors, average_weights, task_vector

EXACT = {"rtol": 0, "atol": 0}
ROUNDING = {"rtol": 1e-12, "atol": 1e-12}


@pytest.fixture
def states(randn):
    return [{"a": randn(2, 3), "b": randn(4), "steps": torch.tensor(7)} for _ in range(3)]


def test_the_mean_one_number_at_a_time(states):
    shares = [0.5, 0.2, 0.3]
    found = average_weights(states, weights=shares)
    assert found["steps"] == 7
    for row in range(2):
        for column in range(3):
            value = sum(share * state["a"][row, column] for share, state in zip(shares, states, strict=True))
            assert_close(found["a"][row, column], value, **ROUNDING)


def test_values_by_thought_alone():
    assert average_weights([{"w": torch.tensor(1.0)}, {"w": torch.tensor(4.0)}])["w"] == 2.5
    base, tuned = {"w": torch.tensor(1.0)}, {"w": torch.tensor(4.0)}
    vector = task_vector(tuned, base)
    assert vector["w"] == 3
    assert add_task_vectors(base, [vector, vector], scale=2.0)["w"] == 13
    assert add_task_vectors(base, [vector], scale=-1.0)["w"] == -2


def test_the_mean_is_the_base_with_the_mean_task_vector(states):
    base, *tuned = states
    vectors = [task_vector(state, base) for state in tuned]
    there = add_task_vectors(base, vectors, scale=0.5)
    for name, value in average_weights(tuned).items():
        assert_close(there[name], value, **ROUNDING)


def test_order_does_not_matter_and_one_is_itself(states):
    one, other = average_weights(states), average_weights(states[::-1])
    for name in one:
        assert_close(one[name], other[name], **ROUNDING)
        assert_close(average_weights(states[:1])[name], states[0][name], **EXACT)
        assert_close(add_task_vectors(states[0], [])[name], states[0][name], **EXACT)


def test_a_linear_model_with_mean_weights_gives_the_mean_output(randn):
    models = [nn.Linear(3, 2).double() for _ in range(4)]
    x = randn(5, 3)
    expected = torch.stack([model(x) for model in models]).mean(0)
    models[0].load_state_dict(average_weights([model.state_dict() for model in models]))
    assert_close(models[0](x), expected, **ROUNDING)


def test_what_is_given_is_left_alone(states):
    copies = [{name: value.clone() for name, value in state.items()} for state in states]
    found = [average_weights(states[:1]), add_task_vectors(states[0], [task_vector(states[1], states[0])])]
    for state in found:
        for value in state.values():
            value.zero_()
    for state, copy in zip(states, copies, strict=True):
        assert all(torch.equal(value, copy[name]) for name, value in state.items())


def test_half_precision_is_summed_in_more():
    """In bfloat16 itself 1 + 1/128 + 1/128 ... would lose every other term."""
    states = [{"w": torch.tensor(value, dtype=torch.bfloat16)} for value in (1.0, 1.0078125, 1.0078125, 1.0)]
    mean = average_weights(states)["w"]
    assert mean.dtype == torch.bfloat16
    assert mean == torch.tensor(1.00390625).bfloat16()
    huge = {"w": torch.tensor(60000.0, dtype=torch.float16)}
    assert average_weights([huge, huge])["w"] == 60000


def test_a_vector_may_cover_some_names_only(states):
    found = add_task_vectors(states[0], [{"b": torch.ones(4, dtype=torch.float64)}])
    assert_close(found["a"], states[0]["a"], **EXACT)
    assert_close(found["b"], states[0]["b"] + 1, **ROUNDING)


W = {"w": torch.ones(2)}


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: average_weights([]), "at least one state dict"),
        (lambda: average_weights([W, W], weights=[1.0]), "weights must be 2 numbers that sum to 1"),
        (lambda: average_weights([W, W], weights=[1.0, 1.0]), "sum to 1"),
        (lambda: average_weights([W, {"v": torch.ones(2)}]), "'w' is in the first, but not in state dict 1"),
        (lambda: average_weights([W, W | {"v": torch.ones(2)}]), "'v' is in state dict 1, but not in the first"),
        (lambda: average_weights([W, {"w": torch.ones(3)}]), r"'w' is \(2,\) in the first, \(3,\) in state dict 1"),
        (lambda: average_weights([{"n": torch.tensor(1)}, {"n": torch.tensor(2)}]), "'n' is a counter .* no mean"),
        (lambda: task_vector(W, {"w": torch.ones(3)}), r"\(3,\) in the base, \(2,\) in the fine-tune"),
        (lambda: add_task_vectors(W, [W, {"v": torch.ones(2)}]), r"task vector 1 has 'v' \(2,\), where .* nothing"),
        (lambda: add_task_vectors(W, [{"w": torch.ones(3)}]), r"'w' \(3,\), where the base has \(2,\)"),
    ],
)
def test_mistakes_are_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
