"""Notebook 11 over eight seeds: SimCLR and few labels, sweeps, collapse, a small CLIP, word order."""

import math
from functools import partial

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from course_lib.data import Batches, encode_captions, glyph_classes, glyph_pairs, glyphs, mnist_small
from course_lib.data.augment import random_affine, two_views
from course_lib.data.glyphs import CAPTION_WORDS
from course_lib.evaluation import alignment, knn_accuracy, linear_probe, recall_at_k, uniformity, zero_shot
from course_lib.loops import Run, classification, clip_objective, contrastive_objective, train
from course_lib.loops import simsiam_objective as simsiam
from course_lib.losses import nt_xent
from course_lib.nn import CaptionEncoder, ConvEncoder, ProjectionHead, Siamese, TwoTower
from course_lib.notebook.results import Claim, record
from course_lib.optim.schedules import warmup_cosine

LABELS = (1, 5, 20, 100)  # a class
WIDTH, BATCH, HALF, STEPS, RATE, TEMPERATURE = 64, 128, 64, 100, 3e-3, 0.2
MOMENTS, SHORT, SWEEP_SEEDS = (5, 10, 20, 40, 70, 100), 40, 3
SWEEPS = {
    "temperature": [{"temperature": value} for value in (0.05, 0.5, 2.0)],
    "group": [{"group": number} for number in (4, 16)],
    "batch": [{"batch": 32, "steps": 160}, {"batch": 512, "steps": 10}],
}
PAIR_SIZE, PAIR_STEPS = 12, 160
VOCABULARY = len(CAPTION_WORDS)

CLAIMS = (
    Claim("one-label", "1 label a class, mean over five draws, k-NN: SimCLR minus the untrained encoder", above=0.0),
    Claim("twenty-labels", "linear probe with 20 labels a class, SimCLR minus the untrained encoder", above=0.0),
    Claim("untrained", "linear probe with 20 labels a class on the untrained encoder", above=0.1, limits=(0, 1)),
    Claim("over-scratch", "1 label a class, mean over five draws, SimCLR by k-NN minus labels alone", above=0.0),
    Claim("scratch-twenty", "20 labels a class, a network trained on them alone minus SimCLR with a probe"),
    Claim("behind-labels", "probe with 20 labels a class, encoder trained on 4,000 labels minus SimCLR"),
    Claim("head", "k-NN with 5 labels a class, output of the encoder minus output of the projection head"),
    Claim("alignment", "alignment of two views of new images after training", limits=(0, 4)),
    Claim("uniformity", "uniformity of the projections of new images after training", limits=(-8, 0)),
    Claim("spread-attract", "spread of the projections without negatives; 1 is full", limits=(0, 1)),
    Claim("stop-gradient", "SimSiam's spread with the stop-gradient minus without", above=0.0),
    Claim("shortcut", "k-NN with 5 labels a class, SimCLR minus SimCLR on stamped views", above=0.0),
    Claim("zero-shot", "accuracy on unseen combinations among 87 captions", above=1 / 87, limits=(0, 1)),
    Claim("zero-shot-all", "the same among all 432 captions", above=1 / 432, limits=(0, 1)),
    Claim("order-random", "order read right, image tower that averages over places", limits=(0, 1)),
    Claim("order-hard-blind", "the same, swapped captions as hard negatives minus without"),
    Claim("order-hard", "order read right, image tower that keeps places, with hard negatives minus without"),
    Claim("order-places", "order read right, image tower that keeps places minus the one that averages", above=0.0),
    Claim("recall-bag", "recall@1 on pairs, averaging image tower, transformer minus bag of words"),
    Claim("recall-1", "recall@1 on pairs, places kept and hard negatives", limits=(0, 1)),
    Claim("recall-10", "recall@10 on pairs, places kept and hard negatives", limits=(0, 1)),
)

affine = partial(random_affine, degrees=20, translate=0.12, scale=(0.75, 1.25), shear=17)
same_views = partial(two_views, augment=affine)


