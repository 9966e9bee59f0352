"""Notebook 04 over eight seeds: rates of convergence, noise floors, decay, sweeps, test error, width."""

import copy
import math
from functools import partial

import numpy as np
import torch
from torch import nn

from course_lib.data import Batches, Examples, digits, split
from course_lib.loops import NonFiniteStep, Run, classification, evaluate, train
from course_lib.notebook.results import Claim, record
from course_lib.optim import LAMB, SGD, Adafactor, Adam, Muon, RMSProp

CONDITIONS = (10, 30, 100, 300, 1000)
RATES, BATCH_SIZES = (0.1, 0.05, 0.025, 0.0125), (4, 16, 64)
SCALES = 10.0 ** np.arange(-0.5, 1.1, 0.25)
STEPS, BATCH, WIDTH, FAILED = 150, 64, 64, 10.0
WIDTHS, WIDTH_RATES = (16, 64, 256), 10.0 ** np.arange(-3.5, -0.4, 0.5)
KINDS = {  # optimiser, log10 of the smallest of its six learning rates, other settings
    "SGD": (SGD, -2, {}),
    "momentum": (SGD, -2.5, {"momentum": 0.9}),
    "Nesterov": (SGD, -2.5, {"momentum": 0.9, "nesterov": True}),
    "RMSProp": (RMSProp, -3.5, {}),
    "Adam": (Adam, -3.5, {}),
    "Adafactor": (Adafactor, -2.5, {}),
    "LAMB": (LAMB, -3, {"weight_decay": 0.0}),
    "Muon": (Muon, -3, {"weight_decay": 0.0}),
}

CLAIMS = (
    Claim("descent-exponent", "exponent of the condition number in the updates of gradient descent for each digit"),
    Claim("momentum-exponent", "the same with the best momentum"),
    Claim("rotated-decades", "Adam, log10 of the loss on a turned bowl over an aligned one, mean of five", above=0.0),
    Claim("floor-rate-exponent", "exponent of the learning rate in the loss at which SGD stays"),
    Claim("floor-batch-exponent", "exponent of the batch size in it"),
    Claim("floor-momentum-ratio", "that loss with momentum 0.9 and a tenth of the rate over the loss without"),
    Claim("l2-exponent", "exponent of the gradient's size in how fast an L2 penalty under Adam shrinks a parameter"),
    Claim("decoupled-exponent", "the same for AdamW's decay"),
    Claim("default-gap", "training loss at rate 0.001, SGD minus Adam", above=0.0),
    Claim("flipped-gap", "training loss at rate 0.316, Adam minus SGD", above=0.0),
    Claim("tuned-gap", "training loss, each at its best of six rates, SGD minus Adam", above=0.0),
    Claim("momentum-decades", "log10 of SGD's best training loss over that with momentum", above=0.0),
    Claim("adam-decades", "log10 of momentum's best training loss over Adam's"),
    Claim("muon-decades", "log10 of Adam's best training loss over Muon's"),
    Claim("uncorrected-gap", "training loss at rate 0.0316, Adam without bias correction minus with", above=0.0),
    Claim("uncorrected-decades", "log10 of Adam's best training loss with bias correction over that without"),
    Claim("test-gap", "test accuracy, each at the best of five rates by validation loss, momentum minus Adam"),
    Claim("forgotten-rise", "mean loss of the 10 updates after Adam's state is lost, minus if it is kept"),
    Claim("width-exponent", "exponent of the width in the learning rate at which the loss is 0.5, standard"),
    Claim("mup-exponent", "the same under muP"),
)


def slope(x, y) -> float:
    """The exponent: slope of the straight line on doubly logarithmic axes."""
    return float(np.polyfit(np.log(x), np.log(y), 1)[0])


def bowl(condition: float, rng: np.random.Generator, dimensions: int = 20) -> np.ndarray:
    """A random Hessian with curvatures from 1 to ``condition``."""
    basis = np.linalg.qr(rng.standard_normal((dimensions, dimensions)))[0]
    return basis * np.geomspace(1, condition, dimensions) @ basis.T


