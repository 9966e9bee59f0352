"""A budget in; a model, its tokens, the time, the price, the energy and the carbon out."""

from __future__ import annotations

import math
from dataclasses import dataclass

from course_lib.scaling.assumptions import HOME_KWH, Assumptions
from course_lib.scaling.chips import Chip
from course_lib.scaling.chips import chip as chip_named
from course_lib.scaling.laws import ChinchillaLaw, six_nd
from course_lib.scaling.published import BESIROGLU_2024


@dataclass(frozen=True, slots=True)
class Plan:
    """A training run before it is paid for. Printing it shows each line and what it assumes.

    Args:
        num_parameters: Of the model.
        num_tokens: Of training.
        loss: Predicted by the law for its own kind of text.
        chip: That it runs on.
        num_chips: At once.
        final_chip_hours: Of the final run.
        experiment_chip_hours: Of everything tried besides.
        assumptions: With their sources.
    """

    num_parameters: float
    num_tokens: float
    loss: float
    chip: Chip
    num_chips: int
    final_chip_hours: float
    experiment_chip_hours: float
    assumptions: Assumptions

    @property
    def flops(self) -> float:
        """Compute of the final run, 6 N D."""
        return six_nd(self.num_parameters, self.num_tokens)

    @property
    def days(self) -> float:
        """Of the final run, without interruptions."""
        return self.final_chip_hours / self.num_chips / 24

    @property
    def final_dollars(self) -> float:
        """Rent of the final run."""
        return self.final_chip_hours * self.assumptions.dollars_per_chip_hour.value

    @property
    def experiment_dollars(self) -> float:
        """Rent of the experiments."""
        return self.experiment_chip_hours * self.assumptions.dollars_per_chip_hour.value

    @property
    def dollars(self) -> float:
        """Rent and staff."""
        return self.final_dollars + self.experiment_dollars + self.assumptions.staff_dollars.value

    @property
    def megawatt_hours(self) -> float:
        """Electricity of the final run and the experiments, building included."""
        watts = self.chip.watts or math.nan
        chip_watt_hours = (self.final_chip_hours + self.experiment_chip_hours) * watts
        return chip_watt_hours * self.assumptions.server_watts_per_chip_watt.value * self.assumptions.pue.value / 1e6

    @property
    def tonnes_co2e(self) -> float:
        """Greenhouse gases of that electricity, by the grid's average; building the chips is not in it."""
        return self.megawatt_hours * self.assumptions.grams_per_kwh.value / 1e3

    def lines(self) -> list[tuple[str, str, str]]:
        """Return what the plan says as rows of (what, how much, on what assumption)."""
        a = self.assumptions
        staff = a.staff_dollars.value
        per_hour = a.dollars_per_chip_hour.value
        return [
            ("model", f"{_short(self.num_parameters)} parameters", "where the law's loss is lowest for this compute"),
            ("tokens", _short(self.num_tokens), f"{self.num_tokens / self.num_parameters:.1f} a parameter"),
            ("loss", f"{self.loss:.3f} nats a token", "on the law's own text and tokens"),
            ("final run", f"{self.flops:.3g} FLOP", f"{a.mfu.value:.0%} of the peak of {self.chip.name}"),
            ("", f"{_short(self.final_chip_hours)} chip-hours", f"{self.num_chips:,} chips for {self.days:.1f} days"),
            ("", f"${_short(self.final_dollars)}", f"${per_hour:g} a chip-hour"),
            ("experiments", f"${_short(self.experiment_dollars)}", f"{a.experiments.value:g} times the final run"),
            ("staff", f"${_short(staff)}" if staff else "not counted", "salaries, if given"),
            ("together", f"${_short(self.dollars)}", "data and failed runs are not in it"),
            ("energy", f"{_short(self.megawatt_hours)} MWh", f"paid with the rent; PUE {a.pue.value:g}"),
            ("", f"{_short(self.megawatt_hours * 1e3 / HOME_KWH.value)} US homes", "their electricity of one year"),
            ("carbon", f"{_short(self.tonnes_co2e)} t CO2e", f"{a.grams_per_kwh.value:g} g a kWh"),
        ]

    def __str__(self) -> str:
        rows = self.lines()
        widths = [max(len(row[column]) for row in rows) for column in (0, 1)]
        return "\n".join(f"{what:<{widths[0]}}  {much:>{widths[1]}}  {why}" for what, much, why in rows)

    __repr__ = __str__


