"""LoRA's arithmetic, its several adapters, and where it refuses; see test_lora_peft for the trusted library."""

import copy
import math

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from course_lib.nn.adapters import add_lora, lora_names, remove_lora, use_lora, without_lora

EXACT = {"rtol": 0, "atol": 0}
ROUNDING = {"rtol": 1e-11, "atol": 1e-11}


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


class Net(nn.Module):
    """One layer of each kind."""

    def __init__(self):
        super().__init__()
        self.table = nn.Embedding(7, 6, padding_idx=0)
        self.conv = nn.Conv2d(2, 4, 3, stride=2, padding=1, dilation=2)
        self.out = nn.Linear(16, 3)

    def forward(self, ids):
        images = self.table(ids).view(-1, 2, 6, 6)
        return self.out(self.conv(images).flatten(1))


IDS = torch.randint(0, 7, (5, 12), generator=seeded())
KINDS = ["table", "conv", "out"]


@pytest.fixture
def net():
    torch.manual_seed(0)
    return Net().double()


@pytest.mark.parametrize("rslora", [False, True])
def test_a_linear_layer_one_number_at_a_time(randn, rslora, moved):
    model = nn.Sequential(nn.Linear(5, 4)).double()
    add_lora(model, ["0"], rank=3, alpha=6.0, rslora=rslora)
    moved(model)
    layer, pair, x = model[0], model[0].lora["default"], randn(5)
    scale = 6 / math.sqrt(3) if rslora else 6 / 3
    for o in range(4):
        value = layer.bias[o] + sum(layer.weight[o, i] * x[i] for i in range(5))
        value = value + scale * sum(pair.B[o, r] * sum(pair.A[r, i] * x[i] for i in range(5)) for r in range(3))
        assert_close(model(x)[o], value, **ROUNDING)


def test_a_value_by_thought_alone():  # 1 + 2/1 * 3 * 5
    model = nn.Sequential(nn.Linear(1, 1, bias=False))
    nn.init.ones_(model[0].weight)
    add_lora(model, ["0"], rank=1, alpha=2.0)
    nn.init.constant_(model[0].lora["default"].A, 5.0)
    nn.init.constant_(model[0].lora["default"].B, 3.0)
    assert model(torch.ones(1)).item() == 31


def test_each_kind_is_the_layer_with_the_updated_weight(net, moved):
    """Convolution and embedding are linear in their weights, so the update may as well be in them."""
    plain = copy.deepcopy(net)
    add_lora(net, KINDS, rank=2, generator=seeded())
    moved(net)
    with torch.no_grad():
        for name in KINDS:
            pair, weight = net.get_submodule(name).lora["default"], plain.get_submodule(name).weight
            product = (pair.A.T @ pair.B.T) if name == "table" else (pair.B.flatten(1) @ pair.A.flatten(1))
            weight += 8 * product.view_as(weight)
    assert_close(net(IDS), plain(IDS), **ROUNDING)


def test_nothing_changes_at_the_start(net):
    before = net(IDS)
    assert add_lora(net, KINDS) == KINDS
    assert_close(net(IDS), before, **EXACT)


def test_starting_values_are_those_of_the_paper_and_the_generators():
    model = nn.Sequential(nn.Linear(100, 50), nn.Embedding(400, 30))
    state = torch.get_rng_state()
    add_lora(model, ["0", "1"], rank=40, generator=seeded())
    assert torch.equal(torch.get_rng_state(), state)
    linear, table = (layer.lora["default"] for layer in model)
    assert linear.B.count_nonzero() == table.A.count_nonzero() == 0
    assert 0.099 < linear.A.max() <= 0.1  # uniform within 1 / sqrt(100)
    assert_close(linear.A.var(), torch.tensor(0.01 / 3), rtol=0.1, atol=0)
    assert_close(table.B.std(), torch.tensor(1.0), rtol=0.1, atol=0)
    again = nn.Sequential(nn.Linear(100, 50), nn.Embedding(400, 30))
    add_lora(again, ["0", "1"], rank=40, generator=seeded())
    assert torch.equal(again[0].lora["default"].A, linear.A)


def test_only_the_adapter_learns(net):
    add_lora(net, ["out"], train_also=["conv"])
    learning = [name for name, parameter in net.named_parameters() if parameter.requires_grad]
    assert learning == ["conv.weight", "conv.bias", "out.lora.default.A", "out.lora.default.B"]


