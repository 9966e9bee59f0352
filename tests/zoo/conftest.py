"""What the tests of course_lib.zoo share: a model of random weights, small enough to be written many times."""

from dataclasses import asdict

import pytest
import torch

from course_lib.nn.transformer import Transformer, llama
from course_lib.tokenization import train_bpe
from course_lib.zoo import Card, Pretrained


@pytest.fixture
def card():
    config = llama(vocab_size=265, width=16, num_layers=2, num_heads=2, context_length=32, tied=True)
    return Card(
        "tiny",
        "Knows nothing.",
        architecture=asdict(config),
        num_parameters=1234,
        tokenizer="byte-level BPE, 265 tokens",
        data="a line of text",
        data_licence="CC0-1.0",
        licence="Apache-2.0",
        limits="Do not use it.",
        recipe="make tiny",
        seed=3,
        training={"steps": 0, "tokens_seen": 12_345, "learning_rate": 1e-3, "compiled": False},
        versions={"torch": "2.0"},
        validation={"nats_per_token": 5.5, "bits_per_byte": 7.9, "num_tokens": 100, "num_bytes": 100},
        baselines={"uniform": {"nats_per_token": 5.598, "bits_per_byte": 8.077}},
        samples=["once\nupon"],
    )


@pytest.fixture
def tiny(card):
    """Its weights are such that bf16 holds them exactly."""
    tokenizer = train_bpe(["hello hello low lower"] * 3, vocab_size=265, special_tokens=["<|endoftext|>"])
    model = Transformer(llama(**_shape(card)), generator=torch.Generator().manual_seed(5))
    with torch.no_grad():
        for weight in model.parameters():
            weight.copy_(weight.to(torch.bfloat16))
    return Pretrained(model.eval(), tokenizer, card)


def _shape(card):
    names = ("vocab_size", "width", "num_layers", "num_heads", "context_length", "tied")
    return {name: card.architecture[name] for name in names}
