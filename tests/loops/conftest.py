"""What the tests of course_lib.loops share: small models, runs, batches, and the state of a run as numbers."""

import pytest
import torch
from torch import nn

from course_lib.loops import Run, classification


def _small_model(seed=0, dtype=torch.float64):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(5, 8), nn.Tanh(), nn.Linear(8, 3)).to(dtype)


def _norm_model(seed=0):
    """Batch norm has buffers, dropout reads the global generator."""
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(5, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.2), nn.Linear(8, 3))


def _run(model=None, *, optimizer=torch.optim.SGD, objective=classification, lr=0.1, options=None, **kwargs):
    model = _small_model() if model is None else model
    return Run(model, objective, optimizer(model.parameters(), lr=lr, **(options or {})), **kwargs)


def _state(run):
    """Every number a run holds, by name: parameters, buffers and the optimizer's state."""
    numbers = {f"model.{name}": tensor.clone() for name, tensor in run.model.state_dict().items()}
    for key, values in run.optimizer.state_dict()["state"].items():
        numbers |= {f"optimizer.{key}.{name}": torch.as_tensor(value).clone() for name, value in values.items()}
    return numbers


@pytest.fixture
def small_model():
    return _small_model


@pytest.fixture
def norm_model():
    return _norm_model


@pytest.fixture
def make_run():
    return _run


@pytest.fixture
def state():
    return _state


@pytest.fixture
def ragged_batch():
    """12 rows in float64; the first five have no target, so that averaging over halves would be wrong."""
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(12, 5, generator=generator, dtype=torch.float64)
    y = torch.randint(0, 3, (12,), generator=generator)
    y[:5] = -100
    return x, y


@pytest.fixture
def batches():
    """A function that returns ``n`` batches of 32 rows in float32."""

    def make(n, seed=0, rows=32):
        generator = torch.Generator().manual_seed(seed)
        return [
            (torch.randn(rows, 5, generator=generator), torch.randint(0, 3, (rows,), generator=generator))
            for _ in range(n)
        ]

    return make
