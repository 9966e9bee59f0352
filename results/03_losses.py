"""Notebook 03 over eight seeds: outliers, overflow, margins, kernels, imbalance, calibration, distillation, tasks."""

from itertools import pairwise

import numpy as np
import torch
from scipy.ndimage import rotate
from sklearn.datasets import make_moons
from sklearn.svm import SVC
from torch import nn

from course_lib import losses
from course_lib.data import Batches, Examples, digits, mnist_small, split
from course_lib.loops import Loss, Run, classification, train
from course_lib.notebook.results import Claim, record

SHARES = (0.0, 0.05, 0.1, 0.2, 0.3)  # of the readings, typed in in Fahrenheit
SMOOTHINGS = (0.0, 0.02, 0.05, 0.1)
FEW = (50, 100, 300)
WEIGHTS = (1.0, 0.1, 0.01)
TAU = 4.0
MNIST = mnist_small()
SGD = {"rate": 0.3, "batch_size": 64, "optimizer": torch.optim.SGD}

CLAIMS = (
    Claim("outlier-mse-over-huber", "error of a line fitted by MSE over one by Huber, 10 % in Fahrenheit", above=1),
    Claim("clean-mae-over-mse", "error of a line by MAE over one by MSE, no wrong reading; theory 1.25", above=1),
    Claim("stable-accuracy", "test accuracy, pixels not scaled, where the naive loss stops", limits=(0, 1)),
    Claim("hinge-margin-gain", "smallest distance to the boundary, trained by hinge over by cross-entropy"),
    Claim("cross-entropy-growth", "length of the weights after 1,000 updates over after 100, cross-entropy", above=1),
    Claim("kernel-minus-linear", "test accuracy on two moons, SVM with a Gaussian kernel minus a linear one", above=0),
    Claim("support-share", "share of 200 moons that are support vectors", limits=(0, 1)),
    Claim("weighted-recall-gain", "recall of 8s at threshold 1/2, weighted minus plain cross-entropy", above=0),
    Claim("focal-recall-gain", "the same, focal loss minus plain"),
    Claim("weighted-ranking-gain", "recall of 8s at 10 false alarms in 1,000, weighted minus plain"),
    Claim("focal-ranking-gain", "the same, focal loss minus plain"),
    Claim("overconfidence", "mean confidence minus accuracy, 500 training images", above=0),
    Claim("smoothed-underconfidence", "accuracy minus mean confidence, label smoothing 0.1", above=0),
    Claim("smoothing-ece-gain", "calibration error (ECE) without smoothing minus with 0.02", above=0),
    Claim("temperature-ece-gain", "ECE at temperature 1 minus at the validation part's temperature", above=0),
    Claim("soft-minus-hard", "accuracy of a student on 100 images, teacher's probabilities minus labels", above=0),
    Claim("soft-minus-shuffled", "the same, teacher's probabilities minus the same shuffled", above=0),
    Claim("even-minus-hard", "the same, teacher's probability of the right class and the rest evenly, minus labels"),
    Claim("degrees-cost", "accuracy on digits, angle not learnt minus angle's squared degrees added", above=0),
    Claim("learnt-weights-gain", "accuracy on digits, task weights learnt minus both 1", above=0),
    Claim("heads-gain", "test accuracy, 8 sigmoid layers with auxiliary heads minus without", above=0),
    Claim("finer-labels-gain", "accuracy on 'is it 5 or more', digit as an auxiliary task minus without"),
    Claim("double-softmax-cost", "test accuracy, logits minus probabilities handed to cross-entropy"),
)


def objective(loss):
    """Make an objective of a function of output and target that gives one number a row."""
    return lambda model, batch: Loss(loss(model(batch[0]), batch[1]).sum(), len(batch[0]))


def cross_entropy(logits, y, **options):
    """The library's, one number a row."""
    return losses.cross_entropy(logits, y, reduction="none", **options)


