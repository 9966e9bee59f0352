"""Attention as a function: the formula one number at a time, torch's own, and tile by tile."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch.testing import assert_close

from course_lib.nn.transformer import softmax_attention, tiled_attention

ROUNDING = {"rtol": 1e-12, "atol": 1e-12}  # float64, the same sums in another order


@pytest.fixture
def qkv(randn):
    """Queries of four heads, keys and values of two."""
    return randn(2, 4, 9, 6), randn(2, 2, 9, 6), randn(2, 2, 9, 6)


def slow(query, key, value, causal):
    """One query at a time."""
    out = torch.empty_like(query)
    for b, h, t in torch.cartesian_prod(torch.arange(2), torch.arange(4), torch.arange(9)).tolist():
        shares = [
            torch.exp(query[b, h, t] @ key[b, h // 2, s] / math.sqrt(6)) if s <= t or not causal else torch.tensor(0.0)
            for s in range(9)
        ]
        out[b, h, t] = sum(share * value[b, h // 2, s] for s, share in enumerate(shares)) / sum(shares)
    return out


@pytest.mark.parametrize("causal", [False, True])
def test_both_are_the_formula(qkv, causal):
    mask = torch.ones(9, 9, dtype=torch.bool).tril() if causal else None
    expected = slow(*qkv, causal)
    assert_close(softmax_attention(*qkv, mask=mask)[0], expected, **ROUNDING)
    assert_close(tiled_attention(*qkv, tile=4, causal=causal), expected, **ROUNDING)


@pytest.mark.parametrize("causal", [False, True])
def test_both_are_torchs_own(qkv, causal):
    mask = torch.ones(9, 9, dtype=torch.bool).tril() if causal else None
    expected = F.scaled_dot_product_attention(*qkv, attn_mask=mask, enable_gqa=True)
    assert_close(softmax_attention(*qkv, mask=mask)[0], expected, **ROUNDING)
    assert_close(tiled_attention(*qkv, causal=causal), expected, **ROUNDING)


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("tile", [1, 2, 3, 8, 9, 100])
def test_the_size_of_a_tile_does_not_matter(qkv, tile, causal):
    assert_close(tiled_attention(*qkv, tile=tile, causal=causal), slow(*qkv, causal), **ROUNDING)


def test_more_keys_than_queries(randn):
    query, key, value = randn(1, 2, 3, 4), randn(1, 2, 7, 4), randn(1, 2, 7, 4)
    assert_close(tiled_attention(query, key, value, tile=2), softmax_attention(query, key, value)[0], **ROUNDING)


def test_one_key_hands_over_its_value(randn):
    query, key, value = randn(1, 1, 5, 4), randn(1, 1, 1, 4), randn(1, 1, 1, 4)
    for out in (softmax_attention(query, key, value)[0], tiled_attention(query, key, value, tile=2)):
        assert_close(out, value.expand_as(query), rtol=0, atol=0)


def test_the_order_of_the_keys_and_a_shift_of_them_all_do_not_matter(qkv, randn):
    query, key, value = qkv
    order, expected = torch.randperm(9, generator=torch.Generator().manual_seed(0)), softmax_attention(*qkv)[0]
    for attend in (lambda *x: softmax_attention(*x)[0], lambda *x: tiled_attention(*x, tile=4)):
        assert_close(attend(query, key[:, :, order], value[:, :, order]), expected, **ROUNDING)
        assert_close(attend(query, key + randn(6), value), expected, **ROUNDING)


def test_weights_are_shares(qkv):
    mask = torch.ones(9, 9, dtype=torch.bool).tril()
    weights = softmax_attention(*qkv, mask=mask)[1]
    assert_close(weights.sum(-1), torch.ones(2, 4, 9, dtype=torch.float64), **ROUNDING)
    assert not weights[..., ~mask].any()


@pytest.mark.parametrize("causal", [False, True])
def test_gradients(randn, causal):
    inputs = [randn(1, heads, 4, 3).requires_grad_() for heads in (2, 1, 1)]
    assert torch.autograd.gradcheck(lambda *x: tiled_attention(*x, tile=2, causal=causal), inputs)
    assert torch.autograd.gradcheck(lambda *x: softmax_attention(*x)[0], inputs)


def test_huge_logits_pick_one_value(randn):
    """A tile whose largest logit is 1e30 above that of the tile before, or below: its exp is 0 then, not nan."""
    value = randn(1, 1, 4, 2).float()
    query = torch.tensor([[[[1e30, 0.0]]]])
    for winner in range(4):
        key = torch.zeros(1, 1, 4, 2)
        key[..., winner, 0] = 1.0
        for out in (tiled_attention(query, key, value, tile=1), softmax_attention(query, key, value)[0]):
            assert_close(out[0, 0, 0], value[0, 0, winner], rtol=0, atol=0)


@pytest.mark.parametrize(
    ("shapes", "options", "message"),
    [
        (((1, 4, 3, 2), (1, 3, 3, 2), (1, 3, 3, 2)), {}, r"G a divisor of H, got \(1, 4, 3, 2\), \(1, 3, 3, 2\)"),
        (((1, 4, 3, 2), (1, 4, 3, 2), (1, 4, 5, 2)), {}, r"and \(1, 4, 5, 2\)"),
        (((1, 4, 3, 2), (2, 4, 3, 2), (2, 4, 3, 2)), {}, "attention needs queries"),
        (((1, 4, 3, 2), (1, 4, 3, 5), (1, 4, 3, 5)), {}, "attention needs queries"),
        (((4, 3, 2), (4, 3, 2), (4, 3, 2)), {}, "attention needs queries"),
        (((1, 4, 3, 2),) * 3, {"tile": 0}, "tile must be at least 1, got 0"),
        (((1, 4, 3, 2), (1, 4, 5, 2), (1, 4, 5, 2)), {"causal": True}, "as many queries as keys, got 3 and 5"),
    ],
)
def test_bad_input_is_named(shapes, options, message):
    with pytest.raises(ValueError, match=message):
        tiled_attention(*(torch.zeros(shape) for shape in shapes), **options)
    if not options:
        with pytest.raises(ValueError, match=message):
            softmax_attention(*(torch.zeros(shape) for shape in shapes))
