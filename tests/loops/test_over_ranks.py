"""How a ``gradients`` function tells a run what it does over ranks by itself."""

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from course_lib.collectives import all_sum, world_size
from course_lib.loops import NonFiniteStep, OverRanks, Run, backprop, regression

CLOSE = {"rtol": 1e-12, "atol": 1e-14}  # float64, sums in another order


class Engine:
    """Plain backpropagation, and whatever ``over_ranks`` says."""

    def __init__(self, over_ranks, *, add=False):
        self.over_ranks, self._add = over_ranks, add

    def __call__(self, model, objective, micro_batches):
        losses = backprop(model, objective, micro_batches)
        if self._add:
            all_sum([parameter.grad for parameter in model.parameters()], self.over_ranks.group)
        if self.over_ranks.averaged:
            for parameter in model.parameters():
                parameter.grad /= world_size(self.over_ranks.group)
        return losses


def make_run(**options):
    torch.manual_seed(0)
    model = nn.Linear(3, 1).double()
    return Run(model, regression, torch.optim.SGD(model.parameters(), lr=0.1), **options)


def rows(*places):
    """Ranks have different numbers of rows."""
    parts = []
    for place in places:
        generator = torch.Generator().manual_seed(place)
        x = torch.randn(2 + place, 3, generator=generator, dtype=torch.float64)
        parts.append((x, x.sum(1, keepdim=True)))
    x, y = (torch.cat(tensors) for tensors in zip(*parts, strict=True))
    return x, y


def outcome(run, batch):
    step = run.step(batch)
    gradients = [parameter.grad for parameter in run.model.parameters()]
    return step.loss, torch.as_tensor(step.count), step.grad_norm, gradients, run.model.state_dict()


def worker(me):
    everybody = (0, 1)
    alone = Engine(OverRanks(group=torch.distributed.new_group([me], use_local_synchronization=True)))
    expected = outcome(make_run(gradients=alone), rows(*everybody))  # a group of one adds up nothing
    assert_close(outcome(make_run(), rows(me)), expected, **CLOSE)
    assert_close(outcome(make_run(gradients=Engine(OverRanks(summed=True), add=True)), rows(me)), expected, **CLOSE)
    mean = Engine(OverRanks(summed=True, averaged=True), add=True)
    assert_close(outcome(make_run(gradients=mean), rows(me)), expected, **CLOSE)


def test_what_is_added_up_over_which_ranks(on_two_ranks):
    on_two_ranks(worker)


def test_the_norm_is_the_functions_own_and_clips():
    batch = rows(1)
    plain, told = (
        make_run(),
        make_run(max_grad_norm=1.0, gradients=Engine(OverRanks(norm=lambda ps: torch.tensor(80.0)))),
    )
    plain.step(batch)
    step = told.step(batch)
    assert step.grad_norm == 80.0 / 3  # of the mean over 3 targets
    for parameter, other in zip(told.model.parameters(), plain.model.parameters(), strict=True):
        assert_close(parameter.grad, other.grad / (80.0 / 3 + 1e-6), rtol=1e-7, atol=0)
    bad = make_run(gradients=Engine(OverRanks(norm=lambda ps: torch.tensor(float("nan")))))
    with pytest.raises(NonFiniteStep):
        bad.step(batch)


def test_the_run_is_shown_to_the_function_once_it_is_built():
    seen = []

    def refuse(run):
        seen.append(run.optimizer)
        raise ValueError("not with an EMA")

    with pytest.raises(ValueError, match="not with an EMA"):
        make_run(gradients=Engine(OverRanks(check=refuse)))
    assert isinstance(seen[0], torch.optim.SGD)
