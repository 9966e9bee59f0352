"""Training on two gloo processes against one: every loss, gradient and parameter the same; refusals on both alike."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.testing import assert_close

from course_lib.collectives import gather_rows, rank
from course_lib.data import Batches
from course_lib.loops import EMA, Loss, NonFiniteStep, Run, classification, evaluate, fit, regression, train

CLOSE = {"rtol": 1e-12, "atol": 1e-14}  # float64, sums in another order
EXACT = {"rtol": 0, "atol": 0}
ROWS, BATCH_SIZE = 13, 4  # the last batch of an epoch has one row: none for rank 1


def make_run(objective=classification, **kwargs):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(5, 8), nn.Tanh(), nn.Linear(8, 3)).double()
    return Run(model, objective, torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9), **kwargs)


def data():
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(ROWS, 5, generator=generator, dtype=torch.float64)
    y = torch.randint(0, 3, (ROWS,), generator=generator)
    y[::4] = -100
    return x, y


def coupled(model, batch):
    """Each row's own embedding among those of all ranks' rows."""
    rows = gather_rows(F.normalize(model(batch[0]), dim=-1))
    return Loss(F.cross_entropy(rows @ rows.T, torch.arange(len(rows))), None)


def trained(accumulate):
    """What every update gave, read off in both worlds by the same lines."""
    run, record = make_run(max_grad_norm=0.5), []
    for step in train(run, Batches(data(), batch_size=BATCH_SIZE, seed=2), steps=8, accumulate=accumulate):
        gradients = {name: parameter.grad.clone() for name, parameter in run.model.named_parameters()}
        numbers = {"loss": step.loss, "norm": step.grad_norm, "count": torch.as_tensor(step.count)}
        record.append({**numbers, **step.metrics, **gradients})
    return record, run.model.state_dict()


def trained_coupled():
    run = make_run(coupled)
    steps = list(train(run, Batches(data(), batch_size=6, seed=2, drop_last=True), steps=3))
    return [step.loss for step in steps], run.model.state_dict()


def in_one_process():
    finite = Batches(data(), batch_size=BATCH_SIZE, seed=2, epochs=1)
    return {
        "each batch": trained(accumulate=1),
        "two batches": trained(accumulate=2),
        "coupled": trained_coupled(),
        "evaluated": evaluate(make_run().model, classification, finite),
    }


def worker(me, expected):
    assert_close(trained(accumulate=1), expected["each batch"], **CLOSE)
    assert_close(trained(accumulate=2), expected["two batches"], **CLOSE)
    assert_close(trained_coupled(), expected["coupled"], **CLOSE)
    check_evaluation(me, expected["evaluated"])
    check_bad_step_of_one_rank(me)
    check_parameters_that_one_rank_does_not_use(me)
    check_counts_too_long_for_the_dtype_of_the_loss(me)
    check_fp16_overflow_of_one_rank(me)
    check_refusals(me)
    check_that_only_one_rank_prints(me)


def check_evaluation(me, expected):
    model = make_run().model
    found = evaluate(model, classification, Batches(data(), batch_size=BATCH_SIZE, seed=2, epochs=1))
    assert_close(found, expected, **CLOSE)
    with pytest.raises(ValueError, match="1 of 2 ranks had no batch to evaluate"):
        evaluate(model, classification, [data()] * me)


def check_bad_step_of_one_rank(me):
    x, y = data()
    run = make_run()
    run.step((x, y))
    before = {name: tensor.clone() for name, tensor in run.model.state_dict().items()}
    with pytest.raises(NonFiniteStep, match="step 1: loss nan"):
        run.step((x * (math.nan if me == 1 else 1.0), y))
    assert_close(run.model.state_dict(), before, **EXACT)
    assert run.index == 1


class Heads(nn.Module):
    """A trunk and three heads, of which a batch uses the one it names."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.trunk = nn.Linear(5, 4).double()
        self.heads = nn.ModuleDict({name: nn.Linear(4, 1).double() for name in ("left", "right", "unused")})
        self.frozen = nn.Parameter(torch.ones(1), requires_grad=False)

    def forward(self, batch):
        x, name = batch
        return self.heads[name](self.trunk(x))


def check_parameters_that_one_rank_does_not_use(me):
    def objective(model, batch):
        return regression(model, (batch, torch.ones(len(batch[0]), 1, dtype=torch.float64)))

    x, _ = data()
    parts = [(x[:9], "left"), (x[9:], "right")]
    model, by_hand = Heads(), Heads()
    run = Run(model, objective, torch.optim.SGD(model.parameters(), lr=0.1))
    run.step(parts[me])
    (sum(objective(by_hand, part).total for part in parts) / ROWS).backward()
    for (name, ours), whole in zip(model.named_parameters(), by_hand.parameters(), strict=True):
        assert (ours.grad is None) == (whole.grad is None) == ("unused" in name or name == "frozen"), name
        if whole.grad is not None:
            assert_close(ours.grad, whole.grad, **CLOSE)


def check_counts_too_long_for_the_dtype_of_the_loss(me):
    """bfloat16 holds no 1001: counts must not pass through it."""
    run = make_run(lambda model, batch: Loss(model(batch[0]).sum().bfloat16(), 1001))
    assert int(run.step(data()).count) == 2002


def check_fp16_overflow_of_one_rank(me):
    """The scale starts alike (from the targets of both), and an overflow on one rank skips the step on both."""
    torch.manual_seed(0)
    model = nn.Linear(5, 1)
    run = Run(model, regression, torch.optim.SGD(model.parameters(), lr=0.01), precision="fp16", ema=EMA(model))
    x = torch.ones(3 + me, 5)
    fine, big = (x, model(x).detach() + 0.1), (x, torch.full((3 + me, 1), 1e4))
    assert run.step(fine).skipped is False
    assert run.scaler.reference == 8.0  # 3 + 4 targets, rounded to a power of two
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    assert run.step(big if me == 1 else fine).skipped is True
    assert (run.scaler.scale.item(), int(run.ema.num_updates)) == (2.0**15, 1)
    assert_close(model.state_dict(), before, **EXACT)
    assert run.step(fine).skipped is False
    weights = gather_rows(torch.cat([parameter.detach().flatten() for parameter in model.parameters()])[None])
    assert_close(weights[0], weights[1], **EXACT)


def check_refusals(me):
    with pytest.raises(ValueError, match="2 processes would all train on the same rows of this list"):
        train(make_run(), [data()], steps=1)
    x, y = data()
    run = make_run()
    with pytest.raises(ValueError, match="no targets"):
        run.step((x, torch.full_like(y, -100)))
    assert run.index == 0


def check_that_only_one_rank_prints(me):
    lines = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("builtins.print", lambda *texts: lines.append(texts))
        fit(make_run(), Batches(data(), batch_size=BATCH_SIZE, seed=2), steps=2)
    assert len(lines) == (1 if rank() == 0 else 0)


def test_two_ranks_equal_one(on_two_ranks):
    on_two_ranks(worker, in_one_process())
