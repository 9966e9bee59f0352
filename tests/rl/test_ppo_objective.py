"""PPO's loss: a case computed by hand, the formula read aloud, where the gradient vanishes, splitting, messages."""

import math
from itertools import pairwise
from types import SimpleNamespace

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from course_lib.loops import Run
from course_lib.rl import ActorCritic, PolicyBatch, approximate_kl, clipped_surrogate, policy_gradient, ppo_objective


class Given(nn.Module):
    """A model that says what it was told to say."""

    def __init__(self, log_probs, entropy, values):
        super().__init__()
        self.log_probs, self.entropy, self.values = log_probs, entropy, values

    def forward(self, observations, actions):
        return SimpleNamespace(log_probs=self.log_probs, entropy=self.entropy, values=self.values)


@pytest.fixture
def by_hand():
    """Four steps with ratios 1, 2, 2 and 1/2, advantages 3, 1, -1 and -4; clip 0.25."""
    new = torch.tensor([0.5, 0.8, 0.6, 0.2], dtype=torch.float64)
    old = torch.tensor([0.5, 0.4, 0.3, 0.4], dtype=torch.float64)
    advantages = torch.tensor([3.0, 1.0, -1.0, -4.0], dtype=torch.float64)
    values, old_values = torch.tensor([1.0, 2.0, 3.0, 4.0]).double(), torch.tensor([1.0, 1.0, 2.5, 6.0]).double()
    returns, entropy = torch.tensor([2.0, 0.0, 3.0, 5.0]).double(), torch.tensor([0.5, 0.25, 0.25, 1.0]).double()
    nothing = torch.zeros(4, 1)
    batch = PolicyBatch(nothing, nothing, old.log(), advantages, returns, old_values)
    return Given(new.log(), entropy, values), batch


def test_the_case_by_hand(by_hand):
    # surrogates: min(3, 3) = 3; min(2, 1.25) = 1.25; min(-2, -1.25) = -2; min(-2, -3) = -3.  Sum -0.75.
    # value errors: 1, 4, 0, 1. Sum 6.  entropy: 2.
    loss = ppo_objective(clip=0.25, value_coefficient=0.5, entropy_coefficient=0.1)(*by_hand)
    assert loss.count == 4
    assert loss.total.item() == pytest.approx(0.75 + 0.5 * 6 - 0.1 * 2, abs=1e-12)
    assert loss.metrics["policy_loss"].item() == pytest.approx(0.75, abs=1e-12)
    assert loss.metrics["value_loss"].item() == pytest.approx(6.0, abs=1e-12)
    assert loss.metrics["entropy"].item() == pytest.approx(2.0, abs=1e-12)
    assert loss.metrics["clip_fraction"].item() == 3
    kl = 0 + 2 * (2 - 1 - math.log(2)) + (0.5 - 1 + math.log(2))
    assert loss.metrics["kl"].item() == pytest.approx(kl, abs=1e-12)


def test_the_values_clip_by_hand(by_hand):
    # values moved by 0, 1, 0.5, -2 from old ones; clipped at 0.5: 1, 1.5, 3, 5.5.  Errors 1, 2.25, 0, 0.25.
    # the worse of both: 1, 4, 0, 1 against those: 1, 4, 0, 1. With returns moved it is the clipped one that counts:
    model, batch = by_hand
    loss = ppo_objective(clip=0.25, value_clip=0.5, value_coefficient=1.0)(model, batch)
    assert loss.metrics["value_loss"].item() == pytest.approx(6.0, abs=1e-12)
    batch = batch._replace(
        returns=torch.tensor([2.0, 2.0, 3.0, 4.0]).double()
    )  # errors 1, 0, 0, 0; clipped 1, .25, 0, 2.25
    loss = ppo_objective(clip=0.25, value_clip=0.5, value_coefficient=1.0)(model, batch)
    assert loss.metrics["value_loss"].item() == pytest.approx(3.5, abs=1e-12)


@pytest.mark.parametrize("clip", [0.05, 0.2, 0.9])
def test_the_surrogate_is_the_formula_read_aloud(clip):
    g = torch.Generator().manual_seed(0)
    new, old, advantages = (torch.randn(200, generator=g, dtype=torch.float64) for _ in range(3))
    for loss, n, o, a in zip(
        *(x.tolist() for x in (clipped_surrogate(new, old, advantages, clip=clip), new, old, advantages)), strict=True
    ):
        ratio = math.exp(n - o)
        clipped = min(max(ratio, 1 - clip), 1 + clip)
        assert loss == pytest.approx(-min(ratio * a, clipped * a), rel=1e-12)


def test_the_gradient_vanishes_where_there_is_nothing_more_to_gain():
    ratio = torch.tensor([1.5, 0.5, 1.5, 0.5, 1.0], dtype=torch.float64)
    advantages = torch.tensor([2.0, -2.0, -2.0, 2.0, 2.0], dtype=torch.float64)
    log_probs = ratio.log().requires_grad_()
    clipped_surrogate(log_probs, torch.zeros(5).double(), advantages, clip=0.2).sum().backward()
    # gained enough; gained enough; wrong way; wrong way; at the start: the policy gradient
    assert_close(log_probs.grad, torch.tensor([0.0, 0.0, 3.0, -1.0, -2.0]).double(), rtol=1e-12, atol=0)


