"""Who sees whom: the mask that attention gets, and the maps of where it looked."""

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from course_lib.nn.transformer import (
    EncoderDecoder,
    KVCache,
    Transformer,
    attention_maps,
    attention_mask,
    gpt,
    llama,
)


def sees(query, key, causal, window):
    """Whether the token at one place sees that at another."""
    return (key <= query or not causal) and (window is None or abs(query - key) < window)


@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("window", [None, 1, 2, 4, 5, 9])
@pytest.mark.parametrize(("num_queries", "num_keys"), [(5, 5), (3, 5), (2, 5), (1, 1)])
def test_the_mask_says_who_sees_whom(num_queries, num_keys, window, causal):
    mask, is_causal = attention_mask(num_queries, num_keys, causal=causal, window=window)
    if mask is None:
        mask = torch.ones(num_queries, num_keys, dtype=torch.bool)
        mask = mask.tril() if is_causal else mask
    first = num_keys - num_queries
    expected = [[sees(first + q, k, causal, window) for k in range(num_keys)] for q in range(num_queries)]
    assert mask.tolist() == expected


def test_padding_is_seen_by_itself_alone():
    real = torch.tensor([[False, False, True, True], [True, True, True, False]])
    mask, is_causal = attention_mask(3, 4, causal=True, real=real)
    assert not is_causal
    assert mask.shape == (2, 1, 3, 4)
    assert mask[:, 0].int().tolist() == [
        [[0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 1, 1]],
        [[1, 1, 0, 0], [1, 1, 1, 0], [1, 1, 1, 1]],
    ]


@pytest.mark.parametrize(
    ("num_queries", "num_keys", "options", "expected"),
    [
        (7, 7, {"causal": True}, (None, True)),
        (7, 7, {"causal": True, "window": 7}, (None, True)),
        (1, 7, {"causal": True}, (None, False)),
        (7, 7, {"causal": False}, (None, False)),
        (7, 9, {"causal": False, "window": 9}, (None, False)),
    ],
)
def test_no_mask_is_made_where_none_is_needed(num_queries, num_keys, options, expected):
    assert attention_mask(num_queries, num_keys, **options) == expected


def test_maps_are_what_the_model_looked_at(decoder, small, text):
    """The maps, multiplied with the values by hand, give what the layers put out."""
    model, tokens = small(decoder), text(2, 6)
    seen = {}
    hooks = [
        block.attention.register_forward_hook(
            lambda layer, args, kwargs, out, name=f"blocks.{number}.attention": seen.update({name: (layer, args, out)}),
            with_kwargs=True,
        )
        for number, block in enumerate(model.blocks)
    ]
    maps = attention_maps(model, tokens)
    for hook in hooks:
        hook.remove()
    assert maps.keys() == seen.keys()
    for name, (layer, (x,), out) in seen.items():
        values = layer.heads(x)[2].repeat_interleave(decoder.num_heads // decoder.kv_heads, dim=1)
        mixed = (maps[name] @ values).transpose(1, 2).flatten(2)
        assert_close(layer.output(mixed), out, rtol=1e-12, atol=1e-12)


def test_maps_of_an_encoder_decoder(sizes, text):
    model = EncoderDecoder(gpt(**sizes, causal=False), gpt(**sizes))
    maps = attention_maps(model, text(2, 5), text(2, 3))
    assert {name: tuple(weights.shape) for name, weights in maps.items()} == {
        **{f"encoder.blocks.{i}.attention": (2, 4, 5, 5) for i in range(2)},
        **{f"decoder.blocks.{i}.attention": (2, 4, 3, 3) for i in range(2)},
        **{f"decoder.blocks.{i}.cross_attention": (2, 4, 3, 5) for i in range(2)},
    }
    for weights in maps.values():
        assert_close(weights.sum(-1), torch.ones(weights.shape[:-1]))


def test_looking_leaves_no_trace(sizes, text):
    model, tokens = Transformer(llama(**sizes)), text(1, 4)
    before = model(tokens)
    attention_maps(model, tokens)
    with pytest.raises(ValueError, match="must be"):
        attention_maps(model, tokens[0])
    assert_close(model(tokens), before, rtol=0, atol=0)
    assert not any(module._forward_pre_hooks for module in model.modules())


def test_bad_input_is_named(sizes, text):
    model = Transformer(gpt(**sizes))
    with pytest.raises(ValueError, match="without a cache"):
        attention_maps(model, text(1, 4), cache=KVCache(model.config))
    with pytest.raises(ValueError, match="Linear has no attention"):
        attention_maps(nn.Linear(1, 1), torch.zeros(1))
