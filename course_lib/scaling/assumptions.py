"""What a plan assumes about the world, each with its source: prices, utilisation, power, grids."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

from course_lib.scaling.sources import Source, Sourced

_LLAMA_3 = Source("The Llama 3 herd of models, table 4", "Meta", "July 2024", "https://arxiv.org/abs/2407.21783")
_PRICES = Source("Cloud GPU rental price index", "AIMultiple", "2026-05-20", "https://aimultiple.com/gpu-index")
_MORRISON = Source(
    "Holistically evaluating the environmental impact of creating language models",
    "Morrison et al.",
    "2025",
    "https://arxiv.org/abs/2503.05804",
)
_DGX = Source("NVIDIA DGX H100, data sheet", "NVIDIA", "2023")
_UPTIME = Source("Global data center survey 2025", "Uptime Institute", "July 2025")
_EGRID = Source("eGRID2023, revision 2", "US EPA", "2025-06-12", "https://www.epa.gov/egrid")
_EMBER = Source("Global electricity review 2023", "Ember", "April 2023")
_LUCCIONI = Source(
    "Estimating the carbon footprint of BLOOM", "Luccioni et al.", "2022", "https://arxiv.org/abs/2211.02001"
)
_EIA = Source("How much electricity does an American home use?", "US EIA", "2021-10-07")
_CALLER = Source("set by whoever made this plan", "you", "today")

GRIDS: dict[str, Sourced] = {
    "United States 2023": Sourced(348, "g CO2e a kWh", _EGRID, "national average of generation"),
    "World 2022": Sourced(436, "g CO2e a kWh", _EMBER),
    "France, as for BLOOM": Sourced(57, "g CO2e a kWh", _LUCCIONI, "mostly nuclear"),
}
HOME_KWH = Sourced(10_715, "kWh a year in a US home", _EIA, "average residential customer in 2020")
MFU = Sourced(0.4, "of the peak", _LLAMA_3, "reported: 0.38 to 0.43 on up to 16,384 chips; downtime not counted")
DOLLARS_PER_H100_HOUR = Sourced(2.95, "US dollars a chip-hour", _PRICES, "median on demand for an H100")
EXPERIMENTS = Sourced(0.5, "of the final run", _MORRISON, "models of 20 million to 13 billion parameters")
NO_STAFF = Sourced(0.0, "US dollars", Source("not counted", "nobody", "today"))
SERVER_WATTS_PER_CHIP_WATT = Sourced(1.82, "times", _DGX, "10.2 kW at most for eight chips of 700 W")
PUE = Sourced(1.54, "times", _UPTIME, "average; large new sites reach 1.1")


@dataclass(frozen=True, slots=True, kw_only=True)
class Assumptions:
    """Everything a plan takes for granted. Print it, doubt it, and change it with `but`.

    Args:
        mfu: Share of the peak that goes into the model's arithmetic.
        dollars_per_chip_hour: Rent, with electricity and housing in it.
        experiments: Compute spent on all other runs, as a multiple of the final run's.
        staff_dollars: Salaries; 0 leaves them out, and the plan says so.
        server_watts_per_chip_watt: Power of the whole server over the rated power of its chips.
        pue: Power usage effectiveness: what the building draws over what its computers draw.
        grams_per_kwh: Greenhouse gases of the electricity.

    Example:
        >>> Assumptions().but(mfu=0.5).mfu.value
        0.5
        >>> print(Assumptions().pue)
        1.54 times (Uptime Institute, "Global data center survey 2025" (July 2025); average; large new sites reach 1.1)
    """

    mfu: Sourced = MFU
    dollars_per_chip_hour: Sourced = DOLLARS_PER_H100_HOUR
    experiments: Sourced = EXPERIMENTS
    staff_dollars: Sourced = NO_STAFF
    server_watts_per_chip_watt: Sourced = SERVER_WATTS_PER_CHIP_WATT
    pue: Sourced = PUE
    grams_per_kwh: Sourced = GRIDS["United States 2023"]

    def __post_init__(self) -> None:
        for name, value in {field.name: getattr(self, field.name).value for field in fields(self)}.items():
            least = 1 if name in ("pue", "server_watts_per_chip_watt") else 0
            if not least <= value < float("inf") or (value == 0 and name in ("mfu", "dollars_per_chip_hour")):
                raise ValueError(f"{name} cannot be {value!r}: expected a finite number of {least} or more.")
        if self.mfu.value > 1:
            raise ValueError(f"mfu is a share of the peak, so at most 1, got {self.mfu.value!r}.")

    def but(self, **values: float | Sourced) -> Assumptions:
        """Return these assumptions with some numbers changed; a plain number keeps its unit and is marked as yours.

        Raises:
            ValueError: If there is no assumption of that name, or the number cannot be.
        """
        known = [field.name for field in fields(self)]
        if unknown := values.keys() - set(known):
            raise ValueError(f"no assumption called {sorted(unknown)[0]!r}; there are {', '.join(known)}.")
        changed = {
            name: value if isinstance(value, Sourced) else Sourced(value, getattr(self, name).unit, _CALLER)
            for name, value in values.items()
        }
        return replace(self, **changed)

    def __str__(self) -> str:
        return "\n".join(f"{field.name}: {getattr(self, field.name)}" for field in fields(self))
