"""What the tests of the optimizers share: a bumpy problem to walk on, and every optimizer under a name."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import pytest
import torch

from course_lib import optim

SHAPES = ((3, 5), (5,), (3, 5), (4, 3, 2), ())  # two alike; more than two dimensions; a single number
MATRICES = ((3, 5), (6, 4), (3, 5), (4, 3, 2, 2))
STEPS = 50

BUILDERS = {
    "SGD": partial(optim.SGD, lr=0.05),
    "SGD with momentum": partial(optim.SGD, lr=0.02, momentum=0.9, dampening=0.3, weight_decay=0.1),
    "SGD in Nesterov's form": partial(optim.SGD, lr=0.02, momentum=0.9, nesterov=True, weight_decay=0.1),
    "RMSProp": partial(optim.RMSProp, lr=0.01, weight_decay=0.1),
    "RMSProp with all": partial(optim.RMSProp, lr=0.01, momentum=0.8, centered=True, weight_decay=0.1),
    "Adam": partial(optim.Adam, lr=0.03, weight_decay=0.1),
    "AdamW": partial(optim.AdamW, lr=0.03, weight_decay=0.1),
    "Adafactor": partial(optim.Adafactor, lr=0.03, weight_decay=0.1),
    "LAMB": partial(optim.LAMB, lr=0.03, weight_decay=0.1),
    "Muon": partial(optim.Muon, lr=0.03, weight_decay=0.1),
}


class Case(NamedTuple):
    name: str
    build: Callable[..., torch.optim.Optimizer]
    shapes: tuple[tuple[int, ...], ...]


class Walk:
    """Parameters with a bowl each, and gradients that depend on where they are, on the step and on seeded noise.

    Every third step the second parameter gets no gradient, so that parameters come to differ in how many they had.
    """

    def __init__(self, shapes=SHAPES, dtype=torch.float64, seed=0):
        generator = torch.Generator().manual_seed(seed)
        draw = partial(torch.randn, generator=generator, dtype=torch.float64)
        self.parameters = [draw(shape).to(dtype).requires_grad_() for shape in shapes]
        self.targets = [draw(shape).to(dtype) for shape in shapes]
        self.curvatures = [draw(shape).abs().to(dtype) for shape in shapes]
        self.noise = [[(0.3 * draw(shape)).to(dtype) for shape in shapes] for _ in range(STEPS)]

    def set_gradients(self, step):
        for index, parameter in enumerate(self.parameters):
            if index == 1 and step % 3 == 2:
                parameter.grad = None
                continue
            bowl = self.curvatures[index] * (parameter.detach() - self.targets[index])
            parameter.grad = bowl + self.noise[step][index]

    def go(self, optimizer, start=0, stop=STEPS):
        """Where all parameters are after each step, one row a step."""
        rows = []
        for step in range(start, stop):
            self.set_gradients(step)
            optimizer.step()
            rows.append(torch.cat([parameter.detach().flatten() for parameter in self.parameters]))
        return torch.stack(rows)


@pytest.fixture
def make_walk():
    return Walk


@pytest.fixture
def trajectory():
    """A function from a builder (parameters -> optimizer) to the trajectory that its optimizer takes."""

    def run(build, shapes=SHAPES, dtype=torch.float64, steps=STEPS):
        walk = Walk(shapes, dtype)
        return walk.go(build(walk.parameters), stop=steps)

    return run


@pytest.fixture
def gradients_of():
    """The gradients that ``shape`` meets if nothing moves: for oracles that are told them. One a step."""

    def draw(shape, steps=STEPS, seed=1):
        generator = torch.Generator().manual_seed(seed)
        return torch.randn((steps, *shape), generator=generator, dtype=torch.float64)

    return draw


@pytest.fixture
def after():
    """A function: ``parameter`` moved by an optimizer through ready-made gradients, one step each."""

    def run(build, parameter, gradients):
        parameter = parameter.clone().requires_grad_()
        optimizer = build([parameter])
        for gradient in gradients:
            parameter.grad = gradient.clone()
            optimizer.step()
        return parameter.detach()

    return run


@pytest.fixture(params=BUILDERS)
def case(request):
    """Each optimizer in turn, with shapes that it takes."""
    name = request.param
    return Case(name, BUILDERS[name], MATRICES if name == "Muon" else SHAPES)
