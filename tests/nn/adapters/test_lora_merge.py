"""Merging: the same output at the base's cost, undone to the bit, for good, and as task vectors."""

import copy

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from course_lib.nn import ConvNet
from course_lib.nn.adapters import (
    add_lora,
    add_task_vectors,
    lora_updates,
    merge_lora,
    remove_lora,
    unmerge_lora,
    use_lora,
    without_lora,
)
from course_lib.nn.transformer import Transformer, gpt

EXACT = {"rtol": 0, "atol": 0}
TO_1E_6 = {"rtol": 1e-6, "atol": 1e-6}
ROUNDING = {"rtol": 1e-11, "atol": 1e-11}
TEXT = torch.tensor([[1, 5, 2, 7, 3], [4, 4, 0, 9, 10]])
TARGETS = ["embedding", "query", "value", "up"]


def adapted(dtype=torch.float64, *, tied=True, targets=TARGETS):
    config = gpt(vocab_size=11, width=8, num_layers=2, num_heads=2, context_length=6, tied=tied)
    model = Transformer(config, generator=torch.Generator().manual_seed(0)).to(dtype)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter *= 5  # far from the start, where hardly anything depends on anything
    generator = torch.Generator().manual_seed(1)
    add_lora(model, targets, rank=2, generator=generator)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if ".lora." in name:
                parameter += 0.3 * torch.randn(parameter.shape, generator=generator)
    return model


def bits(model):
    return {name: value.clone() for name, value in model.state_dict().items()}


def same_bits(model, before):
    now = model.state_dict()
    assert list(now) == list(before)
    return all(torch.equal(now[name], value) for name, value in before.items())


@pytest.mark.parametrize("tied", [True, False])
def test_merged_it_computes_the_same_also_where_the_head_shares_the_weight(tied):
    model = adapted(tied=tied)
    before, weights = model(TEXT), bits(model)
    merge_lora(model)
    assert_close(model(TEXT), before, **ROUNDING)
    assert same_bits(model, weights)
    unmerge_lora(model)
    assert_close(model(TEXT), before, **EXACT)
    assert same_bits(model, weights)


def test_in_float32_the_weight_is_right_to_1e_6():
    model = adapted(torch.float32)
    exact = copy.deepcopy(model).double()
    updates = lora_updates(exact)
    merge_lora(model)
    for name, update in updates.items():
        layer = model.get_submodule(name.removesuffix(".weight"))
        expected = exact.get_parameter(name) + update
        assert_close(layer.merged_weight.double(), expected, **TO_1E_6)


def test_merging_twice_is_merging_once():
    model = adapted(torch.float32)
    merge_lora(model)
    once = model(TEXT)
    merge_lora(model)
    assert_close(model(TEXT), once, **EXACT)
    unmerge_lora(model)
    unmerge_lora(model)
    merge_lora(model)
    assert_close(model(TEXT), once, **EXACT)


def test_merged_the_base_can_be_looked_at():
    model = adapted()
    with without_lora(model):
        base = model(TEXT)
    merge_lora(model)
    with without_lora(model):
        assert_close(model(TEXT), base, **EXACT)


def test_merging_while_the_base_acts_alone_does_not_silence_the_adapter():
    model = adapted()
    expected = model(TEXT)
    with without_lora(model):
        merge_lora(model)
    assert_close(model(TEXT), expected, **EXACT)


def test_several_of_different_ranks_merge_and_only_layers_that_change_hold_a_second_weight(randn):
    model = nn.Sequential(nn.Linear(4, 4), nn.Tanh(), nn.Linear(4, 3)).double()
    add_lora(model, ["0", "2"], rank=2, name="one")
    add_lora(model, ["2"], rank=3, rslora=True, name="two")
    for name, parameter in model.named_parameters():
        if ".lora." in name:
            parameter.data = randn(*parameter.shape)
    for names, merged_layers in ((("one", "two"), [0, 2]), (("two",), [2]), (("one",), [0, 2]), ((), [])):
        use_lora(model, *names)
        for_good, x = copy.deepcopy(model), randn(5, 4)
        expected = model(x)
        merge_lora(model)
        assert [layer for layer in (0, 2) if model[layer].merged_weight is not None] == merged_layers
        assert_close(model(x), expected, **ROUNDING)
        unmerge_lora(model)
        remove_lora(for_good, merge=True)
        assert_close(for_good(x), expected, **ROUNDING)


