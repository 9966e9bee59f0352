"""Notebook 31 over eight seeds: points against the exact score, samplers by steps, guidance; over three: the rest."""

import copy
import math
from collections.abc import Iterator
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from course_lib.data import Batches, digits, split
from course_lib.diffusion import (
    GaussianMixture,
    add_noise,
    ancestral,
    convert,
    cosine_schedule,
    ddim,
    denoising,
    flow_euler,
    flow_matching,
    guided,
    linear_schedule,
)
from course_lib.evaluation.generation import frechet_distance, precision_recall
from course_lib.loops import EMA, Objective, Run, classification, regression, train
from course_lib.nn.time_mlp import TimeMLP
from course_lib.nn.transformer import Transformer, llama
from course_lib.nn.unet import UNet
from course_lib.notebook.results import Claim, record
from course_lib.zoo import load_classifier

SWEEP_SEEDS = 3  # what has no claims runs for so many seeds only
SNAPSHOTS, UPDATES, DIGIT_UPDATES = (25, 50, 100, 200, 400, 700), 700, 300
LINEAR, COSINE = linear_schedule(1000), cosine_schedule(1000)
LETTERS, LENGTH, BLANK = 12, 6, 12

CLAIMS = (
    Claim("excess-loss", "points: the network's loss minus that of the exact answer", above=0.0),
    Claim("score-error", "points: squared error of the learnt score's noise against the exact one, relative to it"),
    Claim("points-floor", "energy distance of 2,000 points from 2,000 others of the mixture", limits=(0, math.inf)),
    Claim("points-ddpm-100", "energy distance of DDPM's samples after 700 updates, 100 steps", limits=(0, math.inf)),
    Claim("points-fall", "factor by which that fell from 25 to 700 updates, log10", above=0.0),
    Claim("points-ddpm-8", "energy distance of DDPM's samples with 8 steps", limits=(0, math.inf)),
    Claim("points-ddim-8", "the same for DDIM", limits=(0, math.inf)),
    Claim("points-flow-8", "the same for flow matching", limits=(0, math.inf)),
    Claim("points-dice-cost-8", "DDPM's distance over DDIM's with 8 steps, log10"),
    Claim("points-line-gain-8", "DDIM's distance over flow matching's with 8 steps, log10"),
    Claim("digits-ddpm-20", "digits: Frechet distance of 256 samples from the training set, DDPM, 20 steps"),
    Claim("digits-ddim-20", "the same for DDIM"),
    Claim("digits-flow-20", "the same for flow matching"),
    Claim("digits-flow-5", "the same for flow matching with 5 steps"),
    Claim("digits-above-floor", "the best of the three with 20 steps, minus the test set's distance"),
    Claim("dice-gain-20", "DDIM's distance minus DDPM's with 20 steps"),
    Claim("guided-accuracy", "share of samples read as the class asked for, scale 3 minus scale 1", limits=(-1, 1)),
    Claim("guided-precision", "precision at scale 3 minus that at scale 1", above=0.0, limits=(-1, 1)),
    Claim("guided-recall-lost", "recall at scale 1 minus that at scale 3", above=0.0, limits=(-1, 1)),
)


