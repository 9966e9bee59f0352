"""DPO and IPO: the formulas read aloud, values by thought alone, invariants, gradients, extremes, messages."""

import math

import pytest
import torch
from torch.testing import assert_close

from course_lib.alignment import dpo_loss, implicit_reward, ipo_loss


@pytest.fixture
def pairs():
    """Log-probabilities of seven pairs: policy's and reference's, chosen and rejected."""
    generator = torch.Generator().manual_seed(0)
    return [-40 + 10 * torch.randn(7, generator=generator, dtype=torch.float64) for _ in range(4)]


def sigmoid(x):
    return 1 / (1 + math.exp(-x))


@pytest.mark.parametrize("beta", [0.05, 0.1, 2.0])
@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_dpo_is_the_formula_read_aloud(pairs, beta, smoothing):
    losses = []
    for policy_w, policy_l, reference_w, reference_l in zip(*(x.tolist() for x in pairs), strict=True):
        margin = beta * (policy_w - reference_w) - beta * (policy_l - reference_l)
        right, wrong = -math.log(sigmoid(margin)), -math.log(sigmoid(-margin))
        losses.append((1 - smoothing) * right + smoothing * wrong)
    each = dpo_loss(*pairs, beta=beta, label_smoothing=smoothing, reduction="none")
    assert_close(each, torch.tensor(losses, dtype=torch.float64), rtol=1e-10, atol=1e-12)
    assert_close(dpo_loss(*pairs, beta=beta, label_smoothing=smoothing).item(), sum(losses) / 7, rtol=1e-10, atol=0)


@pytest.mark.parametrize("beta", [0.05, 0.1, 2.0])
def test_ipo_is_the_formula_read_aloud(pairs, beta):
    losses = []
    for policy_w, policy_l, reference_w, reference_l in zip(*(x.tolist() for x in pairs), strict=True):
        h = math.log(math.exp(policy_w) * math.exp(reference_l) / (math.exp(policy_l) * math.exp(reference_w)))
        losses.append((h - 1 / (2 * beta)) ** 2)
    assert_close(ipo_loss(*pairs, beta=beta, reduction="sum").item(), sum(losses), rtol=1e-10, atol=0)


def test_the_reference_itself(pairs):
    chosen, rejected = pairs[:2]
    assert_close(dpo_loss(chosen, rejected, chosen, rejected).item(), math.log(2), rtol=1e-15, atol=0)
    assert_close(ipo_loss(chosen, rejected, chosen, rejected, beta=0.5).item(), 1.0, rtol=1e-15, atol=0)
    assert (implicit_reward(chosen, chosen) == 0).all()


def test_where_ipo_is_content_dpo_wants_more():
    reference = torch.tensor([-10.0], dtype=torch.float64)
    chosen = (reference + 5).requires_grad_()  # a margin of 5 = 1 / (2 * 0.1)
    ipo_loss(chosen, reference, reference, reference, beta=0.1).backward()
    assert chosen.grad.item() == 0
    chosen.grad = None
    dpo_loss(chosen, reference, reference, reference, beta=0.1).backward()
    assert_close(chosen.grad.item(), -0.1 * sigmoid(-0.5), rtol=1e-12, atol=0)


@pytest.mark.parametrize("loss", [dpo_loss, ipo_loss])
def test_both_completions_may_become_less_likely_for_nothing(pairs, loss):
    policy_w, policy_l, *reference = pairs
    assert_close(loss(policy_w - 30, policy_l - 30, *reference), loss(*pairs), rtol=1e-12, atol=0)


@pytest.mark.parametrize("loss", [dpo_loss, ipo_loss])
def test_the_gradient_pulls_the_two_apart_by_equal_amounts(pairs, loss):
    policy_w, policy_l = (x.requires_grad_() for x in pairs[:2])
    loss(policy_w, policy_l, *pairs[2:], reduction="sum").backward()
    assert_close(policy_w.grad, -policy_l.grad, rtol=0, atol=0)


def test_the_gradient_is_larger_where_the_implicit_reward_is_wrong():
    """Rafailov et al., section 4: the weight is beta sigmoid(reward of rejected - reward of chosen)."""
    policy = torch.tensor([-12.0, -8.0], dtype=torch.float64, requires_grad=True)
    same = torch.full((2,), -10.0, dtype=torch.float64)
    dpo_loss(policy, same, same, same, beta=0.5, reduction="sum").backward()
    assert_close(policy.grad.tolist(), [-0.5 * sigmoid(1.0), -0.5 * sigmoid(-1.0)], rtol=1e-12, atol=0)


@pytest.mark.parametrize("loss", [dpo_loss, ipo_loss])
def test_gradcheck(pairs, loss):
    assert torch.autograd.gradcheck(loss, [x.requires_grad_() for x in pairs])


def test_smoothed_dpo_is_least_at_the_margin_of_the_noise():
    # with 10 % of labels wrong the best margin is log(0.9 / 0.1)
    margins = torch.linspace(-8, 8, 3201, dtype=torch.float64)
    zero = torch.zeros_like(margins)
    losses = dpo_loss(margins, zero, zero, zero, beta=1.0, label_smoothing=0.1, reduction="none")
    assert_close(margins[losses.argmin()].item(), math.log(9), rtol=0, atol=0.005)


def test_extreme_margins_stay_finite():
    policy = torch.tensor([-1e5, -1.0]).requires_grad_()
    loss = dpo_loss(policy, policy.detach().flip(0), torch.full((2,), -9.0), torch.full((2,), -9.0), beta=1.0)
    loss.backward()
    assert_close(loss.item(), (1e5 - 1) / 2, rtol=1e-6, atol=0)  # one margin of -1e5: the loss is the margin
    assert_close(policy.grad, torch.tensor([-0.5, 0.0]))


def test_half_precision_is_widened():
    half = [torch.tensor([-300.5, -2.25]).bfloat16() for _ in range(4)]
    assert dpo_loss(*half).dtype == ipo_loss(*half).dtype == torch.float32


@pytest.mark.parametrize("loss", [dpo_loss, ipo_loss])
@pytest.mark.parametrize(
    ("change", "kwargs", "message"),
    [
        (lambda x: x[:, None], {}, r"policy_chosen \(7, 1\)"),
        (lambda x: x.long(), {}, "policy_chosen must be floating point|policy must be floating point"),
        (lambda x: x, {"beta": 0.0}, "beta must be positive"),
        (lambda x: x, {"reduction": "average"}, "reduction must be"),
    ],
)
def test_bad_input_is_named(pairs, loss, change, kwargs, message):
    with pytest.raises(ValueError, match=message):
        loss(change(pairs[0]), *pairs[1:], **kwargs)


@pytest.mark.parametrize("smoothing", [-0.1, 0.5, math.nan])
def test_a_smoothing_that_leaves_nothing_is_refused(pairs, smoothing):
    with pytest.raises(ValueError, match="label_smoothing must be"):
        dpo_loss(*pairs, label_smoothing=smoothing)
