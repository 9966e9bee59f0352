"""Saving and resuming runs: which checkpoint is taken, which are kept, what is refused, and two ranks."""

import warnings

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from course_lib.loops import EMA, CheckpointError, Checkpoints, EarlyStopping
from course_lib.loops.checkpoints import checkpoint_files

EXACT = {"rtol": 0, "atol": 0}


def trained(make_run, batches, norm_model, steps=3, seed=0, **options):
    run = make_run(norm_model(seed=seed), **{"optimizer": torch.optim.Adam, "lr": 0.01, **options})
    for batch in batches(steps):
        run.step(batch)
    return run


@pytest.fixture
def run(make_run, batches, norm_model):
    return trained(make_run, batches, norm_model)


@pytest.fixture
def another(make_run, norm_model):
    """A function that builds the same run anew, with other weights; a fresh process would do so."""

    def build(**options):
        model = options.pop("model", None) or norm_model(seed=9)
        return make_run(model, **{"optimizer": torch.optim.Adam, "lr": 0.01, **options})

    return build


def damage(path):
    file = path / "tensors.safetensors"
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(data)


def test_resuming_puts_everything_back(run, another, state, tmp_path):
    path = Checkpoints(tmp_path / "a b" / "größe").save(run)
    assert path == tmp_path / "a b" / "größe" / "000001_step_3"
    drawn = torch.rand(3)
    again = another()
    assert Checkpoints(tmp_path / "a b" / "größe").resume(again)
    assert_close(torch.rand(3), drawn, **EXACT)
    assert (again.index, again.consumed) == (3, 3)
    assert_close(state(again), state(run), **EXACT)


def test_nothing_to_resume_from(run, state, tmp_path):
    before = state(run)
    assert not Checkpoints(tmp_path / "run").resume(run)
    assert Checkpoints(tmp_path / "run").newest() is None
    assert_close(state(run), before, **EXACT)
    assert not (tmp_path / "run").exists()


def test_the_newest_are_kept(run, batches, tmp_path):
    checkpoints = Checkpoints(tmp_path, keep=3)
    for batch in batches(4):
        run.step(batch)
        newest = checkpoints.save(run)
        assert checkpoints.newest() == newest
    assert [path.name for path in checkpoint_files.whole(tmp_path)] == [f"00000{n}_step_{n + 3}" for n in (2, 3, 4)]


def test_saving_does_not_move_anything(run, state, tmp_path):
    before, random = state(run), torch.get_rng_state()
    Checkpoints(tmp_path).save(run)
    assert_close(state(run), before, **EXACT)
    assert torch.equal(torch.get_rng_state(), random)


def test_a_resumed_state_is_not_tied_to_the_saved_one(run, another, batches, state, tmp_path):
    """Training goes on in memory of its own: a second resumption starts from the same numbers."""
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(run)
    before = state(run)
    one, two = another(), another()
    Checkpoints(tmp_path).resume(one)
    one.step(batches(1)[0])
    Checkpoints(tmp_path).resume(two)
    assert_close(state(two), before, **EXACT)


def test_others_are_saved_with_the_run(run, another, tmp_path):
    """A second Run, as a GAN has, and early stopping that has waited once."""
    stopping, discriminator = EarlyStopping(patience=3), another(optimizer=torch.optim.SGD, lr=0.1)
    for step, loss in enumerate([2.0, 3.0]):
        stopping.update(run.model, step, {"loss": loss})
    Checkpoints(tmp_path).save(run, stopping=stopping, discriminator=discriminator)
    new_stopping, new_discriminator = EarlyStopping(patience=3), another(optimizer=torch.optim.SGD, lr=0.1)
    nn.init.zeros_(new_discriminator.model[0].weight)
    assert Checkpoints(tmp_path).resume(another(), stopping=new_stopping, discriminator=new_discriminator)
    assert new_stopping.state_dict()["waited"] == 1
    assert (new_stopping.best_step, new_stopping.best_value) == (0, 2.0)
    assert torch.equal(new_discriminator.model[0].weight, discriminator.model[0].weight)
    with pytest.raises(ValueError, match=r"holds besides the run \['discriminator', 'stopping'\], resume got \[\]"):
        Checkpoints(tmp_path).resume(another())


def test_a_damaged_newest_is_named_and_the_one_before_taken(run, another, batches, tmp_path):
    checkpoints = Checkpoints(tmp_path, keep=2)
    older = checkpoints.save(run)
    run.step(batches(1)[0])
    damage(newer := checkpoints.save(run))
    again, resumed = another(), Checkpoints(tmp_path, keep=2)
    with pytest.warns(UserWarning, match=rf"going on from the older {older}, because {newer}.* is damaged"):
        assert resumed.resume(again)
    assert again.index == 3
    saved = [resumed.save(again), resumed.save(again)]
    assert checkpoint_files.whole(tmp_path) == saved  # two whole ones are kept: a damaged one does not count
    assert newer.exists()
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # it is not the newest any more
        assert Checkpoints(tmp_path).newest() == saved[-1]


