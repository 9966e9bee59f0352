"""A step that is not finite: nothing changes, the message says where, and with deferred checks the device decides."""

import math
import re

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from course_lib.loops import Loss, NonFiniteStep, Run, classification, train

EXACT = {"rtol": 0, "atol": 0}


def bad(batch):
    x, y = batch
    return x * math.nan, y


def infinite_gradient(model, batch):
    """A finite loss whose gradient is not finite: the slope of a square root at 0."""
    return Loss((model(batch[0]) * 0).abs().sum().sqrt() + 1, 1)


def infinite_loss(model, batch):
    """An infinite loss whose gradient is finite."""
    return Loss(model(batch[0]).sum() + math.inf, 1)


@pytest.mark.parametrize("options", [{}, {"momentum": 0.9}, "adam"])
def test_a_bad_step_changes_no_parameter_buffer_or_state(options, batches, norm_model, state):
    model = norm_model()
    adam = options == "adam"
    optimizer = (
        torch.optim.Adam(model.parameters(), lr=0.01)
        if adam
        else torch.optim.SGD(model.parameters(), lr=0.01, **options)
    )
    run = Run(model, classification, optimizer)
    good, other = batches(2)
    run.step(good)
    before = state(run)
    with pytest.raises(NonFiniteStep):
        run.step(other, bad(good))  # the first micro-batch has moved batch norm's averages already
    assert_close(state(run), before, **EXACT)
    assert run.index == 1


@pytest.mark.parametrize("defer_checks", [False, True])
@pytest.mark.parametrize(("objective", "loss"), [(infinite_gradient, "1"), (infinite_loss, "inf")])
def test_loss_and_gradient_must_both_be_finite(objective, loss, defer_checks, batches, norm_model, state):
    model = norm_model()
    updates = torch.optim.SGD(model.parameters(), lr=0.01, fused=True)
    run = Run(model, objective, updates, defer_checks=defer_checks)
    before = state(run)
    with pytest.raises(NonFiniteStep, match=f"step 0: loss {loss}, "):
        run.step(batches(1)[0]).values()
    assert_close(state(run), before, **EXACT)


def test_the_message_names_step_learning_rate_and_norms(batches, small_model, make_run):
    run = make_run(small_model(dtype=torch.float32), lr=0.025)
    steps = [run.step(batch) for batch in batches(6)]
    norms = ", ".join(f"{float(step.grad_norm):.3g}" for step in steps[-4:])
    message = f"step 6: loss nan, learning rate 0.025, last gradient norms {norms}, nan."
    with pytest.raises(NonFiniteStep, match=re.escape(message)):
        run.step(bad(batches(1)[0]))


def test_an_interrupted_step_changes_nothing(batches, norm_model, state):
    """Ctrl-C in the second micro-batch: batch norm must not remember the first."""

    def interrupted(model, batch):
        loss = classification(model, batch)
        if len(seen) == 2:
            raise KeyboardInterrupt
        seen.append(batch)
        return loss

    seen = []
    model = norm_model()
    run = Run(model, interrupted, torch.optim.SGD(model.parameters(), lr=0.1))
    one, two = batches(2)
    run.step(one)
    before = state(run)
    with pytest.raises(KeyboardInterrupt):
        run.step(one, two)
    assert_close(state(run), before, **EXACT)


def test_values_are_read_as_they_are(ragged_batch, make_run):
    """In float64, nothing is rounded to float32 on the way."""
    step = make_run().step(ragged_batch)
    values = step.values()
    assert list(values) == ["loss", "grad_norm", "accuracy"]
    assert values["loss"] == step.loss.item()
    assert values["grad_norm"] == step.grad_norm.item()


FUSED = [
    (torch.optim.Adam, {}),
    (torch.optim.AdamW, {"weight_decay": 0.1}),
    (torch.optim.SGD, {}),
    (torch.optim.SGD, {"momentum": 0.9, "dampening": 0.1}),
    (torch.optim.Adagrad, {}),
]


def deferred_run(model, optimizer=torch.optim.Adam, options=None, **kwargs):
    updates = optimizer(model.parameters(), lr=0.01, fused=True, **(options or {}))
    return Run(model, classification, updates, defer_checks=True, **kwargs)


