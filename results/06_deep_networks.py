"""Notebook 06 over eight seeds: signals through depth, plain and residual nets, norms, convnets, graphs."""

import math
from dataclasses import replace
from functools import partial

import torch
from torch import Tensor, nn

from course_lib.data import Batches, Examples, digits, split
from course_lib.loops import NonFiniteStep, Run, classification, evaluate, regression, train
from course_lib.nn import MLP, ConvNet, MessagePassing, he_normal_, he_uniform_, xavier_normal_
from course_lib.notebook.results import Claim, record

DEPTHS = (2, 4, 8, 16, 32)
RATE = 0.03  # for plain and for residual nets the best of 0.01, 0.03, 0.1, 0.3 at depth 32, on seeds 100 to 102
STEPS = 150
STARTS = (0, 100)  # added to the seed: two starting points, averaged where one start says little
NORM_RATES = (0.03, 0.1, 0.3, 1.0, 3.0, 10.0)
SIGNAL_DEPTH, SIGNAL_WIDTH = 50, 256
INITIALISERS = {
    "library": partial(he_uniform_, gain=3**-0.5),  # the weights that torch's own layers start from
    "xavier": xavier_normal_,
    "he": he_normal_,
    "large": partial(he_normal_, gain=2.0),
}
NODES = 12
VARIANTS = {  # torch's own norms: the same numbers as the library's, as the page shows, in half the time
    "none": {},
    "layer": {"norm": nn.LayerNorm},
    "batch": {"norm": nn.BatchNorm1d},
    "residual": {"norm": nn.LayerNorm, "residual": True},
}

CLAIMS = (
    Claim("library-factor", "mean square of the signal, a layer over the one before: torch's default weights, ReLU"),
    Claim("xavier-factor", "the same, Xavier"),
    Claim("he-factor", "the same, He"),
    Claim("large-factor", "the same, weights of twice He's variance"),
    Claim("he-gradient-factor", "mean square of the gradient, a layer over the one behind it: He, ReLU"),
    Claim("he-30-layers", "loss of the last 20 of 150 updates, 30 layers from He's weights; knowing nothing: 2.303"),
    Claim("xavier-30-layers", "the same from Xavier's weights"),
    Claim("sawtooth-trained", "error of a trained net that could be exact, over the variance of the targets"),
    Claim("apart-plain", "one minus the mean cosine of two digits' signals after 50 layers, no norm, powers of ten"),
    Claim("cosine-batch", "mean cosine of two digits' signals after 50 layers with batch norm", limits=(-1, 1)),
    Claim("norm-best", "loss after 100 updates at the best rate, no norm minus batch norm", above=0.0),
    Claim("norm-rate-1", "the same at a rate of 1; what blew up counts as knowing nothing, 2.303", above=0.0),
    Claim("bn-gradient-plain", "mean square of the gradient, first over last of 32 batch-norm layers, powers of ten"),
    Claim("bn-gradient-residual", "the same with skips"),
    Claim("batch-30-layers", "loss of the last 20 of 150 updates, 30 layers with batch norm"),
    Claim("residual-30-layers", "the same with layer norm and skips", limits=(0, math.inf)),
    Claim("plain-32", "training error of plain nets of 32 hidden layers, mean of two starts", limits=(0, 1)),
    Claim("depth-cost", "that minus the training error of a plain net of 8", above=0.0),
    Claim("residual-gain", "training error at 32 hidden layers, plain minus residual", above=0.0),
    Claim("residual-test", "test error of the residual net of 32 hidden layers", limits=(0, 1)),
    Claim("sorted-batches", "test error, batch norm in training mode on one class at a time", limits=(0, 1)),
    Claim("convnet", "test error of a convnet of 6,090 parameters on digits, mean of two starts", limits=(0, 1)),
    Claim("convnet-edge", "test error, MLP of 6,085 parameters minus the convnet"),
    Claim("convnet-shuffled", "test error of the convnet, pixels shuffled minus in place"),
    Claim("edge-shuffled", "test error with shuffled pixels, MLP minus convnet"),
    Claim("edge-100-images", "test error after 100 training images, MLP minus convnet"),
    Claim("tanh-minus-relu", "test error of the convnet, tanh minus ReLU"),
    Claim("graph-gain", "test accuracy on graphs, message passing minus an MLP", above=0.0),
)


