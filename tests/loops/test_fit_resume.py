"""`fit` with checkpoints: stopped anywhere and run again, it ends as if it had never been stopped, bit for bit."""

import warnings

import pytest
import torch
from torch.testing import assert_close

from course_lib.data import Batches
from course_lib.loops import EMA, Checkpoints, EarlyStopping, Run, RunLog, classification, evaluate, fit, read_log

EXACT = {"rtol": 0, "atol": 0}
STEPS, EVERY = 9, 3


class PowerCutError(Exception):
    """Ends a run as if the process had gone."""


@pytest.fixture
def data():
    generator = torch.Generator().manual_seed(4)
    x, y = torch.randn(20, 5, generator=generator), torch.randint(0, 3, (20,), generator=generator)
    return Batches((x, y), batch_size=6, seed=3)  # ragged: four batches an epoch, the last of two rows


@pytest.fixture
def script(data, norm_model, tmp_path):
    """A function that is a whole training script, started anew at each call; ``cut`` ends it during that step."""

    def start(folder, cut=None, **changes):
        torch.manual_seed(11)
        model = norm_model()
        run = Run(
            model,
            classification,
            torch.optim.AdamW(model.parameters(), lr=0.05),
            schedule=lambda step: 1 / (1 + step),
            ema=EMA(model, decay=0.8),
            precision="bf16",
        )

        def stop_here(run):
            if run.index == cut:
                raise PowerCutError

        run.after_step = [stop_here]
        parts = {"early_stopping": EarlyStopping(patience=2), "steps": STEPS, "accumulate": 2} | changes
        validation = [next(iter(data.skip(100)))]
        with RunLog(tmp_path / folder / "log.jsonl", settings={"lr": 0.05}) as log:
            checkpoints = Checkpoints(tmp_path / folder / "checkpoints")
            options = {"validation": validation, "every": EVERY, "log": log, "checkpoints": checkpoints}
            history = fit(run, data, progress=False, **options, **parts)
        return run, history

    return start


def rows(folder):
    return [{key: value for key, value in row.items() if key != "wall_seconds"} for row in read_log(folder).rows]


@pytest.mark.parametrize("cuts", [[1], [2], [3], [4], [5], [6], [7], [8], [9], [4, 4, 8], [2, 5, 7]])
def test_cut_anywhere_and_started_again_it_gives_the_same_bits(cuts, script, tmp_path):
    unbroken, history = script("unbroken")
    for cut in cuts:
        with pytest.raises(PowerCutError):
            script("broken", cut=cut)
    run, again = script("broken")
    assert again == history
    assert_close(run.model.state_dict(), unbroken.model.state_dict(), **EXACT)
    assert_close(run.ema.model.state_dict(), unbroken.ema.model.state_dict(), **EXACT)
    assert (run.index, run.consumed) == (unbroken.index, unbroken.consumed)
    assert rows(tmp_path / "broken" / "log.jsonl") == rows(tmp_path / "unbroken" / "log.jsonl")
    assert [row["step"] for row in rows(tmp_path / "broken" / "log.jsonl")] == list(range(1, unbroken.index + 1))


def test_a_finished_script_run_again_trains_no_further(script):
    finished, history = script("runs")
    run, again = script("runs")
    assert again == history
    assert_close(run.model.state_dict(), finished.model.state_dict(), **EXACT)


def test_a_run_that_stopped_early_stays_stopped_when_started_again(script):
    run, history = script("runs", early_stopping=EarlyStopping(patience=1, metric="accuracy"), steps=300)
    assert run.index < 300
    with pytest.warns(UserWarning, match="had ended this run already"):
        again, same = script("runs", early_stopping=EarlyStopping(patience=1, metric="accuracy"), steps=300)
    assert (again.index, same) == (run.index, history)
    assert_close(again.model.state_dict(), run.model.state_dict(), **EXACT)


def test_more_steps_go_on_where_the_first_ended(script):
    """With ``every`` given, the rows of 6 + 6 steps are those of 12."""
    whole, history = script("at once", steps=12, early_stopping=EarlyStopping(patience=99))
    script("in two", steps=6, early_stopping=EarlyStopping(patience=99))
    run, again = script("in two", steps=12, early_stopping=EarlyStopping(patience=99))
    assert again.losses == history.losses
    assert again.rows == history.rows
    assert_close(run.ema.model.state_dict(), whole.ema.model.state_dict(), **EXACT)


def test_early_stopping_brings_the_average_back(script, data):
    """The weights that come back are those that were judged."""
    run, history = script("runs", early_stopping=EarlyStopping(patience=99))
    best = min(history.rows, key=lambda row: row["validation_loss"])
    assert best["step"] == history.best_step
    found = evaluate(run.model, classification, [next(iter(data.skip(100)))], precision="bf16")
    assert found["loss"] == best["validation_loss"]


