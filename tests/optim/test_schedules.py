"""Schedules against torch.optim.lr_scheduler, at their corners, at fractions of a step, and refused."""

from functools import partial

import pytest
import torch
from torch.optim import lr_scheduler

from course_lib.optim import schedules

TOTAL = 30
PEAK = 0.3


def rates(scheduler_of, steps):
    """The rates that torch's scheduler gives ``steps`` updates, as shares of the peak."""
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=PEAK)
    scheduler = scheduler_of(optimizer)
    found = []
    for _ in range(steps):
        found.append(optimizer.param_groups[0]["lr"] / PEAK)
        optimizer.step()
        scheduler.step()
    return found


def sequence(optimizer, first, second, milestone):
    return lr_scheduler.SequentialLR(optimizer, [first(optimizer), second(optimizer)], [milestone])


LinearLR, CosineLR = lr_scheduler.LinearLR, lr_scheduler.CosineAnnealingLR
rise = partial(LinearLR, start_factor=1 / 5, total_iters=4)  # 1/5, 2/5, ... at updates 0, 1, ...

PAIRS = {
    "constant": (schedules.constant, partial(lr_scheduler.ConstantLR, factor=1.0), TOTAL),
    "warmup": (partial(schedules.warmup, steps=5), rise, TOTAL),
    "step": (
        partial(schedules.step_decay, every=7, factor=0.3),
        partial(lr_scheduler.StepLR, step_size=7, gamma=0.3),
        30,
    ),
    "exponential": (
        partial(schedules.exponential_decay, factor=0.9),
        partial(lr_scheduler.ExponentialLR, gamma=0.9),
        TOTAL,
    ),
    "linear": (
        partial(schedules.linear_decay, total=20, floor=0.1),
        partial(LinearLR, start_factor=1.0, end_factor=0.1, total_iters=20),
        TOTAL,  # both stay at the floor
    ),
    "cosine": (
        partial(schedules.cosine, total=20, floor=0.1),
        partial(CosineLR, T_max=20, eta_min=0.1 * PEAK),
        21,  # beyond, torch's rises again
    ),
    "cyclical": (
        partial(schedules.cyclical, up=3, down=5, low=0.2),
        partial(lr_scheduler.CyclicLR, base_lr=0.2 * PEAK, max_lr=PEAK, step_size_up=3, step_size_down=5),
        TOTAL,
    ),
    "wsd": (
        partial(schedules.wsd, total=20, warmup=5, decay=8, floor=0.1),
        partial(
            sequence,
            first=rise,
            second=partial(LinearLR, start_factor=1.0, end_factor=0.1, total_iters=8),
            milestone=12,
        ),
        TOTAL,
    ),
    "warmup, cosine": (
        partial(schedules.warmup_cosine, total=20, warmup=5, floor=0.1),
        partial(sequence, first=rise, second=partial(CosineLR, T_max=15, eta_min=0.1 * PEAK), milestone=5),
        21,
    ),
    "warmup, linear": (
        partial(schedules.warmup_linear, total=20, warmup=5, floor=0.1),
        partial(
            sequence,
            first=rise,
            second=partial(LinearLR, start_factor=1.0, end_factor=0.1, total_iters=15),
            milestone=5,
        ),
        TOTAL,
    ),
}


@pytest.mark.parametrize("name", PAIRS)
@pytest.mark.filterwarnings("ignore:The epoch parameter")  # torch's SequentialLR against torch's own advice
def test_torchs_scheduler_gives_the_same_rates(name):
    ours, theirs, steps = PAIRS[name]
    assert [ours(step) for step in range(steps)] == pytest.approx(rates(theirs, steps), rel=0, abs=1e-12)


def test_the_transformers_schedule_is_the_papers_up_to_its_peak():
    def paper(n, width=512, warmup=10):
        return width**-0.5 * min(n**-0.5, n * warmup**-1.5)

    ours = [schedules.inverse_sqrt(step, warmup=10) for step in range(100)]
    assert ours == pytest.approx([paper(step + 1) / paper(10) for step in range(100)], rel=1e-12)
    assert max(ours) == ours[9] == 1.0


def test_through_lambda_lr_each_group_keeps_its_own_rate():
    groups = [{"params": [torch.zeros(1, requires_grad=True)], "lr": lr} for lr in (1.0, 0.5)]
    optimizer = torch.optim.SGD(groups)
    scheduler = lr_scheduler.LambdaLR(optimizer, partial(schedules.warmup_cosine, total=8, warmup=2))
    for step in range(8):
        factor = schedules.warmup_cosine(step, total=8, warmup=2)
        assert [group["lr"] for group in optimizer.param_groups] == [factor, factor / 2]
        optimizer.step()
        scheduler.step()


@pytest.mark.parametrize("floor", [0.0, 0.1, 1.0])
@pytest.mark.parametrize(
    "schedule",
    [
        partial(schedules.linear_decay, total=7),
        partial(schedules.cosine, total=7),
        partial(schedules.wsd, total=7, warmup=2, decay=3),
        partial(schedules.warmup_cosine, total=7, warmup=2),
        partial(schedules.warmup_linear, total=7, warmup=2),
    ],
)
def test_from_the_end_on_it_is_exactly_the_floor(schedule, floor):
    assert [schedule(step, floor=floor) for step in (7, 7.5, 8, 10**9)] == [floor] * 4
    assert all(schedule(step, floor=floor) > floor for step in range(1, 7)) or floor == 1.0


