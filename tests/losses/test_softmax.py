"""Log-sum-exp, log-softmax and softmax: math.exp in float64, torch, invariants, gradients, extremes."""

import math

import pytest
import torch
from torch.testing import assert_close

from course_lib.losses import log_softmax, log_sum_exp, softmax

INF = math.inf
PAIRS = [(log_sum_exp, torch.logsumexp), (log_softmax, torch.log_softmax), (softmax, torch.softmax)]
each = pytest.mark.parametrize(("ours", "theirs"), PAIRS, ids=["log_sum_exp", "log_softmax", "softmax"])


@pytest.fixture
def logits():
    return torch.randn(4, 3, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * 4


def test_matches_the_formulas_read_aloud(logits):
    for row in logits.flatten(0, 1):
        exponentials = [math.exp(value) for value in row.tolist()]
        total = sum(exponentials)
        assert_close(log_sum_exp(row).item(), math.log(total), rtol=1e-14, atol=1e-15)
        assert_close(softmax(row).tolist(), [e / total for e in exponentials], rtol=1e-14, atol=0)
        expected = [math.log(e / total) for e in exponentials]
        assert_close(
            log_softmax(row).tolist(), expected, rtol=1e-12, atol=1e-15
        )  # log near 1 loses digits in the oracle


@each
@pytest.mark.parametrize("dim", [0, 1, -1])
def test_matches_torch(logits, ours, theirs, dim):
    assert_close(ours(logits, dim=dim), theirs(logits, dim=dim), rtol=1e-13, atol=1e-15)


def test_keepdim_keeps_the_dimension(logits):
    expected = torch.logsumexp(logits, dim=1, keepdim=True)
    assert_close(log_sum_exp(logits, dim=1, keepdim=True), expected, rtol=1e-13, atol=0)


def test_equal_logits_give_log_k_and_one_in_k():
    logits = torch.full((7,), 3.0, dtype=torch.float64)
    assert_close(log_sum_exp(logits).item(), 3 + math.log(7), rtol=1e-15, atol=0)
    assert_close(log_softmax(logits), torch.full_like(logits, -math.log(7)), rtol=1e-15, atol=0)
    assert_close(softmax(logits), torch.full_like(logits, 1 / 7), rtol=1e-15, atol=0)


def test_a_common_shift_moves_the_sum_and_leaves_the_probabilities(logits):
    assert_close(log_sum_exp(logits + 5), log_sum_exp(logits) + 5, rtol=1e-14, atol=1e-14)
    assert_close(log_softmax(logits + 5), log_softmax(logits), rtol=1e-13, atol=1e-14)
    assert_close(softmax(logits + 5), softmax(logits), rtol=1e-13, atol=0)


@each
def test_permuting_the_classes_permutes_the_result(logits, ours, theirs):
    order = torch.tensor([3, 0, 4, 1, 2])
    expected = ours(logits) if ours is log_sum_exp else ours(logits)[..., order]
    assert_close(ours(logits[..., order]), expected, rtol=1e-14, atol=1e-15)


def test_log_softmax_of_log_probabilities_is_the_identity(logits):
    log_p = log_softmax(logits)
    assert_close(log_softmax(log_p), log_p, rtol=1e-13, atol=1e-15)


@each
@pytest.mark.parametrize("dim", [0, -1])
def test_gradcheck(logits, ours, theirs, dim):
    logits = logits[:2].clone().requires_grad_()
    assert torch.autograd.gradcheck(lambda x: ours(x, dim=dim), (logits,))
    assert torch.autograd.gradgradcheck(lambda x: ours(x, dim=dim), (logits,))


@each
@pytest.mark.parametrize(
    "values",
    [[1e4, 0.0, -1e4], [-1e4, -1e4, -1e4], [1e4, 1e4, 1e4], [3e38, 0.0, -1.0], [0.0, -INF, 1.0], [-3e38, 0, 0]],
)
def test_extreme_logits_match_torch_with_their_gradients(ours, theirs, values):
    found = []
    for function in (ours, theirs):
        logits = torch.tensor(values, requires_grad=True)
        result = function(logits, dim=-1)
        (gradient,) = torch.autograd.grad(result.flatten()[0], logits)
        assert gradient.isfinite().all()
        found.append((result.detach(), gradient))
    assert_close(*found)


def test_where_every_class_is_impossible_the_sum_is_zero_and_nothing_flows():
    logits = torch.full((2, 3), -INF, requires_grad=True)
    total = log_sum_exp(logits)
    assert total.tolist() == [-INF, -INF]
    total.sum().backward()
    assert (logits.grad == 0).all()
    assert log_softmax(logits).isnan().all()
    assert softmax(logits).isnan().all()


def test_log_probabilities_near_certainty_keep_their_digits():
    """At logits near 1e4 a float32 step is 1e-3: log-sum-exp subtracted after rounding would lose this answer."""
    logits = torch.tensor([1e4, 1e4 - 1])
    exact = torch.log_softmax(logits.double(), -1)
    assert_close(log_softmax(logits).double(), exact, rtol=1e-6, atol=0)


@each
def test_bad_input_is_named(ours, theirs):
    with pytest.raises(ValueError, match=r"at least one class along dim -1, got shape \(3, 0\)"):
        ours(torch.ones(3, 0))
    with pytest.raises(ValueError, match=r"at least one class along dim -1, got shape \(\)"):
        ours(torch.tensor(1.0))
    with pytest.raises(ValueError, match=r"logits must be floating point, got torch.int64"):
        ours(torch.tensor([1, 2]))