def test_a_log_that_failed_ends_with_the_last_good_step(norm_model, batches, tmp_path):
    (x, y), *fine = batches(4)
    model = norm_model()
    run = Run(model, classification, torch.optim.SGD(model.parameters(), lr=0.1))
    log = RunLog(tmp_path / "log.jsonl")
    with pytest.raises(RuntimeError, match="step 3"):
        fit(run, [*fine, (x * float("nan"), y)], steps=4, log=log, progress=False)
    log.close()
    assert [row["step"] for row in read_log(tmp_path / "log.jsonl").rows] == [1, 2, 3]


def test_with_and_without_log_and_checkpoints_the_weights_are_the_same(norm_model, data, tmp_path):
    def trained(**options):
        torch.manual_seed(2)
        model = norm_model()
        run = Run(model, classification, torch.optim.Adam(model.parameters()))
        fit(run, data, steps=8, progress=False, **options)
        return model.state_dict()

    validation = [next(iter(data))]
    with RunLog(tmp_path / "log.jsonl") as log:
        watched = trained(log=log, checkpoints=Checkpoints(tmp_path / "kept"), validation=validation, every=2)
    assert_close(watched, trained(), **EXACT)


def test_a_stream_that_cannot_be_replayed_is_refused(norm_model, batches, tmp_path):
    model = norm_model()
    run = Run(model, classification, torch.optim.SGD(model.parameters(), lr=0.1))
    with pytest.raises(ValueError, match=r"this generator cannot: use course_lib\.data\.Batches"):
        fit(run, (batch for batch in batches(2)), steps=2, checkpoints=Checkpoints(tmp_path), progress=False)


def test_early_stopping_that_came_or_went_is_refused(script):
    script("runs")
    with pytest.raises(ValueError, match="only the saved run has early stopping"):
        script("runs", early_stopping=None)
    script("others", early_stopping=None)
    with pytest.raises(ValueError, match="only this call of fit has early stopping"):
        script("others")


def test_batches_skip_to_any_place(data):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        stream = iter(data)
        for _ in range(7):
            next(stream)
        assert_close(next(iter(data.skip(3).skip(4))), next(stream), **EXACT)
    with pytest.raises(ValueError, match="0 or more, got -1"):
        data.skip(-1)


def test_a_stream_that_ends_before_a_row_is_due_still_ends_well(norm_model, batches, tmp_path):
    model = norm_model()
    run = Run(model, classification, torch.optim.SGD(model.parameters(), lr=0.1))
    with RunLog(tmp_path / "log.jsonl") as log, pytest.warns(UserWarning, match="stream ended after 7 of 9"):
        history = fit(
            run,
            batches(7),
            steps=9,
            every=5,
            validation=batches(1),
            log=log,
            checkpoints=Checkpoints(tmp_path / "kept"),
            progress=False,
        )
    assert history.column("step") == [5, 7]
    assert len(history.column("validation_loss")) == 2
    assert [row["step"] for row in read_log(tmp_path / "log.jsonl").rows] == [1, 2, 3, 4, 5, 6, 7]


def test_an_interrupted_run_saves_nothing_new(norm_model, batches, tmp_path):
    """Whoever presses stop may do so in the middle of an update."""

    def press_stop(run):
        if run.index == 5:
            raise KeyboardInterrupt

    model = norm_model()
    run = Run(model, classification, torch.optim.SGD(model.parameters(), lr=0.1), after_step=[press_stop])
    kept = Checkpoints(tmp_path / "kept")
    with pytest.warns(UserWarning, match="interrupted"):
        fit(run, batches(9), steps=9, every=3, checkpoints=kept, progress=False)
    assert kept.newest().name.endswith("step_3")


def test_a_refused_call_leaves_no_mark_in_the_log(script, tmp_path):
    script("runs")
    before = (tmp_path / "runs" / "log.jsonl").read_bytes()
    with pytest.raises(ValueError, match="it is at 9 already, got steps=4"):
        script("runs", steps=4)
    assert (tmp_path / "runs" / "log.jsonl").read_bytes() == before


def test_validation_is_of_the_average(script, data, tmp_path):
    run, history = script("runs", early_stopping=None)
    validation = [next(iter(data.skip(100)))]
    found = evaluate(run.ema.model, classification, validation, precision="bf16")
    assert history.rows[-1]["validation_loss"] == found["loss"]
    assert evaluate(run.model, classification, validation, precision="bf16")["loss"] != found["loss"]