def test_a_fall_never_rises_and_a_rise_never_falls():
    fine = [step / 10 for step in range(300)]
    for fall in (
        partial(schedules.linear_decay, total=20, floor=0.1),
        partial(schedules.cosine, total=20, floor=0.1),
        partial(schedules.exponential_decay, factor=0.9),
        partial(schedules.step_decay, every=7),
    ):
        values = [fall(step) for step in fine]
        assert values == sorted(values, reverse=True)
        assert values[0] == 1.0
    values = [schedules.warmup(step, steps=20) for step in fine]
    assert values == sorted(values)
    assert values[-1] == 1.0


def test_fractions_of_a_step_lie_on_the_same_curve():
    assert schedules.warmup(0.5, steps=4) == 0.375
    assert schedules.step_decay(1.99, every=2, factor=0.5) == 1.0
    assert schedules.step_decay(0.6, every=0.5, factor=0.5) == 0.5
    assert schedules.exponential_decay(0.5, factor=0.25) == 0.5
    assert schedules.linear_decay(0.25, total=1) == 0.75
    assert schedules.cosine(0.5, total=1) == pytest.approx(0.5, abs=1e-15)
    assert schedules.cyclical(0.5, up=1, low=0.0) == 0.5
    assert schedules.wsd(1.75, total=2, warmup=0.5, decay=0.5) == 0.5


def test_no_warmup_is_no_warmup():
    for step in range(5):
        assert schedules.warmup(step, steps=0) == 1.0
        assert schedules.warmup_cosine(step, total=5, warmup=0) == schedules.cosine(step, total=5)
        assert schedules.warmup_linear(step, total=5, warmup=0) == schedules.linear_decay(step, total=5)
        assert schedules.wsd(step, total=5, warmup=0, decay=5) == schedules.linear_decay(step, total=5)


def test_a_cycle_goes_to_the_top_and_back_for_ever():
    cycle = partial(schedules.cyclical, up=2, down=3, low=0.5)
    assert [cycle(step) for step in (0, 2, 5, 7, 5 * 10**6 + 2)] == [0.5, 1.0, 0.5, 1.0, 1.0]
    assert [schedules.cyclical(step, up=2) for step in (0, 2, 4)] == [0.25, 1.0, 0.25]


def test_huge_steps_do_not_break_anything():
    assert schedules.exponential_decay(1e9, factor=0.5) == 0.0
    assert schedules.step_decay(10**9, every=1) == 0.0
    assert schedules.inverse_sqrt(10**18 - 1, warmup=1) == 1e-9


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: schedules.constant(-1), "step must be finite and at least 0, got -1"),
        (lambda: schedules.warmup(float("nan"), steps=5), "step must be finite and at least 0, got nan"),
        (lambda: schedules.warmup(0, steps=-1), "steps must be finite and at least 0, got -1"),
        (lambda: schedules.step_decay(0, every=0), "every must be finite and above 0, got 0"),
        (lambda: schedules.step_decay(0, every=1, factor=-0.1), "factor must be finite and at least 0, got -0.1"),
        (lambda: schedules.exponential_decay(0, factor=float("inf")), "factor must be .* got inf"),
        (lambda: schedules.linear_decay(0, total=0), "total must be finite and above 0, got 0"),
        (lambda: schedules.cosine(0, total=5, floor=1.5), "floor is a share of the peak rate, so at most 1, got 1.5"),
        (lambda: schedules.cosine(0, total=5, floor=-0.1), "floor must be finite and at least 0, got -0.1"),
        (lambda: schedules.cyclical(0, up=0), "up must be finite and above 0, got 0"),
        (lambda: schedules.cyclical(0, up=1, down=-1), "down must be finite and above 0, got -1"),
        (lambda: schedules.cyclical(0, up=1, low=2), "low is a share of the peak rate, so at most 1, got 2"),
        (lambda: schedules.wsd(0, total=10, warmup=6, decay=5), r"warmup \+ decay <= total, got 6 \+ 5 > 10"),
        (lambda: schedules.wsd(0, total=10, warmup=6, decay=0), "decay must be finite and above 0, got 0"),
        (lambda: schedules.wsd(0, total=10, warmup=-6, decay=1), "warmup must be finite and at least 0, got -6"),
        (lambda: schedules.warmup_cosine(0, total=10, warmup=10), "got warmup 10 of total 10: shorten the warmup"),
        (lambda: schedules.warmup_linear(0, total=10, warmup=-1), "warmup must be finite and at least 0, got -1"),
        (lambda: schedules.warmup_linear(-1, total=10, warmup=1), "step must be finite and at least 0, got -1"),
        (lambda: schedules.inverse_sqrt(0, warmup=0), "warmup must be finite and above 0, got 0"),
    ],
)
def test_bad_arguments_are_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
