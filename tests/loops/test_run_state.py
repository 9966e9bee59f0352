"""A run's state: enough to go on bit for bit, and every mismatch refused by its name before anything changes."""

import copy
import warnings

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from course_lib.loops import EMA, Loss, Run, classification

EXACT = {"rtol": 0, "atol": 0}


class Weighted(nn.Module):
    """An objective that learns, and that draws from a generator of its own."""

    def __init__(self, generator):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(()))
        self.generator = generator

    def forward(self, model, batch):
        x, y = batch
        loss = classification(model, (x + torch.randn(x.shape, generator=self.generator), y))
        return Loss(loss.total * self.weight, loss.count, loss.metrics)


def make(model, *, optimizer=torch.optim.AdamW, decay=0.9, precision="fp16", learns=True, names=(0, 4), **options):
    """A run with everything in it: dropout, batch norm, learnt objective, average, scale, schedule, own generator."""
    generator = torch.Generator().manual_seed(7)
    objective = Weighted(generator) if learns else classification
    groups = [{"params": list(model[number].parameters())} for number in names]
    if learns:
        groups.append({"params": list(objective.parameters()), "lr": 0.001})
    return Run(
        model,
        objective,
        optimizer(groups, **{"lr": 0.01, **options}),
        schedule=lambda step: 1 / (1 + step),
        precision=precision,
        ema=None if decay is None else EMA(model, decay=decay),
        max_grad_norm=1.0,
        generators=[generator] if learns else [],
    )


def assert_same(one, other):
    """Nested data with the same keys, types and bits."""
    assert type(one) is type(other)
    if isinstance(one, dict):
        assert one.keys() == other.keys()
        one, other = list(one.values()), list(other.values())
    if isinstance(one, list | tuple):
        assert len(one) == len(other)
        for left, right in zip(one, other, strict=True):
            assert_same(left, right)
    elif isinstance(one, torch.Tensor):
        assert_close(one, other, **EXACT)
    else:
        assert one == other


def copied(run):
    return copy.deepcopy(run.state_dict())


def test_a_new_run_with_the_state_goes_on_as_the_old_one_bit_for_bit(batches, norm_model):
    torch.manual_seed(5)
    run = make(norm_model())
    one, two, *rest = batches(6)
    run.step(one)
    run.step(two, one)
    state = copied(run)
    old = [run.step(batch).values() for batch in rest]
    torch.manual_seed(99)
    again = make(norm_model(seed=3))
    again.load_state_dict(state)
    assert (again.index, again.consumed) == (2, 3)
    assert [again.step(batch).values() for batch in rest] == old
    assert_same(copied(again), copied(run))


def test_loading_does_not_tie_the_run_to_what_was_loaded(batches, norm_model):
    run = make(norm_model())
    run.step(batches(1)[0])
    state = copied(run)
    kept = copy.deepcopy(state)
    again = make(norm_model())
    again.load_state_dict(state)
    for batch in batches(3):
        again.step(batch)
    assert_same(state, kept)


def other_names(model):
    return make(nn.Sequential(*model, nn.Linear(3, 3)))


def other_shape(model):
    model[4] = nn.Linear(8, 4)
    return make(model)


MISMATCHES = {
    "only this run has '5.weight'": other_names,
    r"'4.weight' was saved as \(3, 8\) torch.float32, this run has \(4, 8\)": other_shape,
    "'0.weight' was saved as .* torch.float32, this run has .* torch.float64": lambda model: make(model.double()),
    "the saved optimizer is AdamW, this run's is SGD": lambda model: make(model, optimizer=torch.optim.SGD),
    "group 0 of the optimizer was saved with 0.weight where this run has 4.weight": lambda m: make(m, names=(4, 0)),
    "the saved run has a moving average": lambda model: make(model, decay=None),
    "the saved run has precision 'fp16', this one 'fp32'": lambda model: make(model, precision="fp32"),
}


@pytest.mark.parametrize("message", MISMATCHES)
def test_a_mismatch_is_refused_by_name_and_changes_nothing(message, batches, norm_model):
    run = make(norm_model())
    run.step(batches(1)[0])
    other = MISMATCHES[message](norm_model(seed=1))
    before = copied(other)
    with pytest.raises(ValueError, match=message):
        other.load_state_dict(run.state_dict())
    assert_same(copied(other), before)


def test_what_only_this_run_has_is_refused_too(batches, norm_model):
    plain = make(norm_model(), decay=None, precision="fp32", learns=False)
    with pytest.raises(ValueError, match=r"this run has a moving average .* the saved one has not"):
        make(norm_model(), precision="fp32", learns=False).load_state_dict(plain.state_dict())
    with pytest.raises(ValueError, match="the saved optimizer has 2 parameter groups, this run's has 3"):
        make(norm_model(), decay=None, precision="fp32").load_state_dict(plain.state_dict())


def test_generators_must_be_as_many(batches, norm_model):
    run, other = make(norm_model()), make(norm_model())
    other.generators = []
    with pytest.raises(ValueError, match="1 generators were saved, this run has 0"):
        other.load_state_dict(run.state_dict())


