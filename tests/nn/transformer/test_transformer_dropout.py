"""Dropout: of embeddings, attention weights and each layer's output, as often as it should, while training alone."""

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from course_lib.nn.transformer import Attention, Block, Transformer, gpt

EXACT = {"rtol": 0, "atol": 0}
LEFT = 1 / 0.7  # what is left grows, so that the mean stays


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def assert_shares(values, expected):
    """The values that occur, and how often each does; 6,000 draws or more: 5 standard deviations are 3 %."""
    found, counts = values.detach().unique(return_counts=True)
    assert found.tolist() == pytest.approx(list(expected), abs=1e-6)
    assert (counts / values.numel()).tolist() == pytest.approx(list(expected.values()), abs=0.03)


def test_of_embeddings(sizes, text):
    torch.manual_seed(0)
    model = Transformer(gpt(**sizes, positions="none", dropout=0.3))
    nn.init.ones_(model.embedding.weight)
    seen = []
    model.blocks[0].register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    model(text(64, 12))
    assert_shares(seen[0], {0.0: 0.3, LEFT: 0.7})


@torch.no_grad()
def test_of_attention_weights(sizes):
    """Queries of 0 see each of 8 one-hot values to an eighth."""
    torch.manual_seed(0)
    layer = Attention(gpt(**sizes | {"num_heads": 1}, bias=False, dropout=0.3))
    nn.init.zeros_(layer.query.weight)
    for part in (layer.value, layer.output):
        part.weight.copy_(torch.eye(8))
    x = torch.eye(8).expand(100, 8, 8)
    assert_shares(8 * layer(x), {0.0: 0.3, LEFT: 0.7})
    assert_close(8 * layer.eval()(x), torch.ones(100, 8, 8))


@torch.no_grad()
@pytest.mark.parametrize("norm_position", ["pre", "post"])
def test_of_what_each_layer_adds(sizes, norm_position):
    """Two layers that each add 1."""
    torch.manual_seed(0)
    block = Block(gpt(**sizes, norm_position=norm_position, dropout=0.3))
    for layer in (block.attention.output, block.feed_forward.down):
        nn.init.zeros_(layer.weight)
        nn.init.ones_(layer.bias)
    block.attention_norm = block.feed_forward_norm = nn.Identity()
    h = torch.zeros(100, 8, 8)
    assert_shares(block(h), {0.0: 0.09, LEFT: 0.42, 2 * LEFT: 0.49})
    assert_close(block.eval()(h), torch.full((100, 8, 8), 2.0), **EXACT)


def test_in_training_alone(sizes, text):
    model, tokens = Transformer(gpt(**sizes, dropout=0.3), generator=seeded()), text(4, 12)
    plain = Transformer(gpt(**sizes), generator=seeded())
    assert_close(model.eval()(tokens), plain(tokens), **EXACT)
