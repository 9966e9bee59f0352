"""The cache: what a model says with it is what it says without, whatever the pieces, windows and padding."""

from dataclasses import replace

import pytest
import torch
from torch.testing import assert_close

from course_lib.nn.transformer import EncoderDecoder, KVCache, Transformer, gpt, llama

EXACT = {"rtol": 0, "atol": 0}
ROUNDING = {"rtol": 1e-12, "atol": 1e-12}  # float64; torch's kernels sum in another order for other shapes
PIECES = [[1] * 12, [7] + [1] * 5, [5, 4, 3], [12], [2, 9, 1]]


@torch.no_grad()
def in_pieces(model, tokens, pieces, mask=None, **options):
    cache, outs = KVCache(model.config), []
    masks = [None] * len(pieces) if mask is None else mask.split(pieces, dim=1)
    for piece, real in zip(tokens.split(pieces, dim=1), masks, strict=True):
        outs.append(model(piece, cache=cache, mask=real, **options))
    assert cache.length == tokens.shape[1]
    return torch.cat(outs, dim=1)


@pytest.mark.parametrize("pieces", PIECES, ids=str)
def test_pieces_say_what_the_whole_says(decoder, small, text, pieces):
    model, tokens = small(decoder), text(3, 12)
    assert_close(in_pieces(model, tokens, pieces), model(tokens).detach(), **ROUNDING)


@pytest.mark.parametrize("pieces", PIECES, ids=str)
def test_padding_on_the_left_changes_nothing(decoder, small, text, pieces):
    model, tokens = small(decoder), text(3, 12)
    mask = torch.arange(12) >= torch.tensor([[0], [3], [8]])
    together = in_pieces(model, tokens, pieces, mask)
    for row, real, logits in zip(tokens, mask, together, strict=True):
        assert_close(logits[real], model(row[real][None])[0].detach(), **ROUNDING)


def test_a_mask_may_come_first_only_or_last_only(decoder, small, text):
    model, tokens = small(decoder), text(2, 8)
    mask = torch.arange(8) >= torch.tensor([[0], [3]])
    cache = KVCache(decoder)
    with torch.no_grad():
        model(tokens[:, :5], cache=cache, mask=mask[:, :5])
        later = model(tokens[:, 5:], cache=cache)
        assert_close(later, model(tokens, mask=mask)[:, 5:], **ROUNDING)
        cache, end = KVCache(decoder), torch.ones(2, 3, dtype=torch.bool)
        model(tokens[:, :5], cache=cache)
        assert_close(model(tokens[:, 5:], cache=cache, mask=end), model(tokens)[:, 5:], **ROUNDING)


@pytest.mark.parametrize("window", [1, 2, 3, 5])
@pytest.mark.parametrize("pieces", [[1] * 40, [30] + [1] * 10, [3, 11, 2, 24], [1, 39]], ids=str)
def test_a_window_holds_memory_down_however_long_the_text(small, sizes, text, window, pieces):
    config = llama(**sizes | {"context_length": 40}, window=window)
    model, tokens = small(config), text(2, 40)
    assert_close(in_pieces(model, tokens, pieces), model(tokens).detach(), **ROUNDING)
    cache = KVCache(config)
    with torch.no_grad():
        for piece in tokens.split(pieces, dim=1):
            model(piece, cache=cache)
            assert cache.memory_bytes == 2 * 2 * 2 * 4 * (2 * window) * 2 * 8
            assert cache.num_visible == min(cache.length, window - 1)


@pytest.mark.parametrize("kv_heads", [4, 2, 1])
def test_memory_is_the_formula(sizes, text, kv_heads):
    """Keys and values, layers, rows, heads, places, numbers in a head, bytes in a number."""
    model = Transformer(llama(**sizes, num_kv_heads=kv_heads))
    cache = KVCache(model.config, capacity=10)
    assert cache.memory_bytes == 0
    with torch.no_grad():
        model(text(3, 4), cache=cache)
        assert cache.memory_bytes == 2 * 2 * 3 * kv_heads * 10 * 2 * 4
        model(text(3, 6), cache=cache)
    assert cache.memory_bytes == 2 * 2 * 3 * kv_heads * 10 * 2 * 4


