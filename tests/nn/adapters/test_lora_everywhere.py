"""LoRA in every surrounding: shared layers, copies, half precision, autocast, compiled, on the meta device, cached."""

import copy

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from course_lib.nn.adapters import add_lora, without_lora
from course_lib.nn.transformer import Transformer, generate, gpt

EXACT = {"rtol": 0, "atol": 0}
ROUNDING = {"rtol": 1e-11, "atol": 1e-11}
KINDS = ["embedding", "query", "down"]
IDS = torch.tensor([[1, 5, 2, 7], [4, 4, 0, 9]])


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.fixture
def net():
    config = gpt(vocab_size=11, width=8, num_layers=2, num_heads=2, context_length=10)
    return Transformer(config, generator=seeded()).double()


def test_a_shared_layer_has_one_update_for_all_its_places(randn, moved):
    shared = nn.Linear(4, 4)
    model = nn.Sequential(shared, nn.Tanh(), shared).double()
    assert add_lora(model, ["2"]) == ["0"]
    moved(model)
    updated = nn.Linear(4, 4).double()
    pair, x = shared.lora["default"], randn(3, 4)
    updated.load_state_dict({"weight": shared.weight + 2 * pair.B @ pair.A, "bias": shared.bias})
    assert_close(model(x), updated(updated(x).tanh()), **ROUNDING)


def test_the_state_dict_makes_the_same_model_again_and_copies_are_apart(net, moved):
    other = copy.deepcopy(net)
    add_lora(net, KINDS, name="a")
    moved(net)
    twin = copy.deepcopy(net)
    add_lora(other, KINDS, name="a")
    other.load_state_dict(net.state_dict())
    assert_close(other(IDS), net(IDS), **EXACT)
    before = net(IDS)
    nn.init.zeros_(twin.embedding.lora["a"].B)
    assert_close(net(IDS), before, **EXACT)
    assert set(net.state_dict()) >= {"embedding.weight", "embedding.lora.a.A", "blocks.1.attention.query.lora.a.B"}


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_bases_have_float32_adapters(randn, dtype, moved):
    model = nn.Sequential(nn.Linear(16, 16)).to(dtype)
    add_lora(model, ["0"])
    moved(model)
    pair, x = model[0].lora["default"], randn(4, 16).to(dtype)
    assert pair.A.dtype == pair.B.dtype == torch.float32
    out = model(x)
    assert out.dtype == dtype
    exact = x.double() @ (model[0].weight.double() + 2 * pair.B.double() @ pair.A.double()).T + model[0].bias.double()
    assert (out.double() - exact).norm() < 0.01 * exact.norm()
    out.sum().backward()
    assert pair.A.grad.dtype == torch.float32


def test_autocast_changes_the_result_by_rounding_only(net, moved):
    model = net.float()
    add_lora(model, KINDS)
    moved(model)
    exact = model(IDS)
    with torch.autocast("cpu", torch.bfloat16):
        out = model(IDS)
    assert out.dtype == torch.bfloat16
    assert (out.float() - exact).norm() < 0.05 * exact.norm()
    out.float().square().sum().backward()
    grads = {p.grad.dtype for p in model.parameters() if p.requires_grad}
    assert grads == {torch.float32}


def test_compiled_it_computes_the_same_and_follows_a_switch(randn, moved):
    model = nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 2)).double()
    compiled = torch.compile(model, backend="aot_eager")
    add_lora(compiled, ["0", "2"])  # by the compiled one's face
    moved(model)
    x = randn(3, 6)
    assert_close(compiled(x), model(x), **ROUNDING)
    with without_lora(compiled):
        assert_close(compiled(x), model(x), **ROUNDING)
    add_lora(model, ["0"], name="second")
    moved(model)
    assert_close(compiled(x), model(x), **ROUNDING)


def test_the_meta_device_runs_forward_and_backward():
    with torch.device("meta"):
        model = Transformer(gpt(vocab_size=11, width=8, num_layers=1, num_heads=2, context_length=6))
        add_lora(model, ["embedding", "query", "up"])
        model(torch.zeros(2, 3, dtype=torch.int64)).sum().backward()
    assert all(p.grad.is_meta for p in model.parameters() if p.requires_grad)


def test_with_a_cache_it_writes_what_it_writes_without(net, moved):
    add_lora(net, ["embedding", "query", "value", "up"], rank=2)
    tokens = generate(moved(net), [[1, 2, 3]], max_new_tokens=5, temperature=0).tokens
    text = torch.cat([torch.tensor([[1, 2, 3]]), tokens], dim=1)
    assert torch.equal(net(text)[:, 2:-1].argmax(-1), tokens)
