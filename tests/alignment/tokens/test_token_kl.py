"""KL: three estimates against the exact value by enumeration, their gradients, extremes, and the controller."""

import math

import pytest
import torch
from torch.distributions import Categorical, kl_divergence
from torch.testing import assert_close

from course_lib.alignment import KLController, exact_kl, kl_estimates, pack_completions, sequence_log_probs
from course_lib.nn.transformer import Transformer, llama


@pytest.fixture
def pair():
    g = torch.Generator().manual_seed(0)
    return torch.randn(6, generator=g, dtype=torch.float64), torch.randn(6, generator=g, dtype=torch.float64)


def means(logits, reference):
    """The mean of each estimate over all tokens, weighted by how often the policy draws them: no sampling."""
    log_probs, reference = logits.log_softmax(-1), reference.log_softmax(-1)
    return [(log_probs.detach().exp() * estimate).sum(-1) for estimate in kl_estimates(log_probs, reference)]


def slow_kl(p, q):
    return sum(a * math.log(a / b) for a, b in zip(p.tolist(), q.tolist(), strict=True) if a > 0)


def test_estimates_by_thought():
    # half as likely as the policy says: r = 1/2
    k1, k2, k3 = kl_estimates(torch.tensor(0.8).log(), torch.tensor(0.4).log())
    assert k1.item() == pytest.approx(math.log(2))
    assert k2.item() == pytest.approx(math.log(2) ** 2 / 2)
    assert k3.item() == pytest.approx(0.5 - 1 + math.log(2))
    # twice as likely: k1 is negative, the others are not
    k1, k2, k3 = kl_estimates(torch.tensor(0.4).log(), torch.tensor(0.8).log())
    assert k1.item() == pytest.approx(-math.log(2))
    assert k3.item() == pytest.approx(2 - 1 - math.log(2))
    assert all(estimate.item() == 0 for estimate in kl_estimates(torch.tensor(-3.0), torch.tensor(-3.0)))


def test_exact_kl_is_the_formula_and_torchs(pair):
    policy, reference = pair
    expected = slow_kl(policy.softmax(0), reference.softmax(0))
    assert exact_kl(policy, reference).item() == pytest.approx(expected, abs=1e-14)
    g = torch.Generator().manual_seed(1)
    many, others = torch.randn(2, 3, 4, 7, generator=g, dtype=torch.float64)
    torchs = kl_divergence(Categorical(logits=many), Categorical(logits=others))
    assert_close(exact_kl(many, others), torchs, rtol=1e-12, atol=1e-14)
    assert_close(exact_kl(many + 5, others - 3), exact_kl(many, others), rtol=0, atol=1e-13)  # logits may be shifted
    assert exact_kl(many, many).abs().max() == 0


def test_k1_and_k3_are_unbiased_and_k2_is_not(pair):
    policy, reference = pair
    exact = exact_kl(policy, reference)
    k1, k2, k3 = means(policy, reference)
    assert_close(k1, exact, rtol=0, atol=1e-14)
    assert_close(k3, exact, rtol=0, atol=1e-14)
    assert abs(k2 - exact) > 0.02 * exact


def test_the_bias_of_k2_vanishes_near_the_reference(pair):
    """Ten times nearer, the KL is a hundred times smaller and the relative bias ten times."""
    policy, reference = pair
    biases = []
    for scale in (0.1, 0.01, 0.001):
        near = reference + scale * policy
        exact = exact_kl(near, reference)
        biases.append(abs(means(near, reference)[1] / exact - 1).item())
    assert biases[0] < 0.1
    assert biases[1] / biases[0] == pytest.approx(0.1, rel=0.2)
    assert biases[2] / biases[1] == pytest.approx(0.1, rel=0.2)


def test_k3_varies_less_than_k1_near_the_reference(pair):
    policy, reference = pair
    near = reference + 0.1 * policy
    probabilities = near.softmax(0)
    k1, _, k3 = kl_estimates(near.log_softmax(0), reference.log_softmax(0))
    variance = [(probabilities * (k - exact_kl(near, reference)).square()).sum().item() for k in (k1, k3)]
    assert variance[1] < 0.05 * variance[0]


def test_the_gradients_of_the_estimates_as_losses(pair):
    """Mean gradients under the policy's own draws: none, that of the KL, that of the KL the other way round."""
    policy, reference = pair
    policy.requires_grad_()
    found = [torch.autograd.grad(mean, policy, retain_graph=True)[0] for mean in means(policy, reference)]
    forward = torch.autograd.grad(exact_kl(policy, reference), policy)[0]
    backward = torch.autograd.grad(exact_kl(reference, policy), policy)[0]
    for gradient, expected in zip(found, (torch.zeros(6).double(), forward, backward), strict=True):
        assert_close(gradient, expected, rtol=0, atol=1e-14)


