"""Local SGD and DiLoCo in one process: known special cases, an oracle by hand, and what is refused."""

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from course_lib.distributed import DiLoCo, OuterStep, simulate_diloco
from course_lib.loops import Run, regression

CLOSE = {"rtol": 1e-12, "atol": 1e-14}


def make_run(seed=0, rate=0.05):
    torch.manual_seed(seed)
    model = nn.Linear(3, 2).double()
    return Run(model, regression, torch.optim.SGD(model.parameters(), lr=rate))


def batches(worker, count):
    generator = torch.Generator().manual_seed(worker)
    return [
        (
            torch.randn(4, 3, generator=generator, dtype=torch.float64),
            torch.randn(4, 2, generator=generator, dtype=torch.float64),
        )
        for _ in range(count)
    ]


def test_meeting_after_every_step_is_data_parallelism():
    """The average of SGD steps is the step of the average gradient."""
    runs = [make_run(seed) for seed in range(3)]
    streams = [batches(worker, 5) for worker in range(3)]
    for _ in simulate_diloco(runs, streams, every=1, steps=5, outer_rate=1.0, outer_momentum=0.0):
        pass
    whole = make_run()
    for rows in zip(*streams, strict=True):
        whole.step(*rows)
    for run in runs:
        assert_close(run.model.state_dict(), whole.model.state_dict(), **CLOSE)


def test_one_worker_without_momentum_trains_alone():
    run, alone = make_run(), make_run()
    for _ in simulate_diloco([run], [batches(0, 4)], every=2, steps=4, outer_rate=1.0, outer_momentum=0.0):
        pass
    for batch in batches(0, 4):
        alone.step(batch)
    assert_close(run.model.state_dict(), alone.model.state_dict(), **CLOSE)


def test_workers_agree_after_a_meeting_only():
    runs = [make_run(seed) for seed in range(2)]
    agreed = []
    for _ in simulate_diloco(runs, [batches(worker, 6) for worker in range(2)], every=3, steps=6):
        agreed.append(bool((runs[0].model.weight == runs[1].model.weight).all()))
    assert agreed == [False, False, True, False, False, True]


def test_the_outer_step_by_hand():
    """Nesterov momentum on start minus average, read aloud."""
    start, momentum, rate = 2.0, 0.9, 0.7
    outer = OuterStep([torch.tensor([start], dtype=torch.float64)], rate=rate, momentum=momentum)
    velocity = 0.0
    for average in (1.0, 1.5, -0.5):
        outer.step([torch.tensor([average], dtype=torch.float64)])
        gradient = start - average
        velocity = momentum * velocity + gradient
        start -= rate * (gradient + momentum * velocity)
        assert outer.start[0].item() == pytest.approx(start, rel=1e-12)


def test_diloco_in_one_process_is_one_simulated_worker_and_goes_on_from_its_state():
    rows = batches(0, 8)
    simulated = make_run()
    for _ in simulate_diloco([simulated], [rows], every=2, steps=8):
        pass

    def fresh(seed):
        torch.manual_seed(seed)
        model = nn.Linear(3, 2).double()
        diloco = DiLoCo(model, every=2)
        return diloco, Run(model, regression, torch.optim.SGD(model.parameters(), lr=0.05), **diloco.parts())

    first, run = fresh(0)
    for batch in rows[:4]:
        run.step(batch)
    second, again = fresh(1)
    again.load_state_dict(run.state_dict())
    second.load_state_dict(first.state_dict())
    for batch in rows[4:]:
        again.step(batch)
    assert second.num_meetings == 4
    assert_close(again.model.state_dict(), simulated.model.state_dict(), **CLOSE)


def test_workers_begin_alike_in_frozen_parameters_too():
    runs = [make_run(seed) for seed in range(2)]
    for run in runs:
        run.model.bias.requires_grad_(False)
    first = runs[0].model.bias.clone()
    for _ in simulate_diloco(runs, [batches(worker, 2) for worker in range(2)], every=2, steps=2):
        pass
    for run in runs:
        assert_close(run.model.bias, first, rtol=0, atol=0)


def test_streams_must_be_equally_long():
    runs = [make_run(seed) for seed in range(2)]
    with pytest.raises(ValueError, match=r"the streams of workers \[1\] ended before the others"):
        list(simulate_diloco(runs, [batches(0, 6), batches(1, 3)], every=2, steps=6))
    runs = [make_run(seed) for seed in range(2)]
    assert len(list(simulate_diloco(runs, [batches(0, 3), batches(1, 3)], every=2, steps=6))) == 3


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: simulate_diloco([], [], every=1, steps=1), "got 0 runs"),
        (lambda: simulate_diloco([make_run()], [[], []], every=1, steps=1), "2 streams"),
        (lambda: simulate_diloco([make_run()] * 2, [[], []], every=1, steps=1), "2 runs with 1 models"),
        (lambda: simulate_diloco([make_run()], [[]], every=0, steps=1), "every must be at least 1"),
        (lambda: OuterStep([], rate=0.0), "positive rate"),
        (lambda: OuterStep([], momentum=1.0), "momentum in .0, 1."),
        (lambda: DiLoCo(nn.Linear(1, 1), every=0), "every must be at least 1 update, got 0"),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_an_optimizer_over_something_else_is_refused():
    model, other = nn.Linear(1, 1), nn.Linear(1, 1)
    diloco = DiLoCo(model, every=1)
    with pytest.raises(ValueError, match="parameters that DiLoCo does not average"):
        Run(model, regression, torch.optim.SGD(other.parameters(), lr=0.1), **diloco.parts())
    with pytest.raises(ValueError, match="use bf16 or fp32"):
        Run(model, regression, torch.optim.SGD(model.parameters(), lr=0.1), precision="fp16", **diloco.parts())
