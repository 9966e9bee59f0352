"""Engines where ranks differ: in the parameters they use, in the weights they begin with, in what learns and when."""

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from course_lib.collectives import world_size
from course_lib.distributed import DDP, FullySharded, Zero
from course_lib.loops import Run, regression

CLOSE = {"rtol": 1e-10, "atol": 1e-12}  # float64, sums in another order
EXACT = {"rtol": 0, "atol": 0}


def small_model():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(5, 8), nn.Tanh(), nn.Linear(8, 8), nn.Tanh(), nn.Linear(8, 1))


def rows(me=0):
    generator = torch.Generator().manual_seed(me)
    x = torch.randn(3, 5, generator=generator)
    return x, x.sum(1, keepdim=True)


def worker(me):
    check_unused_parameters(me)
    check_what_is_late(me)
    check_weights_in_no_group(me)
    check_buffers_and_frozen_weights(me)


class Heads(nn.Module):
    """A trunk and heads, of which a batch uses the one it names."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.trunk = nn.Linear(5, 4)
        self.heads = nn.ModuleDict({name: nn.Linear(4, 1) for name in ("left", "right", "unused")})

    def forward(self, batch):
        x, name = batch
        return self.heads[name](self.trunk(x))


def check_unused_parameters(me):
    """Ranks use other heads: sums must not be mixed up. What nobody uses has no gradient, or one of zeros."""

    def objective(model, batch):
        return regression(model, (batch, torch.ones(len(batch[0]), 1, dtype=torch.float64)))

    def part(place):
        return rows(place)[0].double(), ("left", "right")[place % 2]

    by_hand = Heads().double()
    total = sum(objective(by_hand, part(place)).total for place in range(world_size()))
    (total / (3 * world_size())).backward()
    expected = {name: torch.zeros_like(p) if p.grad is None else p.grad for name, p in by_hand.named_parameters()}

    model = Heads().double()
    engine = DDP(model, find_unused_parameters=True)
    run = Run(model, objective, torch.optim.SGD(model.parameters(), lr=0.1), gradients=engine)
    run.step(part(me))
    assert model.heads["unused"].weight.grad is None
    assert_close({n: torch.zeros_like(p) if p.grad is None else p.grad for n, p in model.named_parameters()}, expected)
    for stage in (1, 2):
        model = Heads().double()
        zero = Zero(model, stage=stage, units=[model.trunk, *model.heads.values()])
        Run(model, objective, torch.optim.SGD(zero.groups, lr=0.1), gradients=zero).step(part(me))
        assert_close(zero.whole_gradients(), expected, **CLOSE)

    model = Heads().double()
    engine = FullySharded(model, units=[])  # all heads are in one unit
    Run(model, objective, torch.optim.SGD(model.parameters(), lr=0.1), gradients=engine).step(part(me))
    assert_close({**expected, **engine.whole_gradients()}, expected, **CLOSE)
    assert len(engine.whole_gradients()) >= 6

    model = Heads().double()
    zero = Zero(model, stage=3, units=[model.trunk, *model.heads.values()])
    run = Run(model, objective, torch.optim.SGD(zero.groups, lr=0.1), gradients=zero)
    before = zero.whole_parameters()
    with pytest.raises(ValueError, match="every rank must call the same units in the same order"):
        run.step(part(me))
    assert_close(zero.whole_parameters(), before, **EXACT)
    run.step((rows(me)[0].double(), "left"))
    for head in ("right", "unused"):
        assert zero.whole_gradients()[f"heads.{head}.weight"].count_nonzero() == 0


def check_what_is_late(me):
    """An engine given to a run that is there already, and parameters that began to learn after the engine was built."""
    gradients = []
    for late in (False, True):
        model = small_model()
        optimizer, engine = torch.optim.SGD(model.parameters(), lr=0.1), DDP(model)
        run = Run(model, regression, optimizer) if late else Run(model, regression, optimizer, gradients=engine)
        run.gradients = engine
        run.step(rows(me))
        gradients.append([parameter.grad.clone() for parameter in model.parameters()])
    assert_close(*gradients, **EXACT)
    run.gradients = DDP(small_model())
    with pytest.raises(ValueError, match="6 of the optimizer's 6 parameters are not in the model that DDP was built"):
        run.step(rows(me))

    model = small_model()
    model[0].requires_grad_(False)
    engine = DDP(model)
    model[0].requires_grad_(True)
    with pytest.raises(ValueError, match=r"2 of the optimizer's 6 parameters .* or were frozen then"):
        Run(model, regression, torch.optim.SGD(model.parameters(), lr=0.1), gradients=engine)


def check_weights_in_no_group(me):
    """Rank 0's weights are taken by all, those that the optimizer is not given as well."""
    for stage in (1, 2, 3):
        torch.manual_seed(me)
        model = nn.Sequential(nn.Linear(5, 4), nn.Linear(4, 1))
        Zero(model, stage=stage, groups=[{"params": model[0].parameters()}])
        torch.manual_seed(0)
        first = nn.Sequential(nn.Linear(5, 4), nn.Linear(4, 1))
        assert_close(model[1].state_dict(), first[1].state_dict(), **EXACT)


def check_buffers_and_frozen_weights(me):
    """Rank 0's are taken by all; each rank's batch norm then goes on with its own rows; frozen weights stay."""
    for name in ("ddp", "zero 1", "zero 2", "zero 3", "fsdp"):
        torch.manual_seed(me)
        model = nn.Sequential(nn.Linear(5, 4), nn.BatchNorm1d(4), nn.Linear(4, 1))
        model[1].running_mean += me
        model[2].requires_grad_(False)
        torch.manual_seed(0)
        first = nn.Linear(5, 4)
        engine = DDP(model) if name == "ddp" else FullySharded(model) if name == "fsdp" else None
        if engine is None:
            engine = Zero(model, stage=int(name[-1]))
        frozen = [value.clone() for value in whole(model[2])]
        groups = engine.groups if isinstance(engine, Zero) else [p for p in model.parameters() if p.requires_grad]
        assert_close(model[1].running_mean, torch.zeros(4), **EXACT)
        run = Run(model, regression, torch.optim.SGD(groups, lr=0.1), gradients=engine)
        x, y = rows(me)
        run.step((x, y))
        mean = 0.1 * (x @ first.weight.T + first.bias).mean(0)  # momentum 0.1
        assert_close(model[1].running_mean, mean.detach(), rtol=1e-5, atol=1e-6)
        assert_close(whole(model[2]), frozen, **EXACT)


def whole(module):
    return [getattr(p, "full_tensor", p.detach)() for p in module.parameters()]


def test_engines_where_ranks_differ(on_two_ranks):
    on_two_ranks(worker)