def test_the_padding_row_of_an_embedding_gets_no_gradient(moved):
    model = nn.Sequential(nn.Embedding(7, 6, padding_idx=0)).double()
    add_lora(model, ["0"])
    moved(model)(torch.arange(7)).sum().backward()
    gradient = model[0].lora["default"].A.grad
    assert gradient[:, 0].count_nonzero() == 0
    assert gradient[:, 1:].count_nonzero() == gradient[:, 1:].numel()


def test_gradients(randn, gradients_are_right, moved):
    model = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Conv1d(1, 2, 1), nn.Linear(4, 2)).double()
    add_lora(model, ["0", "3"], rank=2)
    moved(model)
    assert gradients_are_right(model, randn(2, 1, 3))
    images = nn.Sequential(nn.Conv2d(2, 3, 3, stride=2, padding=1)).double()
    add_lora(images, ["0"], rank=2)
    assert gradients_are_right(moved(images), randn(2, 2, 4, 4))


def test_several_adapters_add_up_and_can_be_switched(net, moved):
    base = net(IDS)
    add_lora(net, KINDS, rank=2, name="one")
    add_lora(net, ["out"], rank=3, name="two")
    assert lora_names(net) == ["one", "two"]
    moved(net)
    assert net.out.active == ("two",)
    two = net(IDS)
    use_lora(net, "one")
    one = net(IDS)
    assert not any(parameter.requires_grad for name, parameter in net.named_parameters() if ".two." in name)
    use_lora(net, "one", "two")
    pair = net.out.lora["two"]
    with torch.no_grad():
        hidden = net.conv(net.table(IDS).view(-1, 2, 6, 6)).flatten(1)
        assert_close(net(IDS), one + 16 / 3 * hidden @ pair.A.T @ pair.B.T, **ROUNDING)
    use_lora(net)
    assert_close(net(IDS), base, **EXACT)
    use_lora(net, "two")
    assert_close(net(IDS), two, **EXACT)


def test_the_base_alone_within_a_block_and_the_adapter_after_it_even_after_an_error(net, moved):
    base = net(IDS)
    add_lora(net, KINDS)
    adapted = moved(net)(IDS)
    with without_lora(net):
        assert_close(net(IDS), base, **EXACT)
    assert_close(net(IDS), adapted, **EXACT)
    with pytest.raises(IndexError), without_lora(net):
        net(IDS + 7)
    assert_close(net(IDS), adapted, **EXACT)


def test_dropout_acts_in_training_only_and_on_what_enters_a(randn, moved):
    model = nn.Sequential(nn.Linear(50, 4)).double()
    add_lora(model, ["0"], dropout=0.5, alpha=8.0)
    moved(model)
    x, pair = randn(3, 50), model[0].lora["default"]
    torch.manual_seed(3)
    out = model(x)
    torch.manual_seed(3)
    dropped = nn.functional.dropout(x, 0.5)
    assert_close(out, nn.functional.linear(x, model[0].weight, model[0].bias) + dropped @ pair.A.T @ pair.B.T)
    expected = nn.functional.linear(x, model[0].weight + pair.B @ pair.A, model[0].bias)
    assert_close(model.eval()(x), expected, **ROUNDING)


def test_rows_and_scale_behave_as_in_a_linear_map(randn, moved):
    model = nn.Sequential(nn.Linear(4, 3, bias=False)).double()
    add_lora(model, ["0"])
    moved(model)
    x, order = randn(5, 4), [3, 1, 4, 0, 2]
    assert_close(model(x[order]), model(x)[order], **ROUNDING)
    assert_close(model(8 * x), 8 * model(x), **EXACT)
    assert model(x[:0]).shape == (0, 3)
    assert model(randn(2, 0, 4)).shape == (2, 0, 3)
    assert model(1e300 * x).isfinite().all()


def test_removing_gives_the_plain_layers_back(net, moved):
    types, names, before = [type(m) for m in net.modules()], list(net.state_dict()), net(IDS)
    hooked = []
    net.out.register_forward_hook(lambda *_: hooked.append(1))
    add_lora(net, KINDS)
    moved(net)
    remove_lora(net)
    assert [type(m) for m in net.modules()] == types
    assert list(net.state_dict()) == names
    assert_close(net(IDS), before, **EXACT)
    assert hooked == [1]
    add_lora(net, KINDS)


