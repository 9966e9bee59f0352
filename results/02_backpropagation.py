"""Notebook 02 over eight seeds: the cost of gradients, the error of differences, networks trained by our engine."""

from itertools import pairwise

import numpy as np
import torch

from course_lib.autodiff import Variable, count_operations, no_grad
from course_lib.data import Batches, Examples, digits, split
from course_lib.notebook.results import Claim, record

STEPS, BATCH, LEARNING_RATE, WIDTH = 600, 64, 0.3, 64
NUM_INPUTS = (4, 8, 16, 32, 64)
DIFFERENCE_STEPS = 10.0 ** np.arange(-13, 0.01, 0.5)
DEEP = 20

CLAIMS = (
    Claim("forward-exponent", "forward mode: exponent of n in the cost of a gradient by n inputs over that of a value"),
    Claim("reverse-exponent", "reverse mode: the same exponent"),
    Claim("reverse-cost", "reverse mode: operations for value and gradient over those for the value, 64 inputs"),
    Claim("difference-right", "exponent of h in the error of central differences, h from 1e-3 to 1e-1"),
    Claim("difference-left", "exponent of h in the error of central differences, h from 1e-12 to 1e-7"),
    Claim(
        "difference-best", "log10 of the step h at which the two lines through the errors of central differences cross"
    ),
    Claim("engine-accuracy", "test accuracy of one hidden layer of 64 trained by our engine", limits=(0, 1)),
    Claim("engine-minus-linear", "test accuracy of that network minus a linear model's, trained alike"),
    Claim(
        "forgot-zero-loss",
        "mean loss of the last 100 of 600 updates when gradients are never set to zero; knowing nothing costs 2.303",
        above=2.303,
    ),
    Claim("sigmoid-factor", "gradient norm of a layer over the next one's, 20 sigmoid layers, geometric mean"),
    Claim("tanh-factor", "the same with tanh"),
    Claim("deep-tanh-minus-sigmoid", "test accuracy, 8 hidden layers of tanh minus 8 of sigmoid", above=0.0),
)


def values(x, weights):
    """What each layer of a small network without biases gives."""
    found = [x]
    for W in weights:
        found.append(np.tanh(W @ found[-1]))
    return found


def forward_gradient(x, weights):
    """One pass for each input: the derivative travels along with the value."""
    columns = []
    for direction in np.eye(len(x)):
        y, t = x, direction
        for W in weights:
            y, t = np.tanh(W @ y), W @ t
            t = (1 - y**2) * t
        columns.append(t[0])
    return np.array(columns)


def reverse_gradient(x, weights):
    """One pass there, keeping the values, and one back."""
    found = values(x, weights)
    g = np.ones(1)
    for W, y in zip(reversed(weights), reversed(found), strict=False):
        g = (g * (1 - y**2)) @ W
    return g


def gradient_costs(seed: int) -> dict[str, list[float]]:
    """Operations for a gradient over those for a value, in both modes, for n inputs and one output."""
    rng = np.random.default_rng(seed)
    hidden = rng.integers(4, 17, 2)
    ratios: dict[str, list[float]] = {"forward": [], "reverse": []}
    for n in NUM_INPUTS:
        shapes = [(hidden[0], n), (hidden[1], hidden[0]), (1, hidden[1])]
        arrays = [rng.standard_normal(n), *(rng.standard_normal(shape) / np.sqrt(shape[1]) for shape in shapes)]
        assert np.allclose(forward_gradient(arrays[0], arrays[1:]), reverse_gradient(arrays[0], arrays[1:]))
        once, forward, reverse = (
            count_operations(lambda x, *weights, of=of: of(x, weights), *arrays)
            for of in (values, forward_gradient, reverse_gradient)
        )
        ratios["forward"].append(forward / once)
        ratios["reverse"].append(reverse / once)
    return ratios


def line(x, y) -> tuple[float, float]:
    """Slope and height at 1 of the straight line through the logarithms: y = height * x**slope."""
    slope, height = np.polyfit(np.log10(x), np.log10(y), 1)
    return float(slope), float(height)


def sigmoid(z: Variable) -> Variable:
    """Between 0 and 1; by way of tanh."""
    return ((z * 0.5).tanh() + 1) * 0.5


def initial(sizes: list[int], rng: np.random.Generator) -> list[Variable]:
    """Weights with variance 1 / inputs, biases 0."""
    parameters = []
    for fan_in, fan_out in pairwise(sizes):
        parameters += [Variable(rng.standard_normal((fan_in, fan_out)) / np.sqrt(fan_in)), Variable(np.zeros(fan_out))]
    return parameters


def scores(x, parameters: list[Variable], activation=Variable.tanh):
    """A multilayer perceptron."""
    for layer in range(0, len(parameters), 2):
        x = x @ parameters[layer] + parameters[layer + 1]
        if layer + 2 < len(parameters):
            x = activation(x)
    return x


def mean_loss(x: np.ndarray, y: np.ndarray, parameters: list[Variable], activation=Variable.tanh) -> Variable:
    """Mean cross-entropy."""
    return -scores(x, parameters, activation).log_softmax()[np.arange(len(y)), y].mean()