def trainer(model: nn.Module, objective: Objective, updates: int, *, rate: float, generators=()) -> Run:
    """AdamW with a short warmup and a linear fall over the last half, and a moving average of the weights."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=rate, betas=(0.9, 0.99), weight_decay=0.0, fused=True)
    ema = EMA(model, decay=0.97)
    options = {"ema": ema, "max_grad_norm": 1.0, "generators": generators}
    return Run(
        model, objective, optimizer, schedule=lambda i: min(1.0, (i + 1) / 20, 2 * (updates - i) / updates), **options
    )


def learn(model: nn.Module, objective: Objective, batches, updates: int, *, rate: float, generators=()) -> nn.Module:
    """Train; return the model with averaged weights."""
    run = trainer(model, objective, updates, rate=rate, generators=generators)
    for _ in train(run, batches, steps=updates):
        pass
    assert run.ema is not None
    return run.ema.model


def the_mixture() -> GaussianMixture:
    """Six clusters on a ring; the last two weigh double, and the last is wider."""
    turn = torch.arange(6) * 2 * math.pi / 6
    means = 1.4 * torch.stack([turn.cos(), turn.sin()], 1)
    return GaussianMixture(
        means, stds=torch.tensor([0.1, 0.1, 0.1, 0.1, 0.1, 0.25]), weights=torch.tensor([1.0, 1, 1, 1, 2, 2])
    )


MIXTURE = the_mixture()


def points(seed: int, rows: int = 256) -> Iterator[Tensor]:
    """Fresh points of the mixture, never the same twice."""
    generator = torch.Generator().manual_seed(seed)
    while True:
        yield MIXTURE.sample(rows, generator=generator)[0]


def learn_points(seed: int, objective, *, updates: int = UPDATES, snapshots=()) -> tuple[nn.Module, list[nn.Module]]:
    """A small network on points; copies of it on the way."""
    generator = torch.Generator().manual_seed(seed)
    model = TimeMLP(2, width=96, generator=generator)
    run, kept = trainer(model, objective(generator=generator), updates, rate=5e-3, generators=[generator]), []
    assert run.ema is not None
    for step in train(run, points(seed), steps=updates):
        if step.index in snapshots:
            kept.append(copy.deepcopy(run.ema.model))
    return run.ema.model, kept


def energy_distance(x: Tensor, y: Tensor) -> float:
    """Twice the mean distance across less the mean distances within."""
    return (2 * torch.cdist(x, y).mean() - torch.cdist(x, x).mean() - torch.cdist(y, y).mean()).item()


def real_points(seed: int) -> Tensor:
    """2,000 points of the mixture."""
    return MIXTURE.sample(2000, generator=torch.Generator().manual_seed(seed))[0]


def plane(seed: int) -> tuple[dict, dict]:
    """DDPM and flow matching on points: against the exact answer, over training, with eight steps."""
    denoiser, kept = learn_points(seed, lambda generator: denoising(LINEAR, generator=generator), snapshots=SNAPSHOTS)
    velocity, _ = learn_points(seed, lambda generator: flow_matching(generator=generator))
    g = torch.Generator().manual_seed(3)
    x, _ = MIXTURE.sample(4000, generator=g)
    t, epsilon = torch.randint(1, 1001, (4000,), generator=g), torch.randn(4000, 2, generator=g)
    x_t, time = add_noise(x, epsilon, t, LINEAR), LINEAR.time(t)
    exact = MIXTURE.exact_denoiser(LINEAR)(x_t, time)
    with torch.no_grad():
        learnt = denoiser(x_t, time)
    best, found = ((guess - epsilon).square().mean().item() for guess in (exact, learnt))
    claims = {"excess-loss": found - best}
    claims["score-error"] = ((learnt - exact).square().mean() / exact.square().mean()).item()
    start, real = torch.randn(2000, 2, generator=torch.Generator().manual_seed(seed)), real_points(100)
    claims["points-floor"] = energy_distance(real_points(200 + seed), real)

    def distance(samples: Tensor) -> float:
        return energy_distance(samples, real)

    falls = []
    for model in kept:
        g = torch.Generator().manual_seed(1)
        falls.append(distance(ancestral(model, start, schedule=LINEAR, num_steps=100, generator=g)))
    g = torch.Generator().manual_seed(1)
    ddpm = distance(ancestral(denoiser, start, schedule=LINEAR, num_steps=8, generator=g))
    eight = {"ddpm": ddpm, "ddim": distance(ddim(denoiser, start, schedule=LINEAR, num_steps=8))}
    eight["flow"] = distance(flow_euler(velocity, start, num_steps=8))
    claims |= {"points-ddpm-100": falls[-1], "points-fall": math.log10(falls[0] / falls[-1])}
    claims |= {f"points-{name}-8": value for name, value in eight.items()}
    claims["points-dice-cost-8"] = math.log10(eight["ddpm"] / eight["ddim"])
    claims["points-line-gain-8"] = math.log10(eight["ddim"] / eight["flow"])
    return claims, {"points-falls": falls}


def predictions(seed: int) -> dict[str, dict[str, list[float]]]:
    """Epsilon, x0 and v under the cosine schedule: energy distance by DDIM steps, error of the implied noise by t."""
    found, real = {}, real_points(100)
    start, g = torch.randn(2000, 2, generator=torch.Generator().manual_seed(seed)), torch.Generator().manual_seed(3)
    x, epsilon = MIXTURE.sample(2000, generator=g)[0], torch.randn(2000, 2, generator=g)
    for kind in ("epsilon", "x0", "v"):
        model, _ = learn_points(seed, lambda generator, kind=kind: denoising(COSINE, generator=generator, predict=kind))
        samples = [ddim(model, start, schedule=COSINE, num_steps=n, predict=kind) for n in (2, 4, 8, 16, 32)]
        errors = []
        for t in (50, 100, 200, 400, 600, 800, 950):
            steps = torch.full((2000,), t)
            x_t, time = add_noise(x, epsilon, steps, COSINE), COSINE.time(steps)
            exact = MIXTURE.exact_denoiser(COSINE)(x_t, time)
            with torch.no_grad():
                implied = convert(model(x_t, time), x_t, steps, COSINE, of=kind, to="epsilon")
            errors.append(((implied - exact).square().mean() / exact.square().mean()).item())
        found[kind] = {"energy": [energy_distance(cloud, real) for cloud in samples], "error": errors}
    return found


def pictures(seed: int) -> tuple[dict, dict]:
    """Two U-Nets on digits, predicting noise and velocity: steps, guidance, and for three seeds a student."""
    train_set, test_set = split(digits(), (0.8, 0.2), seed=0)
    classifier, batches = load_classifier("digit_classifier"), (2 * train_set.x - 1, train_set.y)
    real, labels = classifier.features(train_set.x), test_set.y[:256]
    test_features, g = classifier.features(test_set.x[:256]), torch.Generator().manual_seed(seed)
    start = torch.randn(256, 1, 8, 8, generator=torch.Generator().manual_seed(seed + 50))

    def unet(objective) -> nn.Module:
        g.manual_seed(seed)
        model = UNet(width=16, num_classes=10, attention=False, generator=g)
        stream = Batches(batches, batch_size=32, seed=seed)
        return learn(model, objective(generator=g), stream, DIGIT_UPDATES, rate=4e-3, generators=[g])

    def measure(samples: Tensor) -> tuple[float, float, float, float]:
        samples = ((samples + 1) / 2).clamp(0, 1)
        features, right = classifier.features(samples), classifier.predict(samples) == labels
        both = precision_recall(test_features, features)
        return frechet_distance(features, real), right.float().mean().item(), both.precision, both.recall

    denoiser = unet(lambda generator: denoising(COSINE, generator=generator))
    velocity = unet(lambda generator: flow_matching(generator=generator))
    asked, flow = guided(denoiser, labels, 1.0), guided(velocity, labels, 1.0)
    options, by_steps = {"schedule": COSINE, "clip": 1.0}, {"DDPM": {}, "DDIM": {}, "flow": {}}
    for n in (2, 5, 10, 20) if seed < SWEEP_SEEDS else (5, 20):
        walk = ancestral(asked, start, num_steps=n, generator=torch.Generator().manual_seed(1), **options)
        by_steps["DDPM"][n] = measure(walk)
        by_steps["DDIM"][n] = measure(ddim(asked, start, num_steps=n, **options))
        by_steps["flow"][n] = measure(flow_euler(flow, start, num_steps=n))
    scales = (1.0, 1.5, 2.0, 3.0, 5.0) if seed < SWEEP_SEEDS else (1.0, 3.0)
    steered = {scale: measure(flow_euler(guided(velocity, labels, scale), start, num_steps=10)) for scale in scales}
    last = {name: found[20][0] for name, found in by_steps.items()}
    claims = {f"digits-{name.lower()}-20": value for name, value in last.items()}
    claims |= {"digits-flow-5": by_steps["flow"][5][0], "dice-gain-20": last["DDIM"] - last["DDPM"]}
    claims["digits-above-floor"] = min(last.values()) - frechet_distance(test_features, real)
    gains = [steered[3.0][i] - steered[1.0][i] for i in range(1, 4)]
    claims |= {"guided-accuracy": gains[0], "guided-precision": gains[1], "guided-recall-lost": -gains[2]}
    series = {"steps": {name: {str(n): f for n, f in found.items()} for name, found in by_steps.items()}}
    series |= {"guidance": {str(scale): f for scale, f in steered.items()}, "student": None}
    if seed < SWEEP_SEEDS:
        student = distilled(velocity, seed)
        one = flow_euler(guided(student, labels, 1.0), start, num_steps=1)
        more = {n: measure(flow_euler(flow, start, num_steps=n)) for n in (1, 2, 16)}
        series["student"] = {"student": measure(one)} | {str(n): found for n, found in more.items()}
    return claims, series


def distilled(teacher: nn.Module, seed: int) -> nn.Module:
    """A copy of the teacher that learns to say in one step what the teacher says in sixteen."""
    noise, labels = torch.randn(1024, 1, 8, 8, generator=torch.Generator().manual_seed(seed)), torch.arange(1024) % 10
    parts = zip(labels.split(256), noise.split(256), strict=True)
    said = torch.cat([flow_euler(guided(teacher, y, 1.0), z, num_steps=16) for y, z in parts])

    def one_step(model: nn.Module, batch):
        noise, labels, target = batch
        return regression(lambda z: z - model(z, torch.ones(len(z)), labels), (noise, target))

    student = copy.deepcopy(teacher).requires_grad_(True).train()
    return learn(student, one_step, Batches((noise, labels, said), batch_size=32, seed=seed), 200, rate=2e-3)


def rows(generator: torch.Generator, num: int = 128) -> Tensor:
    """Six different letters of twelve, sorted up or down."""
    y = torch.rand(num, LETTERS, generator=generator).argsort(1)[:, :LENGTH].sort(1).values
    down = torch.rand(num, generator=generator) < 0.5
    return torch.where(down[:, None], y.flip(1), y)


def blanked(y: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Between one and all letters of each row hidden, and what they were."""
    count = torch.randint(1, LENGTH + 1, (len(y), 1), generator=generator)
    hidden = torch.rand(y.shape, generator=generator).argsort(1) < count
    return torch.where(hidden, BLANK, y), torch.where(hidden, y, -100)