def plan_run(
    *,
    dollars: float | None = None,
    chip_hours: float | None = None,
    flops: float | None = None,
    num_chips: int = 1024,
    chip: str | Chip = "H100 SXM",
    law: ChinchillaLaw = BESIROGLU_2024,
    tokens_per_parameter: float | None = None,
    assumptions: Assumptions | None = None,
) -> Plan:
    """Plan the compute-optimal training run of a budget.

    Args:
        dollars: Money for the final run, experiments and staff together.
        chip_hours: Or chip-hours for the final run and experiments together.
        flops: Or the compute of the final run alone.
        num_chips: How many work at once; it changes the days, not the price.
        chip: A name in `CHIPS`, or a `Chip` of your own.
        law: Fitted to text and tokens like yours: neither its loss nor its optimum carries over to others.
        tokens_per_parameter: Train a smaller model for longer (or a larger one shorter) than the law says is best.
        assumptions: The defaults, or ``Assumptions().but(mfu=0.5, ...)``.

    Returns:
        A `Plan`; print it.

    Raises:
        ValueError: If not exactly one budget is given, it is not positive, staff eats all of it, the chip has no
            published power, or the price assumed is another chip's.

    Example:
        >>> plan = plan_run(flops=5.76e23)  # Gopher's budget
        >>> f"{plan.num_parameters:.2g} parameters, {plan.num_tokens:.2g} tokens"
        '7.2e+10 parameters, 1.3e+12 tokens'
        >>> print(plan.lines()[4])
        ('', '404.3 thousand chip-hours', '1,024 chips for 16.5 days')
    """
    budgets = {"dollars": dollars, "chip_hours": chip_hours, "flops": flops}
    given = {name: value for name, value in budgets.items() if value is not None}
    if len(given) != 1:
        raise ValueError(f"give one budget of dollars, chip_hours or flops, got {', '.join(given) or 'none'}.")
    ((name, budget),) = given.items()
    if not 0 < budget < math.inf or num_chips < 1:
        raise ValueError(f"a plan needs a positive budget and a chip, got {name} {budget!r}, num_chips {num_chips!r}.")
    if tokens_per_parameter is not None and not 0 < tokens_per_parameter < math.inf:
        raise ValueError(f"tokens_per_parameter must be positive and finite, got {tokens_per_parameter!r}.")
    a = assumptions or Assumptions()
    hardware = chip if isinstance(chip, Chip) else chip_named(chip)
    if hardware.watts is None:
        raise ValueError(f"no power is published for {hardware.name}: pass dataclasses.replace(CHIPS[...], watts=...).")
    if hardware.name != "H100 SXM" and a.dollars_per_chip_hour == Assumptions().dollars_per_chip_hour:
        raise ValueError(
            f"the price assumed is an H100's: give that of {hardware.name} with "
            "Assumptions().but(dollars_per_chip_hour=...)."
        )
    flops_per_hour = hardware.peak_flops_per_second * a.mfu.value * 3600
    if flops is None:
        hours = _hours_of(budget, a) if name == "dollars" else budget
        flops = hours / (1 + a.experiments.value) * flops_per_hour
    if tokens_per_parameter is None:
        best = law.frontier()
        n, d = float(best.num_parameters(flops)), float(best.num_tokens(flops))
    else:
        n = math.sqrt(flops / (6 * tokens_per_parameter))
        d = n * tokens_per_parameter
    hours = flops / flops_per_hour
    return Plan(n, d, float(law.loss(n, d)), hardware, num_chips, hours, hours * a.experiments.value, a)


def _hours_of(dollars: float, assumptions: Assumptions) -> float:
    left = dollars - assumptions.staff_dollars.value
    if left <= 0:
        raise ValueError(
            f"of ${dollars:,.0f} staff takes ${assumptions.staff_dollars.value:,.0f}: nothing is left to rent."
        )
    return left / assumptions.dollars_per_chip_hour.value


def _short(value: float) -> str:
    """A number as people say it: 1.4 trillion, 404.3 thousand, 12.0."""
    for size, word in ((1e12, " trillion"), (1e9, " billion"), (1e6, " million"), (1e3, " thousand")):
        if value >= size:
            return f"{value / size:.1f}{word}"
    return f"{value:.3g}"