def stream(part: Examples, seed: int):
    """Batches as NumPy arrays."""
    for _, (x, y) in zip(range(STEPS), Batches(part, batch_size=BATCH, seed=seed), strict=False):
        yield x.flatten(1).double().numpy(), y.numpy()


def learn(parameters: list[Variable], part: Examples, seed: int, activation=Variable.tanh, zero=True) -> list[float]:
    """Gradient descent through the engine; the loss of each update."""
    losses = []
    for x, y in stream(part, seed):
        loss = mean_loss(x, y, parameters, activation)
        for p in parameters if zero else ():
            p.zero_grad()
        loss.backward()
        for p in parameters:
            p.data = p.data - LEARNING_RATE * p.grad
        losses.append(loss.item())
    return losses


def accuracy(parameters: list[Variable], part: Examples, activation=Variable.tanh) -> float:
    """Share of rows whose largest score is the right class."""
    with no_grad():
        found = scores(part.x.flatten(1).double().numpy(), parameters, activation)
    return float((found.data.argmax(1) == part.y.numpy()).mean())


def difference_errors(part: Examples, seed: int) -> list[float]:
    """Median error of central differences over 40 directions in the parameters, for each step h."""
    rng = np.random.default_rng(seed)
    x, y = next(stream(part, seed))
    parameters = initial([64, 32, 10], rng)
    mean_loss(x, y, parameters).backward()
    errors = []
    for _ in range(40):
        direction = [rng.standard_normal(p.shape) for p in parameters]
        length = np.sqrt(sum((d**2).sum() for d in direction))
        direction = [d / length for d in direction]
        exact = sum((p.grad * d).sum() for p, d in zip(parameters, direction, strict=True))

        def along(h, direction=direction):
            with no_grad():
                moved = [Variable(p.data + h * d) for p, d in zip(parameters, direction, strict=True)]
                return mean_loss(x, y, moved).item()

        errors.append([abs((along(h) - along(-h)) / (2 * h) - exact) for h in DIFFERENCE_STEPS])
    return np.median(errors, axis=0).tolist()


def layer_gradients(part: Examples, seed: int, activation) -> list[float]:
    """Norm of the gradient with respect to each layer's output, from the first hidden layer to the last."""
    rng = np.random.default_rng(seed)
    parameters = initial([64, *[WIDTH] * DEEP, 10], rng)
    x, y = next(stream(part, seed))
    mean_loss(x, y, parameters, activation).backward()
    return [float(np.linalg.norm(p.grad)) for p in parameters[2:-2:2]]


def experiment(seed: int) -> dict[str, object]:
    """One split, one initialisation, one order of the data."""
    torch.set_num_threads(1)
    train_part, _, test = split(digits(), seed=seed)
    costs = gradient_costs(seed)
    errors = np.array(difference_errors(train_part, seed))
    h = DIFFERENCE_STEPS
    right, left = (h > 0.9e-3) & (h < 1.1e-1), (h > 0.9e-12) & (h < 1.1e-7)
    (grows, high), (falls, low) = line(h[right], errors[right]), line(h[left], errors[left])

    network = initial([64, WIDTH, 10], np.random.default_rng(seed))
    learn(network, train_part, seed)
    engine_accuracy = accuracy(network, test)
    linear = initial([64, 10], np.random.default_rng(seed))
    learn(linear, train_part, seed)
    forgetful = initial([64, WIDTH, 10], np.random.default_rng(seed))
    forgot = learn(forgetful, train_part, seed, zero=False)
    deep = {}
    for name, activation in (("tanh", Variable.tanh), ("sigmoid", sigmoid)):
        parameters = initial([64, *[WIDTH] * 8, 10], np.random.default_rng(seed))
        learn(parameters, train_part, seed, activation)
        deep[name] = accuracy(parameters, test, activation)
    norms = {name: layer_gradients(train_part, seed, f) for name, f in (("tanh", Variable.tanh), ("sigmoid", sigmoid))}
    factors = {name: (found[0] / found[-1]) ** (1 / (len(found) - 1)) for name, found in norms.items()}
    return {
        "forward-exponent": line(NUM_INPUTS, costs["forward"])[0],
        "reverse-exponent": line(NUM_INPUTS, costs["reverse"])[0],
        "reverse-cost": costs["reverse"][-1],
        "difference-right": grows,
        "difference-left": falls,
        "difference-best": (low - high) / (grows - falls),
        "engine-accuracy": engine_accuracy,
        "engine-minus-linear": engine_accuracy - accuracy(linear, test),
        "forgot-zero-loss": float(np.mean(forgot[-100:])),
        "sigmoid-factor": factors["sigmoid"],
        "tanh-factor": factors["tanh"],
        "deep-tanh-minus-sigmoid": deep["tanh"] - deep["sigmoid"],
        "series": {
            "forward_cost": costs["forward"],
            "difference_errors": errors.tolist(),
            "sigmoid_norms": norms["sigmoid"],
        },
    }


if __name__ == "__main__":
    record(__file__, experiment, CLAIMS)
