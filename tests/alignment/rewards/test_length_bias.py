"""Length bias: the slope against numpy's least squares, and a planted price of length that is left behind."""

import math

import numpy as np
import pytest
import torch
from torch import nn
from torch.testing import assert_close

from course_lib.alignment import LengthAside, Preferences, length_slope, reward_objective
from course_lib.loops import Run


def drawn(num, seed=0):
    return torch.randn(num, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_the_slope_is_that_of_least_squares():
    worth, noise = drawn(200), drawn(200, seed=1)
    lengths = 80 + 20 * drawn(200, seed=2) - 8 * worth  # long ones are worse
    rewards = 2 * worth + 0.03 * lengths + noise
    columns = np.stack([lengths.numpy(), worth.numpy(), np.ones(200)], axis=1)
    expected = np.linalg.lstsq(columns, rewards.numpy(), rcond=None)[0][0]
    assert length_slope(rewards, lengths, given=worth) == pytest.approx(expected, abs=1e-12)
    assert length_slope(rewards, lengths) == pytest.approx(np.polyfit(lengths, rewards, 1)[0], abs=1e-12)


def test_other_things_equal_is_another_question():
    worth = drawn(500)
    lengths = 80 - 8 * worth + drawn(500, seed=1)
    assert length_slope(worth, lengths) < -0.1  # long ones are worse, and rewarded so
    assert abs(length_slope(worth, lengths, given=worth)) < 1e-12  # but not for being long
    assert length_slope(worth + 0.5 * lengths, lengths, given=worth) == pytest.approx(0.5, abs=1e-12)


def test_what_is_the_same_everywhere_holds_nothing_equal():
    rewards, lengths = drawn(20), drawn(20, seed=1)
    assert length_slope(rewards, lengths, given=torch.ones(20)) == length_slope(rewards, lengths)


def test_units():
    worth, lengths = drawn(50), drawn(50, seed=1)
    rewards = drawn(50, seed=2)
    slope = length_slope(rewards, lengths, given=worth)
    assert length_slope(3 * rewards + 7, 10 * lengths - 5, given=-1e6 * worth + 2) == pytest.approx(0.3 * slope)


class PerToken(nn.Module):
    """A reward for each kind of first token, blind to length."""

    def __init__(self, num):
        super().__init__()
        self.kind = nn.Parameter(torch.zeros(num))

    def forward(self, tokens, mask):
        return self.kind[tokens[:, 1]]


def test_what_is_paid_for_length_is_left_behind():
    g = torch.Generator().manual_seed(0)
    kinds = torch.randint(0, 5, (2, 3000), generator=g)
    lengths = torch.randint(1, 60, (2, 3000), generator=g)
    truth = torch.tensor([0.0, 0.5, 1.0, 1.5, 2.0])
    worth = truth[kinds] + 0.05 * lengths
    won = torch.rand(3000, generator=g) < (worth[0] - worth[1]).sigmoid()
    rows = [[[int(k)] + [0] * int(n) for k, n in zip(*side, strict=True)] for side in zip(kinds, lengths, strict=True)]
    pairs = [(a, b) if w else (b, a) for a, b, w in zip(*rows, won.tolist(), strict=True)]
    batch = Preferences([[0]] * 3000, [c for c, _ in pairs], [r for _, r in pairs], torch.ones(3000)).batch()
    aside = LengthAside(PerToken(5))
    run = Run(aside, reward_objective(), torch.optim.Adam(aside.parameters(), lr=0.3))
    for _ in range(60):
        run.step(batch)
    assert aside.per_token == pytest.approx(0.05, abs=0.006)  # three deviations
    kind = aside.model.kind.detach()
    assert_close(kind - kind[0], truth, rtol=0, atol=0.3)


def test_the_model_alone_is_what_it_was():
    model = PerToken(4)
    aside = LengthAside(model)
    tokens, mask = torch.tensor([[0, 2, 3]]), torch.tensor([[True, True, False]])
    assert aside.model is model
    assert_close(aside(tokens, mask), model(tokens, mask))  # at first nothing is paid
    with torch.no_grad():
        aside.per_hundred.fill_(3.0)
    assert_close(aside(tokens, mask) - model(tokens, mask), torch.tensor([0.06]))  # two real tokens


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: length_slope(torch.zeros(3), torch.zeros(2)), r"\[\(3,\), \(2,\)\]"),
        (lambda: length_slope(torch.zeros(3), torch.ones(3)), "all texts are of one length"),
        (lambda: length_slope(torch.zeros(3), torch.arange(3.0), given=2 * torch.arange(3.0)), "go in step"),
        (lambda: length_slope(torch.tensor([0, math.nan]), torch.arange(2.0)), "must be finite"),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