def generator(seed: int) -> torch.Generator:
    """Our own source of randomness."""
    return torch.Generator().manual_seed(seed)


def learn(model, part, seed, optimizer, *, steps=STEPS, batch_size=64, objective=classification) -> list[float]:
    """Train through the course's loop; the loss of each update, and infinity where it blew up."""
    run, losses = Run(model, objective, optimizer), []
    try:
        for step in train(run, Batches(part, batch_size=batch_size, seed=seed), steps=steps):
            losses.append(step.loss.item())
    except NonFiniteStep:
        losses.append(float("inf"))
    return losses


def sgd(model: nn.Module, rate: float, momentum: float = 0.9) -> torch.optim.Optimizer:
    """The optimiser of the depth experiments."""
    return torch.optim.SGD(model.parameters(), lr=rate, momentum=momentum, fused=True)  # one call for all parameters


def adam(model: nn.Module, rate: float = 0.01) -> torch.optim.Optimizer:
    """The optimiser of all others."""
    return torch.optim.Adam(model.parameters(), lr=rate, fused=True)


def error(model: nn.Module, part: Examples) -> float:
    """Share of wrong answers."""
    return 1 - evaluate(model, classification, [(part.x, part.y)])["accuracy"]


def signals(model: MLP, part: Examples) -> list[Tensor]:
    """What each hidden layer gives before its activation, with the gradient of the mean loss by it."""
    found: list[Tensor] = []
    hooks = [layer.register_forward_hook(lambda _layer, _input, out: found.append(out)) for layer in model.linears[:-1]]
    loss = classification(model, (part.x, part.y))
    for hook, signal in zip(hooks, found, strict=True):
        hook.remove()
        signal.retain_grad()
    (loss.total / loss.count).backward()
    return found


def mean_cosine(signal: Tensor) -> float:
    """Mean cosine between the rows of two different examples."""
    unit, n = nn.functional.normalize(signal.detach()), len(signal)
    return float(((unit @ unit.T).sum() - n) / (n * (n - 1)))


def through_depth(part: Examples, seed: int) -> dict[str, object]:
    """Scale of signals and gradients at the start, and the angle between the signals of different digits."""
    batch, sizes = part.take(range(64)), (64, *[SIGNAL_WIDTH] * SIGNAL_DEPTH, 10)
    forward, backward, factors = {}, {}, {}
    for name, initialiser in INITIALISERS.items():
        found = signals(MLP(sizes, initialiser=initialiser, generator=generator(seed)), batch)
        forward[name] = [float(signal.detach().double().square().mean()) for signal in found]
        backward[name] = [float(signal.grad.double().square().mean()) for signal in found]
        factors[f"{name}-factor"] = (forward[name][-1] / forward[name][0]) ** (1 / (SIGNAL_DEPTH - 1))
    factors["he-gradient-factor"] = (backward["he"][0] / backward["he"][-1]) ** (1 / (SIGNAL_DEPTH - 1))
    cosines = {}
    for name, options in VARIANTS.items():
        found = signals(MLP(sizes, generator=generator(seed), **options), batch)
        cosines[name] = [mean_cosine(signal) for signal in found]
    for name, residual in (("plain", False), ("residual", True)):
        model = MLP((64, *[64] * 32, 10), norm=nn.BatchNorm1d, residual=residual, generator=generator(seed))
        first, *_, last = signals(model, batch)
        factors[f"bn-gradient-{name}"] = math.log10(first.grad.square().mean() / last.grad.square().mean())
    return {
        **factors,
        "apart-plain": math.log10(1 - cosines["none"][-1]),
        "cosine-batch": cosines["batch"][-1],
        "series": {"forward": forward, "backward": backward, "cosines": cosines},
    }


