"""Bytes from the configuration alone: against what autograd really saves, what Adam really keeps, and a real cache."""

import pytest
import torch
import torch.nn.functional as F
from torch.utils.checkpoint import checkpoint

from course_lib.nn.transformer import KVCache, Transformer, bert, gpt, llama
from course_lib.scaling import activation_bytes, kv_cache_bytes_per_token, num_parameters, training_memory

SHAPE = {"vocab_size": 200, "width": 64, "num_layers": 4, "num_heads": 4, "context_length": 64}
ROWS, LENGTH = 3, 50
CONFIGS = {
    "gpt": (gpt(**SHAPE), 1e-4),
    "encoder": (bert(**SHAPE), 1e-4),
    "llama, grouped queries": (llama(**SHAPE, num_kv_heads=2), 0.01),  # rotation tables are not counted
    "norms of queries": (gpt(**SHAPE, num_kv_heads=2, bias=False, qk_norm=True, positions="rotary"), 0.01),
    "window": (gpt(**SHAPE, window=8), 0.02),  # nor are the masks of a window
}


def saved_bytes(forward, model):
    """Bytes of all different floating-point storages that autograd keeps for the backward pass, but parameters."""
    parameters = {parameter.untyped_storage().data_ptr() for parameter in model.parameters()}
    kept = {}

    def keep(tensor):
        storage = tensor.untyped_storage()
        if tensor.is_floating_point() and storage.data_ptr() not in parameters:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        result = forward()
    assert result.requires_grad  # and holds the graph while the bytes are added up
    return sum(kept.values())


def loss(model, tokens):
    return F.cross_entropy(model(tokens).flatten(0, 1), tokens.flatten())


@pytest.mark.parametrize(("config", "tolerance"), CONFIGS.values(), ids=CONFIGS)
def test_activations_are_what_autograd_saves(config, tolerance):
    model = Transformer(config, generator=torch.Generator().manual_seed(0))
    tokens = torch.zeros(ROWS, LENGTH, dtype=torch.int64)
    measured = saved_bytes(lambda: loss(model, tokens), model)
    counted = activation_bytes(config, batch_size=ROWS, num_tokens=LENGTH)
    assert counted == pytest.approx(measured, rel=tolerance)


def test_checkpointing_keeps_the_inputs_of_blocks_and_one_block_at_a_time():
    config = gpt(**SHAPE)
    model = Transformer(config, generator=torch.Generator().manual_seed(0))
    tokens = torch.zeros(ROWS, LENGTH, dtype=torch.int64)

    def forward():
        h = model.embedding(tokens) + model.positions.weight[:LENGTH]
        for block in model.blocks:
            h = checkpoint(block, h, is_causal=True, use_reentrant=False)
        return F.cross_entropy(model.logits(model.norm(h)).flatten(0, 1), tokens.flatten())

    h = torch.zeros(ROWS, LENGTH, config.width, requires_grad=True)
    one_block = saved_bytes(lambda: model.blocks[0](h, is_causal=True), model)
    measured = saved_bytes(forward, model) + one_block
    counted = activation_bytes(config, batch_size=ROWS, num_tokens=LENGTH, checkpointing=True)
    assert counted == pytest.approx(measured, rel=0.02)
    assert counted < activation_bytes(config, batch_size=ROWS, num_tokens=LENGTH) / 1.5


def test_adam_keeps_two_numbers_a_parameter():
    config = gpt(**SHAPE)
    model = Transformer(config)
    optimizer = torch.optim.AdamW(model.parameters())
    loss(model, torch.zeros(1, 8, dtype=torch.int64)).backward()
    optimizer.step()
    moments = [value for state in optimizer.state.values() for name, value in state.items() if name != "step"]
    use = training_memory(config, batch_size=1, num_tokens=8)
    assert use.optimizer == sum(moment.nbytes for moment in moments)
    assert use.weights == use.gradients == sum(parameter.nbytes for parameter in model.parameters())
    assert use.total == use.weights + use.gradients + use.optimizer + use.activations


def test_mixed_precision_halves_activations_and_keeps_sixteen_bytes_a_parameter():
    config = gpt(**SHAPE)
    full, mixed = (training_memory(config, batch_size=2, mixed=mixed) for mixed in (False, True))
    state = 16 * num_parameters(config).total
    assert full.total - full.activations == mixed.total - mixed.activations == state
    assert 2 * mixed.activations == full.activations


@pytest.mark.parametrize("heads", [4, 2, 1])
def test_cache_bytes_are_those_of_a_real_cache(heads):
    config = llama(**SHAPE, num_kv_heads=heads)
    model = Transformer(config)
    cache = KVCache(config, capacity=20)
    with torch.no_grad():
        model(torch.zeros(2, 5, dtype=torch.int64), cache=cache)
    assert cache.memory_bytes == 2 * 20 * kv_cache_bytes_per_token(config, bytes_per_number=4)


def test_activations_grow_with_rows_and_tokens_alike():
    config = gpt(**SHAPE)
    assert activation_bytes(config, batch_size=6, num_tokens=10) == activation_bytes(
        config, batch_size=2, num_tokens=30
    )


@pytest.mark.parametrize(
    ("config", "options", "message"),
    [
        (gpt(**SHAPE), {"batch_size": 0}, "must be at least 1, got 0, 64 and 4"),
        (gpt(**SHAPE), {"batch_size": 1, "num_tokens": -1}, "got 1, -1 and 4"),
        (gpt(**SHAPE, dropout=0.1), {"batch_size": 1}, "expected dropout=0, got 0.1"),
    ],
)
def test_what_cannot_be_counted_is_refused(config, options, message):
    with pytest.raises(ValueError, match=message):
        activation_bytes(config, **options)


def test_a_cache_of_no_bytes_is_refused():
    with pytest.raises(ValueError, match="bytes_per_number must be at least 1, got 0"):
        kv_cache_bytes_per_token(gpt(**SHAPE), bytes_per_number=0)
