"""Training in one line: the same update as the loop, and an honest record of it."""

import math
import warnings

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from course_lib.data import Batches
from course_lib.loops import (
    EarlyStopping,
    Loss,
    NonFiniteStep,
    Run,
    Step,
    classification,
    evaluate,
    fit,
    regression,
    train,
)

EXACT = {"rtol": 0, "atol": 0}


def norm_run(norm_model):
    model = norm_model()
    return Run(model, classification, torch.optim.Adam(model.parameters(), lr=0.01))


def test_it_is_the_loop_and_nothing_more(batches, norm_model, state):
    """Bar, history, validation and early stopping that never stops: the same bits as a bare ``train``."""
    fitted, looped = norm_run(norm_model), norm_run(norm_model)
    data, validation = batches(12), batches(2, seed=8)
    torch.manual_seed(1)
    history = fit(fitted, data, steps=12, every=5, validation=validation, progress=False)
    torch.manual_seed(1)
    steps = list(train(looped, data, steps=12))
    assert_close(state(fitted), state(looped), **EXACT)
    assert history.losses == [step.loss.item() for step in steps]
    assert history.column("step") == [5, 10, 12]
    means = [torch.stack([step.loss for step in steps[part]]).mean().item() for part in (slice(5), slice(5, 10))]
    assert_close(history.column("loss")[:2], means, rtol=1e-6, atol=0)  # float32 mean
    assert history.column("grad_norm") == [steps[index].grad_norm.item() for index in (4, 9, 11)]
    found = evaluate(looped.model, classification, validation)
    assert {f"validation_{name}": value for name, value in found.items()}.items() <= history.rows[-1].items()


def test_a_short_batch_weighs_less_in_the_mean(make_run):
    model = nn.Linear(1, 1)
    run = make_run(model, objective=regression, lr=1e-9)
    ones = [(torch.zeros(rows, 1), torch.full((rows, 1), value)) for rows, value in ((30, 1.0), (10, 5.0))]
    history = fit(run, ones, steps=2, every=2, progress=False)
    bias = model.bias.item()
    expected = (30 * (1 - bias) ** 2 + 10 * (5 - bias) ** 2) / 40
    assert_close(history.column("loss"), [expected], rtol=1e-5, atol=0)


def test_twenty_rows_by_default(batches, norm_model):
    data = Batches(batches(1)[0], batch_size=8, seed=0)
    history = fit(norm_run(norm_model), data, steps=45, progress=False)
    assert history.column("step") == [*range(2, 45, 2), 45]


def test_it_goes_on_where_the_run_was(batches, norm_model, state):
    data = batches(10)
    paused, straight = norm_run(norm_model), norm_run(norm_model)
    torch.manual_seed(1)
    fit(paused, data[:4], steps=4, progress=False)
    second = fit(paused, data[4:], steps=10, every=3, progress=False)
    torch.manual_seed(1)
    whole = fit(straight, data, steps=10, progress=False)
    assert (second.first_step, second.column("step")) == (4, [6, 9, 10])
    assert second.losses == whole.losses[4:]
    assert_close(state(paused), state(straight), **EXACT)
    nothing = fit(paused, data, steps=10, progress=False)
    assert (nothing.losses, nothing.rows) == ([], [])


def test_a_stream_that_ends_early_is_warned_about(batches, norm_model):
    with pytest.warns(UserWarning, match=r"the stream ended after 3 of 5 updates: give more batches"):
        history = fit(norm_run(norm_model), batches(3), steps=5, every=2, progress=False)
    assert (len(history.losses), history.column("step")) == (3, [2, 3])


def test_a_run_that_goes_well_warns_of_nothing(batches, norm_model):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fit(norm_run(norm_model), batches(3), steps=3, progress=False)


def drift(model, batch):
    """Pulls the weight by one each update; away from 3, where validation is best."""
    return Loss(-model.weight.sum(), 1)


def distance(model, batch):
    return Loss((model.weight.sum() - 3).abs(), 1)


def test_early_stopping_stops_and_brings_the_best_weights_back():
    model = nn.Linear(1, 1, bias=False)
    nn.init.zeros_(model.weight)
    run = Run(
        model,
        lambda model, batch: (drift if model.training else distance)(model, batch),
        torch.optim.SGD(model.parameters(), lr=1.0),
    )
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # stopping early is no accident
        history = fit(
            run,
            [None] * 99,
            steps=50,
            every=1,
            validation=[None],
            early_stopping=EarlyStopping(patience=4),
            progress=False,
        )
    assert history.column("validation_loss") == [2, 1, 0, 1, 2, 3, 4]
    assert (run.index, history.best_step, model.weight.item()) == (7, 3, 3.0)


def test_an_interrupted_run_keeps_what_it_has(batches, norm_model):
    def press_stop(run):
        if run.index == 7:
            raise KeyboardInterrupt

    run = norm_run(norm_model)
    run.after_step = [press_stop]
    with pytest.warns(UserWarning, match="interrupted after 7 of 10 updates; the model keeps them"):
        history = fit(run, batches(10), steps=10, every=4, validation=batches(1), progress=False)
    assert history.column("step") == [4, 7]
    assert len(history.losses) == 6  # the seventh update was made, but its loss was not handed over any more
    assert len(history.column("validation_loss")) == 2