def learn(model, objective, batches, steps: int, *, generators=(), watch=None):
    """AdamW, a short warmup, a cosine down to zero; ``watch`` is called after every update."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=RATE, weight_decay=0.01)
    schedule = partial(warmup_cosine, total=steps, warmup=steps // 10, floor=0.0)
    run = Run(model, objective, optimizer, schedule=schedule, generators=generators)
    for step in train(run, batches, steps=steps):
        if watch is not None:
            watch(step)
    return model


@torch.no_grad()
def embed(model, x):
    """Return embeddings in evaluation mode, and restore the mode."""
    was, found = model.training, torch.cat([model.eval()(part) for part in x.split(1000)])
    model.train(was)
    return found


def simclr_model(seed: int) -> nn.Sequential:
    """Encoder and projection head."""
    torch.manual_seed(seed)
    encoder = ConvEncoder(1, 16, WIDTH, norm=nn.BatchNorm2d)
    return nn.Sequential(encoder, ProjectionHead(WIDTH, WIDTH, WIDTH, norm=nn.BatchNorm1d))


def few(y, number: int, seed: int) -> list[torch.Tensor]:
    """Rows of ``number`` examples of each class: five draws of single ones, which vary most, else one draw."""
    rng = np.random.default_rng([seed, number])
    orders = [torch.from_numpy(rng.permutation(len(y))) for _ in range(5 if number == 1 else 1)]
    return [torch.cat([order[y[order] == k][:number] for k in range(10)]) for order in orders]


def digits_of(seed: int):
    """4,000 images to train on and 1,000 new ones, 14 x 14."""
    found = mnist_small()
    order = torch.from_numpy(np.random.default_rng(seed).permutation(len(found)))
    x, y = F.avg_pool2d(found.x, 2)[order], found.y[order]
    return (x[:4000], y[:4000]), (x[4000:], y[4000:])


def neighbours(model, parts, seed: int, number: int = 5) -> float:
    """Accuracy on new images by the nearest of so many labelled ones a class."""
    (x, y), (new_x, new_y) = parts
    new, k = embed(model, new_x), min(number, 5)
    return float(np.mean([knn_accuracy(embed(model, x[r]), y[r], new, new_y, k=k) for r in few(y, number, seed)]))


def efficiency(model, parts, seed: int) -> list[list[float]]:
    """Accuracy on new images by a linear probe and by nearest neighbours, for each number of labels a class."""
    (x, y), (new_x, new_y) = parts
    new, table = embed(model, new_x), []
    for number in LABELS:
        probes = [linear_probe(embed(model, x[r]), y[r], new, new_y, l2=0.1) for r in few(y, number, seed)]
        table.append([float(np.mean(probes)), neighbours(model, parts, seed, number)])
    return table


def simclr(seed, x, steps=STEPS, *, batch=BATCH, temperature=TEMPERATURE, group=None, views=same_views, watch=None):
    """SimCLR; with ``group`` views are compared within groups of so many images only; ``watch`` gets the model too."""
    model, generator = simclr_model(seed), torch.Generator().manual_seed(seed)

    def loss(first, second):
        parts = zip(first.split(group or batch), second.split(group or batch), strict=True)
        return torch.stack([nt_xent(a, b, temperature=temperature) for a, b in parts]).mean()

    objective = contrastive_objective(loss, views=partial(views, generator=generator))
    stream = Batches((x,), batch_size=batch, seed=seed, drop_last=True)
    watch = partial(watch, model) if watch else None
    return learn(model, objective, stream, steps, generators=(generator,), watch=watch)


def short(seed: int, parts, *, steps: int = SHORT, **options) -> float:
    """k-NN accuracy with five labels a class after a short run."""
    return neighbours(simclr(seed, parts[0][0], steps, **options)[0], parts, seed)


def stamped(images, *, generator):
    """Two views that carry the same random code in their first row."""
    code = (torch.rand(len(images), 1, images.shape[-1], generator=generator) > 0.5).float()
    views = two_views(images, affine, generator=generator)
    for view in views:
        view[:, :, 0] = code
    return views


def supervised(seed: int, x, y) -> nn.Sequential:
    """An encoder and a linear layer, trained on labels with the same augmentation and as many updates."""
    torch.manual_seed(seed)
    model = nn.Sequential(ConvEncoder(1, 16, WIDTH, norm=nn.BatchNorm2d), nn.Linear(WIDTH, 10))
    generator = torch.Generator().manual_seed(seed)

    def objective(model, batch):
        return classification(model, (affine(batch[0], generator=generator), batch[1]))

    stream = Batches((x, y), batch_size=min(HALF, len(x)), seed=seed)
    return learn(model, objective, stream, STEPS, generators=(generator,))


def labels_experiment(seed: int, parts) -> tuple[dict, dict]:
    """Few labels on the untrained, the SimCLR and the supervised encoder, and training on them alone."""
    (x, y), (new_x, new_y) = parts
    pair = two_views(new_x[:500], affine, generator=torch.Generator().manual_seed(seed))
    path: list[list[float]] = []

    def measure(model, step=None) -> None:
        if step is None or step.index in MOMENTS:
            first, second = embed(model, pair[0]), embed(model, pair[1])
            path.append([step.index if step else 0, alignment(first, second), uniformity(first)])

    measure(fresh := simclr_model(seed))
    untrained, model = efficiency(fresh[0], parts, seed), simclr(seed, x, watch=measure)
    ours, head = efficiency(model[0], parts, seed), neighbours(model, parts, seed)
    full = efficiency(supervised(seed, x, y)[0], parts, seed)
    scratch = []
    for number in LABELS:
        models = [supervised(seed, x[rows], y[rows]) for rows in few(y, number, seed)]
        scratch.append(float(np.mean([(embed(m, new_x).argmax(1) == new_y).double().mean().item() for m in models])))
    plain, stamp = short(seed, parts), short(seed, parts, views=stamped)
    claims = {
        "one-label": ours[0][1] - untrained[0][1],
        "twenty-labels": ours[2][0] - untrained[2][0],
        "untrained": untrained[2][0],
        "over-scratch": ours[0][1] - scratch[0],
        "scratch-twenty": scratch[2] - ours[2][0],
        "behind-labels": full[2][0] - ours[2][0],
        "head": ours[1][1] - head,
        "alignment": path[-1][1],
        "uniformity": path[-1][2],
        "shortcut": plain - stamp,
    }
    swept = {
        name: [short(seed, parts, **o) for o in rows] if seed < SWEEP_SEEDS else [] for name, rows in SWEEPS.items()
    }
    series = {"untrained": untrained, "simclr": ours, "supervised": full, "scratch": scratch, "path": path}
    return claims, series | {"short": [plain, stamp], **swept}


def collapse_experiment(seed: int, parts) -> tuple[dict, dict]:
    """Agreement alone; SimSiam; SimSiam without its stop-gradient."""
    (x, _), (new_x, _) = parts
    paths = {}
    for name in ("attract", "simsiam", "no-stop"):
        encoder, generator = simclr_model(seed), torch.Generator().manual_seed(seed)
        views = partial(same_views, generator=generator)
        if name == "attract":
            model: nn.Module = encoder
            objective = contrastive_objective(lambda a, b: -F.cosine_similarity(a, b).mean(), views=views)
        else:
            model = Siamese(encoder, ProjectionHead(WIDTH, WIDTH // 4, WIDTH, norm=nn.BatchNorm1d))
            objective = simsiam(views=views, stop_gradient=name == "simsiam")
        stream, path = Batches((x,), batch_size=HALF, seed=seed, drop_last=True), []

        def measure(step, encoder=encoder, path=path) -> None:
            if step.index % 8 == 0:
                unit = F.normalize(embed(encoder, new_x), dim=1)
                path.append([unit.std(0).mean().item() * math.sqrt(WIDTH), step.loss.item()])

        learn(model, objective, stream, SHORT, generators=(generator,), watch=measure)
        paths[name] = [*path, neighbours(encoder[0], parts, seed)]
    final = {name: path[-2][0] for name, path in paths.items()}
    claims = {"spread-attract": final["attract"], "stop-gradient": final["simsiam"] - final["no-stop"]}
    return claims, {f"collapse-{name}": path for name, path in paths.items()}


def two_towers(seed: int, *, kind="transformer", grid: int = 2) -> TwoTower:
    """A small CLIP."""
    torch.manual_seed(seed)
    options = {"num_layers": 1, "num_heads": 2} if kind == "transformer" else {}
    captions = CaptionEncoder(VOCABULARY, 32, kind=kind, embedding_width=WIDTH, max_length=10, **options)
    return TwoTower(ConvEncoder(1, 16, WIDTH, norm=nn.BatchNorm2d, grid=grid), captions)


def order_experiment(seed: int, _) -> tuple[dict, dict]:
    """Which of a caption and the same words the other way round is nearer to the picture?"""
    known = glyph_pairs(4000, seed=seed, size=PAIR_SIZE, combinations="seen")
    new = glyph_pairs(600, seed=seed + 1000, size=PAIR_SIZE, combinations="seen")
    words, other, new_words, new_other = (
        encode_captions(rows, length=10) for rows in (known.captions, known.swapped, new.captions, new.swapped)
    )
    found = {}
    for name, data, kind, grid in (
        ("bag", (known.images, words), "bag", 1),
        ("random", (known.images, words), "transformer", 1),
        ("hard", (known.images, words, other), "transformer", 1),
        ("places", (known.images, words), "transformer", 2),
        ("both", (known.images, words, other), "transformer", 2),
    ):
        model = two_towers(seed, kind=kind, grid=grid)
        stream = Batches(data, batch_size=HALF, seed=seed, drop_last=True)
        learn(model, clip_objective, stream, PAIR_STEPS)
        with torch.no_grad():
            images = model.eval().embed_images(new.images)
            right, wrong = model.embed_captions(new_words), model.embed_captions(new_other)
        ahead = ((images * right).sum(1) - (images * wrong).sum(1)).double()
        read = ((ahead > 1e-6).double() + 0.5 * (ahead.abs() <= 1e-6).double()).mean().item()
        found[name] = [read, *(recall_at_k(images, right, k=k) for k in (1, 10))]
    claims = {
        "order-random": found["random"][0],
        "order-hard-blind": found["hard"][0] - found["random"][0],
        "order-hard": found["both"][0] - found["places"][0],
        "order-places": found["places"][0] - found["random"][0],
        "recall-bag": found["random"][1] - found["bag"][1],
        "recall-1": found["both"][1],
        "recall-10": found["both"][2],
    }
    return claims, {f"order-{name}": values for name, values in found.items()}


def clip_experiment(seed: int, _) -> tuple[dict, dict]:
    """Zero-shot on combinations of character and style that were never seen together."""
    known = glyphs(4000, seed=seed, size=16, combinations="seen")
    new = glyphs(600, seed=seed + 1000, size=16, combinations="unseen")
    model, scores = two_towers(seed), []
    stream = Batches(
        (known.images, encode_captions(known.captions, length=5)), batch_size=BATCH, seed=seed, drop_last=True
    )
    learn(model, clip_objective, stream, STEPS)
    with torch.no_grad():
        unit = model.eval().embed_images(new.images)
        for name in ("unseen", "all"):
            classes = glyph_classes(name)
            labels = torch.tensor([classes.index(caption) for caption in new.captions])
            scores.append(zero_shot(unit, model.embed_captions(encode_captions(classes, length=5)), labels))
    return dict(zip(("zero-shot", "zero-shot-all"), scores, strict=True)), {}


def experiment(seed: int) -> dict[str, object]:
    """Everything once."""
    torch.set_num_threads(1)
    parts, claims, series = digits_of(seed), {}, {}
    for part in (labels_experiment, collapse_experiment, clip_experiment, order_experiment):
        found = part(seed, parts)
        claims, series = claims | found[0], series | found[1]
    return {**claims, "series": series}


if __name__ == "__main__":
    record(__file__, experiment, CLAIMS)
