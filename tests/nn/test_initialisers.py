"""Initialisers: fans counted by hand, variances as derived, torch's numbers, and all of them from the generator."""

import itertools
import math
from functools import partial

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from course_lib.nn import (
    MLP,
    activation_gain,
    fan_in_and_fan_out,
    he_normal_,
    he_uniform_,
    initialise,
    xavier_normal_,
    xavier_uniform_,
)

ALL = [xavier_normal_, xavier_uniform_, he_normal_, he_uniform_]
EXACT = {"rtol": 0, "atol": 0}


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def counted_fans(layer, size):
    """Follow single entries through a layer without a bias, away from the borders: who reaches whom?"""
    with torch.no_grad():
        layer.weight.fill_(1)
    x = torch.zeros(1, *size, requires_grad=True)
    middle = tuple(length // 2 for length in size[1:])
    inputs_of_one_output = torch.autograd.grad(layer(x)[(0, 0, *middle)], x)[0].count_nonzero()
    impulse = torch.zeros(1, *size)
    impulse[(0, 0, *middle)] = 1
    return int(inputs_of_one_output), int(layer(impulse).count_nonzero())


@pytest.mark.parametrize(
    ("layer", "size", "expected"),
    [
        (nn.Linear(7, 5, bias=False), (7,), (7, 5)),
        (nn.Conv1d(4, 6, 3, padding=1, bias=False), (4, 9), (12, 18)),
        (nn.Conv2d(4, 6, (3, 5), padding=(1, 2), bias=False), (4, 9, 9), (60, 90)),
        (nn.Conv2d(4, 6, 3, padding=1, groups=2, bias=False), (4, 9, 9), (18, 27)),
        (nn.Conv2d(4, 8, 3, padding=1, groups=4, bias=False), (4, 9, 9), (9, 18)),
        (nn.Conv3d(2, 4, 3, padding=1, groups=2, bias=False), (2, 5, 5, 5), (27, 54)),
    ],
)
def test_fans_are_the_connections_that_exist(layer, size, expected):
    groups = getattr(layer, "groups", 1)
    assert fan_in_and_fan_out(layer.weight, groups=groups) == expected
    if isinstance(layer, nn.Linear):
        assert expected == tuple(reversed(layer.weight.shape))
    else:
        assert counted_fans(layer, size) == expected


@pytest.mark.parametrize("shape", [(6, 4), (6, 4, 3), (6, 4, 3, 5)])
def test_without_groups_fans_are_torchs(shape):
    weight = torch.empty(shape)
    assert fan_in_and_fan_out(weight) == nn.init._calculate_fan_in_and_fan_out(weight)


@pytest.mark.parametrize("mode", ["fan_in", "fan_out"])
@pytest.mark.parametrize("shape", [(30, 20), (6, 4, 3, 3)])
def test_the_same_generator_gives_torchs_numbers(shape, mode):
    """The same draws times the same scale; the scale is computed in another order, so the last bit may differ."""
    pairs = [
        (partial(xavier_normal_, gain=0.7), partial(nn.init.xavier_normal_, gain=0.7)),
        (partial(xavier_uniform_, gain=0.7), partial(nn.init.xavier_uniform_, gain=0.7)),
        (partial(he_normal_, mode=mode), partial(nn.init.kaiming_normal_, mode=mode, nonlinearity="relu")),
        (partial(he_uniform_, mode=mode), partial(nn.init.kaiming_uniform_, mode=mode, nonlinearity="relu")),
    ]
    for ours, theirs in pairs:
        one, other = torch.empty(shape).double(), torch.empty(shape).double()
        assert_close(ours(one, generator=seeded()), theirs(other, generator=seeded()), rtol=1e-14, atol=0)


def test_torchs_default_weights_are_he_uniform_with_a_small_gain():
    torch.manual_seed(3)
    theirs = nn.Conv2d(4, 6, 3).weight
    ours = he_uniform_(torch.empty_like(theirs), gain=1 / math.sqrt(3), generator=seeded(3))
    assert_close(ours, theirs.detach(), rtol=1e-6, atol=0)


@pytest.mark.parametrize(
    ("initialiser", "variance"),
    [
        (xavier_normal_, 2 / (300 + 500)),
        (xavier_uniform_, 2 / (300 + 500)),
        (partial(xavier_normal_, gain=3), 9 * 2 / (300 + 500)),
        (he_normal_, 2 / 300),
        (he_uniform_, 2 / 300),
        (partial(he_normal_, mode="fan_out"), 2 / 500),
        (partial(he_uniform_, mode="fan_out", gain=1), 1 / 500),
    ],
)
def test_the_variance_is_the_derived_one(initialiser, variance):
    weight = initialiser(torch.empty(500, 300), generator=seeded())
    # 150,000 draws: the estimate's relative standard error is at most sqrt(2 / 150,000) = 0.4 %
    assert weight.var().item() == pytest.approx(variance, rel=0.02)
    assert abs(weight.mean().item()) < 5 * math.sqrt(variance / 150_000)


@pytest.mark.parametrize(("initialiser", "bound"), [(xavier_uniform_, 6 / 800), (he_uniform_, 6 / 300)])
def test_uniform_numbers_fill_their_interval_and_stay_in_it(initialiser, bound):
    largest = initialiser(torch.empty(500, 300), generator=seeded()).abs().max().item()
    assert 0.999 * math.sqrt(bound) < largest <= math.sqrt(bound) * (1 + 1e-6)


def signal_power(initialiser, activation, depth=30):
    """The mean square of the last layer's pre-activations, for standard normal inputs."""
    generator = seeded()
    model = MLP([256] * depth, activation=activation, initialiser=initialiser, generator=generator)
    with torch.no_grad():
        return model(torch.randn(64, 256, generator=generator)).square().mean().item()


def test_he_keeps_a_relu_signal_and_xavier_loses_half_at_each_layer():
    assert 0.2 < signal_power(he_normal_, torch.relu) < 10  # the first layer doubles: it has no ReLU in front
    assert signal_power(xavier_normal_, torch.relu) == pytest.approx(
        signal_power(he_normal_, torch.relu) / 2**29, rel=1e-3
    )


def test_the_gain_of_tanh_keeps_its_signal():
    gain = activation_gain(torch.tanh)
    assert signal_power(partial(he_normal_, gain=gain), torch.tanh) == pytest.approx(1, rel=0.1)


@pytest.mark.parametrize(
    ("activation", "gain"),
    [
        (lambda z: z, 1),
        (torch.relu, math.sqrt(2)),
        (partial(nn.functional.leaky_relu, negative_slope=0.2), math.sqrt(2 / 1.04)),
        (torch.sign, 1),
        (lambda z: z**2, 1 / math.sqrt(3)),  # the fourth moment of a standard normal is 3
        (torch.exp, math.exp(-1)),  # E[e^2z] = e^2
    ],
)
def test_gains_known_in_closed_form(activation, gain):
    assert activation_gain(activation) == pytest.approx(gain, rel=1e-3 if activation is torch.sign else 1e-6)


@pytest.mark.parametrize("initialiser", ALL)
def test_numbers_come_from_the_generator_alone(initialiser):
    state = torch.get_rng_state()
    one = initialiser(torch.empty(3, 4), generator=seeded(5))
    assert torch.equal(torch.get_rng_state(), state)
    again, other = (initialiser(torch.empty(3, 4), generator=seeded(seed)) for seed in (5, 6))
    assert_close(one, again, **EXACT)
    assert not torch.isclose(one, other).any()


@pytest.mark.parametrize("initialiser", ALL)
def test_without_a_generator_torchs_global_one_is_used(initialiser):
    torch.manual_seed(5)
    assert_close(initialiser(torch.empty(3, 4)), initialiser(torch.empty(3, 4), generator=seeded(5)), **EXACT)


@pytest.mark.parametrize("initialiser", ALL)
def test_parameters_are_filled_in_place_and_no_gradient_is_recorded(initialiser):
    parameter = nn.Parameter(torch.zeros(3, 4))
    assert initialiser(parameter, generator=seeded()) is parameter
    assert parameter.is_leaf
    assert parameter.count_nonzero() == 12


@pytest.mark.parametrize("initialiser", ALL)
def test_on_the_meta_device_the_generator_is_left_as_it_is(initialiser):
    generator = seeded()
    before = generator.get_state()
    assert initialiser(torch.empty(3, 4, device="meta"), generator=generator).is_meta
    assert torch.equal(generator.get_state(), before)


def test_initialise_fills_linear_and_convolutional_layers_in_order_and_nothing_else():
    model = nn.Sequential(nn.Conv2d(4, 8, 3, groups=2), nn.GroupNorm(2, 8), nn.Linear(8, 3), nn.Embedding(5, 2))
    embedding = model[3].weight.clone()
    assert initialise(model, he_normal_, generator=seeded()) is model
    generator = seeded()
    assert_close(model[0].weight.detach(), he_normal_(torch.empty(8, 2, 3, 3), groups=2, generator=generator), **EXACT)
    assert_close(model[2].weight.detach(), he_normal_(torch.empty(3, 8), generator=generator), **EXACT)
    assert not any(layer.bias.count_nonzero() for layer in (model[0], model[2]))
    assert_close(model[1].weight.detach(), torch.ones(8), **EXACT)
    assert_close(model[3].weight, embedding, **EXACT)


def test_initialise_hands_the_groups_on():
    """fan_out of a depthwise layer is 9, not 8 * 9."""
    model = initialise(nn.Conv2d(8, 8, 3, groups=8), partial(he_uniform_, mode="fan_out", gain=3), generator=seeded())
    assert 0.9 * math.sqrt(3) < model.weight.abs().max() <= math.sqrt(3)


def test_initialise_takes_an_initialiser_of_ones_own():
    model = initialise(nn.Linear(2, 2), lambda weight, *, groups, generator: weight.fill_(groups), generator=None)
    assert model.weight.tolist() == [[1.0, 1.0], [1.0, 1.0]]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: he_normal_(torch.empty(3)), r"need a weight .* got shape \(3,\)"),
        (lambda: he_normal_(torch.empty(3, 0)), r"got shape \(3, 0\)"),
        (lambda: fan_in_and_fan_out(torch.empty(6, 2), groups=4), "6 outputs cannot be split into groups=4"),
        (lambda: fan_in_and_fan_out(torch.empty(6, 2), groups=0), "groups=0"),
        (lambda: he_normal_(torch.empty(2, 2), mode="fan_avg"), "mode must be .* got 'fan_avg'"),
        *(
            (partial(initialiser, torch.empty(2, 2), gain=gain), "gain must be positive and finite")
            for initialiser, gain in itertools.product(ALL, (0.0, -1.0, math.nan, math.inf))
        ),
        (lambda: activation_gain(torch.zeros_like), r"must be positive and finite .* got 0\.0"),
        (lambda: activation_gain(torch.log), "must be positive and finite .* got nan"),
        (lambda: initialise(nn.ReLU(), he_normal_), "ReLU has no linear or convolutional layer"),
        (
            lambda: initialise(nn.Sequential(nn.Linear(2, 2), nn.ConvTranspose2d(2, 2, 3)), he_normal_),
            r"transposed convolutions \(1\)",
        ),
        (
            lambda: initialise(nn.Sequential(nn.utils.parametrizations.weight_norm(nn.Linear(2, 2))), he_normal_),
            "the weight of 0 is computed from others",
        ),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
