"""What learns: listed, counted, saved and loaded alone."""

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from course_lib.nn.adapters import (
    ParameterCount,
    PromptTuned,
    add_bottlenecks,
    add_lora,
    count_parameters,
    freeze,
    load_trainable,
    merge_lora,
    save_trainable,
    trainable_parameters,
)
from course_lib.nn.transformer import Transformer, gpt

EXACT = {"rtol": 0, "atol": 0}
TEXT = torch.tensor([[1, 5, 2, 7, 3]])


def base():
    config = gpt(vocab_size=11, width=8, num_layers=2, num_heads=2, context_length=12, tied=False)
    return Transformer(config, generator=torch.Generator().manual_seed(0))


def lora():
    model = base()
    add_lora(model, ["query"], rank=3)
    return model


def bottlenecks():
    model = base()
    add_bottlenecks(model, ["up"], width=2, train_also=["feed_forward_norm"])
    return model


def head():
    model = base()
    freeze(model, train_also=["head"])
    return model


METHODS = {
    "lora": lora,
    "bottlenecks": bottlenecks,
    "prompt": lambda: PromptTuned(base(), 3),
    "head": head,
    "full": base,
}
LEARNING = {"lora": 2 * 2 * 3 * 8, "bottlenecks": 2 * (2 * 32 * 2 + 2 + 32 + 2 * 8), "prompt": 3 * 8, "head": 11 * 8}


@pytest.mark.parametrize("method", METHODS)
def test_counts_are_those_of_paper_and_pencil(method):
    model, plain = METHODS[method](), sum(parameter.numel() for parameter in base().parameters())
    added = 0 if method in ("head", "full") else LEARNING[method] - (32 if method == "bottlenecks" else 0)
    assert count_parameters(model) == ParameterCount(LEARNING.get(method, plain), plain + added)


def test_fractions_and_shared_parameters():
    model = nn.ModuleList([nn.Linear(2, 2, bias=False), nn.Linear(2, 2, bias=False)])
    model.append(model[0])
    model[1].requires_grad_(False)
    assert count_parameters(model).fraction == 0.5
    assert count_parameters(nn.ReLU()).fraction == 0
    assert list(trainable_parameters(model)) == ["0.weight"]


@pytest.mark.parametrize("method", METHODS)
def test_it_comes_back_to_the_bit(method, tmp_path):
    one, other, path = METHODS[method](), METHODS[method](), tmp_path / "new" / "trained.safetensors"
    with torch.no_grad():
        for parameter in trainable_parameters(one).values():
            parameter += torch.randn(parameter.shape, generator=torch.Generator().manual_seed(3))
    assert not torch.equal(one(TEXT), other(TEXT))
    save_trainable(one, path)
    load_trainable(other, path)
    assert_close(other(TEXT), one(TEXT), **EXACT)
    assert [file.name for file in path.parent.iterdir()] == ["trained.safetensors"]
    assert path.stat().st_size < 4 * count_parameters(one).trainable + 6000


def test_loading_into_a_merged_model_unmerges_it(tmp_path):
    one, other = lora(), lora()
    with torch.no_grad():
        for parameter in trainable_parameters(one).values():
            parameter += torch.randn(parameter.shape, generator=torch.Generator().manual_seed(3))
    save_trainable(one, tmp_path / "trained")
    merge_lora(other)
    load_trainable(other, tmp_path / "trained")
    assert_close(other(TEXT), one(TEXT), **EXACT)


def test_what_does_not_fit_is_named_and_changes_nothing(tmp_path):
    path = tmp_path / "trained.safetensors"
    save_trainable(lora(), path)
    with pytest.raises(ValueError, match=r"'head.weight' learns in this model, but the file has no such"):
        load_trainable(head(), path)
    other = base()
    add_lora(other, ["query"], rank=4)
    before = {name: value.clone() for name, value in other.state_dict().items()}
    with pytest.raises(ValueError, match=r"lora.default.A' is \(4, 8\) in this model, \(3, 8\) in the file"):
        load_trainable(other, path)
    assert all(torch.equal(value, before[name]) for name, value in other.state_dict().items())
    other = base()
    add_lora(other, ["0.attention.query"], rank=3)
    with pytest.raises(
        ValueError, match=r"'blocks.1.attention.query.lora.default.A' learns in the file, but this model"
    ):
        load_trainable(other, path)


def test_damaged_missing_and_empty_are_named(tmp_path):
    path = tmp_path / "trained.safetensors"
    path.write_bytes(b"not tensors")
    with pytest.raises(ValueError, match="is damaged"):
        load_trainable(base(), path)
    with pytest.raises(FileNotFoundError):
        load_trainable(base(), tmp_path / "none")
    with pytest.raises(ValueError, match="nothing to save"):
        save_trainable(base().requires_grad_(False), path)
