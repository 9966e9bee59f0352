"""Promises that all nets share: seeded, on the meta device, without reading a value, under autocast, without rows."""

from functools import partial

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from course_lib.nn import (
    MLP,
    BasicBlock,
    BatchNorm,
    ConvNet,
    GroupNorm,
    LayerNorm,
    MessagePassing,
    ResidualBlock,
    ResNet,
    RMSNorm,
    he_normal_,
    initialise,
)

EXACT = {"rtol": 0, "atol": 0}


class OnARing(nn.Module):
    """One message-passing layer in which every row hears from the row before."""

    def __init__(self, **options):
        super().__init__()
        self.layer = MessagePassing(64, 5, **options)

    def forward(self, x):
        rows = torch.arange(len(x), device=x.device)
        return self.layer(x.flatten(1), torch.stack([rows, rows.roll(1)]))


NETS = {
    "mlp": partial(MLP, (64, 32, 32, 5), residual=True),
    "mlp-batch": partial(MLP, (64, 32, 5), norm=partial(BatchNorm, momentum=None)),
    "mlp-layer": partial(MLP, (64, 32, 5), norm=LayerNorm),
    "mlp-rms": partial(MLP, (64, 32, 5), norm=RMSNorm),
    "mlp-group": partial(MLP, (64, 32, 5), norm=partial(GroupNorm, 4)),
    "convnet": partial(ConvNet, 8, widths=(4, 8), norm=BatchNorm),
    "resnet": partial(ResNet, 8, width=4),
    "plain": partial(ResNet, 8, width=4, norm=None, residual=False),
    "ring": OnARing,
}
BLOCKS = {"block": partial(ResidualBlock, 8), "conv block": partial(BasicBlock, 4, 8, stride=2)}


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.fixture(params=NETS)
def build(request):
    return NETS[request.param]


@pytest.mark.parametrize("name", NETS | BLOCKS)
def test_weights_come_from_the_generator_alone(name):
    build = (NETS | BLOCKS)[name]
    state = torch.get_rng_state()
    one = build(generator=seeded(1))
    assert torch.equal(torch.get_rng_state(), state)
    again, other = build(generator=seeded(1)), build(generator=seeded(2))
    for parameter, same, different in zip(one.parameters(), again.parameters(), other.parameters(), strict=True):
        assert_close(parameter, same, **EXACT)
        if parameter.ndim > 1:
            assert not torch.isclose(parameter, different).any()


@pytest.mark.parametrize("name", NETS | BLOCKS)
def test_without_a_generator_torchs_global_one_decides(name):
    build = (NETS | BLOCKS)[name]
    torch.manual_seed(1)
    one, two = build(), build(generator=seeded(1))
    for name, value in one.state_dict().items():
        assert_close(two.state_dict()[name], value, **EXACT)


def test_initialise_gives_the_starting_weights_again(build):
    model = build(generator=seeded(1), initialiser=he_normal_)
    again = initialise(build(generator=seeded(2)), he_normal_, generator=seeded(1))
    for name, value in model.state_dict().items():
        assert_close(again.state_dict()[name], value, **EXACT)


def test_the_meta_device_runs_forward_and_backward(build):
    """There are no values on it, so this also proves that no step waits for the device to read one."""
    with torch.device("meta"):
        model = build(generator=seeded())
        x = torch.zeros(4, 1, 8, 8)
    assert all(tensor.is_meta for tensor in (*model.parameters(), *model.buffers()))
    model(x).sum().backward()
    assert all(parameter.grad.is_meta for parameter in model.parameters())
    assert model.eval()(x).is_meta


def test_a_model_built_on_the_meta_device_is_brought_to_life(build, randn):
    with torch.device("meta"):
        model = build()
    expected, x = build(generator=seeded(), initialiser=he_normal_), randn(4, 1, 8, 8).float()
    initialise(model.to_empty(device="cpu"), he_normal_, generator=seeded())
    for module in model.modules():
        if isinstance(module, (BatchNorm, GroupNorm, LayerNorm, RMSNorm)):
            module.reset_parameters()
    assert_close(model(x), expected(x), **EXACT)


def test_autocast_changes_the_result_by_rounding_only(build, randn):
    """bfloat16 keeps 8 bits: 0.4 % an operation."""
    model, x = build(generator=seeded()), randn(16, 1, 8, 8).float()
    exact = model(x)
    with torch.autocast("cpu", torch.bfloat16):
        out = model(x)
    assert out.dtype == torch.bfloat16
    assert (out.float() - exact).norm() < 0.05 * exact.norm()
    out.float().square().sum().backward()
    assert {parameter.grad.dtype for parameter in model.parameters()} == {torch.float32}
    assert {buffer.dtype for buffer in model.buffers()} <= {torch.float32, torch.int64}


def test_no_rows_give_no_rows_and_zero_gradients(build):
    model = build(generator=seeded())
    out = model(torch.zeros(0, 1, 8, 8))
    assert len(out) == 0
    out.sum().backward()
    for parameter in model.parameters():
        assert_close(parameter.grad, torch.zeros_like(parameter), **EXACT)


@pytest.mark.parametrize("name", sorted(NETS.keys() - {"ring"}))  # there nodes hear from each other
def test_evaluation_treats_every_row_by_itself(name, randn):
    model, x = NETS[name](generator=seeded()).double(), randn(6, 1, 8, 8)
    model(x)
    model.eval()
    assert_close(torch.cat([model(row[None]) for row in x]), model(x), rtol=1e-11, atol=1e-11)


def test_a_state_dict_makes_the_same_net_again(build, randn):
    model, x = build(generator=seeded(1)), randn(6, 1, 8, 8).float()
    model(x)
    again = build(generator=seeded(2))
    again.load_state_dict(model.state_dict())
    assert_close(again.eval()(x), model.eval()(x), **EXACT)
