"""Which layers a name pattern finds, and what is frozen."""

import pytest
from torch import nn

from course_lib.nn.adapters import add_lora, freeze
from course_lib.nn.adapters.targets import matching
from course_lib.nn.transformer import Transformer, gpt


@pytest.fixture
def model():
    return Transformer(gpt(vocab_size=11, width=8, num_layers=2, num_heads=2, context_length=6, tied=False))


def test_a_list_holds_endings_that_begin_at_a_dot(model):
    assert list(matching(model, ["query"])) == ["blocks.0.attention.query", "blocks.1.attention.query"]
    assert list(matching(model, ["0.attention.query", "head"])) == ["blocks.0.attention.query", "head"]
    assert list(matching(model, ["norm"])) == ["norm"]  # not attention_norm


def test_a_string_is_a_regular_expression_for_the_whole_name(model):
    found = matching(model, r"blocks\.1\..*\.(query|value)")
    assert list(found) == ["blocks.1.attention.query", "blocks.1.attention.value"]
    assert all(model.get_submodule(name) is module for name, module in found.items())
    with pytest.raises(ValueError, match="regular expression for whole names 'query' matches no module"):
        matching(model, "query")


def test_the_order_is_the_models(model):
    assert list(matching(model, ["head", "embedding"])) == ["embedding", "head"]


def test_a_module_with_two_names_is_found_once_by_either():
    shared = nn.Linear(2, 2)
    model = nn.ModuleDict({"one": shared, "two": shared})
    assert list(matching(model, ["two"])) == list(matching(model, ["one", "two"])) == ["one"]


def test_parts_of_adapters_are_not_found(model):
    before = list(matching(model, ".*"))
    add_lora(model, ["query"])
    assert list(matching(model, ".*")) == before


def test_freezing_leaves_what_is_named(model):
    freeze(model, train_also=["head", "1.attention_norm"])
    learning = [name for name, parameter in model.named_parameters() if parameter.requires_grad]
    assert learning == ["blocks.1.attention_norm.weight", "blocks.1.attention_norm.bias", "head.weight"]
    freeze(model)
    assert not any(parameter.requires_grad for parameter in model.parameters())


@pytest.mark.parametrize(
    ("targets", "message"),
    [
        (["quarry"], "ending of a name 'quarry' matches no module of this Transformer, whose layers' names end in"),
        (["query", "quarry"], "'quarry' matches no module"),
        ([], r"must name at least one module, got \[\]"),
        ("(", r"'\(' is no regular expression"),
    ],
)
def test_what_finds_nothing_is_named(model, targets, message):
    with pytest.raises(ValueError, match=message):
        matching(model, targets)
    if targets:
        with pytest.raises(ValueError, match="train_also: "):
            freeze(model, train_also=targets)
    assert all(parameter.requires_grad for parameter in model.parameters())
