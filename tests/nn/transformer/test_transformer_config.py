"""The configuration: JSON and back, the presets' published sizes, and every setting that makes no sense."""

import json
from dataclasses import asdict, replace

import pytest
import torch

from course_lib.nn.transformer import Transformer, TransformerConfig, bert, gpt, llama

GPT2 = {"vocab_size": 50257, "context_length": 1024}
LLAMA3 = {"vocab_size": 128256, "context_length": 8192, "num_kv_heads": 8, "rope_base": 500000.0}


def num_parameters(config, **options):
    with torch.device("meta"):
        model = Transformer(config, **options)
    return sum(parameter.numel() for parameter in model.parameters())


def test_json_and_back(config):
    assert TransformerConfig(**json.loads(json.dumps(asdict(config)))) == config


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        (gpt(**GPT2, width=768, num_layers=12, num_heads=12), 124_439_808),
        (gpt(**GPT2, width=1600, num_layers=48, num_heads=25), 1_557_611_200),
        (llama(**LLAMA3, width=4096, num_layers=32, num_heads=32, feed_forward_width=14336), 8_030_261_248),
        (llama(**LLAMA3, width=8192, num_layers=80, num_heads=64, feed_forward_width=28672), 70_553_706_496),
        (
            llama(
                vocab_size=32000, context_length=4096, width=4096, num_layers=32, num_heads=32, feed_forward_width=11008
            ),
            6_738_415_616,
        ),
    ],
    ids=["GPT-2", "GPT-2 XL", "Llama 3 8B", "Llama 3 70B", "Llama 2 7B"],
)
def test_sizes_are_the_published_ones(config, expected):
    assert num_parameters(config) == expected


def test_bert_base_has_its_published_size_but_for_what_is_left_out():
    config = bert(vocab_size=30522, width=768, num_layers=12, num_heads=12, context_length=512)
    segments, pooler = 2 * 768, 768 * 768 + 768
    assert num_parameters(config, head=False) == 109_482_240 - segments - pooler


@pytest.mark.parametrize(
    ("width", "expected"), [(64, 192), (96, 256), (128, 384), (384, 1024), (768, 2048), (8, 64), (4096, 10944)]
)
def test_swiglu_takes_eight_thirds_of_the_width_up_to_a_multiple_of_64(width, expected):
    sizes = {"vocab_size": 9, "num_layers": 1, "num_heads": 1, "context_length": 8}
    assert llama(width=width, **sizes).hidden_width == expected
    assert llama(width=width, **sizes, feed_forward_width=5).hidden_width == 5
    assert gpt(width=width, **sizes).hidden_width == 4 * width


def test_presets_can_be_overruled(sizes):
    assert gpt(**sizes, positions="rotary") == replace(gpt(**sizes), positions="rotary")
    assert llama(**sizes, tied=True).tied
    assert bert(**sizes, norm_eps=1e-5).norm_eps == 1e-5


def test_the_original_context_follows_from_the_factor(sizes):
    config = llama(**sizes | {"context_length": 96}, rope_scaling="yarn", rope_factor=8.0)
    assert config.original_context == 12
    assert replace(config, rope_original_context=10).original_context == 10


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"positions": "relative"}, r"positions must be one of \('learned', .*, got 'relative'"),
        ({"rope_scaling": "dynamic"}, "rope_scaling must be one of"),
        ({"norm": "batch"}, "norm must be one of"),
        ({"norm_position": "sandwich"}, "norm_position must be one of"),
        ({"feed_forward": "relu"}, "feed_forward must be one of"),
        ({"vocab_size": 0}, "vocab_size must be at least 1, got 0"),
        ({"num_layers": 0}, "num_layers must be at least 1"),
        ({"num_heads": 0}, "num_heads must be at least 1"),
        ({"context_length": -1}, "context_length must be at least 1, got -1"),
        ({"num_kv_heads": 0}, "kv_heads must be at least 1, got 0"),
        ({"feed_forward_width": 0}, "hidden_width must be at least 1, got 0"),
        ({"width": 8.0}, "width must be a whole number, got 8.0"),
        ({"num_layers": 2.5}, "num_layers must be a whole number, got 2.5"),
        ({"num_kv_heads": 2.0}, "kv_heads must be a whole number, got 2.0"),
        ({"vocab_size": None}, "vocab_size must be a whole number, got None"),
        ({"window": 2.5}, "window must be a whole number, got 2.5"),
        ({"num_heads": 3}, "width 8 cannot be shared evenly by num_heads 3"),
        ({"num_kv_heads": 3}, "num_heads 4 must be a multiple of num_kv_heads 3"),
        ({"window": 0}, r"window must be at least 1 \(the token itself\) or None, got 0"),
        ({"dropout": 1.0}, r"dropout must be in \[0, 1\), got 1.0"),
        ({"norm_eps": 0.0}, "norm_eps must be positive, got 0.0"),
        ({"positions": "sinusoidal", "width": 9, "num_heads": 3}, "width must be even, got 9"),
        ({"positions": "rotary", "num_heads": 8}, r"width / num_heads is odd \(1\)"),
        ({"positions": "rotary", "rope_scaling": "ntk", "rope_factor": 2.0}, "heads of width 4 or more, got 2"),
        ({"positions": "rotary", "rope_base": 1.0}, "rope_base must be above 1, got 1.0"),
        ({"positions": "rotary", "rope_factor": 0.5, "rope_scaling": "linear"}, "must be 1 or more, got 0.5"),
        ({"positions": "rotary", "rope_scaling": "linear"}, "rope_factor 1.0 do not fit"),
        ({"positions": "rotary", "rope_factor": 2.0}, "choose a scaling and a factor above 1, or neither"),
        ({"rope_scaling": "linear", "rope_factor": 2.0}, "needs positions='rotary', got 'learned'"),
        (
            {"positions": "rotary", "rope_scaling": "linear", "rope_factor": 2.0, "rope_original_context": 6},
            "rope_original_context has no effect with rope_scaling 'linear'",
        ),
        (
            {"positions": "rotary", "rope_scaling": "yarn", "rope_factor": 2.0, "rope_original_context": 0},
            "rope_original_context must be at least 1 or None, got 0",
        ),
        (
            {"positions": "rotary", "rope_scaling": "llama3", "rope_factor": 2.0, "rope_original_context": -6},
            "rope_original_context must be at least 1 or None, got -6",
        ),
    ],
)
def test_bad_settings_are_named(sizes, changes, message):
    with pytest.raises(ValueError, match=message):
        TransformerConfig(**sizes | changes)