def two_adapters():
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    add_lora(model, ["0"], train_also=["1"])
    return model


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: add_lora(nn.Sequential(nn.LayerNorm(2)), ["0"]), "targets match '0', a LayerNorm"),
        (lambda: add_lora(nn.Sequential(nn.Linear(2, 2)), []), "at least one module"),
        (lambda: add_lora(nn.Sequential(nn.Sequential(nn.Linear(2, 2))), ["0"]), "'0', a Sequential"),
        (lambda: add_lora(nn.MultiheadAttention(4, 2), ["out_proj"]), "a NonDynamicallyQuantizableLinear"),
        (lambda: add_lora(nn.TransformerEncoderLayer(4, 2), ["linear1"]), "reads the weights of 'linear1' without"),
        (lambda: add_lora(nn.Sequential(nn.Conv2d(4, 4, 1, groups=2)), ["0"]), "groups=1 .* '0' has groups=2"),
        (lambda: add_lora(nn.Sequential(nn.Conv2d(1, 1, 1, padding_mode="reflect")), ["0"]), "pads with 'reflect'"),
        (lambda: add_lora(nn.Sequential(nn.Embedding(3, 2, max_norm=1.0)), ["0"]), "without max_norm"),
        (lambda: add_lora(nn.Sequential(nn.Linear(2, 2)), ["0"], rank=0), "rank must be .* got 0"),
        (lambda: add_lora(nn.Sequential(nn.Linear(2, 2)), ["0"], rank=2.5), "rank must be .* got 2.5"),
        (lambda: add_lora(nn.Sequential(nn.Linear(2, 2)), ["0"], alpha=0.0), "alpha must be positive"),
        (lambda: add_lora(nn.Sequential(nn.Linear(2, 2)), ["0"], alpha=math.nan), "alpha must be positive"),
        (lambda: add_lora(nn.Sequential(nn.Linear(2, 2)), ["0"], dropout=1.0), r"dropout must be in \[0, 1\)"),
        (lambda: add_lora(nn.Sequential(nn.Linear(2, 2)), ["0"], dropout="0.1"), r"dropout must be .* got '0\.1'"),
        (lambda: add_lora(nn.Sequential(nn.Linear(2, 2)), ["0"], name="a.b"), "one word .* got 'a.b'"),
        (lambda: add_lora(nn.Sequential(nn.Linear(2, 2)), ["0"], name="keys"), "no attribute of ModuleDict"),
        (lambda: add_lora(nn.Sequential(nn.Linear(2, 2)), ["0"], train_also=["0"]), "'0' has an update and is"),
        (lambda: add_lora(two_adapters(), ["0"]), "has an adapter 'default' already"),
        (lambda: add_lora(two_adapters(), ["0"], name="b", train_also=["1"]), "'1' learns in full with .* 'default'"),
        (lambda: add_lora(two_adapters(), ["1"], name="b", train_also=["0"]), "'0' has an update"),
        (lambda: use_lora(two_adapters(), "b"), "no adapter 'b'; it has default"),
        (lambda: use_lora(nn.Linear(1, 1), "b"), "no adapter 'b'; it has none"),
        (lambda: use_lora(two_adapters(), "default", "default"), "each adapter acts once"),
        (lambda: remove_lora(nn.Linear(1, 1)), "no LoRA adapter"),
        (lambda: without_lora(nn.Linear(1, 1)).__enter__(), "no LoRA adapter"),
    ],
)
def test_mistakes_are_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize(("targets", "name"), [(["0", "1"], "default"), (["0"], "training"), (["0"], "_modules")])
def test_a_refusal_changes_nothing(targets, name):
    model = nn.Sequential(nn.Linear(2, 2), nn.LayerNorm(2))
    with pytest.raises(ValueError, match=r"LayerNorm|no attribute of ModuleDict"):
        add_lora(model, targets, name=name)
    assert type(model[0]) is nn.Linear
    assert all(parameter.requires_grad for parameter in model.parameters())


def test_what_learns_in_full_follows_its_adapter():
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    add_lora(model, ["0"], name="a", train_also=["1"])
    add_lora(model, ["0"], name="b")
    assert not model[1].weight.requires_grad
    use_lora(model, "a")
    assert model[1].weight.requires_grad
