"""KL divergence: the formula, torch, values by thought, invariants, gradients, probabilities of zero."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch.testing import assert_close

from course_lib.losses import entropy, kl_divergence, log_softmax

INF = math.inf


@pytest.fixture
def pair():
    generator = torch.Generator().manual_seed(0)
    return tuple(2 * torch.randn(6, 4, generator=generator, dtype=torch.float64) for _ in range(2))


def test_matches_the_formula_read_aloud(pair):
    total = 0.0
    for rows in zip(*(x.tolist() for x in pair), strict=True):
        p, q = ([math.exp(v) / sum(math.exp(u) for u in row) for v in row] for row in rows)
        total += sum(p[k] * math.log(p[k] / q[k]) for k in range(4))
    assert_close(kl_divergence(*pair).item(), total / 6, rtol=1e-13, atol=0)


def test_matches_torch(pair):
    log_p, log_q = (x.log_softmax(-1) for x in pair)
    expected = F.kl_div(log_q, log_p, log_target=True, reduction="batchmean")
    assert_close(kl_divergence(*pair), expected, rtol=1e-13, atol=0)
    each = torch.distributions.kl_divergence(*(torch.distributions.Categorical(logits=x) for x in pair))
    assert_close(kl_divergence(*pair, reduction="none"), each, rtol=1e-13, atol=0)


def test_a_sure_p_costs_minus_log_q():
    p, q = torch.tensor([1.0, 0.0, 0.0]), torch.tensor([0.125, 0.875, 0.0])
    assert_close(kl_divergence(p.log(), q.log()).item(), math.log(8))


def test_it_is_zero_for_equals_and_positive_and_not_symmetric_otherwise(pair):
    p, q = pair
    assert kl_divergence(p, p).item() == 0
    there, back = kl_divergence(p, q, reduction="none"), kl_divergence(q, p, reduction="none")
    assert (there > 0).all()
    assert ((there - back).abs() > 0.01).all()


def test_it_is_cross_entropy_minus_entropy(pair):
    p, q = pair
    cross = -(log_softmax(p).exp() * log_softmax(q)).sum(-1).mean()
    assert_close(kl_divergence(p, q), cross - entropy(p), rtol=1e-13, atol=0)


def test_shifts_and_a_common_order_of_the_classes_do_not_matter(pair):
    p, q = pair
    assert_close(kl_divergence(p + 3, q - 5), kl_divergence(p, q), rtol=1e-13, atol=0)
    assert_close(kl_divergence(p.flip(-1), q.flip(-1)), kl_divergence(p, q), rtol=1e-14, atol=0)


def test_gradcheck(pair):
    assert torch.autograd.gradcheck(kl_divergence, tuple(x.requires_grad_() for x in pair))


def test_what_p_rules_out_costs_nothing_and_lets_no_nan_through():
    p = torch.tensor([[0.0, 0.0, -INF], [0.0, 0.0, -INF]], requires_grad=True)
    q = torch.tensor([[0.0, 0.0, 0.0], [0.0, 0.0, -INF]], requires_grad=True)
    loss = kl_divergence(p, q, reduction="none")
    loss.sum().backward()
    assert_close(loss, torch.tensor([math.log(3 / 2), 0.0]))
    assert_close(p.grad, torch.zeros(2, 3), rtol=0, atol=1e-7)  # p is at the best place within its support
    assert_close(q.grad, torch.tensor([[-1 / 6, -1 / 6, 1 / 3], [0.0, 0.0, 0.0]]), rtol=0, atol=1e-7)


def test_what_q_rules_out_and_p_does_not_costs_everything():
    assert kl_divergence(torch.zeros(2), torch.tensor([0.0, -INF])).item() == INF


def test_extreme_logits():
    p = torch.tensor([[1e4, 0.0], [1e4, 0.0]], requires_grad=True)
    q = torch.tensor([[0.0, 1e4], [1e4, 0.0]], requires_grad=True)
    loss = kl_divergence(p, q, reduction="none")
    loss.sum().backward()
    assert loss.tolist() == [1e4, 0.0]
    assert q.grad.tolist() == [[-1, 1], [0, 0]]
    assert p.grad.tolist() == [[0, 0], [0, 0]]  # the probability that could move is exactly 0


@pytest.mark.parametrize(
    ("p", "q", "message"),
    [
        (torch.ones(3, 4), torch.ones(4), r"got p_logits \(3, 4\), q_logits \(4,\)"),
        (torch.ones(3, 0), torch.ones(3, 0), "at least one class"),
        (torch.ones(3).int(), torch.ones(3), "logits must be floating point"),
    ],
)
def test_bad_input_is_named(p, q, message):
    with pytest.raises(ValueError, match=message):
        kl_divergence(p, q)