def test_under_autocast_the_merged_weight_is_as_exact():
    model = adapted(torch.float32)
    merge_lora(model)
    expected = model(TEXT)
    unmerge_lora(model)
    with torch.autocast("cpu", torch.bfloat16):
        merge_lora(model)
    assert_close(model(TEXT), expected, **EXACT)


def test_merged_it_runs_no_product_with_the_adapter():
    model = adapted()
    merge_lora(model)
    with torch.no_grad():
        out = model(TEXT)
        for name, parameter in model.named_parameters():
            if ".lora." in name:
                parameter.fill_(torch.nan)
    assert_close(model(TEXT), out, **EXACT)


def test_new_weights_loaded_into_a_merged_model_unmerge_it():
    one, other = adapted(), adapted()
    with torch.no_grad():
        for parameter in other.parameters():
            parameter *= 1.5
    merge_lora(one)
    one.load_state_dict(other.state_dict())
    assert_close(one(TEXT), other(TEXT), **EXACT)
    merge_lora(one)
    assert_close(one(TEXT), other(TEXT), **ROUNDING)


def test_a_conversion_takes_merged_weights_along():
    model = adapted()
    expected = model(TEXT)
    merge_lora(model)
    assert_close(model.float()(TEXT), expected.float(), rtol=1e-4, atol=1e-4)


def test_for_good_it_is_a_plain_model():
    model = adapted(tied=False)
    expected, plain = model(TEXT), Transformer(model.config).double()
    names = list(plain.state_dict())
    remove_lora(model, merge=True)
    assert list(model.state_dict()) == names
    assert [type(module) for module in model.modules()] == [type(module) for module in plain.modules()]
    assert_close(model(TEXT), expected, **ROUNDING)
    plain.load_state_dict(model.state_dict())
    assert_close(plain(TEXT), model(TEXT), **EXACT)


def test_where_no_adapter_acts_nothing_is_written_so_a_shared_weight_is_no_difficulty():
    model = adapted(tied=True)
    use_lora(model)
    expected = model(TEXT)
    remove_lora(model, merge=True)
    assert_close(model(TEXT), expected, **EXACT)


def test_convolutions_merge():
    model = ConvNet(12, num_classes=3, generator=torch.Generator().manual_seed(0)).double().eval()
    targets = [name for name, layer in model.named_modules() if type(layer) is nn.Conv2d]
    add_lora(model, targets, rank=2, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith(".B"):
                parameter += 0.1
    x = torch.randn(2, 1, 12, 12, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    before = model(x)
    merge_lora(model)
    assert_close(model(x), before, **ROUNDING)


def test_updates_are_task_vectors():
    model = adapted()
    updates = lora_updates(model)
    assert len(updates) == 7  # the embedding, and three layers in each of two blocks
    layer = model.blocks[1].attention.value
    product = torch.zeros(8, 8, dtype=torch.float64)
    for r in range(2):
        product += 8 * torch.outer(layer.lora["default"].B[:, r], layer.lora["default"].A[r])
    assert_close(updates["blocks.1.attention.value.weight"], product, **ROUNDING)
    untied = adapted(tied=False, targets=["query", "value", "up"])
    base = {name: value for name, value in untied.state_dict().items() if ".lora." not in name}
    plain = Transformer(untied.config).double()
    plain.load_state_dict(add_task_vectors(base, [lora_updates(untied)]))
    assert_close(plain(TEXT), untied(TEXT), **ROUNDING)
    use_lora(untied)
    assert all(update.count_nonzero() == 0 for update in lora_updates(untied).values())


def shared_linear():
    model = nn.ModuleDict({"one": nn.Linear(2, 2), "two": nn.Linear(2, 2)})
    model["two"].weight = model["one"].weight
    add_lora(model, ["one"])
    return model


def merged():
    model = adapted()
    merge_lora(model)
    return model


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: remove_lora(shared_linear(), merge=True), "the weight of 'one' also serves 'two'"),
        (lambda: remove_lora(adapted(), merge=True), "the weight of 'embedding' also serves 'the output layer'"),
        (lambda: add_lora(merged(), ["key"], name="b"), "adapters are merged"),
        (lambda: use_lora(merged(), "default"), "adapters are merged"),
        (lambda: merge_lora(nn.Linear(1, 1)), "no LoRA adapter"),
        (lambda: lora_updates(nn.Linear(1, 1)), "no LoRA adapter"),
    ],
)
def test_mistakes_are_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