def test_an_interrupted_evaluation_keeps_the_training_losses(batches, norm_model):
    def press_stop(model, batch):
        if not model.training and len(evaluated) == 1:
            raise KeyboardInterrupt
        evaluated.extend([] if model.training else [batch])
        return classification(model, batch)

    evaluated = []
    run = norm_run(norm_model)
    run.objective = press_stop
    with pytest.warns(UserWarning, match="interrupted after 4 of 9"):
        history = fit(run, batches(9), steps=9, every=2, validation=batches(1), progress=False)
    assert (len(history.losses), history.column("step")) == (4, [2, 4])
    assert len(history.column("validation_loss")) == 1
    assert run.model.training


def test_a_step_that_is_not_finite_ends_the_line_and_is_raised(batches, norm_model, capsys):
    data = batches(5)
    data[3] = (data[3][0] * math.nan, data[3][1])
    with pytest.raises(NonFiniteStep, match="step 3"):
        fit(norm_run(norm_model), data, steps=5)
    assert capsys.readouterr() == ("failed after 3 updates\n", "")


def test_what_is_printed(batches, norm_model, capsys):
    fit(norm_run(norm_model), batches(2), steps=2, progress=False)
    assert capsys.readouterr() == ("", "")
    history = fit(norm_run(norm_model), batches(2), steps=2, validation=batches(1))
    row = history.rows[-1]
    out, err = capsys.readouterr()
    assert err == ""
    assert out.count("\n") == 1
    assert out.startswith("2 updates in ")
    numbers = (row["loss"], row["validation_loss"], row["validation_accuracy"])
    assert out.endswith("loss {:.3f}, validation loss {:.3f}, validation accuracy {:.3f}\n".format(*numbers))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"early_stopping": EarlyStopping(patience=1)}, "early stopping watches validation"),
        ({"validation": iter([1])}, "used up after one pass"),
        ({"validation": (batch for batch in [1])}, "used up after one pass"),
        ({"validation": Batches((torch.ones(4),), batch_size=2, seed=0)}, "build the batches with epochs=1"),
        ({"every": 0}, "every must be at least 1 update, got 0"),
    ],
)
def test_arguments_that_do_not_fit_together(arguments, message, batches, norm_model):
    run = norm_run(norm_model)
    with pytest.raises(ValueError, match=message):
        fit(run, batches(2), steps=2, progress=False, **arguments)
    assert run.index == 0


class Unsized(torch.utils.data.IterableDataset):
    def __init__(self, rows):
        self.rows = rows

    def __iter__(self):
        return iter(self.rows)


def test_validation_may_be_a_loader_without_a_length(batches, norm_model):
    """And drawing from a loader, which takes a number from the global generator, leaves no trace."""
    listed = batches(2, seed=8)
    loader = torch.utils.data.DataLoader(Unsized(listed), batch_size=None)
    histories = []
    for validation in (loader, listed):
        run = norm_run(norm_model)
        torch.manual_seed(1)
        histories.append(fit(run, batches(4), steps=4, every=2, validation=validation, progress=False))
    assert histories[0] == histories[1]
    assert len(histories[0].column("validation_loss")) == 2


def test_early_stopping_that_has_watched_another_run_is_refused(batches, norm_model):
    """In a loop over learning rates, say: the second model would get the first one's weights."""
    stopping = EarlyStopping(patience=9)
    fit(norm_run(norm_model), batches(3), steps=3, every=1, validation=batches(1), early_stopping=stopping)
    with pytest.raises(ValueError, match="it has watched another run"):
        fit(norm_run(norm_model), batches(3), steps=3, every=1, validation=batches(1), early_stopping=stopping)


def test_a_run_that_has_stopped_says_so_when_it_is_to_go_on(batches, norm_model):
    run, stopping = norm_run(norm_model), EarlyStopping(patience=1, metric="loss", goal="max")
    fit(run, batches(30), steps=30, every=1, validation=batches(1), early_stopping=stopping, progress=False)
    made = run.index
    assert made < 30
    with pytest.warns(UserWarning, match=f"had ended this run already, at step {made}: no update is made"):
        fit(run, batches(3), steps=30, validation=batches(1), early_stopping=stopping, progress=False)
    assert run.index == made


def test_interrupted_while_it_reads_no_step_counts_twice(batches, norm_model, monkeypatch):
    """Reading waits for the device, so that is where an interrupt lands."""
    run, read, pressed = norm_run(norm_model), Step.values, []

    def wait(step):
        if step.index == 3 and not pressed:
            pressed.append(step)
            raise KeyboardInterrupt
        return read(step)

    monkeypatch.setattr(Step, "values", wait)
    with pytest.warns(UserWarning, match="interrupted after"):
        history = fit(run, batches(5), steps=5, progress=False)
    monkeypatch.undo()
    same = norm_run(norm_model)
    assert history.losses == [step.loss.item() for step in train(same, batches(5), steps=run.index)]
