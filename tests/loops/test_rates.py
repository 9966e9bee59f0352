"""Schedules in a run: torch's LambdaLR step for step, per group, and what is no factor."""

import math

import numpy as np
import pytest
import torch
from torch import nn
from torch.testing import assert_close

from course_lib.loops import Run, classification

EXACT = {"rtol": 0, "atol": 0}


def two_groups(model):
    return torch.optim.SGD([{"params": [model[0].weight], "lr": 0.5}, {"params": model[2].parameters()}], lr=0.1)


def halved(step):
    return 0.5 ** (step // 2)


def test_the_weights_are_those_of_a_bare_loop_under_lambdalr(batches, small_model):
    ours, theirs = small_model(dtype=torch.float32), small_model(dtype=torch.float32)
    run, sgd = Run(ours, classification, two_groups(ours), schedule=halved), two_groups(theirs)
    scheduler = torch.optim.lr_scheduler.LambdaLR(sgd, halved)
    for batch in batches(6):
        step = run.step(batch)
        assert step.learning_rate == sgd.param_groups[0]["lr"]
        assert [group["lr"] for group in run.optimizer.param_groups] == scheduler.get_last_lr()
        loss = classification(theirs, batch)
        sgd.zero_grad()
        loss.total.backward()
        for parameter in theirs.parameters():
            if parameter.grad is not None:
                parameter.grad /= loss.count
        sgd.step()
        scheduler.step()
    assert_close(ours.state_dict(), theirs.state_dict(), **EXACT)


def test_a_rate_that_is_a_tensor_is_written_in_place():
    model, rate = nn.Linear(1, 2), torch.tensor(0.5)
    run = Run(model, classification, torch.optim.SGD(model.parameters(), lr=rate), schedule=halved)
    seen = [run.step((torch.ones(1, 1), torch.tensor([0]))).learning_rate for _ in range(4)]
    assert seen == [0.5, 0.5, 0.25, 0.25]
    assert run.optimizer.param_groups[0]["lr"].item() == 0.25


def test_without_a_schedule_a_rate_changed_by_hand_stays(batches, make_run, small_model):
    run = make_run(small_model(dtype=torch.float32))
    one, two = batches(2)
    run.step(one)
    run.optimizer.param_groups[0]["lr"] = 0.01
    assert run.step(two).learning_rate == 0.01


def test_a_group_that_joins_later_is_scheduled_from_its_own_rate(batches, make_run, small_model):
    run = make_run(small_model(dtype=torch.float32), schedule=halved)
    one, two, three = batches(3)
    run.step(one)
    run.step(two)
    run.optimizer.add_param_group({"params": [torch.zeros(1, requires_grad=True)], "lr": 8.0})
    run.step(three)
    assert [group["lr"] for group in run.optimizer.param_groups] == [0.05, 4.0]


@pytest.mark.parametrize("factor", [-0.1, math.nan, math.inf])
def test_a_schedule_that_gives_no_factor_is_refused_before_anything_changes(
    factor, batches, make_run, small_model, state
):
    run = make_run(small_model(dtype=torch.float32), schedule=lambda step: factor if step else 1.0)
    one, two = batches(2)
    run.step(one)
    before = state(run)
    with pytest.raises(ValueError, match=f"schedule gave {factor} at step 1: it must give a finite factor"):
        run.step(two)
    assert_close(state(run), before, **EXACT)


def test_a_schedule_may_return_a_number_of_numpys(batches, make_run, small_model):
    run = make_run(small_model(dtype=torch.float32), schedule=lambda step: np.cos(step / 10))
    run.step(batches(1)[0])
    assert type(run.optimizer.param_groups[0]["lr"]) is float
