"""Sharpness-aware minimisation: the update of the paper, and weights that come back exactly."""

import math

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from course_lib.loops import Loss, NonFiniteStep, Run, classification, sharpness_aware

EXACT = {"rtol": 0, "atol": 0}


def cut(batch, sizes):
    return list(zip(*(tensor.split(sizes) for tensor in batch), strict=True))


@pytest.mark.parametrize("sizes", [[12], [4, 8]])
def test_the_gradient_is_the_one_at_the_point_uphill(sizes, ragged_batch, small_model, make_run):
    """Equation 2: epsilon = rho * g / |g|; equation 3: the gradient at theta + epsilon; for any cut of the batch."""
    rho, model = 0.3, small_model()

    def gradient():
        loss = classification(model, ragged_batch)
        return torch.autograd.grad(loss.total / loss.count, list(model.parameters()))

    first = gradient()
    norm = torch.sqrt(sum(part.square().sum() for part in first))
    with torch.no_grad():
        for parameter, part in zip(model.parameters(), first, strict=True):
            parameter += rho * part / norm
    expected = gradient()
    run = make_run(small_model(), gradients=sharpness_aware(rho))
    run.step(*cut(ragged_batch, sizes))
    for parameter, part in zip(run.model.parameters(), expected, strict=True):
        assert_close(parameter.grad, part, rtol=1e-12, atol=1e-14)  # float64, sums in another order


def test_weights_come_back_exactly_and_buffers_see_the_first_pass_alone(batches, norm_model, state, make_run):
    (batch,) = batches(1)
    still, plain = (make_run(norm_model(), lr=0.0) for _ in range(2))
    still.gradients = sharpness_aware(0.1)
    torch.manual_seed(3)
    one = still.step(batch)
    torch.manual_seed(3)
    two = plain.step(batch)
    assert_close(state(still), state(plain), **EXACT)
    assert_close(one.loss, two.loss, **EXACT)


def test_on_a_parabola_it_looks_one_radius_further_up():
    """Half of theta squared has gradient theta; from 3, rho = 0.5 uphill, it is 3.5."""
    model = nn.Linear(1, 1, bias=False).double()
    nn.init.constant_(model.weight, 3.0)
    sgd = torch.optim.SGD(model.parameters(), lr=1.0)
    run = Run(model, lambda model, x: Loss(model(x).square().sum() / 2, 1), sgd, gradients=sharpness_aware(0.5))
    step = run.step(torch.ones(1, 1, dtype=torch.float64))
    assert (step.loss.item(), step.grad_norm.item(), model.weight.item()) == (4.5, 3.5, -0.5)


def test_a_bad_first_pass_is_refused_with_the_weights_in_place(batches, small_model, make_run, state):
    (x, y), run = batches(1)[0], make_run(small_model(dtype=torch.float32), gradients=sharpness_aware())
    before = state(run)
    with pytest.raises(NonFiniteStep):
        run.step((x * math.nan, y))
    assert_close(state(run), before, **EXACT)


def test_an_objective_that_fails_uphill_leaves_the_weights_in_place(batches, small_model, make_run, state):
    run, calls = make_run(small_model(dtype=torch.float32), gradients=sharpness_aware()), []

    def fails_second_time(model, batch):
        calls.append(batch)
        if len(calls) == 2:
            raise RuntimeError("no second look")
        return classification(model, batch)

    run.objective = fails_second_time
    before = state(run)
    with pytest.raises(RuntimeError, match="no second look"):
        run.step(batches(1)[0])
    assert_close(state(run), before, **EXACT)


@pytest.mark.parametrize("rho", [0.0, -1.0, math.nan, math.inf])
def test_a_radius_that_is_none_is_refused(rho):
    with pytest.raises(ValueError, match="positive and finite"):
        sharpness_aware(rho)
