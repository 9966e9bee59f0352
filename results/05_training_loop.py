"""Notebook 05 over eight seeds: warmup, a bad batch, decay and averaging, 16-bit gradients, early stopping."""

import math
from functools import partial

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from course_lib.data import Batches, Examples, digits, split
from course_lib.loops import EMA, EarlyStopping, NonFiniteStep, Run, classification, evaluate, fit, train
from course_lib.notebook.results import Claim, record
from course_lib.optim.schedules import cosine, warmup, wsd

RATES = 10.0 ** np.arange(-2.75, -1.7, 0.25)
STEPS, WARMUP = 80, 20
NOISY, BAD_AT = 400, 60  # updates of the runs at a constant rate; where the bad batch comes
MANY = 2**12  # times as many targets in a step: 1,258 become 5.2 million, as in a large language model

CLAIMS = (
    Claim("warmup-tolerance", "highest tolerated rate in the sweep, with warmup over without, in powers of ten"),
    Claim("warmup-best", "training loss at the best rate, without warmup minus with"),
    Claim("warmup-gap", "training loss at rate 0.01, without warmup minus with", above=0.0),
    Claim(
        "noise-cost",
        "training loss at a constant rate of 0.01, 128 images, in batches of 32 minus all at once",
        above=0.0,
    ),
    Claim("warmup-noise", "training loss at rate 0.018, 128 images in batches of 32, without warmup minus with"),
    Claim("warmup-no-noise", "the same with all 128 images in every update: no gradient noise", above=0.0),
    Claim("bad-norm", "log10 of the gradient norm of the bad batch over the median norm before it", above=0.0),
    Claim("bad-gap", "mean loss of the last 20 updates after a bad batch, not clipped minus clipped", above=0.0),
    Claim("bad-cost", "mean loss of the last 20 updates, clipped, with the bad batch minus without"),
    Claim("decay-decades", "log10 of the validation loss at a constant rate over that after cosine decay", above=0.0),
    Claim("wsd-decades", "log10 of the validation loss after warmup-stable-decay over that after cosine decay"),
    Claim("wsd-last", "the same at the last update alone"),
    Claim("ema-decades", "log10 of the validation loss of the raw weights over that of their EMA"),
    Claim("ema-over-cosine", "log10 of the validation loss of that EMA over that after cosine decay"),
    Claim("underflow", "share of gradients that are zero in fp16 without scaling, 1,258 targets", limits=(0, 1)),
    Claim("underflow-many", "the same if the mean were over 4,096 times as many targets, 5.2 million", limits=(0, 1)),
    Claim("bf16-error", "log10 of the error of the bf16 gradient over that of the scaled fp16 gradient", above=0.0),
    Claim("bf16-gap", "training loss in bf16 minus in float32"),
    Claim("early-stopping", "test loss after 400 updates minus where early stopping went back to"),
)


class Reader(nn.Module):
    """A transformer that reads a digit's eight rows."""

    def __init__(self, width: int = 32, layers: int = 4, heads: int = 2) -> None:
        super().__init__()
        self.embed = nn.Linear(8, width)
        self.place = nn.Parameter(0.1 * torch.randn(8, width))
        layer = nn.TransformerEncoderLayer(width, heads, 4 * width, dropout=0.0, batch_first=True)
        self.blocks = nn.TransformerEncoder(layer, layers, enable_nested_tensor=False)
        self.head = nn.Linear(width, 10)

    def forward(self, x):
        """Scores for ten digits."""
        return self.head(self.blocks(self.embed(x.squeeze(1)) + self.place).mean(1))


def reader_run(seed: int, rate: float, **settings) -> Run:
    """A new reader under Adam."""
    torch.manual_seed(seed)
    model = Reader()
    return Run(model, classification, torch.optim.Adam(model.parameters(), lr=rate, fused=True), **settings)


MOMENTUM = partial(torch.optim.SGD, lr=0.1, momentum=0.9)


def mlp_run(seed: int, optimizer=MOMENTUM, width: int = 64, **settings) -> Run:
    """A new network with two hidden layers."""
    torch.manual_seed(seed)
    sizes = nn.Linear(64, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, 10)
    model = nn.Sequential(nn.Flatten(), *sizes)
    return Run(model, classification, optimizer(model.parameters()), **settings)


