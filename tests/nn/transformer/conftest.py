"""What the transformer's tests share: configurations of every kind, and small models with moved parameters."""

import pytest
import torch

from course_lib.nn.transformer import Transformer, bert, gpt, llama

SIZES = {"vocab_size": 11, "width": 8, "num_layers": 2, "num_heads": 4, "context_length": 12}
DECODERS = {
    "gpt": gpt(**SIZES),
    "gpt, untied, exact gelu, no biases": gpt(**SIZES, tied=False, bias=False, feed_forward="gelu"),
    "llama": llama(**SIZES, num_kv_heads=2, feed_forward_width=12),
    "llama, one kv head, qk-norm": llama(**SIZES | {"num_heads": 2}, num_kv_heads=1, qk_norm=True, tied=True),
    "llama, yarn": llama(**SIZES | {"num_heads": 1}, rope_scaling="yarn", rope_factor=3.0, rope_original_context=3000),
    "llama, fused projections": llama(**SIZES, num_kv_heads=2, fused_projections=True, bias=True, qk_norm=True),
    "window of 3": llama(**SIZES, window=3),
    "sinusoidal, window of 1": gpt(**SIZES, positions="sinusoidal", window=1),
    "no positions, post-norm": gpt(**SIZES, positions="none", norm_position="post"),
}
ENCODERS = {
    "bert": bert(**SIZES),
    "encoder with a window of 2": llama(**SIZES, causal=False, window=2, bias=True, norm="layer"),
}


def _values(configs):
    return {"params": configs.values(), "ids": configs.keys()}


@pytest.fixture(**_values(DECODERS | ENCODERS))
def config(request):
    """Every kind of configuration."""
    return request.param


@pytest.fixture(**_values(DECODERS))
def decoder(request):
    """Every kind of causal configuration."""
    return request.param


@pytest.fixture
def sizes():
    """The sizes that all of them have."""
    return dict(SIZES)


@pytest.fixture
def small(shaken):
    """A function that makes a float64 model in evaluation mode whose parameters are off their starting values."""

    def make(config, **options):
        return shaken(Transformer(config, generator=torch.Generator().manual_seed(1), **options)).eval()

    return make


@pytest.fixture
def text():
    """A function that gives seeded token ids of a shape."""
    generator = torch.Generator().manual_seed(7)
    return lambda *shape: torch.randint(0, SIZES["vocab_size"], shape, generator=generator)