def updates_for_a_digit(H, rate, momentum, rng) -> float:
    """Updates that divide the distance from the minimum by ten, in the long run."""
    theta, m, distance = rng.standard_normal(len(H)), np.zeros(len(H)), []
    while len(distance) < 20_000 and (not distance or distance[-1] > 1e-10):
        m = momentum * m + H @ theta
        theta = theta - rate * m
        distance.append(np.linalg.norm(theta))
    half = len(distance) // 2
    return (len(distance) - 1 - half) / np.log10(distance[half] / distance[-1])


def convergence(rng) -> tuple[dict, dict]:
    """Gradient descent and momentum at their best settings, over condition numbers."""
    found = {"descent": [], "momentum": []}
    for condition in CONDITIONS:
        H, root = bowl(condition, rng), condition**0.5
        found["descent"].append(updates_for_a_digit(H, 2 / (1 + condition), 0.0, rng))
        best = ((root - 1) / (root + 1)) ** 2
        found["momentum"].append(updates_for_a_digit(H, 4 / (root + 1) ** 2, best, rng))
    claims = {f"{name}-exponent": slope(CONDITIONS, values) for name, values in found.items()}
    return claims, {f"{name}-updates": values for name, values in found.items()}


def adam_on(H, start, rate, steps=100) -> float:
    """Final loss of Adam on a bowl."""
    theta, m, v = start, 0.0, 0.0
    for t in range(1, steps + 1):
        g = H @ theta
        m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g**2
        theta = theta - rate * (m / (1 - 0.9**t)) / (np.sqrt(v / (1 - 0.999**t)) + 1e-8)
    return float(theta @ H @ theta / 2)


def rotation(rng) -> float:
    """Adam, at the best of thirteen rates, on bowls that are turned over the same ones along the coordinates."""
    rates, found = 10.0 ** np.arange(-3, 0.1, 0.25), []
    for _ in range(5):
        turned = bowl(1000, rng)
        curvature, basis = np.linalg.eigh(turned)
        start = rng.standard_normal(20)
        aligned = min(adam_on(np.diag(curvature), start, rate) for rate in rates)
        found.append(math.log10(min(adam_on(turned, basis @ start, rate) for rate in rates) / aligned))
    return float(np.mean(found))


def noise_floor(x, y, rng, rate, batch_size, momentum=0.0, walkers=32, steps=2000) -> float:
    """Mean excess loss of SGD on least squares, started at the minimum, when it has settled."""
    best, H = np.linalg.lstsq(x, y, rcond=None)[0], x.T @ x / len(x)
    theta, m, excess = np.tile(best, (walkers, 1)), 0.0, []
    for t in range(steps):
        rows = rng.integers(0, len(x), (walkers, batch_size))
        error = (x[rows] @ theta[:, :, None])[..., 0] - y[rows]
        m = momentum * m + (error[:, None] @ x[rows])[:, 0] / batch_size
        theta = theta - rate * m
        if t >= steps // 4:
            excess.append((((theta - best) @ H) * (theta - best)).sum(1).mean() / 2)
    return float(np.mean(excess))


def floors(rng) -> tuple[dict, dict]:
    """The noise floor over learning rates, batch sizes, and with momentum."""
    x = rng.standard_normal((512, 8))
    y = x @ np.ones(8) + rng.standard_normal(512)
    by_rate = [noise_floor(x, y, rng, rate, 16) for rate in RATES]
    by_batch = [noise_floor(x, y, rng, 0.05, size) for size in BATCH_SIZES]
    claims = {
        "floor-rate-exponent": slope(RATES, by_rate),
        "floor-batch-exponent": slope(BATCH_SIZES, by_batch),
        "floor-momentum-ratio": noise_floor(x, y, rng, 0.005, 16, momentum=0.9) / by_rate[RATES.index(0.05)],
    }
    return claims, {"floor-by-rate": by_rate, "floor-by-batch": by_batch}