def test_a_completions_kl_is_the_sum_over_its_tokens():
    """Over all completions of three tokens the mean summed k1 is the KL of whole completions, by enumeration."""
    models = [
        Transformer(
            llama(vocab_size=4, width=8, num_layers=1, num_heads=2, context_length=5),
            generator=torch.Generator().manual_seed(seed),
        ).double()
        for seed in (0, 1)
    ]
    for model in models:
        for weight in model.parameters():
            weight.data.mul_(5)
    completions = [[a, b, c] for a in range(4) for b in range(4) for c in range(4)]
    packed = pack_completions([[1]] * 64, completions)
    log_probs, reference = (sequence_log_probs(model, *packed).detach() for model in models)
    probabilities = log_probs.sum(1).exp()
    exact = slow_kl(probabilities, reference.sum(1).exp())
    k1, _, k3 = kl_estimates(log_probs, reference)
    assert exact > 0.01
    assert (probabilities * k1.sum(1)).sum().item() == pytest.approx(exact, abs=1e-13)
    assert (probabilities * k3.sum(1)).sum().item() == pytest.approx(exact, abs=1e-13)


def test_gradcheck(pair):
    first, second = (x.log_softmax(0).requires_grad_() for x in pair)
    assert torch.autograd.gradcheck(lambda *x: torch.stack(kl_estimates(*x)), (first, second))
    assert torch.autograd.gradcheck(exact_kl, (first, second))


def test_extremes():
    never = torch.tensor([0.0, -math.inf, 0.0])
    assert exact_kl(never, torch.zeros(3)).item() == pytest.approx(math.log(1.5))
    assert exact_kl(torch.zeros(3), never).item() == math.inf
    assert exact_kl(torch.tensor([0.0, -1e4, 0.0]), never).item() == 0  # e^-10000 is 0 to a float
    assert exact_kl(torch.tensor([1e4, 0.0]), torch.tensor([0.0, 1e4])).item() == pytest.approx(1e4)
    assert exact_kl(torch.zeros(3, dtype=torch.bfloat16), never.bfloat16()).dtype == torch.float32
    k1, _, k3 = kl_estimates(torch.tensor(-1.0), torch.tensor(-1.0 - 1e-4))  # tiny: no cancellation
    assert k3.item() == pytest.approx((k1.item() ** 2) / 2, rel=1e-3)


def test_the_controller():
    fixed = KLController(0.1)
    for kl in (0.0, 100.0, -1.0):
        fixed.update(kl)
    assert fixed.coefficient == 0.1
    controller = KLController(1.0, target=6.0, gain=0.1)
    for kl, factor in ((6.0, 1.0), (6.6, 1.01), (60.0, 1.02), (5.4, 0.99), (-1.0, 0.98)):
        before = controller.coefficient
        controller.update(kl)
        assert controller.coefficient == pytest.approx(before * factor, rel=1e-12)


def test_the_controller_finds_the_coefficient_that_keeps_the_target():
    """A policy whose KL is 2 / coefficient: the target 8 needs 1/4."""
    controller = KLController(1.0, target=8.0)
    for _ in range(300):
        controller.update(2 / controller.coefficient)
    assert controller.coefficient == pytest.approx(0.25, rel=1e-3)


def test_bad_input_is_named():
    with pytest.raises(ValueError, match=r"kl_estimates needs .* one shape, got \(3,\) and \(3, 1\)"):
        kl_estimates(torch.zeros(3), torch.zeros(3, 1))
    with pytest.raises(ValueError, match=r"exact_kl needs .* got \(2, 3\) and \(3,\)"):
        exact_kl(torch.zeros(2, 3), torch.zeros(3))
    for arguments, message in (
        ({"coefficient": -0.1}, "coefficient must be 0 or more, got -0.1"),
        ({"coefficient": math.nan}, "coefficient must be 0 or more, got nan"),
        ({"coefficient": 0.1, "target": 0.0}, "target must be above 0"),
        ({"coefficient": 0.0, "target": 1.0}, "a coefficient of 0 stays 0"),
        ({"coefficient": 0.1, "gain": 5.0}, "gain must be between 0 and 5"),
    ):
        with pytest.raises(ValueError, match=message):
            KLController(**arguments)
    with pytest.raises(ValueError, match="must be finite, got nan"):
        KLController(0.1).update(math.nan)
