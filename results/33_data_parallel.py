"""Notebook 33 over eight seeds: batch sizes and learning rates, AdaScale, rare meetings, and bugs of ranks."""

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from course_lib.data import Batches, mnist_small
from course_lib.distributed import AdaScale, MeasuredGradients, fit_critical_batch, scaled_rate, simulate_diloco
from course_lib.loops import NonFiniteStep, Run, classification, train
from course_lib.nn import MLP
from course_lib.notebook.results import Claim, record
from course_lib.optim import LAMB

Rows = tuple[Tensor, Tensor]
Outer = tuple[float, float]
CLAIMS = (
    Claim("critical-batch", "log2 of the critical batch size, from steps to training loss 0.25 at five sizes"),
    Claim("noise-at-target", "log2 of the gradient noise scale when that loss is reached, over that batch size"),
    Claim("noise-growth", "log2 of the gradient noise scale after 300 steps over that after 10", above=0.0),
    Claim("unchanged-rate", "training loss at batch 128, rate of batch 32 unchanged minus times 4", above=0.0),
    Claim(
        "linear-too-far", "training loss at batch 2,000, rate of batch 32 times 62.5 minus times its root", above=0.0
    ),
    Claim("lamb-adamw", "training loss at batch 2,000, square-root rule, LAMB minus AdamW"),
    Claim("adascale-steps", "steps at batch 16 over steps of AdaScale at batch 256", limits=(1, 16)),
    Claim("adascale-cost", "log10 of the training loss of AdaScale at batch 256 over that of batch 16"),
    Claim("linear-16", "log10 of the training loss of the linear rule at batch 256 over that of AdaScale", above=0.0),
    Claim("linear-warmed", "the same, with warmup and as many steps as AdaScale for the linear rule", above=0.0),
    Claim("local-steps", "test loss of local SGD, meetings every 20 steps minus every step"),
    Claim("alone", "test loss of one worker alone minus local SGD of four that meet every 20 steps", above=0.0),
    Claim(
        "sorted", "test loss of local SGD, rows sorted by class, meetings every 60 steps minus every step", above=0.0
    ),
    Claim("same-rows", "test loss after 240 steps, four ranks with the same rows minus with their own", above=0.0),
    Claim(
        "unequal-starts",
        "test loss after 240 steps, each rank with starting weights of its own minus the same",
        above=0.0,
    ),
)
CHANCE = math.log(10)  # loss of a network that says nothing; runs that end above, or not at all, count as that
TARGET, SIZES = 0.25, (8, 32, 128, 512, 2000)
EPOCHS, BASE = 8, 32
RATES = {"SGD": 2.0**-5, "AdamW": 2.0**-8, "LAMB": 2.0**-7}  # best at batch 32, found with seed 100
RULES = ("constant", "square root", "linear")
WORKERS, OWN_ROWS, STEPS = 4, 16, 240
PERIODS = (1, 5, 20, 60)


def load() -> tuple[Rows, Rows]:
    """MNIST's 5,000 digits at 14 x 14, standardised: 4,000 rows to train on and 1,000 to test on."""
    data = mnist_small()
    order = torch.randperm(5000, generator=torch.Generator().manual_seed(0))
    x, y = F.avg_pool2d(data.x, 2)[order].flatten(1), data.y[order]
    x = (x - x.mean()) / x.std()
    return (x[:4000], y[:4000]), (x[4000:], y[4000:])


TRAIN, TEST = load()


def network(seed: int) -> nn.Module:
    """17,418 parameters."""
    return MLP((196, 64, 64, 10), generator=torch.Generator().manual_seed(seed))


@torch.no_grad()
def loss_on(rows: Rows, model: nn.Module) -> float:
    """Mean cross-entropy in nats."""
    return F.cross_entropy(model(rows[0]), rows[1]).item()


def at_most_chance(loss: float) -> float:
    """What is not finite counts as saying nothing, too."""
    return min(CHANCE, loss) if math.isfinite(loss) else CHANCE


