"""Notebook 00 over eight seeds: digits by majority, lines, neighbours and a network; and a test set that flatters."""

import numpy as np
import torch
from sklearn.neighbors import KNeighborsClassifier
from torch import nn

from course_lib.data import Batches, Examples, digits, split
from course_lib.loops import Run, classification, evaluate, train
from course_lib.notebook.results import Claim, record

LEARNING_RATES = (1e-4, 1e-3, 1e-2, 1e-1)
STEPS, BATCH, WIDTH, FOLDS = 600, 64, 256, 5

CLAIMS = (
    Claim("majority-accuracy", "test accuracy of always guessing the commonest class", limits=(0, 1)),
    Claim("linear-accuracy", "test accuracy of a linear model, learning rate chosen on validation", limits=(0, 1)),
    Claim("network-accuracy", "test accuracy of one hidden layer of 256, rate chosen on validation", limits=(0, 1)),
    Claim("neighbours-accuracy", "test accuracy of three nearest neighbours, which trains nothing", limits=(0, 1)),
    Claim("network-minus-linear", "test accuracy of the network minus that of the linear model"),
    Claim(
        "split-optimism",
        "accuracy of the network on random fifths minus accuracy when whole pages of writing are left out",
        above=0.0,
    ),
)


def linear() -> nn.Module:
    """Sixty-four inputs, ten scores."""
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 10))


def network() -> nn.Module:
    """The same with one hidden layer."""
    return nn.Sequential(nn.Flatten(), nn.Linear(64, WIDTH), nn.ReLU(), nn.Linear(WIDTH, 10))


def accuracy(model: nn.Module, part: Examples) -> float:
    """Share of rows whose largest score is the right class."""
    return evaluate(model, classification, [(part.x, part.y)])["accuracy"]


def trained(build, part: Examples, learning_rate: float, seed: int, steps: int = STEPS) -> nn.Module:
    """A model after ``steps`` updates of Adam."""
    torch.manual_seed(seed)
    model = build()
    run = Run(model, classification, torch.optim.Adam(model.parameters(), lr=learning_rate))
    for _ in train(run, Batches(part, batch_size=BATCH, seed=seed), steps=steps):
        pass
    return model


def chosen(build, train_part: Examples, validation: Examples, seed: int) -> nn.Module:
    """The model whose learning rate did best on validation; of equals the smallest."""
    models = [trained(build, train_part, rate, seed) for rate in LEARNING_RATES]
    return max(models, key=lambda model: accuracy(model, validation))


def pages(labels: torch.Tensor, window: int = 60) -> np.ndarray:
    """The page of each row: every page copies the same text, so a page begins where the labels resemble the first."""
    resemblance = (labels.unfold(0, window, 1) == labels[:window]).float().mean(1)
    starts = torch.nonzero(resemblance >= 0.6).flatten()
    return (torch.searchsorted(starts, torch.arange(len(labels)), right=True) - 1).numpy()


def fold_accuracy(folds: list[np.ndarray], seed: int) -> float:
    """Mean accuracy of the network on each of ``folds``, trained on the others."""
    data, found = digits(), []
    for fold in folds:
        rest = np.setdiff1d(np.arange(len(data)), fold)
        model = trained(network, data.take(rest.tolist()), 1e-2, seed, steps=STEPS // 2)
        found.append(accuracy(model, data.take(fold.tolist())))
    return float(np.mean(found))


def experiment(seed: int) -> dict[str, float]:
    """One split, one initialisation, one order of the data."""
    torch.set_num_threads(1)
    train_part, validation, test = split(digits(), seed=seed)
    commonest = int(torch.bincount(train_part.y).argmax())
    neighbours = KNeighborsClassifier(3).fit(train_part.x.flatten(1).numpy(), train_part.y.numpy())
    scores = {
        "majority-accuracy": float((test.y == commonest).float().mean()),
        "linear-accuracy": accuracy(chosen(linear, train_part, validation, seed), test),
        "network-accuracy": accuracy(chosen(network, train_part, validation, seed), test),
        "neighbours-accuracy": float(neighbours.score(test.x.flatten(1).numpy(), test.y.numpy())),
    }
    page = pages(digits().y)
    by_page = [np.flatnonzero(np.isin(page, some)) for some in np.array_split(np.unique(page), FOLDS)]
    at_random = np.array_split(np.random.default_rng(seed).permutation(len(page)), FOLDS)
    return {
        **scores,
        "network-minus-linear": scores["network-accuracy"] - scores["linear-accuracy"],
        "split-optimism": fold_accuracy(at_random, seed) - fold_accuracy(by_page, seed),
    }


if __name__ == "__main__":
    record(__file__, experiment, CLAIMS)
