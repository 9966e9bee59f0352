"""Saving and loading adapters without the base: what comes back, what is refused, and that refusals change nothing."""

import copy
import json

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import nn
from torch.testing import assert_close

from course_lib.nn.adapters import add_lora, load_lora, merge_lora, save_lora, use_lora
from course_lib.nn.transformer import Transformer, gpt

EXACT = {"rtol": 0, "atol": 0}
TEXT = torch.tensor([[1, 5, 2, 7, 3]])
SIZES = {"vocab_size": 11, "width": 8, "num_layers": 2, "num_heads": 2, "context_length": 6, "tied": False}


def base(**changes):
    return Transformer(gpt(**(SIZES | changes)), generator=torch.Generator().manual_seed(0))


def adapted(model=None, targets=("embedding", "query", "up"), **settings):
    model = model or base()
    generator = torch.Generator().manual_seed(1)
    add_lora(model, list(targets) if not isinstance(targets, str) else targets, rank=2, generator=generator, **settings)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter += torch.randn(parameter.shape, generator=generator)
    return model


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "some" / "adapter"


@pytest.mark.parametrize("targets", [("embedding", "query", "up"), r"blocks\.\d\.(attention|feed_forward)\.(key|down)"])
def test_it_comes_back_to_the_bit(folder, targets):
    one, two = adapted(targets=targets, rslora=True, dropout=0.25, alpha=3.5, train_also=["head"]), base()
    save_lora(one, folder)
    state = torch.get_rng_state()
    names = load_lora(two, folder, name="again")
    assert torch.equal(torch.get_rng_state(), state)
    assert names == [name for name, module in one.named_modules() if hasattr(module, "lora")]
    assert_close(two.eval()(TEXT), one.eval()(TEXT), **EXACT)
    trained = [name.replace(".default", ".again") for name, p in one.named_parameters() if p.requires_grad]
    assert [name for name, parameter in two.named_parameters() if parameter.requires_grad] == trained
    save_lora(two, folder.parent / "second", name="again")
    for file in ("adapter_model.safetensors", "adapter_config.json"):
        assert (folder / file).read_bytes() == (folder.parent / "second" / file).read_bytes()
    assert sorted(path.name for path in folder.iterdir()) == ["adapter_config.json", "adapter_model.safetensors"]


def test_the_base_is_not_in_the_file(folder):
    save_lora(adapted(), folder)
    tensors = load_file(folder / "adapter_model.safetensors")
    assert len(tensors) == 2 * 5
    assert sum(tensor.numel() for tensor in tensors.values()) == 2 * (11 + 8) + 2 * (2 * 16 + 2 * 40)


def test_one_of_several_is_saved_active_or_not_merged_or_not(folder):
    model = adapted(name="one")
    add_lora(model, ["value"], rank=2, name="two")
    merge_lora(model)
    save_lora(model, folder, name="one")
    fresh, only_one = base(), adapted(name="one")
    load_lora(fresh, folder)
    assert_close(fresh(TEXT), only_one(TEXT), **EXACT)


def test_a_second_one_is_loaded_beside_the_first(folder):
    save_lora(adapted(targets=["value"]), folder)
    model = adapted(name="first")
    first = model(TEXT)
    load_lora(model, folder, name="second")
    assert_close(model(TEXT), adapted(targets=["value"])(TEXT), **EXACT)
    use_lora(model, "first")
    assert_close(model(TEXT), first, **EXACT)


def test_saving_again_replaces(folder):
    save_lora(adapted(), folder)
    save_lora(adapted(targets=["value"]), folder)
    assert len(load_file(folder / "adapter_model.safetensors")) == 4


def test_settings_may_be_numpys_and_targets_any_iterable(folder):
    one, two = base(), base()
    add_lora(one, iter(["query"]), rank=np.int64(2), alpha=np.float32(3.5), dropout=np.float32(0.25), rslora=np.True_)
    nn.init.ones_(one.blocks[0].attention.query.lora["default"].B)
    save_lora(one, folder)
    load_lora(two, folder)
    assert_close(two.eval()(TEXT), one.eval()(TEXT), **EXACT)


