"""Parameters and FLOP from the configuration alone: against the real modules and torch's own counter."""

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from course_lib.nn.transformer import EncoderDecoder, Transformer, TransformerConfig, bert, gpt, llama
from course_lib.scaling import flops_per_token, forward_flops, num_parameters

SHAPE = {"vocab_size": 97, "width": 48, "num_layers": 3, "num_heads": 6, "context_length": 40}
CONFIGS = {
    "gpt": gpt(**SHAPE),
    "llama, grouped queries": llama(**SHAPE, num_kv_heads=2),
    "window": gpt(**SHAPE, window=8),
    "encoder": bert(**SHAPE),
    "multi-query, no biases, norms of queries": gpt(
        **SHAPE, num_kv_heads=1, bias=False, qk_norm=True, positions="rotary"
    ),
    "untied, rms": gpt(**SHAPE, tied=False, norm="rms", feed_forward_width=100),
}


def on_meta(build):
    with torch.device("meta"):
        return build()


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
def test_as_many_parameters_as_the_module_has(config):
    model = on_meta(lambda: Transformer(config))
    tables = [model.embedding, model.positions, model.head]
    count = num_parameters(config)
    assert count.total == sum(parameter.numel() for parameter in model.parameters())
    assert count.embedding == sum(table.weight.numel() for table in tables if table is not None)


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
def test_as_many_flops_as_torch_counts(config):
    model, tokens = on_meta(lambda: (Transformer(config), torch.zeros(2, 33, dtype=torch.int64)))
    with FlopCounterMode(display=False) as counter:
        logits = model(tokens)
        forward = counter.get_total_flops()
        logits.sum().backward()
    # Exact: on the meta device attention is two plain products over the whole square, counted like all others.
    assert 2 * forward_flops(config, num_tokens=33) == forward
    assert 2 * 33 * flops_per_token(config, num_tokens=33) == counter.get_total_flops()
    assert flops_per_token(config, num_tokens=33, backward=False) * 3 == flops_per_token(config, num_tokens=33)


def test_an_encoder_decoder_is_the_sum_of_its_halves():
    encoder, decoder = gpt(**SHAPE, causal=False), gpt(**SHAPE | {"width": 36, "num_layers": 2})
    model = on_meta(lambda: EncoderDecoder(encoder, decoder))
    source, target = on_meta(lambda: (torch.zeros(1, 20, dtype=torch.int64), torch.zeros(1, 15, dtype=torch.int64)))
    with FlopCounterMode(display=False) as counter:
        model(source, target)
    halves = (
        forward_flops(encoder, num_tokens=20, head=False),
        forward_flops(decoder, num_tokens=15, source_width=48, num_source_tokens=20),
    )
    assert sum(halves) == counter.get_total_flops()
    counts = num_parameters(encoder, head=False).total + num_parameters(decoder, source_width=48).total
    assert counts == sum(parameter.numel() for parameter in model.parameters())


def test_torchs_counter_does_not_see_the_fused_attention_of_the_cpu():
    """Why the counts above are made on the meta device."""
    query = torch.zeros(1, 2, 16, 8)
    with FlopCounterMode(display=False) as counter:
        torch.nn.functional.scaled_dot_product_attention(query, query, query, is_causal=True)
    assert counter.get_total_flops() == 0


@pytest.mark.parametrize(
    "choices",
    [{}, {"window": 5}, {"causal": False}, {"causal": False, "window": 5}, {"window": 400}],
    ids=str,
)
def test_visible_pairs_are_those_of_the_mask(choices):
    config = gpt(**SHAPE, **choices)
    window = config.window or SHAPE["context_length"]
    pairs = sum(
        abs(query - key) < window and (key <= query or not config.causal) for query in range(23) for key in range(23)
    )
    square = forward_flops(config, num_tokens=23)
    saved = square - forward_flops(config, num_tokens=23, visible_only=True)
    assert saved == SHAPE["num_layers"] * 4 * SHAPE["width"] * (23 * 23 - pairs)


def test_a_model_without_blocks_to_speak_of_costs_its_output_layer():
    """One token, width 1, hidden width 1: 2 V for the logits, 8 for the projections, 4 scores, 4 feed-forward."""
    shape = {"vocab_size": 1000, "width": 1, "num_layers": 1, "num_heads": 1, "context_length": 1}
    assert forward_flops(TransformerConfig(**shape, feed_forward_width=1)) == 2000 + 8 + 4 + 4


def test_six_n_d_is_the_limit_of_wide_models_and_short_texts():
    config = gpt(vocab_size=1, width=4096, num_layers=4, num_heads=1, context_length=1)
    ratio = flops_per_token(config) / (6 * num_parameters(config).non_embedding)
    assert ratio == pytest.approx(1, abs=2e-3)  # biases and norms are parameters without a product


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_tokens": 0}, r"num_tokens must lie in \[1, 40\], the context length; got 0"),
        ({"num_tokens": 41}, "got 41"),
        ({"source_width": 48}, "source_width 48 and num_source_tokens 0"),
        ({"num_source_tokens": 7}, "source_width None and num_source_tokens 7"),
    ],
)
def test_lengths_that_cannot_be_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        forward_flops(gpt(**SHAPE), **options)
