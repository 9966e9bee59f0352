"""Bits per byte, bytes per token, fertility: by thought, and by invariants."""

import math

import pytest
from torch.testing import assert_close

from course_lib.tokenization import BPETokenizer, bits_per_byte, bytes_per_token, fertility, train_bpe


def test_bits_per_byte_by_thought():
    assert_close(bits_per_byte(math.log(256), num_tokens=7, num_bytes=7), 8.0)  # bytes guessed blindly
    assert_close(bits_per_byte(math.log(2), num_tokens=10, num_bytes=40), 0.25)  # one bit a token of four bytes
    assert bits_per_byte(0.0, num_tokens=3, num_bytes=5) == 0.0


def test_bits_per_byte_do_not_depend_on_how_the_text_is_cut():
    # Two bytes with probability 1/8 and 1/4: two losses for a byte model, one for a model whose token is both bytes.
    byte_model = bits_per_byte((math.log(8) + math.log(4)) / 2, num_tokens=2, num_bytes=2)
    word_model = bits_per_byte(math.log(32), num_tokens=1, num_bytes=2)
    assert_close(byte_model, 2.5)
    assert_close(word_model, byte_model)


def test_a_uniform_model_over_bare_bytes_costs_eight_bits(corpora):
    plain = BPETokenizer([])
    text = corpora["scripts"][1]
    num_tokens = len(plain.encode(text))
    loss = math.log(plain.vocab_size)
    assert_close(bits_per_byte(loss, num_tokens=num_tokens, num_bytes=len(text.encode())), 8.0)


def test_compression_and_fertility(corpora):
    plain, trained = BPETokenizer([]), train_bpe(corpora["prose"], vocab_size=500)
    assert bytes_per_token(plain.encode, ["naïve", "漢"]) == 1.0
    assert bytes_per_token(str.split, ["two words", ""]) == 4.5
    assert fertility(plain.encode, ["two words\n"]) == 5.0
    assert fertility(str.split, ["any number", " of words "]) == 1.0
    assert bytes_per_token(trained.encode, corpora["prose"]) > 2
    assert fertility(trained.encode, corpora["prose"]) < fertility(plain.encode, corpora["prose"]) / 2


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: bits_per_byte(-0.1, num_tokens=1, num_bytes=1),
            "nats_per_token must be finite and 0 or more, got -0.1",
        ),
        (lambda: bits_per_byte(math.nan, num_tokens=1, num_bytes=1), "nats_per_token must be finite"),
        (lambda: bits_per_byte(1.0, num_tokens=0, num_bytes=5), "got 0 tokens and 5 bytes"),
        (lambda: bits_per_byte(1.0, num_tokens=5, num_bytes=0), "got 5 tokens and 0 bytes"),
        (lambda: bytes_per_token(str.split, ["", " "]), "there are no tokens to measure"),
        (lambda: fertility(list, [" "]), "there are no words to measure"),
    ],
)
def test_bad_arguments_are_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