def test_if_none_is_whole_nothing_is_started_anew(run, another, state, tmp_path):
    damage(Checkpoints(tmp_path).save(run))
    again = another()
    before = state(again)
    with pytest.raises(CheckpointError, match=r"none of the checkpoints in .* is whole: .* To start anew"):
        Checkpoints(tmp_path).resume(again)
    assert_close(state(again), before, **EXACT)


def test_a_run_that_forgot_to_resume_does_not_replace_the_checkpoints_of_another(run, another, tmp_path):
    Checkpoints(tmp_path).save(run)
    new = Checkpoints(tmp_path)
    with pytest.raises(ValueError, match=r"holds 000001_step_3 of an earlier run: call resume\(run\) first"):
        new.save(another())
    new.resume(again := another())
    assert new.save(again).name == "000002_step_3"


def narrow():
    return nn.Sequential(nn.Linear(5, 4), nn.BatchNorm1d(4), nn.ReLU(), nn.Dropout(0.2), nn.Linear(4, 3))


def deeper():
    return nn.Sequential(
        *(nn.Linear(5, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.2), nn.Linear(8, 3)), nn.Linear(3, 3)
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"model": narrow()}, r"model: '0.weight' was saved as \(8, 5\) torch.float32, this run has \(4, 5\)"),
        ({"model": deeper()}, "model: only this run has '5.weight'"),
        ({"model": nn.Sequential(nn.Linear(5, 8))}, "model: only the saved one has '1.weight'"),
        ({"optimizer": torch.optim.SGD}, "the saved optimizer is Adam, this run's is SGD"),
        ({"precision": "fp16"}, "the saved run has precision .fp32., this one .fp16."),
        ({"generators": (torch.Generator(),)}, "0 generators were saved, this run has 1"),
    ],
)
def test_a_checkpoint_of_another_run_is_refused_and_nothing_changes(options, message, run, another, state, tmp_path):
    Checkpoints(tmp_path).save(run)
    other = another(**options)
    before, random, checkpoints = state(other), torch.get_rng_state(), Checkpoints(tmp_path)
    with pytest.raises(ValueError, match=message):
        checkpoints.resume(other)
    assert_close(state(other), before, **EXACT)
    assert torch.equal(torch.get_rng_state(), random)
    with pytest.raises(ValueError, match="of an earlier run"):  # nor are they replaced afterwards
        checkpoints.save(other)


def test_a_moving_average_must_be_there_again(make_run, batches, norm_model, another, tmp_path):
    model = norm_model()
    Checkpoints(tmp_path).save(trained(make_run, batches, lambda seed: model, ema=EMA(model)))
    with pytest.raises(ValueError, match="the saved run has a moving average of the weights"):
        Checkpoints(tmp_path).resume(another())


def test_another_number_of_processes_is_refused(run, another, tmp_path):
    state = {"world_size": 2, "shared": {"run": run.state_dict(), "others": {}}, "ranks": []}
    checkpoint_files.write(tmp_path, 3, state)
    with pytest.raises(ValueError, match="was saved by 2 processes, this run has 1: start as many"):
        Checkpoints(tmp_path).resume(another())


def test_a_whole_checkpoint_of_something_else_is_refused(another, tmp_path):
    checkpoint_files.write(tmp_path, 3, {"weights": torch.ones(1)})
    with pytest.raises(CheckpointError, match=r"was not saved by Checkpoints.save"):
        Checkpoints(tmp_path).resume(another())


def test_another_version_of_torch_is_warned_about(run, another, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(torch, "__version__", "1.2.3")
        Checkpoints(tmp_path).save(run)
    with pytest.warns(UserWarning, match=r"was saved with torch 1.2.3, this is .*: results may differ"):
        assert Checkpoints(tmp_path).resume(another())


def test_what_a_run_cannot_save_is_named_and_nothing_is_written(run, tmp_path):
    run.optimizer.param_groups[0]["note"] = {1, 2}
    with pytest.raises(
        ValueError,
        match=r'state\["shared"\]\["run"\]\["optimizer"\]\["param_groups"\]\[0\]\["note"\] is a builtins.set',
    ):
        Checkpoints(tmp_path / "run").save(run)
    assert not (tmp_path / "run").exists()


def test_bad_arguments(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(ValueError, match="keep must be at least 1 checkpoint, got 0"):
        Checkpoints(tmp_path, keep=0)
    with pytest.raises(ValueError, match=r"saved in a folder, but .*file is a file"):
        Checkpoints(tmp_path / "file")


def test_two_runs_of_which_one_does_not_fit_leave_the_first_as_it_was(tmp_path, norm_model, make_run, batches):
    first, second = make_run(norm_model()), make_run(torch.nn.Linear(5, 3))
    first.step(batches(1)[0])
    Checkpoints(tmp_path / "kept").save(first, critic=second)
    again, other = make_run(norm_model(seed=1)), make_run(torch.nn.Linear(5, 4))
    before = {name: tensor.clone() for name, tensor in again.model.state_dict().items()}
    with pytest.raises(ValueError, match="was saved as"):
        Checkpoints(tmp_path / "kept").resume(again, critic=other)
    torch.testing.assert_close(again.model.state_dict(), before, rtol=0, atol=0)
    assert again.index == 0
