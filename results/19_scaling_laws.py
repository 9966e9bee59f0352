"""Notebook 19 over eight seeds: one IsoFLOP valley trained anew, 200 simulated fits, and the fit that stops early."""

import numpy as np
import torch

from course_lib.notebook.results import Claim, record
from course_lib.scaling import BESIROGLU_2024, coverage, fit_chinchilla, fit_isoflops
from course_lib.scaling.sweep import Cell, run_cell

BUDGET = 5e10  # FLOP, the smallest budget of the table that ships
SHAPES = ((16, 1, 1), (24, 1, 1), (40, 2, 2), (48, 3, 3))  # width, layers, heads
NOISE, SIMULATIONS = 0.005, 25  # of the simulated fits: relative noise, and how many a seed

CLAIMS = (
    Claim("best-size", "bottom of the IsoFLOP parabola at 5e10 FLOP, in thousand parameters", limits=(0, np.inf)),
    Claim("lowest-loss", "loss at that bottom, in nats a token", limits=(0, np.inf)),
    Claim("too-large", "loss of the largest of the four sizes minus that of the best one, in nats a token", above=0.0),
    Claim(
        "early-stop",
        "error of the best size's exponent a, Huber's terms averaged minus summed, to tolerance 1e-5",
        above=0.0,
    ),
)


def design() -> tuple[np.ndarray, np.ndarray]:
    """Sizes and tokens of 64 runs, on a grid of sizes and budgets like Hoffmann's."""
    n, c = (
        grid.ravel() for grid in np.meshgrid(np.geomspace(5e7, 1.6e10, 12), np.geomspace(6e18, 3e21, 9), indexing="xy")
    )
    d = c / 6 / n
    keep = (d / n > 0.5) & (d / n < 1000)
    return n[keep], d[keep]


def simulated(seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Sizes, tokens and losses of runs that obey the law, but for noise."""
    n, d = design()
    rng = np.random.default_rng([seed, 19])
    return n, d, BESIROGLU_2024.loss(n, d) * np.exp(NOISE * rng.standard_normal(len(n)))


def experiment(seed: int) -> dict[str, object]:
    """Everything once."""
    torch.set_num_threads(1)
    cells = (Cell(width=w, num_layers=n, num_heads=h, flops=BUDGET, seed=seed) for w, n, h in SHAPES)
    rows = [run_cell(cell) for cell in cells]
    sizes, losses = [row.num_parameters for row in rows], [row.loss for row in rows]
    (valley,) = fit_isoflops(sizes, [BUDGET] * len(rows), losses)
    runs, truth = simulated(seed), BESIROGLU_2024.frontier().exponent
    summed, averaged = (
        abs(fit_chinchilla(*runs, reduction=kind, tolerance=1e-5).frontier().exponent - truth)
        for kind in ("sum", "mean")
    )
    held = coverage(BESIROGLU_2024, *design(), noise=NOISE, seeds=range(1000 * seed, 1000 * seed + SIMULATIONS))
    return {
        "best-size": valley.num_parameters / 1e3,
        "lowest-loss": valley.lowest_loss,
        "too-large": losses[-1] - min(losses),
        "early-stop": averaged - summed,
        "series": {"losses": losses, **{f"covered-{name}": [int(hit) for hit in hits] for name, hits in held.items()}},
    }


if __name__ == "__main__":
    record(__file__, experiment, CLAIMS)