def test_options_are_settings_the_run_keeps_its_own_and_says_so(batches, norm_model):
    run = make(norm_model(), weight_decay=0.1)
    run.step(batches(1)[0])
    other = make(norm_model(), weight_decay=0.2, lr=0.005)
    with pytest.warns(UserWarning, match="was saved with") as caught:
        other.load_state_dict(run.state_dict())
    said = " ".join(str(warning.message) for warning in caught)
    assert "group 0 was saved with weight_decay 0.1; this run goes on with 0.2" in said
    assert "group 1 was saved with lr 0.01; this run goes on with 0.005" in said
    assert "group 2 was saved with lr" not in said
    assert other.optimizer.param_groups[0]["weight_decay"] == 0.2
    assert other.step(batches(2)[1]).learning_rate == 0.0025


def test_a_rate_changed_by_hand_comes_back_without_a_word(batches, norm_model):
    run = make(norm_model())
    run.schedule = None
    run.step(batches(1)[0])
    run.optimizer.param_groups[1]["lr"] = 0.003
    other = make(norm_model())
    other.schedule = None
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        other.load_state_dict(copied(run))
    assert [group["lr"] for group in other.optimizer.param_groups] == [0.01, 0.003, 0.001]


def test_a_deferred_verdict_is_read_before_the_state_is_taken(batches, small_model):
    model = small_model(dtype=torch.float32)
    adam = torch.optim.Adam(model.parameters(), fused=True)
    run = Run(model, classification, adam, defer_checks=True)
    (x, y), fine = batches(2)
    run.step(fine)
    run.step((x * float("nan"), y), fine)
    with pytest.raises(RuntimeError, match="step 1: loss nan"):
        run.state_dict()
    assert (run.index, run.consumed) == (1, 1)
    assert run.state_dict()["index"] == 1


def test_another_precision_is_refused_and_other_settings_are_named(batches, norm_model):
    run = make(norm_model(), precision="bf16")
    run.step(batches(1)[0])
    with pytest.raises(ValueError, match="saved run has precision 'bf16', this one 'fp32'"):
        make(norm_model(), precision="fp32").load_state_dict(copied(run))
    other = make(norm_model(), precision="bf16", decay=0.5)
    other.max_grad_norm = 2.0
    with pytest.warns(UserWarning, match="was saved with") as caught:
        other.load_state_dict(copied(run))
    said = " ".join(str(warning.message) for warning in caught)
    assert "max_grad_norm 1.0; this run goes on with 2.0" in said
    assert "decay of the average 0.9; this run goes on with 0.5" in said


@pytest.mark.parametrize(
    ("optimizer", "option"),
    [(torch.optim.Adam, "amsgrad"), (torch.optim.RMSprop, "centered"), (torch.optim.RMSprop, "momentum")],
)
def test_options_that_need_state_cannot_be_switched_in_the_middle(optimizer, option, batches, norm_model):
    run, other = make(norm_model(), optimizer=optimizer), make(norm_model(), optimizer=optimizer, **{option: True})
    run.step(batches(1)[0])
    with pytest.raises(ValueError, match=f"this one {option}=True: its state cannot be taken over"):
        other.load_state_dict(copied(run))


def test_a_rate_given_anew_without_a_schedule_is_the_one_used(batches, norm_model):
    run, other = make(norm_model()), make(norm_model(), lr=0.005)
    run.schedule = other.schedule = None
    run.step(batches(1)[0])
    with pytest.warns(UserWarning, match=r"saved with lr 0\.01; this run goes on with 0\.005"):
        other.load_state_dict(copied(run))
    assert other.step(batches(1)[0]).learning_rate == 0.005


def test_an_objective_of_another_shape_is_refused(batches, norm_model):
    run, other = make(norm_model()), make(norm_model())
    state = copied(run)
    state["objective"]["weight"] = torch.ones(2)
    with pytest.raises(ValueError, match=r"objective: 'weight' was saved as \(2,\)"):
        other.load_state_dict(state)


def test_a_state_of_another_kind_of_device_is_taken_with_a_warning(norm_model):
    run, other = make(norm_model()), make(norm_model())
    state = copied(run)
    state["random"]["device_type"] = "cuda"
    with pytest.warns(UserWarning, match="saved on cuda, this run is on cpu: dropout will draw other numbers"):
        other.load_state_dict(state)
    state["random"]["generators"] = [torch.zeros(3, dtype=torch.uint8)]
    before = copied(other)
    with pytest.raises(ValueError, match="generator 0 was saved on another kind of device than cpu"):
        other.load_state_dict(state)
    assert_same(copied(other), before)


def test_a_compiled_run_goes_on_plain(norm_model):
    plain = make(norm_model(seed=1))
    compiled = make(norm_model())
    compiled.model = torch.compile(compiled.model)  # nothing is compiled before the first call
    plain.load_state_dict(copied(compiled))
    assert_close(plain.model.state_dict(), compiled.model._orig_mod.state_dict(), **EXACT)