def decay_speeds(rng, decoupled, rate=1e-3, strength=0.1, steps=2000, copies=1000) -> list[float]:
    """How fast parameters shrink whose gradient is noise of a given size, in units of rate * strength."""
    theta, m = np.ones((len(SCALES), copies)), 0.0
    v = SCALES[:, None] ** 2  # warm: bias is not the question here
    for _ in range(steps):
        g = SCALES[:, None] * rng.standard_normal(theta.shape) + (0 if decoupled else strength * theta)
        m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g**2
        theta = theta * (1 - rate * strength * decoupled) - rate * m / (np.sqrt(v) + 1e-8)
    return (-np.log(theta.mean(1)) / (steps * rate * strength)).tolist()


def decays(rng) -> tuple[dict, dict]:
    """L2 under Adam and AdamW's decay, on parameters whose gradients differ in size."""
    l2, decoupled = decay_speeds(rng, False), decay_speeds(rng, True)
    claims = {"l2-exponent": slope(SCALES, l2), "decoupled-exponent": slope(SCALES, decoupled)}
    return claims, {"l2-speed": l2, "decoupled-speed": decoupled}


class Uncorrected(torch.optim.Optimizer):
    """Adam without bias correction."""

    def __init__(self, params, lr):
        super().__init__(params, {"lr": lr})

    @torch.no_grad()
    def step(self, closure=None):
        """One update."""
        for group in self.param_groups:
            for p in group["params"]:
                state = self.state[p]
                state["m"] = 0.9 * state.get("m", 0.0) + 0.1 * p.grad
                state["v"] = 0.999 * state.get("v", 0.0) + 0.001 * p.grad**2
                p -= group["lr"] * state["m"] / (state["v"].sqrt() + 1e-8)


