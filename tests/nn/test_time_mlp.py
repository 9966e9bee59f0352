"""The time MLP and the embedding of time and class: formulas read aloud, and what they tell apart."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch.testing import assert_close

from course_lib.nn.time_embedding import NO_LABEL, TimeEmbedding, sinusoids
from course_lib.nn.time_mlp import TimeMLP

EXACT = {"rtol": 0, "atol": 0}


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def test_sinusoids_are_the_formula_read_aloud():
    times = [0.0, 0.001, 0.37, 1.0]
    expected = [
        [f(1000 * t * 10_000 ** (-place / 3)) for f in (math.cos, math.sin) for place in range(3)] for t in times
    ]
    assert_close(
        sinusoids(torch.tensor(times, dtype=torch.float64), 6), torch.tensor(expected, dtype=torch.float64),
        rtol=1e-9, atol=1e-9,
    )  # fmt: skip


def test_diffusers_tells_the_time_alike():
    from diffusers.models.embeddings import get_timestep_embedding

    steps = torch.tensor([0, 1, 500, 999])
    theirs = get_timestep_embedding(steps, 32, flip_sin_to_cos=True, downscale_freq_shift=0)
    assert_close(sinusoids(steps / 1000, 32), theirs, rtol=0, atol=2e-4)  # float32 phases up to 1000


def test_neighbouring_times_are_told_apart():
    waves = sinusoids(torch.linspace(0, 1, 1001), 16)
    assert torch.cdist(waves, waves).fill_diagonal_(9).min() > 0.5


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32, torch.float64])
def test_waves_are_at_least_float32(dtype):
    assert sinusoids(torch.zeros(2, dtype=dtype), 4).dtype == (
        torch.float64 if dtype == torch.float64 else torch.float32
    )


def test_the_embedding_is_its_formula(shaken):
    layer = shaken(TimeEmbedding(6, 5, num_classes=2, generator=seeded()))
    time, labels = torch.tensor([0.1, 0.5, 0.9], dtype=torch.float64), torch.tensor([1, NO_LABEL, 0])
    state = dict(layer.named_parameters())
    hidden = F.silu(F.linear(sinusoids(time, 6), state["hidden.weight"], state["hidden.bias"]))
    plain = F.linear(hidden, state["out.weight"], state["out.bias"])
    assert_close(layer(time, labels), plain + state["classes"][[2, 0, 1]], rtol=1e-12, atol=1e-12)
    assert_close(layer(time), plain + state["classes"][0], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("num_classes", [None, 3])
def test_the_mlp_is_its_formula(randn, shaken, num_classes):
    model = shaken(TimeMLP(3, width=6, num_layers=2, num_classes=num_classes, generator=seeded()))
    x, time = randn(4, 3), torch.tensor([0.0, 0.2, 0.7, 1.0], dtype=torch.float64)
    labels = None if num_classes is None else torch.tensor([0, 1, 2, -1])
    state, told = dict(model.named_parameters()), model.time(time, labels)
    h = F.linear(x, state["first.weight"], state["first.bias"])
    for layer in range(2):
        h = h + F.linear(F.silu(h + told), state[f"layers.{layer}.weight"], state[f"layers.{layer}.bias"])
    expected = F.linear(F.silu(h), state["last.weight"], state["last.bias"])
    assert_close(model(x, time, labels), expected, rtol=1e-12, atol=1e-12)


def test_it_starts_as_zero_and_gradients_are_right(randn, shaken, gradients_are_right):
    model, x, time = TimeMLP(2, width=5, num_layers=2, num_classes=2, generator=seeded()), randn(3, 2), torch.rand(3)
    assert_close(model(x.float(), time), torch.zeros(3, 2), **EXACT)
    assert gradients_are_right(shaken(model), x, time.double(), torch.tensor([0, 1, -1]))


def test_weights_come_from_the_generator_alone():
    state = torch.get_rng_state()
    one, again = (TimeMLP(2, width=8, num_classes=3, generator=seeded(1)) for _ in range(2))
    assert torch.equal(torch.get_rng_state(), state)
    for name, value in one.state_dict().items():
        assert_close(again.state_dict()[name], value, **EXACT)


def test_the_meta_device_and_no_rows():
    with torch.device("meta"):
        model = TimeMLP(2, num_classes=3, generator=seeded())
        model(torch.zeros(4, 2), torch.zeros(4), torch.zeros(4, dtype=torch.int64)).sum().backward()
    assert all(parameter.grad.is_meta for parameter in model.parameters())
    assert TimeMLP(2)(torch.zeros(0, 2), torch.zeros(0)).shape == (0, 2)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: TimeMLP(0), "at least 1, got 0, 128 and 3"),
        (lambda: TimeMLP(2, num_layers=0), "got 2, 128 and 0"),
        (lambda: TimeMLP(2)(torch.ones(3, 4), torch.ones(3)), r"x \(N, 2\) and time \(N,\), got \(3, 4\) and \(3,\)"),
        (lambda: TimeMLP(2)(torch.ones(3, 2), torch.ones(2)), r"got \(3, 2\) and \(2,\)"),
        (lambda: TimeMLP(2)(torch.ones(3, 2), torch.ones(3).long()), r"schedule.time\(t\) turns steps into it"),
        (lambda: TimeMLP(2)(torch.ones(1, 2), torch.ones(1), torch.ones(1).long()), "this model has no classes"),
        (
            lambda: TimeMLP(2, num_classes=3)(torch.ones(1, 2), torch.ones(1), torch.tensor([3])),
            "0 to 2, .* got 3 to 3",
        ),
        (lambda: TimeMLP(2, num_classes=3)(torch.ones(1, 2), torch.ones(1), torch.tensor([-2])), "got -2 to -2"),
        (lambda: sinusoids(torch.ones(1), 3), "num_features must be even and positive, got 3"),
        (lambda: TimeEmbedding(4, 4, num_classes=-1), "num_classes must be at least 1, .* got -1"),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