@pytest.mark.parametrize(("optimizer", "options"), FUSED)
@pytest.mark.parametrize("max_grad_norm", [math.inf, 0.5])
def test_a_bad_step_is_skipped_on_the_device_and_raised_at_the_next_read(
    optimizer, options, max_grad_norm, batches, state
):
    """Steps after the bad one are skipped too; afterwards it is as if none of them had been tried, bit for bit."""

    def make():
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(5, 8), nn.BatchNorm1d(8), nn.Linear(8, 3))
        return deferred_run(model, optimizer, options, max_grad_norm=max_grad_norm)

    data = batches(6)
    run, never_saw_it = make(), make()
    for batch in data[:3]:
        early = run.step(batch)
        never_saw_it.step(batch)
    before = state(never_saw_it)
    late = [run.step(batch) for batch in (bad(data[3]), data[4], data[5])][-1]
    assert_close(state(run), before, **EXACT)
    assert run.index == 6
    with pytest.raises(NonFiniteStep, match="step 3: loss nan"):
        early.values()
    assert run.index == 3
    late.values()  # raised once, not again
    for batch in data[3:]:
        assert_close(run.step(batch).values(), never_saw_it.step(batch).values(), **EXACT)
    assert_close(state(run), state(never_saw_it), **EXACT)


@pytest.mark.parametrize(("optimizer", "options"), FUSED)
def test_a_bad_first_step_leaves_no_rubbish_in_the_optimizer(optimizer, options, batches, norm_model, state):
    """torch's fused SGD makes its momentum in the first step, and leaves it uninitialised if that step is skipped."""
    run, fresh = (deferred_run(norm_model().eval(), optimizer, options) for _ in range(2))
    one, two = batches(2)
    with pytest.raises(NonFiniteStep, match="step 0: loss nan"):
        run.step(bad(one)).values()
    assert run.index == 0
    for batch in (one, two):
        run.step(batch).values()
        fresh.step(batch).values()
    assert_close(state(run), state(fresh), **EXACT)


def test_a_late_message_names_the_norms_before_the_bad_step_not_those_after(batches, small_model):
    run = deferred_run(small_model(dtype=torch.float32))
    data = batches(4)
    first = run.step(data[0])
    for batch in (bad(data[1]), data[2], data[3]):
        run.step(batch)
    with pytest.raises(NonFiniteStep, match=f"learning rate 0.01, last gradient norms {first.grad_norm:.3g}, nan\\."):
        first.values()


def test_a_verdict_that_nobody_read_is_read_when_the_loop_ends(batches, small_model):
    run = deferred_run(small_model(dtype=torch.float32))
    data = batches(5)
    data[3] = bad(data[3])
    made = []
    with pytest.raises(NonFiniteStep, match="step 3"):
        made.extend(step.index for step in train(run, data, steps=5))
    assert run.index == 3


def test_a_run_goes_on_in_the_loop_after_a_deferred_verdict(batches, small_model):
    """The index is wound back, so that the loop still makes as many updates as it was asked for."""
    run = deferred_run(small_model(dtype=torch.float32))
    data = batches(7)
    data[1] = bad(data[1])
    caught = 0
    for step in train(run, data, steps=4):
        if step.index % 2 == 0:
            try:
                step.values()
            except NonFiniteStep:
                caught += 1
    assert (caught, run.index) == (1, 4)


def test_checks_cannot_be_deferred_with_an_optimizer_that_cannot_skip(small_model):
    model = small_model()
    with pytest.raises(ValueError, match="build it with fused=True"):
        Run(model, classification, torch.optim.Adam(model.parameters()), defer_checks=True)


def test_on_the_cpu_the_verdict_is_read_at_once(small_model):
    model = small_model()
    assert Run(model, classification, torch.optim.Adam(model.parameters(), fused=True)).defer_checks is False


def test_nothing_is_deferred_by_itself_where_there_is_something_to_call_after_a_step():
    """On an accelerator, that is; the meta device stands in for one, and is never stepped."""
    model = nn.Linear(2, 2, device="meta")
    adam = torch.optim.Adam(model.parameters(), fused=False)
    adam._step_supports_amp_scaling = True
    assert Run(model, classification, adam).defer_checks is True
    assert Run(model, classification, adam, after_step=[print]).defer_checks is False


def test_a_verdict_is_read_after_a_thousand_steps_even_if_nobody_asks(batches, small_model):
    run = deferred_run(small_model(dtype=torch.float32))
    fine, (x, y) = batches(2)
    for _ in range(10):
        run.step(fine)
    run.step((x * math.nan, y))
    with pytest.raises(NonFiniteStep, match="step 10: loss nan"):  # noqa: PT012  # which step raises is the point
        for _ in range(1000):
            run.step(fine)
    assert (run.index, run.consumed) == (10, 10)
