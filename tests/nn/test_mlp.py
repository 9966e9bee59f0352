"""MLP and residual block: torch's layers in a row, the formula read aloud, and a plain net of the same shape."""

import math
from functools import partial

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from course_lib.nn import MLP, BatchNorm, GroupNorm, LayerNorm, ResidualBlock, RMSNorm, he_uniform_, xavier_normal_

EXACT = {"rtol": 0, "atol": 0}
ROUNDING = {"rtol": 1e-12, "atol": 1e-12}


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def slow_layer(layer, row):
    """One output at a time."""
    return torch.stack([sum(w * x for w, x in zip(weights, row, strict=True)) for weights in layer.weight]) + layer.bias


def test_the_plain_one_is_torchs_layers_in_a_row(randn, shaken):
    ours = shaken(MLP((6, 5, 4, 3), activation=torch.tanh, norm=LayerNorm))
    norms = [nn.LayerNorm(5), nn.LayerNorm(4)]
    for theirs, mine in zip(norms, ours.norms, strict=True):
        theirs.double().load_state_dict(mine.state_dict())
    one, two, three = ours.linears
    theirs = nn.Sequential(nn.Flatten(), one, norms[0], nn.Tanh(), two, norms[1], nn.Tanh(), three)
    x = randn(7, 2, 3)
    assert_close(ours(x), theirs(x), **ROUNDING)


@torch.no_grad()
def test_skips_go_around_hidden_layers_of_one_width(randn, shaken):
    model = shaken(MLP((3, 4, 4, 5, 5, 5), residual=True))
    one, two, three, four, five = model.linears
    for row in randn(3, 3):
        h = slow_layer(one, row)
        h = h + slow_layer(two, h.relu())
        h = slow_layer(three, h.relu())
        h = h + slow_layer(four, h.relu())
        out = slow_layer(five, h.relu())  # 5 to 5 too, but the last layer makes outputs
        assert_close(model(row[None])[0], out, **ROUNDING)


@torch.no_grad()
def test_the_block_is_the_sum_of_its_input_and_its_branch(randn, shaken):
    block = shaken(ResidualBlock(4, activation=torch.tanh, norm=RMSNorm))
    for row in randn(3, 4):
        branch = slow_layer(block.linear1, block.norm1(row).tanh())
        branch = slow_layer(block.linear2, block.norm2(branch).tanh())
        assert_close(block(row[None])[0], row + branch, **ROUNDING)


@pytest.mark.parametrize("norm", [None, LayerNorm])
def test_without_the_skip_the_branch_is_left(randn, norm):
    with_skip, without = (
        ResidualBlock(4, norm=norm, residual=residual, generator=seeded()).double() for residual in (True, False)
    )
    x = randn(3, 4)
    assert_close(with_skip(x), x + without(x), **EXACT)


def test_skips_change_no_parameter():
    sizes = (3, 4, 4, 4, 2)
    plain, residual = (MLP(sizes, norm=LayerNorm, residual=flag, generator=seeded()) for flag in (False, True))
    assert list(plain.state_dict()) == list(residual.state_dict())
    for name, value in plain.state_dict().items():
        assert_close(residual.state_dict()[name], value, **EXACT)


def test_blocks_with_zero_weights_pass_the_input_and_its_gradient_on(randn):
    blocks = nn.Sequential(*(ResidualBlock(4, norm=LayerNorm) for _ in range(32))).double()
    for block in blocks:
        nn.init.zeros_(block.linear2.weight)
    x, weights = randn(3, 4).requires_grad_(), randn(3, 4)
    out = blocks(x)
    assert_close(out, x, **EXACT)
    assert_close(torch.autograd.grad((out * weights).sum(), x)[0], weights, **EXACT)


def test_relu_nets_without_biases_scale_with_their_input(randn):
    model = MLP((3, 5, 5, 2), residual=True).double()  # biases start at 0
    x = randn(4, 3)
    assert_close(model(8 * x), 8 * model(x), **EXACT)  # a power of two: exact


@pytest.mark.parametrize("norm", [None, BatchNorm, LayerNorm, RMSNorm, partial(GroupNorm, 2)])
def test_rows_can_be_permuted(randn, norm):
    model, x, order = MLP((3, 4, 4, 2), norm=norm, residual=True).double(), randn(5, 3), [4, 2, 0, 1, 3]
    assert_close(model(x[order]), model(x)[order], **ROUNDING)


@pytest.mark.parametrize("norm", [None, BatchNorm, LayerNorm, RMSNorm])
def test_gradients(randn, shaken, gradients_are_right, norm):
    model = shaken(MLP((3, 4, 4, 2), activation=torch.tanh, norm=norm, residual=True))
    assert gradients_are_right(model, randn(5, 3))
    assert gradients_are_right(shaken(ResidualBlock(3, activation=torch.tanh, norm=norm)), randn(5, 3))


def test_the_initialiser_is_called_for_every_layer():
    model = MLP((6, 6, 6), initialiser=partial(he_uniform_, gain=math.sqrt(2)), generator=seeded())
    generator = seeded()
    for layer in model.linears:
        assert_close(layer.weight.detach(), he_uniform_(torch.empty(6, 6), generator=generator), **EXACT)
        assert layer.bias.count_nonzero() == 0
    block = ResidualBlock(6, initialiser=xavier_normal_, generator=seeded())
    assert_close(block.linear1.weight.detach(), xavier_normal_(torch.empty(6, 6), generator=seeded()), **EXACT)


def test_a_hundred_layers_with_norm_keep_a_finite_gradient_at_an_extreme_input(randn):
    model = MLP((4, *[16] * 100, 2), norm=LayerNorm, residual=True, generator=seeded())
    x = (1e15 * randn(3, 4)).float().requires_grad_()
    gradient = torch.autograd.grad(model(x).sum(), model.linears[1].weight)[0]
    assert 0 < gradient.norm() < torch.inf


def test_sizes_of_one_layer_are_a_linear_model(randn):
    model = MLP((3, 2)).double()
    x = randn(4, 3)
    assert_close(model(x), nn.functional.linear(x, model.linears[0].weight), **EXACT)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: MLP((3,)), r"an input and an output width, each at least 1, got \(3,\)"),
        (lambda: MLP((3, 0, 2)), r"got \(3, 0, 2\)"),
        (
            lambda: MLP((3, 4, 5, 2), residual=True),
            r"of one width in a row, got sizes \(3, 4, 5, 2\)",
        ),
        (lambda: MLP((3, 3, 3), residual=True), "two hidden layers"),
        (lambda: MLP((3, 2))(torch.ones(4, 5)), r"rows of 3 numbers, got \(4, 5\)"),
        (lambda: MLP((3, 2))(torch.ones(3)), r"got \(3,\)"),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