def thirty_layers(part: Examples, seed: int) -> dict[str, object]:
    """Can 30 layers begin to learn, from two starts without norm or skips, and from He's with them?"""
    losses, starts = {}, {name: {"initialiser": INITIALISERS[name]} for name in ("he", "xavier")}
    for name, chosen in (starts | {name: VARIANTS[name] for name in ("layer", "batch", "residual")}).items():
        model = MLP((64, *[64] * 30, 10), generator=generator(seed), **chosen)
        losses[name] = learn(model, part, seed, sgd(model, 0.01))
    ends = {f"{name}-30-layers": sum(found[-20:]) / 20 for name, found in losses.items()}
    layer_norm = ends.pop("layer-30-layers")  # no claim: a number that piles up at ln 10 has no normal band
    return ends | {"series": {"thirty_layers": {name: losses[name] for name in starts}, "layer_norm_30": layer_norm}}


def sawtooth(x: Tensor, folds: int) -> Tensor:
    """The tent map folded ``folds`` times: 2 ** folds straight pieces."""
    for _ in range(folds):
        x = 2 * torch.relu(x) - 4 * torch.relu(x - 0.5)
    return x


def trained_sawtooth(seed: int) -> dict[str, object]:
    """A net of the very shape that can represent the sawtooth, trained."""
    x, grid = torch.rand(1024, 1, generator=generator(seed)), torch.linspace(0, 1, 2001)[:, None]
    model, y = MLP((1, 2, 2, 2, 2, 1), generator=generator(seed)), sawtooth(grid, 4)
    learn(model, (x, sawtooth(x, 4)), seed, adam(model), steps=1000, batch_size=128, objective=regression)
    return {"sawtooth-trained": evaluate(model, regression, [(grid, y)])["loss"] / float(y.var())}


def over_rates(part: Examples, seed: int) -> dict[str, object]:
    """Loss at the end of 100 updates of a net of ten layers, for each rate."""
    ends = {}
    for name in ("none", "batch"):
        ends[name] = []
        for rate in NORM_RATES:
            model = MLP((64, *[64] * 10, 10), generator=generator(seed), **VARIANTS[name])
            losses = learn(model, part, seed, sgd(model, rate, momentum=0.0), steps=100)
            ends[name].append(min(sum(losses[-10:]) / 10, 10.0))
    at_one = NORM_RATES.index(1.0)
    return {
        "norm-best": min(ends["none"]) - min(ends["batch"]),
        "norm-rate-1": min(ends["none"][at_one], math.log(10)) - ends["batch"][at_one],
        "series": {"over_rates": ends},
    }


def over_depths(train_part: Examples, test: Examples, seed: int) -> dict[str, object]:
    """Training and test error of plain and residual nets with batch norm, by depth."""
    errors = {f"{kind}_{part}": [] for kind in ("plain", "residual") for part in ("train", "test")}
    for kind in ("plain", "residual"):
        for depth in DEPTHS:
            found = []
            for start in STARTS if (kind, depth) == ("plain", 32) else STARTS[:1]:  # it varies most where it fails
                sizes, source = (64, *[64] * depth, 10), generator(seed + start)
                model = MLP(sizes, norm=nn.BatchNorm1d, residual=kind == "residual", generator=source)
                learn(model, train_part, seed, sgd(model, RATE))
                found.append([error(model, train_part), error(model, test)])
            for part, mean in zip(("train", "test"), torch.tensor(found).mean(0).tolist(), strict=True):
                errors[f"{kind}_{part}"].append(mean)
    model.train()  # the deepest residual net, used as a model in training: each batch is normalised by itself
    with torch.no_grad():
        wrong = [model(test.x[test.y == k]).argmax(1) != k for k in range(10)]
    return {
        "plain-32": errors["plain_train"][-1],
        "depth-cost": errors["plain_train"][-1] - errors["plain_train"][2],
        "residual-gain": errors["plain_train"][-1] - errors["residual_train"][-1],
        "residual-test": errors["residual_test"][-1],
        "sorted-batches": float(torch.cat(wrong).float().mean()),
        "series": {"over_depths": errors},
    }


def shuffled(part: Examples, seed: int) -> Examples:
    """Every picture with its pixels in one other order."""
    order = torch.randperm(64, generator=generator(seed))
    return replace(part, x=part.x.flatten(1)[:, order].reshape(part.x.shape))


