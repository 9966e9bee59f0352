"""Plans: each line recomputed by hand, budgets that agree with each other, and what is refused."""

import re
from dataclasses import replace

import pytest

from course_lib.scaling import BESIROGLU_2024, CHIPS, HOFFMANN_2022, Assumptions, Source, Sourced, plan_run

PLAIN = Assumptions().but(
    mfu=0.5,
    dollars_per_chip_hour=2.0,
    experiments=1.0,
    staff_dollars=0.0,
    server_watts_per_chip_watt=1.5,
    pue=1.2,
    grams_per_kwh=400.0,
)


def test_every_line_by_hand():
    plan = plan_run(flops=989.4e12 * 0.5 * 3600 * 1e6, num_chips=1000, assumptions=PLAIN)  # a million chip-hours
    assert plan.final_chip_hours == pytest.approx(1e6)
    assert plan.experiment_chip_hours == pytest.approx(1e6)
    assert plan.days == pytest.approx(1e6 / 1000 / 24)
    assert plan.final_dollars == pytest.approx(2e6)
    assert plan.dollars == pytest.approx(4e6)
    assert plan.megawatt_hours == pytest.approx(2e6 * 700 * 1.5 * 1.2 / 1e6)
    assert plan.tonnes_co2e == pytest.approx(plan.megawatt_hours * 0.4)
    assert plan.flops == pytest.approx(989.4e12 * 0.5 * 3600 * 1e6)
    best = BESIROGLU_2024.frontier()
    assert plan.num_parameters == pytest.approx(float(best.num_parameters(plan.flops)))
    assert plan.loss == pytest.approx(float(BESIROGLU_2024.best_loss(plan.flops)))


def test_the_three_kinds_of_budget_lead_to_the_same_plan():
    first = plan_run(dollars=4e6, assumptions=PLAIN)
    assert plan_run(chip_hours=2e6, assumptions=PLAIN).flops == pytest.approx(first.flops)
    assert plan_run(flops=first.flops, assumptions=PLAIN).dollars == pytest.approx(4e6)


def test_staff_comes_out_of_the_same_money():
    paid = plan_run(dollars=5e6, assumptions=PLAIN.but(staff_dollars=1e6))
    assert paid.dollars == pytest.approx(5e6)
    assert paid.flops == pytest.approx(plan_run(dollars=4e6, assumptions=PLAIN).flops)
    assert "$1.0 million" in str(paid)
    assert "not counted" in str(plan_run(dollars=4e6, assumptions=PLAIN))


def test_chips_change_the_days_and_not_the_price():
    few, many = (plan_run(dollars=1e6, num_chips=count) for count in (100, 200))
    assert few.dollars == many.dollars
    assert few.days == pytest.approx(2 * many.days)


def test_a_smaller_model_for_longer_costs_loss():
    best, longer = plan_run(flops=1e23), plan_run(flops=1e23, tokens_per_parameter=200)
    assert longer.num_tokens / longer.num_parameters == pytest.approx(200)
    assert longer.flops == pytest.approx(best.flops)
    assert longer.loss > best.loss


def test_another_law_another_model():
    assert plan_run(flops=1e24, law=HOFFMANN_2022).num_parameters < plan_run(flops=1e24).num_parameters


def test_the_printed_plan_has_a_line_for_each_cost():
    plan = plan_run(dollars=1e6)
    names = [what for what, _, _ in plan.lines() if what]
    assert names == ["model", "tokens", "loss", "final run", "experiments", "staff", "together", "energy", "carbon"]
    assert repr(plan) == str(plan)
    assert re.search(r"together +\$1\.0 million", str(plan))
    assert len({len(line.split("  ")[0]) for line in str(plan).splitlines() if line[0] != " "}) > 1


def test_changed_assumptions_are_marked_as_yours_and_keep_their_unit():
    changed = Assumptions().but(pue=1.1)
    assert changed.pue.value == 1.1
    assert changed.pue.source.publisher == "you"
    assert changed.pue.unit == Assumptions().pue.unit
    assert changed.mfu == Assumptions().mfu
    measured = Sourced(0.31, "of the peak", Source("our run", "us", "2026"))
    assert Assumptions().but(mfu=measured).mfu is measured
    assert str(changed).count("\n") == 6


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: plan_run(), "give one budget of dollars, chip_hours or flops, got none"),
        (lambda: plan_run(dollars=1, flops=1), "got dollars, flops"),
        (lambda: plan_run(dollars=0), "a positive budget and a chip, got dollars 0"),
        (lambda: plan_run(flops=1e20, num_chips=0), "num_chips 0"),
        (lambda: plan_run(flops=1e20, chip="H100"), "no data sheet of 'H100' here; there are A100 SXM 80GB, H100 SXM"),
        (lambda: plan_run(flops=1e20, chip="TPU v4"), "no power is published for TPU v4"),
        (lambda: plan_run(flops=1e20, chip="A100 SXM 80GB"), "the price assumed is an H100's"),
        (lambda: plan_run(flops=1e20, tokens_per_parameter=0), "tokens_per_parameter must be positive"),
        (lambda: plan_run(dollars=5, assumptions=PLAIN.but(staff_dollars=5)), "of .5 staff takes .5: nothing is left"),
        (lambda: Assumptions().but(mfu=1.2), "at most 1, got 1.2"),
        (lambda: Assumptions().but(mfu=0), "mfu cannot be 0"),
        (lambda: Assumptions().but(pue=0.9), "pue cannot be 0.9: expected a finite number of 1 or more"),
        (lambda: Assumptions().but(price=3), "no assumption called 'price'; there are mfu"),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_a_chip_of_ones_own_works():
    own = replace(CHIPS["TPU v4"], watts=192.0)
    plan = plan_run(chip_hours=1000, chip=own, assumptions=PLAIN)
    assert plan.megawatt_hours == pytest.approx(1000 * 192 * 1.5 * 1.2 / 1e6)