def last_losses(run: Run, stream, steps: int) -> float:
    """Train to ``steps``; the mean training loss of the last 20 updates, 10 at most, which stands for a failure too."""
    try:
        losses = [step.loss.item() for step in train(run, stream, steps=steps)]
    except NonFiniteStep:
        return 10.0
    return min(float(np.mean(losses[-20:])), 10.0)


def tolerated(losses, best: float) -> float:
    """Log10 of the rate at which half of what was learnt at the best rate is lost, on a line between rates."""
    decades, level = np.log10(RATES), (best + math.log(10)) / 2
    for i in reversed(range(1, len(losses))):
        if losses[i] > level >= losses[i - 1]:
            share = (level - losses[i - 1]) / (losses[i] - losses[i - 1])
            return float(decades[i - 1] + share * (decades[i] - decades[i - 1]))
    if losses[-1] > level:
        raise ValueError(f"none of the losses {losses} is below {level:.2f}: take lower rates.")
    return float(decades[-1])  # all rates are tolerated: it is at least the last


def warmup_sweep(seed: int, part: Examples) -> tuple[dict, dict, Run]:
    """Peak rates with and without warmup; and two of them, on few images, with gradient noise and without."""
    stream, warm = Batches(part, batch_size=32, seed=seed), partial(warmup, steps=WARMUP)
    found: dict[str, list[float]] = {"plain": [], "warm": []}
    for rate in RATES:
        found["plain"].append(last_losses(reader_run(seed, rate), stream, STEPS))
        run = reader_run(seed, rate, schedule=warm)
        found["warm"].append(last_losses(run, stream, STEPS))
        if rate == RATES[1]:
            trained = run
    few = part.take(range(128))
    sources = {"noise": Batches(few, batch_size=32, seed=seed), "no_noise": [(few.x, few.y)] * STEPS}
    for name, source in sources.items():  # at rates 0.01 and 0.018: the loss without warmup, and with
        found[name] = [
            last_losses(reader_run(seed, rate, schedule=schedule), source, STEPS)
            for rate in RATES[3:]
            for schedule in (None, warm)
        ]
    best = min(found["plain"] + found["warm"])
    values = {
        "warmup-tolerance": tolerated(found["warm"], best) - tolerated(found["plain"], best),
        "warmup-best": min(found["plain"]) - min(found["warm"]),
        "warmup-gap": found["plain"][3] - found["warm"][3],
        "noise-cost": found["noise"][0] - found["no_noise"][0],
        "warmup-noise": found["noise"][2] - found["noise"][3],
        "warmup-no-noise": found["no_noise"][2] - found["no_noise"][3],
        "bf16-gap": last_losses(reader_run(seed, RATES[1], schedule=warm, precision="bf16"), stream, STEPS)
        - found["warm"][1],
    }
    return values, found, trained


def with_bad(batches, at: int):
    """The stream, with one batch whose pixels were not scaled."""
    for index, (x, y) in enumerate(batches):
        yield (255 * x if index == at else x), y


def bad_batch(seed: int, part: Examples) -> dict:
    """One bad batch among 120, with and without clipping."""
    stream = Batches(part, batch_size=64, seed=seed)
    steps = list(train(mlp_run(seed, max_grad_norm=1.0), with_bad(stream, BAD_AT), steps=120))
    norms, losses = [step.grad_norm.item() for step in steps], [step.loss.item() for step in steps]
    clipped = float(np.mean(losses[-20:]))
    return {
        "bad-norm": math.log10(norms[BAD_AT] / np.median(norms[:BAD_AT])),
        "bad-gap": last_losses(mlp_run(seed), with_bad(stream, BAD_AT), 120) - clipped,
        "bad-cost": clipped - last_losses(mlp_run(seed, max_grad_norm=1.0), stream, 120),
    }


def settled(run: Run, part: Examples, validation: Examples, seed: int) -> list[list[float]]:
    """Train with batches of 16; the mean validation loss over the last 100 updates, every 10, and the last one."""
    found, held_out = [], Batches(validation, batch_size=512, seed=0, epochs=1)
    for step in train(run, Batches(part, batch_size=16, seed=seed), steps=NOISY):
        if step.index > NOISY - 100 and step.index % 10 == 0:
            models = [run.model] if run.ema is None else [run.model, run.ema.model]
            found.append([evaluate(one, classification, held_out)["loss"] for one in models])
    return [[float(np.mean(losses)), losses[-1]] for losses in zip(*found, strict=True)]