def network(seed: int, width: int = WIDTH, hidden: int = 3) -> nn.Sequential:
    """A multilayer perceptron of matrices alone, so that every optimiser moves the same tensors."""
    torch.manual_seed(seed)
    sizes = [64, *[width] * hidden, 10]
    layers = [nn.Flatten()]
    for i in range(hidden + 1):
        layers += [nn.Linear(sizes[i], sizes[i + 1], bias=False), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def trained(model, optimizer, part: Examples, seed: int, steps: int = STEPS) -> float:
    """Train; return the mean loss of the last 20 batches, at most ten, which also stands for failure."""
    run = Run(model, classification, optimizer)
    try:
        losses = [step.loss.item() for step in train(run, Batches(part, batch_size=BATCH, seed=seed), steps=steps)]
    except NonFiniteStep:
        return FAILED
    return min(float(np.mean(losses[-20:])), FAILED)


def sweep(part: Examples, seed: int, make, rates) -> list[float]:
    """The training loss at each learning rate, each time from the same start."""
    models = [network(seed) for _ in rates]
    optimizers = [make(model.parameters(), lr=float(rate)) for model, rate in zip(models, rates, strict=True)]
    return [trained(*pair, part, seed) for pair in zip(models, optimizers, strict=True)]


def sweeps(part: Examples, seed: int) -> tuple[dict, dict]:
    """Every optimiser over its six rates, half a decade apart; SGD and Adam also at one rate for both, twice."""
    found = {
        name: sweep(part, seed, partial(kind, **more), 10.0 ** (first + np.arange(6) / 2))
        for name, (kind, first, more) in KINDS.items()
    }
    found["uncorrected"] = sweep(part, seed, Uncorrected, 10.0 ** (-3.5 + np.arange(6) / 2))
    (low,), (high,) = sweep(part, seed, SGD, [10**-3]), sweep(part, seed, Adam, [10**-0.5])
    best = {name: min(losses) for name, losses in found.items()}
    claims = {
        "default-gap": low - found["Adam"][1],
        "flipped-gap": high - found["SGD"][3],
        "tuned-gap": best["SGD"] - best["Adam"],
        "momentum-decades": math.log10(best["SGD"] / best["momentum"]),
        "adam-decades": math.log10(best["momentum"] / best["Adam"]),
        "muon-decades": math.log10(best["Adam"] / best["Muon"]),
        "uncorrected-gap": found["uncorrected"][4] - found["Adam"][4],
        "uncorrected-decades": math.log10(best["Adam"] / best["uncorrected"]),
    }
    return claims, {"sweeps": found}


def test_scores(parts, seed: int) -> tuple[dict, dict]:
    """Test accuracy of momentum and Adam after 400 updates, each at the best of five rates by validation loss."""
    scores = {}
    for name, first in (("momentum", -2.5), ("Adam", -3)):
        found = []
        for rate in 10.0 ** (first + np.arange(5) / 2):
            model = network(seed)
            kind, _, more = KINDS[name]
            trained(model, kind(model.parameters(), lr=float(rate), **more), parts[0], seed, steps=400)
            validation, test = (evaluate(model, classification, [(part.x, part.y)]) for part in parts[1:])
            found.append((validation["loss"], test["accuracy"], float(rate)))
        scores[name] = min(one for one in found if math.isfinite(one[0]))
    claims = {"test-gap": scores["momentum"][1] - scores["Adam"][1]}
    chosen = {f"test-rate-{name}": found[2] for name, found in scores.items()}
    return claims, {f"test-{name}": found[1] for name, found in scores.items()} | chosen


def forgotten(part: Examples, seed: int) -> float:
    """How much larger the loss of the next ten updates is if Adam's state is lost after 300."""
    model, batches = network(seed), Batches(part, batch_size=BATCH, seed=seed)
    run = Run(model, classification, Adam(model.parameters(), lr=1e-2))
    for _ in train(run, batches, steps=300):
        pass
    saved, mean = copy.deepcopy(run.state_dict()), {}
    for lost in (False, True):
        run.load_state_dict(saved)
        if lost:
            run.optimizer.state.clear()
        mean[lost] = np.mean([step.loss.item() for step in train(run, batches.skip(300), steps=310)])
    return float(mean[True] - mean[False])


def rate_for_half(rates, losses) -> float:
    """The smallest learning rate at which the loss is 0.5, between two rates by a straight line in the logarithms."""
    i = next(i for i, loss in enumerate(losses) if loss < 0.5)
    share = (math.log(losses[i - 1]) - math.log(0.5)) / (math.log(losses[i - 1]) - math.log(losses[i]))
    return float(np.exp(np.log(rates[i - 1]) + share * np.log(rates[i] / rates[i - 1])))


def by_width(part: Examples, seed: int) -> tuple[dict, dict]:
    """Adam over learning rates and widths, in the standard parametrisation and in muP."""
    curves: dict[str, list[list[float]]] = {"standard": [], "mup": []}
    for name, losses in curves.items():
        for width in WIDTHS:
            if name == "mup" and width == WIDTHS[0]:  # the width from which muP scales: nothing differs
                losses.append(curves["standard"][0])
                continue
            ratio = WIDTHS[0] / width if name == "mup" else 1.0
            losses.append([])
            for rate in WIDTH_RATES:
                model = network(seed, width, hidden=2)
                first, middle, last = model.parameters()
                with torch.no_grad():
                    last *= ratio**0.5
                groups = [{"params": [first], "lr": rate}, {"params": [middle, last], "lr": rate * ratio}]
                losses[-1].append(trained(model, Adam(groups), part, seed, steps=80))
    needed = {name: [rate_for_half(WIDTH_RATES, one) for one in losses] for name, losses in curves.items()}
    claims = {"width-exponent": slope(WIDTHS, needed["standard"]), "mup-exponent": slope(WIDTHS, needed["mup"])}
    return claims, {f"{name}-width": losses for name, losses in curves.items()}


def experiment(seed: int) -> dict[str, object]:
    """Everything once."""
    torch.set_num_threads(1)
    rng, parts = np.random.default_rng(seed), split(digits(), seed=seed)
    claims: dict[str, object] = {"rotated-decades": rotation(rng), "forgotten-rise": forgotten(parts[0], seed)}
    series: dict[str, object] = {}
    networks = (sweeps(parts[0], seed), by_width(parts[0], seed), test_scores(parts, seed))
    for found, drawn in (convergence(rng), floors(rng), decays(rng), *networks):
        claims |= found
        series |= drawn
    return {**claims, "series": series}


if __name__ == "__main__":
    record(__file__, experiment, CLAIMS)
