"""Positions: waves and rotations against their formulas, Hugging Face's scalings, and what a rotation must keep."""

import math

import pytest
import torch
from torch.testing import assert_close

from course_lib.nn.transformer import llama, rotary_frequencies, rotary_tables, rotate, sinusoidal_positions

ROUNDING = {"rtol": 1e-12, "atol": 1e-12}


def rotary(width=16, **options):
    return llama(vocab_size=9, width=width, num_layers=1, num_heads=1, **{"context_length": 64} | options)


def frequencies(config):
    return rotary_frequencies(config, dtype=torch.float64)


def rotated(x, places, config):
    """Rotate single vectors ``(N, E)``."""
    return rotate(x[:, None], *rotary_tables(places, config, dtype=x.dtype))[:, 0]


def test_waves_are_the_formula():
    waves = sinusoidal_positions(torch.arange(50), 6, dtype=torch.float64)
    for place, row in enumerate(waves.tolist()):
        for i in range(3):
            angle = place / 10000 ** (2 * i / 6)
            assert row[2 * i : 2 * i + 2] == pytest.approx([math.sin(angle), math.cos(angle)], abs=1e-12)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_waves_in_half_precision_are_the_full_ones_rounded(dtype):
    places = torch.arange(1024)
    waves = sinusoidal_positions(places, 64, dtype=dtype)
    assert_close(waves, sinusoidal_positions(places, 64).to(dtype), rtol=0, atol=0)
    assert len(waves.unique(dim=0)) == 1024


def test_a_shift_of_the_waves_is_one_rotation_for_all_places():
    waves = sinusoidal_positions(torch.arange(20), 8, dtype=torch.float64)
    shift = torch.linalg.lstsq(waves[:8], waves[5:13]).solution
    assert_close(waves[:15] @ shift, waves[5:], rtol=0, atol=1e-6)  # solved from 8 rows that are nearly dependent


def test_frequencies_are_the_formula():
    found, scale = frequencies(rotary(rope_base=500.0))
    assert scale == 1
    assert found.tolist() == pytest.approx([500 ** (-2 * i / 16) for i in range(8)], rel=1e-12)


def test_linear_scaling_is_a_rotation_by_fractions_of_places(randn):
    x = randn(10, 16)
    scaled = rotary(rope_scaling="linear", rope_factor=4.0)
    assert_close(rotated(x, 4 * torch.arange(10), scaled), rotated(x, torch.arange(10), rotary()), **ROUNDING)


def test_ntk_keeps_the_fastest_pair_and_slows_the_slowest_by_the_factor():
    plain, scaled = frequencies(rotary())[0], frequencies(rotary(rope_scaling="ntk", rope_factor=4.0))[0]
    assert_close(scaled[0], plain[0], **ROUNDING)
    assert_close(scaled[-1], plain[-1] / 4, **ROUNDING)
    assert ((plain / 4 < scaled) & (scaled < plain))[1:-1].all()


@pytest.mark.parametrize("scaling", ["yarn", "llama3"])
def test_scaling_by_parts_leaves_fast_pairs_and_divides_slow_ones(scaling):
    config = rotary(64, context_length=4096, rope_scaling=scaling, rope_factor=4.0)
    turns = frequencies(rotary(64))[0] * 1024 / (2 * math.pi)  # within the original context
    divided_by = frequencies(rotary(64))[0] / frequencies(config)[0]
    assert_close(divided_by[turns > 33], torch.ones(1, dtype=torch.float64).expand(int((turns > 33).sum())), **ROUNDING)
    assert_close(divided_by[turns < 0.6], torch.full((int((turns < 0.6).sum()),), 4.0, dtype=torch.float64), **ROUNDING)
    assert (turns > 33).any()
    assert (turns < 0.6).any()
    assert (divided_by.diff() >= -1e-12).all()


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ({"rope_scaling": "linear", "rope_factor": 3.0}, {"rope_type": "linear", "factor": 3.0}),
        (
            {"rope_scaling": "yarn", "rope_factor": 8.0},
            {"rope_type": "yarn", "factor": 8.0, "original_max_position_embeddings": 1024},
        ),
        (
            {"rope_scaling": "yarn", "rope_factor": 2.5, "rope_original_context": 700, "rope_base": 1e6},
            {"rope_type": "yarn", "factor": 2.5, "original_max_position_embeddings": 700, "rope_theta": 1e6},
        ),
        (
            {"rope_scaling": "llama3", "rope_factor": 8.0, "rope_base": 500000.0},
            {
                "rope_type": "llama3",
                "factor": 8.0,
                "original_max_position_embeddings": 1024,
                "low_freq_factor": 1.0,
                "high_freq_factor": 4.0,
                "rope_theta": 500000.0,
            },
        ),
    ],
    ids=["linear", "yarn", "yarn, other context", "llama3"],
)
def test_scalings_are_hugging_faces(ours, theirs):
    from transformers import LlamaConfig
    from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

    parameters = {"rope_theta": 10000.0} | theirs
    config = LlamaConfig(
        hidden_size=64, num_attention_heads=1, max_position_embeddings=8192, rope_parameters=parameters
    )
    expected, scale = ROPE_INIT_FUNCTIONS[parameters["rope_type"]](config, "cpu")
    found, our_scale = frequencies(rotary(64, context_length=8192, **ours))
    assert_close(found, expected.double(), rtol=2e-6, atol=0)  # theirs are computed in float32
    assert our_scale == pytest.approx(scale, rel=1e-12)