def test_on_fresh_steps_it_is_the_policy_gradient():
    """Before the first update the ratio is 1 everywhere: every gradient equals that of -log pi * advantage."""
    g = torch.Generator().manual_seed(0)
    model = ActorCritic(3, 4, generator=g).double()
    seen, actions = torch.randn(50, 3, generator=g).double(), torch.randint(4, (50,), generator=g)
    advantages, returns = torch.randn(2, 50, generator=g).double()
    judged = model(seen, actions)
    batch = PolicyBatch(seen, actions, judged.log_probs.detach(), advantages, returns, judged.values.detach())
    gradients = []
    for objective in (
        ppo_objective(entropy_coefficient=0.01),
        policy_gradient(value_coefficient=0.5, entropy_coefficient=0.01),
    ):
        model.zero_grad()
        objective(model, batch).total.backward()
        gradients.append([parameter.grad.clone() for parameter in model.parameters()])
    assert_close(gradients[0], gradients[1], rtol=1e-10, atol=1e-14)


def test_kl_is_right_on_average():
    """Summed over the old policy's probabilities the estimate is KL(old || new), exactly."""
    old, new = torch.tensor([0.2, 0.5, 0.3]).double(), torch.tensor([0.4, 0.4, 0.2]).double()
    exact = (old * (old / new).log()).sum()
    assert_close((old * approximate_kl(new.log(), old.log())).sum(), exact, rtol=1e-12, atol=0)
    assert approximate_kl(new.log(), old.log()).ge(0).all()


def test_micro_batches_give_the_same_update():
    """Sums and counts: one step on 12 rows equals one step on 5 + 7."""
    g = torch.Generator().manual_seed(0)
    batch = PolicyBatch(
        torch.randn(12, 3, generator=g),
        torch.randint(2, (12,), generator=g),
        *(torch.randn(12, generator=g).double() for _ in range(4)),
    )
    batch = batch._replace(observations=batch.observations.double())
    weights = []
    for cuts in ([0, 12], [0, 5, 12]):
        model = ActorCritic(3, 2, generator=torch.Generator().manual_seed(1)).double()
        run = Run(model, ppo_objective(), torch.optim.SGD(model.parameters(), lr=0.1), max_grad_norm=0.5)
        run.step(*(PolicyBatch(*(column[a:b] for column in batch)) for a, b in pairwise(cuts)))
        weights.append([parameter.detach() for parameter in model.parameters()])
    assert_close(weights[0], weights[1], rtol=1e-10, atol=1e-14)


def test_gradcheck():
    g = torch.Generator().manual_seed(0)
    inputs = tuple(torch.randn(8, generator=g, dtype=torch.float64) for _ in range(3))
    assert torch.autograd.gradcheck(clipped_surrogate, tuple(x.requires_grad_() for x in inputs))


def test_extreme_ratios():
    """A ratio too large for a float does no harm where it is clipped."""
    far = torch.tensor([200.0, -200.0])
    for advantage, loss in ((1.0, -1.2), (0.0, 0.0)):
        log_probs = far.clone().requires_grad_()
        losses = clipped_surrogate(log_probs, -far, torch.full((2,), advantage))
        assert_close(losses, torch.tensor([loss, 0.0]))
        losses.sum().backward()
        assert log_probs.grad.tolist() == [0.0, 0.0]


def test_bad_input_is_named():
    three, four = torch.zeros(3), torch.zeros(4)
    with pytest.raises(ValueError, match=r"got log_probs \(3,\), old_log_probs \(4,\), advantages \(3,\)"):
        clipped_surrogate(three, four, three)
    with pytest.raises(ValueError, match="clip must be above 0, got 0"):
        clipped_surrogate(three, three, three, clip=0)
    for wrong in ({"clip": -0.1}, {"value_clip": 0.0}):
        with pytest.raises(ValueError, match="must be above 0"):
            ppo_objective(**wrong)
    model = ActorCritic(2, 3)
    rows = PolicyBatch(torch.zeros(4, 2), torch.zeros(4).long(), *(torch.zeros(4) for _ in range(4)))
    for objective in (ppo_objective(), policy_gradient()):
        for name in ("log_probs", "advantages", "returns", "values"):
            with pytest.raises(ValueError, match=rf"{name} must be one number for each row, \(4,\), got \(4, 1\)"):
                objective(model, rows._replace(**{name: torch.zeros(4, 1)}))
    for name in ("value_coefficient", "entropy_coefficient"):
        with pytest.raises(ValueError, match=f"{name} must be 0 or more, got -1"):
            ppo_objective(**{name: -1.0})
        with pytest.raises(ValueError, match=f"{name} must be 0 or more, got nan"):
            policy_gradient(**{name: math.nan})
