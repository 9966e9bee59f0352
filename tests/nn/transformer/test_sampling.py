"""The distribution that tokens are drawn from: the rules by hand, Hugging Face's, and the draw itself."""

import pytest
import torch
from torch.testing import assert_close

from course_lib.nn.transformer import sampling_distribution
from course_lib.nn.transformer.sampling import draw

ROUNDING = {"rtol": 1e-12, "atol": 1e-12}


def slow(logits, temperature, top_k, top_p):
    """One row as a list of candidates."""
    ranked = sorted(range(len(logits)), key=lambda token: -logits[token])
    kept = ranked if top_k is None else [token for token in ranked if logits[token] >= logits[ranked[:top_k][-1]]]
    weights = {token: torch.exp(logits[token] / temperature) for token in kept}
    if top_p is not None:
        total, nucleus = sum(weights.values()), {}
        for token in kept:
            if not nucleus or sum(nucleus.values()) / total < top_p:
                nucleus[token] = weights[token]
        weights = nucleus
    zero = torch.tensor(0.0, dtype=logits.dtype)
    return torch.stack([weights.get(token, zero) for token in range(len(logits))]) / sum(weights.values())


@pytest.mark.parametrize("temperature", [0.3, 1.0, 2.5])
@pytest.mark.parametrize("top_k", [None, 1, 4, 12, 50])
@pytest.mark.parametrize("top_p", [None, 0.05, 0.6, 0.99, 1.0])
def test_rules_are_those_of_the_lists_and_of_hugging_face(randn, temperature, top_k, top_p):
    from transformers import TemperatureLogitsWarper, TopKLogitsWarper, TopPLogitsWarper

    logits = 2 * randn(5, 12)
    found = sampling_distribution(logits, temperature=temperature, top_k=top_k, top_p=top_p)
    assert_close(found, torch.stack([slow(row, temperature, top_k, top_p) for row in logits]), **ROUNDING)
    theirs = TemperatureLogitsWarper(temperature)(None, logits)
    if top_k is not None:
        theirs = TopKLogitsWarper(top_k)(None, theirs)
    if top_p is not None:
        theirs = TopPLogitsWarper(top_p)(None, theirs)
    assert_close(found, theirs.softmax(-1), **ROUNDING)


def test_temperature_0_is_the_limit(randn):
    logits = randn(5, 12)
    greedy = sampling_distribution(logits, temperature=0)
    assert_close(greedy, sampling_distribution(logits, temperature=1e-6), rtol=0, atol=1e-9)
    assert_close(greedy.argmax(-1), logits.argmax(-1), rtol=0, atol=0)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize("temperature", [1e-38, 1e-45, 1e-320])
def test_the_smallest_temperatures_are_greedy(randn, dtype, temperature):
    logits = 30 * randn(5, 12).to(dtype)
    for settings in ({}, {"top_k": 3}, {"top_p": 0.9}):
        found = sampling_distribution(logits, temperature=temperature, **settings)
        assert_close(found, sampling_distribution(logits, temperature=0), rtol=0, atol=0)


def test_top_p_is_reached_with_as_few_as_it_takes():
    """The first of two even chances holds one half already."""
    for top_p, expected in ((0.5, [1.0, 0.0]), (0.51, [0.5, 0.5])):
        assert sampling_distribution(torch.zeros(2), top_p=top_p).tolist() == expected


def test_ties_for_the_last_place_are_all_kept():
    logits = torch.tensor([[1.0, 0.0, 1.0, 1.0, -1.0]], dtype=torch.float64)
    third = 1 / 3
    expected = torch.tensor([[third, 0, third, third, 0]], dtype=torch.float64)
    assert_close(sampling_distribution(logits, top_k=2), expected, **ROUNDING)
    assert_close(sampling_distribution(logits, temperature=0)[0, 0], torch.tensor(1.0).double(), rtol=0, atol=0)


def test_a_constant_added_and_a_new_order_of_the_vocabulary_do_not_matter(randn):
    logits, order = randn(4, 12), torch.randperm(12, generator=torch.Generator().manual_seed(0))
    settings = {"temperature": 0.7, "top_k": 7, "top_p": 0.8}
    found = sampling_distribution(logits, **settings)
    assert_close(sampling_distribution(logits + 5, **settings), found, **ROUNDING)
    assert_close(sampling_distribution(logits[:, order], **settings), found[:, order], **ROUNDING)


def test_logits_of_1e30_and_of_minus_infinity():
    logits = torch.tensor([[1e30, -1e30, -torch.inf, 0.0]])
    for settings in ({}, {"top_k": 3}, {"top_p": 0.5}, {"temperature": 0}):
        assert sampling_distribution(logits, **settings).tolist() == [[1, 0, 0, 0]]


def test_the_draw_is_where_the_running_sum_passes():
    probabilities = torch.tensor([0.0, 0.25, 0.0, 0.5, 0.25, 0.0])
    uniform = torch.tensor([0.0, 0.1, 0.24, 0.25, 0.5, 0.74, 0.75, 0.99, 1 - 2**-24])
    drawn = draw(probabilities.expand(9, 6), uniform)
    assert drawn.tolist() == [1, 1, 1, 3, 3, 3, 4, 4, 4]


def test_rounding_never_draws_what_has_no_probability():
    """Sums in float32 that end a little above or below 1, and the largest numbers below 1, in float64 too."""
    generator = torch.Generator().manual_seed(0)
    probabilities = torch.rand(2000, 50, generator=generator).softmax(-1)
    probabilities[:, 30:] = 0.0
    for largest in (torch.tensor(1 - 2**-24), torch.tensor(1 - 2**-53, dtype=torch.float64)):
        assert (draw(probabilities, largest.expand(2000)) < 30).all()


def test_even_numbers_draw_each_token_as_often_as_it_should():
    probabilities = torch.tensor([0.1, 0.2, 0.3, 0.4], dtype=torch.float64)
    uniform = (torch.arange(1000, dtype=torch.float64) + 0.5) / 1000
    counts = draw(probabilities.expand(1000, 4), uniform).bincount()
    assert counts.tolist() == [100, 200, 300, 400]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"temperature": -1.0}, r"finite and 0 \(greedy\) or more, got -1.0"),
        ({"temperature": float("nan")}, "got nan"),
        ({"top_k": 0}, "top_k must be at least 1, got 0"),
        ({"top_k": 2.0}, "top_k must be a whole number, got 2.0"),
        ({"top_p": 0.0}, r"top_p must be in \(0, 1\], got 0.0"),
        ({"top_p": 1.5}, "got 1.5"),
    ],
)
def test_bad_settings_are_named(settings, message):
    with pytest.raises(ValueError, match=message):
        sampling_distribution(torch.zeros(1, 3), **settings)