def test_ntk_is_hugging_faces_dynamic_one_at_a_length():
    """Its base grows with the text's length; with its own factor at 1, a text 4 times as long has that of factor 4."""
    from transformers import LlamaConfig
    from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

    parameters = {"rope_type": "dynamic", "factor": 1.0, "rope_theta": 10000.0}
    config = LlamaConfig(hidden_size=64, num_attention_heads=1, max_position_embeddings=64, rope_parameters=parameters)
    expected, _ = ROPE_INIT_FUNCTIONS["dynamic"](config, "cpu", seq_len=256)
    found, _ = frequencies(rotary(64, context_length=256, rope_scaling="ntk", rope_factor=4.0))
    assert_close(found, expected.double(), rtol=2e-6, atol=0)


def test_a_rotation_turns_each_pair_as_a_complex_number(randn):
    config, x = rotary(), randn(30, 16)
    turned = rotated(x, torch.arange(30), config)
    angles = torch.arange(30)[:, None] * frequencies(config)[0]
    expected = torch.complex(x[:, :8], x[:, 8:]) * torch.polar(torch.ones_like(angles), angles)
    assert_close(turned, torch.cat([expected.real, expected.imag], dim=-1), **ROUNDING)


def test_place_0_is_not_turned_and_no_place_changes_lengths(randn):
    x = randn(30, 16)
    assert_close(rotated(x[:1], torch.tensor([0]), rotary()), x[:1], rtol=0, atol=0)
    assert_close(rotated(x, torch.arange(30), rotary()).norm(dim=-1), x.norm(dim=-1), **ROUNDING)


def test_yarn_makes_queries_and_keys_longer(randn):
    config, x = rotary(rope_scaling="yarn", rope_factor=math.e), randn(30, 16)
    assert_close(rotated(x, torch.arange(30), config).norm(dim=-1), 1.1 * x.norm(dim=-1), **ROUNDING)


@pytest.mark.parametrize("scaling", ["none", "linear", "ntk", "yarn", "llama3"])
def test_only_the_distance_counts(randn, scaling):
    config = rotary(rope_scaling=scaling, rope_factor=1.0 if scaling == "none" else 2.0)
    queries, keys, places = randn(20, 16), randn(20, 16), torch.arange(20)

    def products(shift):
        return rotated(queries, places + shift, config) @ rotated(keys, places + shift, config).T

    assert_close(products(37), products(0), rtol=1e-11, atol=1e-11)


def test_far_places_keep_their_digits_and_half_precision_gets_full_tables():
    config = rotary(context_length=200_000)
    places = torch.tensor([199_999])
    exact = rotary_tables(places, config, dtype=torch.float64)
    for table, expected in zip(rotary_tables(places, config, dtype=torch.bfloat16), exact, strict=True):
        assert table.dtype == torch.float32
        assert_close(table.double(), expected, rtol=0, atol=0.05)  # 200,000 * 2^-24 radians, and a little
    x = torch.ones(1, 1, 1, 16, dtype=torch.bfloat16)
    assert rotate(x, *rotary_tables(places, config, dtype=x.dtype)).dtype == torch.bfloat16


def test_gradients_turn_back(randn):
    config, x = rotary(), randn(5, 16).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: rotated(x, torch.arange(5), config), x)
