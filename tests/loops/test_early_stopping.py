"""Early stopping: when it says stop, and that the weights it brings back are the very best ones."""

import math

import pytest
import torch
from torch.testing import assert_close

from course_lib.loops import EarlyStopping


@pytest.mark.parametrize(
    ("goal", "values", "stops", "best"),
    [
        ("min", [3.0, 2.0, 2.0, 1.9, 5.0, 1.9], [0, 0, 0, 0, 0, 1], (3, 1.9)),  # no better is no improvement
        ("max", [0.5, 0.4, 0.6, 0.6, 0.1], [0, 0, 0, 0, 1], (2, 0.6)),
        ("min", [math.nan, 1.0, math.nan, math.nan], [0, 0, 0, 1], (1, 1.0)),
        ("min", [math.nan, math.nan], [0, 1], (None, None)),
    ],
)
def test_stops_after_patience_evaluations_without_improvement(goal, values, stops, best, small_model):
    stopping = EarlyStopping(patience=2, metric="score", goal=goal)
    model = small_model()
    found = [stopping.update(model, step, {"score": value}) for step, value in enumerate(values)]
    assert found == [bool(stop) for stop in stops]
    assert (stopping.best_step, stopping.best_value) == best


def test_the_best_weights_and_buffers_come_back_exactly(norm_model, batches):
    model, stopping = norm_model(), EarlyStopping(patience=1)
    (x, _), (other, _) = batches(2)
    model(x)  # moves batch norm's averages
    stopping.update(model, 1, {"loss": 1.0})
    best = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 1
    model(other)
    stopping.update(model, 2, {"loss": 2.0})
    stopping.restore(model)
    assert_close(model.state_dict(), best, rtol=0, atol=0)


def test_nothing_is_restored_before_the_first_evaluation(small_model):
    model = small_model()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    EarlyStopping(patience=1).restore(model)
    assert_close(model.state_dict(), before, rtol=0, atol=0)


def test_bad_arguments_are_named(small_model):
    with pytest.raises(ValueError, match="patience must be at least 1 evaluation, got 0"):
        EarlyStopping(patience=0)
    with pytest.raises(ValueError, match="goal must be 'min' or 'max', got 'least'"):
        EarlyStopping(patience=1, goal="least")
    with pytest.raises(ValueError, match=r"watches 'f1', but validation gave \['accuracy', 'loss'\]"):
        EarlyStopping(patience=1, metric="f1").update(small_model(), 1, {"loss": 1.0, "accuracy": 0.5})


def test_another_metric_or_goal_does_not_go_on_from_the_saved_one(small_model):
    saved = EarlyStopping(patience=2, metric="loss")
    saved.update(small_model(), 1, {"loss": 1.18})
    for other in (EarlyStopping(patience=2, metric="accuracy"), EarlyStopping(patience=2, goal="max")):
        with pytest.raises(ValueError, match="best values cannot be compared"):
            other.load_state_dict(saved.state_dict())
    more_patient = EarlyStopping(patience=5)
    more_patient.load_state_dict(saved.state_dict())
    assert (more_patient.best_value, more_patient.patience) == (1.18, 5)
