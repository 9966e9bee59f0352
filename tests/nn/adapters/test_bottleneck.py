"""Bottleneck adapters: the formula read aloud, where they go, what learns, what is refused."""

import copy

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from course_lib.nn.adapters import add_bottlenecks, add_lora, remove_bottlenecks
from course_lib.nn.transformer import Transformer, gpt

EXACT = {"rtol": 0, "atol": 0}
ROUNDING = {"rtol": 1e-11, "atol": 1e-11}
TEXT = torch.tensor([[1, 5, 2, 7, 3]])


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def model():
    config = gpt(vocab_size=11, width=8, num_layers=2, num_heads=2, context_length=6)
    return Transformer(config, generator=seeded()).double()


@torch.no_grad()
def test_one_number_at_a_time(randn, shaken):
    net = nn.Sequential(nn.Linear(3, 4))
    add_bottlenecks(net, ["0"], width=2, activation=torch.tanh)
    shaken(net)
    layer, x = net[0], randn(3)
    down, up = layer.bottleneck.down, layer.bottleneck.up
    h = [layer.bias[o] + sum(layer.weight[o, i] * x[i] for i in range(3)) for o in range(4)]
    narrow = [torch.tanh(down.bias[w] + sum(down.weight[w, o] * h[o] for o in range(4))) for w in range(2)]
    expected = [h[o] + up.bias[o] + sum(up.weight[o, w] * narrow[w] for w in range(2)) for o in range(4)]
    assert_close(net(x), torch.stack(expected), **ROUNDING)


def test_a_value_by_thought_alone():  # 3 + 5 * relu(2 * 3)
    net = nn.Sequential(nn.Linear(1, 1, bias=False))
    add_bottlenecks(net, ["0"], width=1, activation=torch.relu)
    for weight, value in (
        (net[0].weight, 3.0),
        (net[0].bottleneck.down.weight, 2.0),
        (net[0].bottleneck.up.weight, 5.0),
    ):
        nn.init.constant_(weight, value)
    assert net(torch.ones(1)).item() == 33


def test_at_the_start_nothing_changes_and_no_global_randomness_is_used():
    net = model()
    before, state = net(TEXT), torch.get_rng_state()
    names = add_bottlenecks(net, ["attention.output", "feed_forward.down"], width=3, generator=seeded())
    assert names == [f"blocks.{i}.{part}" for i in (0, 1) for part in ("attention.output", "feed_forward.down")]
    assert torch.equal(torch.get_rng_state(), state)
    assert_close(net(TEXT), before, **EXACT)
    narrow = net.blocks[0].attention.output.bottleneck.down.weight
    assert 0 < narrow.abs().max() <= 8**-0.5


def test_only_bottlenecks_and_what_is_named_learn():
    net = model()
    add_bottlenecks(net, ["attention.output"], train_also=["attention_norm"])
    learning = {name for name, parameter in net.named_parameters() if parameter.requires_grad}
    assert len(learning) == 2 * (4 + 2)
    assert all(".bottleneck." in name or ".attention_norm." in name for name in learning)


def test_gradients(randn, shaken, gradients_are_right):
    net = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2))
    add_bottlenecks(net, ["0", "2"], width=2)
    assert gradients_are_right(shaken(net), randn(5, 3))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_bases_have_float32_bottlenecks(randn, dtype):
    net = nn.Sequential(nn.Linear(16, 16)).to(dtype)
    x = randn(4, 16).to(dtype)
    before = net(x)
    add_bottlenecks(net, ["0"], width=3, generator=seeded())
    assert_close(net(x), before, **EXACT)
    nn.init.constant_(net[0].bottleneck.up.weight, 0.1)
    exact = copy.deepcopy(net).double()(x.double())
    assert net(x).dtype == dtype
    assert (net(x).double() - exact).norm() < 0.01 * exact.norm()
    net(x).sum().backward()
    assert {p.grad.dtype for p in net.parameters() if p.requires_grad} == {torch.float32}


def test_removing_gives_the_bits_back():
    net = model()
    before, names, types = net(TEXT), list(net.state_dict()), [type(module) for module in net.modules()]
    add_bottlenecks(net, ["up"])
    nn.init.ones_(net.blocks[0].feed_forward.up.bottleneck.up.weight)
    assert not torch.equal(net(TEXT), before)
    remove_bottlenecks(net)
    assert_close(net(TEXT), before, **EXACT)
    assert list(net.state_dict()) == names
    assert [type(module) for module in net.modules()] == types


def test_rows_do_not_know_of_each_other(randn, shaken):
    net = nn.Sequential(nn.Linear(3, 4))
    add_bottlenecks(net, ["0"])
    x, order = randn(5, 3), [3, 1, 4, 0, 2]
    shaken(net)
    assert_close(net(x[order]), net(x)[order], **ROUNDING)
    assert net(x[:0]).shape == (0, 4)
    assert net(1e300 * x).isfinite().all()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: add_bottlenecks(model(), ["norm"]), "'norm' is a LayerNorm"),
        (lambda: add_bottlenecks(model(), ["up"], width=0), "width must be .* got 0"),
        (lambda: add_bottlenecks(model(), ["upper"]), "'upper' matches no module"),
        (lambda: add_bottlenecks(nn.TransformerEncoderLayer(4, 2), ["linear1"]), "reads the weights of 'linear1'"),
    ],
)
def test_mistakes_are_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_a_layer_is_adapted_in_one_way():
    net = model()
    add_lora(net, ["up"])
    with pytest.raises(ValueError, match=r"'blocks\.0\.feed_forward\.up' is a LoRALinear"):
        add_bottlenecks(net, ["up"])