def test_float64_is_kept_and_a_compiled_model_is_the_one_behind_it(folder):
    one, two = adapted(base().double()), base().double()
    save_lora(torch.compile(one), folder)
    load_lora(torch.compile(two), folder)
    assert_close(two(TEXT), one(TEXT), **EXACT)
    assert two.embedding.lora["default"].A.dtype == torch.float64


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_layers": 1}, r"blocks.1.attention.query.lora_A.weight: the model has no layer that takes it"),
        ({"num_layers": 3}, r"blocks.2.attention.query.lora_A.weight: the targets match .* nothing for it"),
        ({"width": 12}, r"embedding.lora_embedding_B: the model asks for \(12, 2\), the adapter has \(8, 2\)"),
        ({"vocab_size": 9}, r"embedding.lora_embedding_A: the model asks for \(2, 9\), the adapter has \(2, 11\)"),
        ({"width": 12, "num_layers": 3}, r"\(and \d+ more\)"),
        ({"fused_projections": True}, "'query' matches no module"),
    ],
)
def test_a_model_that_it_does_not_fit_is_refused_and_left_alone(folder, changes, message):
    save_lora(adapted(), folder)
    model = base(**changes)
    before, types = copy.deepcopy(model.state_dict()), [type(module) for module in model.modules()]
    with pytest.raises(ValueError, match=message):
        load_lora(model, folder)
    assert [type(module) for module in model.modules()] == types
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(parameter.requires_grad for parameter in model.parameters())


def test_a_head_of_another_size_is_refused(folder):
    one = nn.ModuleDict({"body": nn.Linear(4, 4), "head": nn.Linear(4, 2)})
    add_lora(one, ["body"], train_also=["head"])
    save_lora(one, folder)
    with pytest.raises(ValueError, match=r"head.weight: the model asks for \(3, 4\), the adapter has \(2, 4\)"):
        load_lora(nn.ModuleDict({"body": nn.Linear(4, 4), "head": nn.Linear(4, 3)}), folder)


def test_a_part_that_lacks_what_learnt_in_full_is_refused(folder):
    whole = nn.ModuleDict({"body": nn.Sequential(nn.Linear(4, 4)), "head": nn.Linear(4, 2)})
    add_lora(whole, ["0"], train_also=["head"])
    learning = [parameter.requires_grad for parameter in whole.parameters()]
    for action in (lambda part: save_lora(part, folder), use_lora):
        with pytest.raises(ValueError, match="'head' learns in full with the adapter 'default', and this Sequential"):
            action(whole["body"])
    assert not folder.exists()
    assert whole["body"][0].active == ("default",)
    assert [parameter.requires_grad for parameter in whole.parameters()] == learning
    save_lora(whole, folder)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"peft_type": "IA3"}, "must describe a LoRA adapter .* peft_type is 'IA3'"),
        ({"target_modules": None}, "target_modules are None"),
        ({"use_dora": True}, "more than plain LoRA: use_dora=True"),
        ({"of_next_year": {"a": 1}}, "more than plain LoRA: of_next_year"),
        ({"bias": "lora_only"}, "bias='lora_only'"),
        ({"init_lora_weights": "olora"}, "init_lora_weights='olora'"),
        ({"r": 0}, "rank must be"),
        ({"lora_dropout": "0.1"}, r"dropout must be .* got '0\.1'"),
        ({"target_modules": 5}, "target_modules must be a text or a list of texts .* got 5"),
        ({"target_modules": [5]}, r"target_modules must be .* got \[5\]"),
        ({"modules_to_save": "head"}, "modules_to_save a list of texts, got .* and 'head'"),
        ({"r": 3}, r"the model asks for \(3, 11\), the adapter has \(2, 11\)"),
    ],
)
def test_settings_that_are_not_ours_are_refused(folder, changes, message):
    save_lora(adapted(), folder)
    path = folder / "adapter_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    with pytest.raises(ValueError, match=message):
        load_lora(base(), folder)


def test_damaged_and_missing_files_are_named(folder):
    save_lora(adapted(), folder)
    weights, config = folder / "adapter_model.safetensors", folder / "adapter_config.json"
    weights.write_bytes(weights.read_bytes()[:-1])
    with pytest.raises(ValueError, match=r"adapter_model\.safetensors is damaged"):
        load_lora(base(), folder)
    weights.unlink()
    with pytest.raises(FileNotFoundError, match=r"adapter_model\.safetensors"):
        load_lora(base(), folder)
    for damaged in (b"{", b"", b"\xff\xfe\x00", b"[]", b"null"):
        config.write_bytes(damaged)
        with pytest.raises(ValueError, match=r"adapter_config\.json is damaged"):
            load_lora(base(), folder)


def test_a_name_that_is_not_there_or_taken_is_refused(folder):
    with pytest.raises(ValueError, match="no adapter 'other'; it has default"):
        save_lora(adapted(), folder, name="other")
    assert not folder.exists()
    save_lora(adapted(), folder)
    with pytest.raises(ValueError, match="has an adapter 'default' already"):
        load_lora(adapted(), folder)