def steps_to_target(size: int, rate: float, seed: int, cap: int) -> float:
    """Plain SGD's steps until the training loss is at the target, looked at every so often; infinite beyond the cap."""
    model = network(seed)
    run = Run(model, classification, torch.optim.SGD(model.parameters(), lr=rate))
    every = max(1, 64 // size)
    try:
        for step in train(run, Batches(TRAIN, batch_size=size, seed=seed), steps=cap):
            if step.index % every == 0 and loss_on(TRAIN, model) < TARGET:
                return step.index
    except NonFiniteStep:
        pass
    return math.inf


def best_steps(size: int, seed: int, exponent: int) -> tuple[int, int]:
    """Fewest steps over rates that are powers of 2, going up from ``exponent`` for as long as it helps."""
    cap = int(4000 * (8 / size) ** 0.5) + 100
    best, at = steps_to_target(size, 2.0**exponent, seed, cap), exponent
    for direction in (1, -1):
        while (steps := steps_to_target(size, 2.0 ** (at + direction), seed, int(min(best, cap)))) < best:
            best, at = steps, at + direction
        if at != exponent:
            break
    return int(best), at


def noise_scales(seed: int) -> list[tuple[int, float, float]]:
    """(step, training loss, noise scale) of plain SGD on 4 x 32 rows a step."""
    model, measured = network(seed), MeasuredGradients(decay=0.95)
    run = Run(model, classification, torch.optim.SGD(model.parameters(), lr=0.125), gradients=measured)
    rows = []
    batches = Batches(TRAIN, batch_size=32, seed=seed)
    for step in train(run, batches, steps=300, accumulate=4):
        if step.index % 10 == 0:
            rows.append((step.index, round(loss_on(TRAIN, model), 4), round(measured.noise_scale.value, 2)))
    return rows


def trained(
    make: Callable, size: int, rate: float, seed: int, *, warmup: float = 0.2, steps: int | None = None
) -> tuple[float, float]:
    """Training and test loss after eight epochs, or so many steps, with warmup and cosine decay."""
    model, steps = network(seed), steps or EPOCHS * len(TRAIN[0]) // size
    rising = round(warmup * steps)

    def schedule(step: int) -> float:
        if step < rising:
            return (step + 1) / (rising + 1)
        return 0.5 * (1 + math.cos(math.pi * (step - rising) / (steps - rising)))

    run = Run(model, classification, make(model.parameters(), lr=rate), schedule=schedule)
    try:
        for _ in train(run, Batches(TRAIN, batch_size=size, seed=seed), steps=steps):
            pass
    except NonFiniteStep:
        return CHANCE, CHANCE
    return at_most_chance(loss_on(TRAIN, model)), at_most_chance(loss_on(TEST, model))


OPTIMIZERS: dict[str, Callable] = {
    "SGD": lambda parameters, lr: torch.optim.SGD(parameters, lr=lr, momentum=0.9),
    "AdamW": torch.optim.AdamW,
    "LAMB": LAMB,
}


def by_rule(name: str, size: int, rule: str, seed: int, **options: float) -> tuple[float, float]:
    """Both losses at another batch size, with the rate that a rule makes of the one tuned at batch 32."""
    rate = scaled_rate(RATES[name], batch_size=BASE, new_batch_size=size, rule=rule)
    return trained(OPTIMIZERS[name], size, rate, seed, **options)


def adascale(seed: int, scale: int, *, small_steps: int = 750) -> dict[str, float]:
    """Training losses of SGD at batch 16, and of AdaScale and the linear rule at ``scale`` times that."""

    def schedule(step: int) -> float:
        return 0.5 * (1 + math.cos(math.pi * min(1.0, step / small_steps)))

    def sgd(model: nn.Module) -> torch.optim.Optimizer:
        return torch.optim.SGD(model.parameters(), lr=0.125)

    small, large, times = network(seed), network(seed), (16 * scale, 0.125 * scale)
    batches = Batches(TRAIN, batch_size=16, seed=seed, drop_last=True)  # 250 an epoch, so none is dropped
    for _ in train(Run(small, classification, sgd(small), schedule=schedule), batches, steps=small_steps):
        pass
    ada = AdaScale(small_steps=small_steps, scale=scale, schedule=schedule)
    run = Run(large, classification, sgd(large), **ada.parts())
    gains = []
    for _ in train(run, batches, steps=small_steps, accumulate=scale):
        gains.append(round(ada.gain, 3))
        if ada.finished:
            break
    return {
        "small": loss_on(TRAIN, small),
        "AdaScale": loss_on(TRAIN, large),
        "linear": trained(torch.optim.SGD, *times, seed, warmup=0.0, steps=small_steps // scale)[0],
        "warmed": trained(torch.optim.SGD, *times, seed, steps=run.index)[0],
        "steps": run.index,
        "gains": gains[::10],
    }


def adamw_run(seed: int, rate: float) -> Run:
    """One worker's run: AdamW inside, with cosine decay."""
    model = network(seed)
    decay = lambda step: 0.5 * (1 + math.cos(math.pi * step / STEPS))  # noqa: E731
    return Run(model, classification, torch.optim.AdamW(model.parameters(), lr=rate), schedule=decay)


def meeting(every: int, seed: int, *, rate: float = 0.01, outer: Outer = (1.0, 0.0), sort: bool = False) -> float:
    """Test loss of four workers that meet every so many steps: each on its deal of the rows, or on its own classes."""
    runs = [adamw_run(seed, rate) for _ in range(WORKERS)]
    if sort:
        parts = TRAIN[1].argsort(stable=True).chunk(WORKERS)
        own = {"batch_size": OWN_ROWS, "seed": seed, "rank": 0, "world_size": 1}
        streams = [Batches((TRAIN[0][part], TRAIN[1][part]), **own) for part in parts]
    else:
        dealt = {"batch_size": WORKERS * OWN_ROWS, "seed": seed, "world_size": WORKERS}
        streams = [Batches(TRAIN, **dealt, rank=worker) for worker in range(WORKERS)]
    for _ in simulate_diloco(runs, streams, every=every, steps=STEPS, outer_rate=outer[0], outer_momentum=outer[1]):
        pass
    return at_most_chance(loss_on(TEST, runs[0].model))


def alone(size: int, seed: int) -> float:
    """Test loss of one worker with AdamW."""
    run = adamw_run(seed, 0.01)
    for _ in train(run, Batches(TRAIN, batch_size=size, seed=seed), steps=STEPS):
        pass
    return loss_on(TEST, run.model)


def plain(seed: int, size: int) -> float:
    """Test loss of SGD at rate 0.25 after 240 steps. Four ranks with the same 16 rows each are one with 16."""
    model = network(seed)
    run = Run(model, classification, torch.optim.SGD(model.parameters(), lr=0.25))
    for _ in train(run, Batches(TRAIN, batch_size=size, seed=seed), steps=STEPS):
        pass
    return loss_on(TEST, model)


def unequal_starts(seed: int) -> float:
    """Test loss of rank 0 if each rank starts from weights of its own and all add up their gradients."""
    models = [network(seed + 1000 * worker) for worker in range(WORKERS)]
    streams = [
        iter(Batches(TRAIN, batch_size=WORKERS * OWN_ROWS, seed=seed, rank=worker, world_size=WORKERS))
        for worker in range(WORKERS)
    ]
    for _ in range(STEPS):
        gradients = []
        for model, stream in zip(models, streams, strict=True):
            x, y = next(stream)
            total = F.cross_entropy(model(x), y, reduction="sum")
            count = len(y)
            gradients.append((count, torch.autograd.grad(total, list(model.parameters()))))
        whole = sum(count for count, _ in gradients)
        with torch.no_grad():
            for model in models:
                for parameter, *parts in zip(model.parameters(), *(parts for _, parts in gradients), strict=True):
                    parameter -= 0.25 * torch.stack(parts).sum(0) / whole
    return at_most_chance(loss_on(TEST, models[0]))


def experiment(seed: int) -> dict:
    """Everything of one seed."""
    needed, exponent = [], -4
    for size in SIZES:
        steps, exponent = best_steps(size, seed, exponent)
        needed.append((size, steps, exponent))
    critical = fit_critical_batch(SIZES, [steps for _, steps, _ in needed])
    noise = noise_scales(seed)
    at_target = next(scale for _, loss, scale in noise if loss < TARGET)
    rules = {f"SGD {size} {rule}": by_rule("SGD", size, rule, seed) for size in (128, 512, 2000) for rule in RULES}
    rules["SGD 128 linear, no warmup"] = by_rule("SGD", 128, "linear", seed, warmup=0.0)
    for name in OPTIMIZERS:
        rules[f"{name} {BASE}"] = by_rule(name, BASE, "constant", seed)
        rules[f"{name} 2000 square root"] = by_rule(name, 2000, "square root", seed)
    ada = {scale: adascale(seed, scale) for scale in (4, 16)}
    local = [meeting(every, seed) for every in PERIODS]
    momentum = {str(m): [meeting(every, seed, outer=(0.7, m)) for every in PERIODS[1:]] for m in (0.5, 0.9)}
    single = alone(OWN_ROWS, seed)
    by_class = [meeting(every, seed, rate=0.003, sort=True) for every in (1, 20, 60)]
    right = plain(seed, WORKERS * OWN_ROWS)
    same, starts = plain(seed, OWN_ROWS), unequal_starts(seed)
    return {
        "critical-batch": math.log2(critical.size),
        "noise-at-target": math.log2(at_target / critical.size),
        "noise-growth": math.log2(noise[-1][2] / noise[0][2]),
        "unchanged-rate": rules["SGD 128 constant"][0] - rules["SGD 128 linear"][0],
        "linear-too-far": rules["SGD 2000 linear"][0] - rules["SGD 2000 square root"][0],
        "lamb-adamw": rules["LAMB 2000 square root"][0] - rules["AdamW 2000 square root"][0],
        "adascale-steps": 750 / ada[16]["steps"],
        "adascale-cost": math.log10(ada[16]["AdaScale"] / ada[16]["small"]),
        "linear-16": math.log10(ada[16]["linear"] / ada[16]["AdaScale"]),
        "linear-warmed": math.log10(ada[16]["warmed"] / ada[16]["AdaScale"]),
        "local-steps": local[2] - local[0],
        "alone": single - local[2],
        "sorted": by_class[2] - by_class[0],
        "same-rows": same - right,
        "unequal-starts": starts - right,
        "series": {
            "needed": needed,
            "noise": noise,
            "rules": rules,
            "adascale": {str(scale): row for scale, row in ada.items()},
            "local": local,
            "outer": momentum,
            "alone": single,
            "together": alone(WORKERS * OWN_ROWS, seed),
            "sorted": by_class,
            "bugs": [right, same, starts],
        },
    }


if __name__ == "__main__":
    record(__file__, experiment, CLAIMS)