def perceptron(*sizes: int) -> nn.Sequential:
    """A multilayer perceptron with ReLUs on flattened pictures."""
    layers: list[nn.Module] = [nn.Flatten()]
    for fan_in, fan_out in pairwise(sizes):
        layers += [nn.Linear(fan_in, fan_out), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def learn(sizes, of, data, seed, *, steps, rate=1e-3, batch_size=50, optimizer=torch.optim.Adam):
    """Train a new perceptron, or a model that is given, from this seed."""
    torch.manual_seed(seed)
    model = sizes if isinstance(sizes, nn.Module) else perceptron(*sizes)
    run = Run(model, of, optimizer(model.parameters(), lr=rate))
    for _ in train(run, Batches(data, batch_size=batch_size, seed=seed), steps=steps):
        pass
    return model


def right(logits, y) -> float:
    """Accuracy."""
    return (logits.argmax(1) == y).float().mean().item()


def fit_lines(height, reading, loss: str, delta=1.0):
    """Least squares, or repeated with weights (IRLS), for many data sets at once: (sets, rows) to (sets, 2)."""
    A, weight = np.stack([np.ones_like(height), height], -1), np.ones_like(reading)
    for _ in range(1 if loss == "MSE" else 100):
        weighted = A * weight[..., None]
        theta = np.linalg.solve(weighted.mT @ A, weighted.mT @ reading[..., None])
        error = np.abs((A @ theta)[..., 0] - reading)
        weight = 1 / np.maximum(error, 1e-6 if loss == "MAE" else delta)
    return theta[..., 0]


def outliers(seed: int):
    """Distance from the true line (degrees Celsius, root mean square over 0 to 3 km) by share of wrong readings."""
    rng, found, grid = np.random.default_rng(seed), {"MSE": [], "MAE": [], "Huber": []}, np.linspace(0, 3, 61)
    for share in SHARES:
        height = rng.uniform(0, 3, (200, 60))
        reading = 20 - 6.5 * height + rng.standard_normal((200, 60))
        wrong = round(share * 60)
        reading[:, :wrong] = 1.8 * reading[:, :wrong] + 32
        for loss, errors in found.items():
            off = fit_lines(height, reading, loss) - [20, -6.5]
            errors.append(float(np.sqrt(np.mean((off[:, :1] + off[:, 1:] * grid) ** 2))))
    ratios = found["MSE"][2] / found["Huber"][2], found["MAE"][0] / found["MSE"][0]
    return dict(zip(("outlier-mse-over-huber", "clean-mae-over-mse"), ratios, strict=True)), {"outliers": found}


def margins(seed: int):
    """4 against 9, a linear model that starts at zero, all 200 rows at once."""
    data = digits()
    rows = ((data.y == 4) | (data.y == 9)).nonzero().flatten()
    rows = rows[torch.randperm(len(rows), generator=torch.Generator().manual_seed(seed))][:200]
    x, y, norms, smallest = data.x[rows].flatten(1), 2.0 * (data.y[rows] == 9) - 1, {}, {}
    for name, loss in (("hinge", lambda m: torch.relu(1 - m)), ("cross-entropy", lambda m: nn.functional.softplus(-m))):
        model = nn.Linear(64, 1)
        nn.init.zeros_(model.weight), nn.init.zeros_(model.bias)
        run = Run(model, objective(lambda s, y, f=loss: f(y * s[:, 0])), torch.optim.SGD(model.parameters(), lr=0.5))
        norms[name] = [model.weight.norm().item() for _ in train(run, [(x, y)] * 1000, steps=1000)]
        smallest[name] = (y * model(x)[:, 0]).min().item() / norms[name][-1]
    gains = {"hinge-margin-gain": smallest["hinge"] / smallest["cross-entropy"]}
    gains |= {"cross-entropy-growth": norms["cross-entropy"][-1] / norms["cross-entropy"][99]}
    return gains, {"norms": {name: lengths[9::10] for name, lengths in norms.items()}}


def moons(seed: int):
    """Two kernels on 200 points, tested on 2,000, by scikit-learn's SVM, which the page's own agrees with."""
    (x, y), (x_new, y_new) = (make_moons(n, noise=0.2, random_state=100 * seed + n) for n in (200, 2000))
    gaussian, linear = (SVC(kernel=kernel, gamma=2.0, C=1.0).fit(x, y) for kernel in ("rbf", "linear"))
    gain = gaussian.score(x_new, y_new) - linear.score(x_new, y_new)
    return {"kernel-minus-linear": gain, "support-share": len(gaussian.support_) / 200}, {}


def imbalance(seed: int):
    """55 8s and 2,700 other digits to learn from: recall and false alarms at 1/2, recall at 1 % of alarms."""
    train_part, test = split(MNIST, (0.6, 0.4), seed=seed)
    y, is_8, found = (train_part.y == 8).long(), test.y == 8, {}
    rows = torch.cat([(y == 0).nonzero().flatten(), y.nonzero().flatten()[:55]])
    x, y = train_part.x[rows], y[rows]
    weights = 0.5 * len(y) / y.bincount()
    kinds = {
        "plain": cross_entropy,
        "weighted": lambda z, y: cross_entropy(z, y, class_weights=weights),
        "focal": lambda z, y: losses.focal(z, y, gamma=2.0, reduction="none"),
    }
    for name, loss in kinds.items():
        z = learn((784, 32, 2), objective(loss), (x, y), seed, steps=1000, rate=3e-3)(test.x).detach()
        ours, others = ((z[:, 1] - z[:, 0])[rows] for rows in (is_8, ~is_8))
        shares = (ours > 0).float().mean(), (others > 0).float().mean(), (ours > others.quantile(0.99)).float().mean()
        found[name] = [float(share) for share in shares]
    gains = {f"{name}-recall-gain": found[name][0] - found["plain"][0] for name in ("weighted", "focal")}
    gains |= {f"{name}-ranking-gain": found[name][2] - found["plain"][2] for name in ("weighted", "focal")}
    return gains, {"imbalance": found}


def calibration(seed: int):
    """One network on 500 images for each smoothing: accuracy, confidence, ECE, and ECE after temperature scaling."""
    train_part, validation, test = split(MNIST, (0.1, 0.3, 0.6), seed=seed)
    found = {}
    for e in SMOOTHINGS:
        of = objective(lambda z, y, e=e: cross_entropy(z, y, label_smoothing=e))
        model = learn((784, 128, 128, 10), of, train_part, seed, steps=400)
        z, z_validation = model(test.x).detach(), model(validation.x).detach()
        tau = min(torch.logspace(-0.6, 0.6, 49), key=lambda t: losses.cross_entropy(z_validation / t, validation.y))
        eces = [losses.expected_calibration_error((z / t).softmax(1), test.y).item() for t in (1, tau)]
        found[e] = [right(z, test.y), z.softmax(1).amax(1).mean().item(), *eces, tau.item()]
    accuracy, confidence, ece, scaled, _ = found[0.0]
    return {
        "overconfidence": confidence - accuracy,
        "smoothed-underconfidence": found[0.1][0] - found[0.1][1],
        "smoothing-ece-gain": ece - found[0.02][2],
        "temperature-ece-gain": ece - scaled,
    }, {"calibration": list(found.values())}


def shuffled(z, y, seed):
    """The teacher's logits with those of the wrong classes shuffled within each row."""
    z, generator = z.clone(), torch.Generator().manual_seed(seed)
    for row, label in enumerate(y.tolist()):
        others = [k for k in range(10) if k != label]
        z[row, others] = z[row, others][torch.randperm(9, generator=generator)]
    return z


def evened(z, y):
    """Logits that give the right class what the teacher gives it at TAU, and each wrong class the same."""
    certain = (z / TAU).softmax(1).gather(1, y[:, None])
    return TAU * torch.where(nn.functional.one_hot(y, 10) == 1, certain, (1 - certain) / 9).log()


def distillation(seed: int):
    """Accuracy of students on few images by what they are taught; the teacher saw 3,000."""
    train_part, test = split(MNIST, (0.6, 0.4), seed=seed)
    teacher = learn((784, 256, 10), classification, train_part, seed, steps=300, batch_size=64)
    soft_loss = objective(lambda z, taught: losses.distillation(z, taught, temperature=TAU, reduction="none"))
    found = {"teacher": [right(teacher(test.x), test.y)], "hard": [], "soft": [], "shuffled": [], "even": []}
    for size in FEW:
        few = train_part.take(torch.cat([(train_part.y == k).nonzero().flatten()[: size // 10] for k in range(10)]))
        z = teacher(few.x).detach()
        lessons = {"hard": few.y, "soft": z}
        if size == 100:
            lessons |= {"shuffled": shuffled(z, few.y, seed), "even": evened(z, few.y)}
        for name, lesson in lessons.items():
            of = classification if name == "hard" else soft_loss
            student = learn((784, 64, 10), of, (few.x, lesson), seed, steps=200)
            found[name].append(right(student(test.x), test.y))
    gains = {"soft-minus-hard": found["soft"][1] - found["hard"][1]}
    gains |= {"soft-minus-shuffled": found["soft"][1] - found["shuffled"][0]}
    return gains | {"even-minus-hard": found["even"][0] - found["hard"][1]}, {"distillation": found}


def tilted(part: Examples, seed: int):
    """Digits, each turned by an angle of up to 45 degrees, and these angles."""
    angles = np.random.default_rng(seed).uniform(-45, 45, len(part)).astype(np.float32)
    pictures = [rotate(x[0].numpy(), a, reshape=False, order=1) for x, a in zip(part.x, angles, strict=True)]
    return torch.tensor(np.stack(pictures)), part.y, torch.tensor(angles)


def two_tasks(seed: int):
    """Which digit, and how far it is turned: accuracy, error in degrees, learnt weights, by weight of the latter."""
    parts = split(digits(), (0.7, 0.3), seed=seed)
    train_part, (x, y, angle) = tilted(parts[0], seed), tilted(parts[1], seed + 100)
    found = {}
    for weight in (0.0, *WEIGHTS, None):
        torch.manual_seed(seed)
        model, weighting = perceptron(64, 64, 11), losses.UncertaintyWeighting(2)

        def of(model, batch, weight=weight, weighting=weighting):
            z = model(batch[0])
            first, second = cross_entropy(z[:, :10], batch[1]), (z[:, 10] - batch[2]).square()
            total = weighting(first, second / 2) if weight is None else first + weight * second
            return Loss(total.sum(), len(total))

        groups = [{"params": model.parameters()}, {"params": weighting.parameters(), "lr": 0.1}]
        run = Run(model, of, torch.optim.Adam(groups, lr=3e-3))
        for _ in train(run, Batches(train_part, batch_size=64, seed=seed), steps=400):
            pass
        z = model(x).detach()
        error = (z[:, 10] - angle).square().mean().sqrt().item()
        found[str(weight)] = [right(z[:, :10], y), error, *weighting.weights.tolist()]
    gains = found["0.0"][0] - found["1.0"][0], found["None"][0] - found["1.0"][0]
    return dict(zip(("degrees-cost", "learnt-weights-gain"), gains, strict=True)), {"tasks": found}


def every_output(model, x):
    """What the heads of eight sigmoid layers say, first layer first: (layers, rows, classes)."""
    x, outputs = x.flatten(1), []
    for layer, head in zip(*model, strict=True):
        x = torch.sigmoid(layer(x))
        outputs.append(head(x))
    return torch.stack(outputs)


def auxiliary(seed: int):
    """A deep sigmoid network with heads on its inner layers; and the digit as a help for 'is it 5 or more'."""
    train_part, test = split(digits(), (0.7, 0.3), seed=seed)
    few, found, finer = train_part.take(range(100)), [], []
    for weight in (0.0, 1.0):

        def of(model, batch, weight=weight):
            rows = cross_entropy(every_output(model, batch[0]).flatten(0, 1), batch[1].repeat(8))
            by_head = rows.unflatten(0, (8, -1)).sum(1)
            return Loss(by_head[-1] + weight * by_head[:-1].sum(), len(batch[1]))

        torch.manual_seed(seed)
        model = nn.ModuleList(nn.ModuleList(nn.Linear(64, out) for _ in range(8)) for out in (64, 10))
        for p in model.parameters():
            nn.init.normal_(p, std=1 / 8) if p.ndim == 2 else nn.init.zeros_(p)
        found.append(right(every_output(learn(model, of, train_part, seed, steps=600, **SGD), test.x)[-1], test.y))
        of = objective(lambda z, y, w=weight: cross_entropy(z[:, :2], (y >= 5).long()) + w * cross_entropy(z[:, 2:], y))
        z = learn((64, 64, 12), of, few, seed, steps=300, rate=3e-3)(test.x)
        finer.append(right(z[:, :2], (test.y >= 5).long()))
    gains = {"heads-gain": found[1] - found[0], "finer-labels-gain": finer[1] - finer[0]}
    return gains, {"heads": found, "finer": finer}


def softmaxes(seed: int):
    """The stable loss on pixels from 0 to 16; and probabilities handed to a loss that expects logits."""
    train_part, test = split(digits(), (0.7, 0.3), seed=seed)
    raw = learn((64, 10), classification, (train_part.x * 16, train_part.y), seed, steps=300, **(SGD | {"rate": 0.1}))
    found = []
    for of in (classification, objective(lambda z, y: cross_entropy(z.softmax(1), y))):
        found.append(right(learn((64, 64, 10), of, train_part, seed, steps=600, **SGD)(test.x), test.y))
    return {"stable-accuracy": right(raw(test.x * 16), test.y), "double-softmax-cost": found[0] - found[1]}, {}


def experiment(seed: int) -> dict[str, object]:
    """All of the above with one seed."""
    torch.set_num_threads(1)
    claims, series = {}, {}
    for part in (outliers, margins, moons, imbalance, calibration, distillation, two_tasks, auxiliary, softmaxes):
        numbers, lists = part(seed)
        claims, series = claims | numbers, series | lists
    return claims | {"series": series}


if __name__ == "__main__":
    record(__file__, experiment, CLAIMS)