def decay_and_average(seed: int, part: Examples, validation: Examples) -> tuple[dict, dict]:
    """A constant rate, its moving average, and two ways to come down."""
    run = mlp_run(seed)
    run.ema = EMA(run.model, decay=0.97)
    (raw, _), (averaged, _) = settled(run, part, validation, seed)
    ((fallen, fallen_last),) = settled(mlp_run(seed, schedule=partial(cosine, total=NOISY)), part, validation, seed)
    stable = partial(wsd, total=NOISY, warmup=0, decay=NOISY // 5)
    ((late, late_last),) = settled(mlp_run(seed, schedule=stable), part, validation, seed)
    values = {
        "decay-decades": math.log10(raw / fallen),
        "wsd-decades": math.log10(late / fallen),
        "wsd-last": math.log10(late_last / fallen_last),
        "ema-decades": math.log10(raw / averaged),
        "ema-over-cosine": math.log10(averaged / fallen),
    }
    return values, {"constant": raw, "ema": averaged, "cosine": fallen, "wsd": late}


def gradients_of(model: nn.Module, x, y, *, dtype=None, factor: float = 1.0):
    """Gradients of the mean loss times ``factor``: of all weights, and of every layer's output, divided by it again."""
    outputs: list[torch.Tensor] = []

    def watch(module, inputs, output):
        output.register_hook(lambda g: outputs.append(g.float().flatten() / factor))

    layers = [module for module in model.modules() if isinstance(module, nn.Linear | nn.LayerNorm)]
    hooks = [layer.register_forward_hook(watch) for layer in layers]
    model.zero_grad()
    with torch.autocast("cpu", dtype or torch.bfloat16, enabled=dtype is not None):
        loss = F.cross_entropy(model(x), y)
    (loss.float() * factor).backward()
    for hook in hooks:
        hook.remove()
    return torch.cat([p.grad.flatten() for p in model.parameters()]) / factor, torch.cat(outputs)


def share_lost(gradients: torch.Tensor, factor: float = 1.0) -> float:
    """Share of the gradients that become zero when they are written in fp16, times ``factor``."""
    there = gradients[gradients != 0]
    return float(((there * factor).half() == 0).float().mean())


def sixteen_bits(model: nn.Module, part: Examples) -> dict:
    """Gradients of the whole training part in float32, fp16 and bf16."""
    x, y = part.x, part.y
    exact, outputs = gradients_of(model, x, y)
    shrink = 1 / MANY  # as if the mean were over many more targets

    def error(dtype, factor):
        return float((gradients_of(model, x, y, dtype=dtype, factor=factor)[0] - exact).norm() / exact.norm())

    scaled = error(torch.float16, 2.0**16)
    return {
        "underflow": share_lost(outputs),
        "underflow-many": share_lost(outputs, shrink),
        "bf16-error": math.log10(error(torch.bfloat16, 1.0) / scaled),
    }


def stopped_early(seed: int, part: Examples, validation: Examples, test: Examples) -> float:
    """Few examples, some with wrong labels: test loss at the end minus that of the weights brought back."""
    generator = torch.Generator().manual_seed(seed)
    few = part.take(range(300))
    wrong, random = torch.rand(300, generator=generator) < 0.4, torch.randint(0, 10, (300,), generator=generator)
    stream = Batches((few.x, torch.where(wrong, random, few.y)), batch_size=32, seed=seed)
    looked_at, found = Batches(validation, batch_size=512, seed=0, epochs=1), []
    for stopping in (None, EarlyStopping(patience=5)):
        run = mlp_run(seed, partial(torch.optim.Adam, lr=3e-3), width=128)
        fit(run, stream, steps=400, every=10, validation=looked_at, early_stopping=stopping, progress=False)
        found.append(evaluate(run.model, classification, Batches(test, batch_size=512, seed=0, epochs=1))["loss"])
    return found[0] - found[1]


def experiment(seed: int) -> dict[str, object]:
    """One split, one initialisation, one order of the data."""
    torch.set_num_threads(1)
    part, validation, test = split(digits(), seed=seed)
    sweep, losses, trained = warmup_sweep(seed, part)
    levels, settled_at = decay_and_average(seed, part, validation)
    return {
        **sweep,
        **bad_batch(seed, part),
        **levels,
        **sixteen_bits(trained.model, part),
        "early-stopping": stopped_early(seed, part, validation, test),
        "series": {**losses, **settled_at},
    }


if __name__ == "__main__":
    record(__file__, experiment, CLAIMS)