def tokens(seed: int) -> dict:
    """Masked diffusion against a decoder on sorted rows: nats a row, and the share of valid rows by steps."""
    found: dict = {"exact": math.log(2 * math.comb(LETTERS, LENGTH))}
    shape = {"vocab_size": 13, "width": 48, "num_layers": 2, "num_heads": 4, "context_length": LENGTH}
    test = rows(torch.Generator().manual_seed(5), 4000)
    for name, causal in (("masked", False), ("decoder", True)):
        config = replace(llama(**shape, positions="learned"), causal=causal)
        model = Transformer(config, generator=torch.Generator().manual_seed(seed))
        with torch.no_grad():
            for key, weight in model.named_parameters():
                weight *= 50 if key.endswith("embedding.weight") else 15 if key.endswith("positions.weight") else 1
        g = torch.Generator().manual_seed(seed)

        def stream(g=g, causal=causal):
            while True:
                y = rows(g)
                yield (F.pad(y[:, :-1], (1, 0), value=BLANK), y) if causal else blanked(y, g)

        model = learn(model, classification, stream(), 500, rate=5e-3)
        with torch.no_grad():
            if causal:
                logits = model(F.pad(test[:, :-1], (1, 0), value=BLANK))
                found[name] = LENGTH * F.cross_entropy(logits.mT, test).item()
                continue
            found[name] = sum(_nats(model, test, count) for count in range(1, LENGTH + 1))
    return found


def _nats(model: nn.Module, y: Tensor, count: int) -> float:
    """Loss a letter when ``count`` are hidden; summed over all counts it bounds the nats of a row from above."""
    hidden = torch.rand(y.shape, generator=torch.Generator().manual_seed(count)).argsort(1) < count
    return F.cross_entropy(model(torch.where(hidden, BLANK, y)).mT, torch.where(hidden, y, -100)).item()


def experiment(seed: int) -> dict[str, object]:
    """Everything once; what takes long for the first seeds only."""
    torch.set_num_threads(1)
    claims, series = plane(seed)
    more, drawn = pictures(seed)
    sweeps = {"predictions": predictions, "tokens": tokens}
    series |= drawn | {name: sweep(seed) if seed < SWEEP_SEEDS else None for name, sweep in sweeps.items()}
    return claims | more | {"series": series}


if __name__ == "__main__":
    record(__file__, experiment, CLAIMS)