def convnets(seed: int) -> dict[str, object]:
    """A convnet and an MLP of equal size on pixels in place and shuffled, on few images, and with tanh."""
    train_part, test = split(digits(), (0.6, 0.4), seed=seed)
    few = train_part.take(range(100))
    convnet, mlp = partial(ConvNet, 8), partial(MLP, (64, 81, 10))

    def trained(make, learn_on, test_on):
        models = [make(generator=generator(seed + start)) for start in STARTS]
        for model in models:
            learn(model, learn_on, seed, adam(model))
        return sum(error(model, test_on) for model in models) / len(models)

    tanh = partial(convnet, activation=torch.tanh, initialiser=xavier_normal_)
    train_shuffled, test_shuffled = shuffled(train_part, seed), shuffled(test, seed)
    found = {
        "convnet": trained(convnet, train_part, test),
        "mlp": trained(mlp, train_part, test),
        "convnet_shuffled": trained(convnet, train_shuffled, test_shuffled),
        "mlp_shuffled": trained(mlp, train_shuffled, test_shuffled),
        "convnet_few": trained(convnet, few, test),
        "mlp_few": trained(mlp, few, test),
        "convnet_tanh": trained(tanh, train_part, test),
    }
    return {
        "convnet": found["convnet"],
        "convnet-edge": found["mlp"] - found["convnet"],
        "convnet-shuffled": found["convnet_shuffled"] - found["convnet"],
        "edge-shuffled": found["mlp_shuffled"] - found["convnet_shuffled"],
        "edge-100-images": found["mlp_few"] - found["convnet_few"],
        "tanh-minus-relu": found["convnet_tanh"] - found["convnet"],
        "series": {"convnets": found},
    }


def graphs(count: int, source: torch.Generator) -> tuple[Tensor, Tensor]:
    """Random graphs; a node's class is whether more of its neighbours say +1 than -1."""
    above = torch.triu(torch.rand(count, NODES, NODES, generator=source) < 0.3, 1).float()
    neighbours = above + above.mT
    features = torch.rand(count, NODES, 1, generator=source).round() * 2 - 1
    return torch.cat([neighbours, features], -1), ((neighbours @ features).squeeze(-1) > 0).long()


class GraphNet(nn.Module):
    """One message-passing layer, and one that reads the class off each node."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        self.hear = MessagePassing(1, 16, aggregation="sum", generator=generator(seed))
        self.read = MLP((16, 16, 2), generator=generator(seed))

    def forward(self, batch: Tensor) -> Tensor:
        """All graphs of the batch as one large graph in pieces."""
        graph, i, j = batch[..., :-1].nonzero(as_tuple=True)
        heard = self.hear(batch[..., -1:].flatten(0, 1), torch.stack([graph * NODES + j, graph * NODES + i]))
        return self.read(torch.relu(heard)).unflatten(0, (-1, NODES))


def graph_nets(seed: int) -> dict[str, object]:
    """Message passing against an MLP on 500 graphs, tested on 500 others."""
    source = generator(seed)
    known, new = graphs(500, source), graphs(500, source)
    flat = nn.Sequential(
        MLP((NODES * (NODES + 1), 128, 2 * NODES), generator=generator(seed)), nn.Unflatten(1, (NODES, 2))
    )
    found = {}
    for name, model in (("message passing", GraphNet(seed)), ("MLP", flat)):
        learn(model, known, seed, adam(model), batch_size=50)
        found[name] = evaluate(model, classification, [new])["accuracy"]
    return {"graph-gain": found["message passing"] - found["MLP"], "series": {"graphs": found}}


def experiment(seed: int) -> dict[str, object]:
    """One split, one initialisation, one order of the data, for every experiment of the page."""
    torch.set_num_threads(1)
    train_part, _, test = split(digits(), seed=seed)
    on_digits = (through_depth(train_part, seed), thirty_layers(train_part, seed), over_rates(train_part, seed))
    parts = (*on_digits, over_depths(train_part, test, seed), convnets(seed), trained_sawtooth(seed), graph_nets(seed))
    series = {name: values for part in parts for name, values in part.get("series", {}).items()}
    return {name: value for part in parts for name, value in part.items()} | {"series": series}


if __name__ == "__main__":
    record(__file__, experiment, CLAIMS)