def test_keys_of_an_encoder_are_made_once(sizes, text):
    config = gpt(**sizes)
    model = EncoderDecoder(replace(config, causal=False, width=16), config).double().eval()
    source, target = text(2, 7), text(2, 12)
    mask = torch.arange(7) < torch.tensor([[7], [4]])
    with torch.no_grad():
        memory = model.encode(source, mask=mask)
        whole = model(source, target, source_mask=mask)
        calls = []
        for block in model.decoder.blocks:
            block.cross_attention.key.register_forward_hook(lambda *_: calls.append(1))
        pieces = in_pieces(model.decoder, target, [4, 1, 1, 6], memory=memory, memory_mask=mask)
    assert_close(pieces, whole, **ROUNDING)
    assert len(calls) == 2


@pytest.mark.parametrize(("window", "tried"), [(None, 3), (5, 9), (5, 8), (3, 6), (1, 8)])
@pytest.mark.parametrize("pieces", [[3, 9], [3, 1, 8], [3] + [1] * 9], ids=str)
def test_an_interrupted_call_does_not_count(small, sizes, text, window, tried, pieces):
    """Neither when it is made again nor when shorter ones follow, even if what was in the window had to move."""
    model, tokens = small(gpt(**sizes, window=window)), text(2, 12)
    expected = in_pieces(model, tokens, pieces)
    cache = KVCache(model.config)

    def interrupt(*_):
        raise KeyboardInterrupt

    with torch.no_grad():
        model(tokens[:, :3], cache=cache)
        hook = model.blocks[1].register_forward_pre_hook(interrupt)
        with pytest.raises(KeyboardInterrupt):
            model(text(2, tried), cache=cache)
        hook.remove()
        assert cache.length == 3
        later = [model(piece, cache=cache) for piece in tokens[:, 3:].split(pieces[1:], dim=1)]
    assert_close(torch.cat(later, dim=1), expected[:, 3:], **EXACT)


def test_the_memory_must_stay_the_same_tensor(sizes, text):
    config = gpt(**sizes)
    model = EncoderDecoder(replace(config, causal=False), config).eval()
    with torch.no_grad():
        cache, memory = KVCache(config), model.encode(text(2, 7))
        model.decoder(text(2, 3), cache=cache, memory=memory)
        with pytest.raises(ValueError, match="the cache holds keys of another memory: make a new one"):
            model.decoder(text(2, 1), cache=cache, memory=model.encode(text(2, 7)))
        assert cache.length == 3
        model.decoder(text(2, 1), cache=cache, memory=memory)
    assert cache.length == 4


@pytest.mark.parametrize(
    "changes", [{"num_layers": 1}, {"num_layers": 3}, {"window": 3}, {"context_length": 20}], ids=str
)
def test_a_cache_of_another_configuration_is_refused(sizes, text, changes):
    model = Transformer(gpt(**sizes))
    with torch.no_grad(), pytest.raises(ValueError, match="made for a model of another configuration"):
        model(text(1, 2), cache=KVCache(replace(model.config, **changes)))
    same = KVCache(replace(model.config))
    with torch.no_grad():
        model(text(1, 2), cache=same)
    assert same.length == 2


def test_it_remembers_under_autocast(sizes, text):
    model, tokens = Transformer(llama(**sizes, qk_norm=True)), text(2, 12)
    cache = KVCache(model.config)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        pieces, whole = in_pieces(model, tokens, [5, 1, 6]), model(tokens)
        model(tokens, cache=cache)
    assert_close(pieces, whole, rtol=0.02, atol=0.02)  # 8 bits a number
    assert cache.memory_bytes == 2 * 2 * 2 * 4 * 12 * 2 * 2  # 2 bytes a number


def test_bad_use_is_named(sizes, text):
    model = Transformer(gpt(**sizes))
    with pytest.raises(ValueError, match=r"within 1 and the context length 12, got 13"):
        KVCache(model.config, capacity=13)
    with pytest.raises(ValueError, match="got 0"):
        KVCache(model.config, capacity=0)
    with pytest.raises(ValueError, match="keeps no gradients"):
        model(text(1, 2), cache=KVCache(model.config))
    with torch.no_grad():
        cache = KVCache(model.config, capacity=5)
        model(text(2, 4), cache=cache)
        with pytest.raises(ValueError, match="6 tokens do not fit into the capacity of the cache, 5"):
            model(text(2, 2), cache=cache)
        with pytest.raises(ValueError, match="holds 2 rows, got 3"):
            model(text(3, 1), cache=cache)
        encoder = Transformer(gpt(**sizes, causal=False))
        with pytest.raises(ValueError, match="a cache is for causal models"):
            encoder(text(1, 2), cache=KVCache(encoder.config))
