"""16-bit training: what autocast touches, the loss scale against torch's, and steps that overflow."""

import math

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from course_lib.loops import Loss, LossScaler, NonFiniteStep, Run, in_precision, regression

EXACT = {"rtol": 0, "atol": 0}
CPU = torch.device("cpu")


def column(*numbers):
    return torch.tensor(numbers, dtype=torch.float32).unsqueeze(1)


def one_weight(value=1.0):
    model = nn.Linear(1, 1, bias=False)
    nn.init.constant_(model.weight, value)
    return model


def run_with(precision, model=None, lr=0.0, **kwargs):
    model = one_weight() if model is None else model
    return Run(model, regression, torch.optim.SGD(model.parameters(), lr=lr), precision=precision, **kwargs)


@pytest.mark.parametrize(("precision", "exact_up_to"), [("bf16", 256), ("fp16", 2048)])
def test_a_product_has_as_many_bits_as_its_format(precision, exact_up_to):
    """The first whole number that the format lacks is rounded to the even one beside it; float32 has both."""
    x = column(exact_up_to, exact_up_to + 1)
    low, full = (in_precision(regression, name, CPU)(one_weight(), (x, x)) for name in (precision, "fp32"))
    assert (low.total.item(), full.total.item()) == (1.0, 0.0)


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_weights_gradients_and_loss_stay_in_float32(precision, batches, norm_model):
    run = run_with(precision, nn.Linear(5, 3))
    step = run.step((batches(1)[0][0], torch.zeros(32, 3)))
    assert {run.model.weight.dtype, run.model.weight.grad.dtype, step.loss.dtype, step.grad_norm.dtype} == {
        torch.float32
    }


def test_full_precision_leaves_the_objective_as_it_is():
    assert in_precision(regression, "fp32", CPU) is regression


def test_the_scale_changes_nothing_but_what_would_underflow():
    """Same step in fp16 with and without: all factors are powers of two, and no gradient here is small or large."""
    x, y = column(1, 2, 3, 4) / 8, column(1, 3, 5, 7) / 8
    scaled, plain = (run_with("fp16", lr=0.125) for _ in range(2))
    plain.scaler = LossScaler(torch.tensor(1.0))
    one, two = scaled.step((x, y)), plain.step((x, y))
    assert_close((one.loss, one.grad_norm, scaled.model.weight), (two.loss, two.grad_norm, plain.model.weight), **EXACT)


def test_a_gradient_that_underflows_in_fp16_survives_by_the_scale():
    """The mean loss sends 2**-30 back to the output, below fp16's least number 2**-24; 2**16 times that is above."""

    def tiny(model, batch):
        return Loss((model(batch[0]).float() * 2**-30).sum(), len(batch[0]))

    def gradient(scale):
        run = run_with("fp16")
        run.objective, run.scaler = tiny, LossScaler(torch.tensor(scale))
        run.step((column(1.0), column(0.0)))
        return run.model.weight.grad.item()

    assert (gradient(1.0), gradient(2.0**16)) == (0.0, 2.0**-30)


def test_the_scale_is_that_of_the_mean_loss_so_that_many_targets_do_not_overflow():
    """262,144 targets with a gradient of 1/2 each: their sum alone is past fp16's end, let alone 65,536 times it."""
    x = torch.ones(2**18, 1)
    run = run_with("fp16")
    step = run.step((x, x + 0.25))
    assert (step.skipped, run.scaler.reference) == (False, 2.0**18)
    assert_close(step.grad_norm, torch.tensor(0.5), **EXACT)


def test_an_overflow_skips_the_step_halves_the_scale_and_is_recorded(state):
    model = nn.Sequential(one_weight(0.5), nn.BatchNorm1d(1, affine=False), one_weight(0.01))
    called = []
    run = run_with("fp16", model, lr=0.1, after_step=[lambda run: called.append(run.index)])
    x = column(0, 1, 2, 3)
    fine, big = (x, 0.01 * (x - 1.5)), (x, 1e3 * (x - 1.5))
    assert run.step(fine).skipped is False
    before = state(run)
    step = run.step(big)
    assert_close(state(run), before, **EXACT)
    assert step.skipped is True
    values = step.values()
    assert (values["skipped"], values["loss_scale"], math.isfinite(values["grad_norm"])) == (1.0, 2.0**16, False)
    assert (run.scaler.scale.item(), run.index, run.consumed, called) == (2.0**15, 2, 2, [1])
    while run.step(big).skipped:
        pass
    assert run.scaler.scale.item() < 2.0**15
    assert called == [1, run.index]


def test_at_scale_one_an_overflow_is_a_failure():
    run = run_with("fp16")
    huge = (column(1.0), column(-1e6))
    for _ in range(16):
        assert run.step(huge).skipped
    with pytest.raises(NonFiniteStep, match=r"step 16: .* last gradient norms (inf, )+inf\."):
        run.step(huge)
    assert (run.scaler.scale.item(), run.index) == (1.0, 16)


def test_a_loss_that_is_not_finite_is_a_failure_at_once():
    """No loss scale helps a forward pass that overflows."""
    run = run_with("fp16")
    with pytest.raises(NonFiniteStep, match="step 0: loss nan"):
        run.step((column(math.nan), column(0.0)))
    assert run.scaler.scale.item() == 2.0**16


def test_deferred_overflows_are_skipped_on_the_device_as_at_once(state):
    def make(**kwargs):
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(1, 4), nn.BatchNorm1d(4), nn.Linear(4, 1))
        return Run(model, regression, torch.optim.Adam(model.parameters(), fused=True), precision="fp16", **kwargs)

    now, later = make(defer_checks=False), make(defer_checks=True)
    x = column(0, 1, 2, 3)
    for factor in (0.01, 1e3, 1e3, 0.01, 3e3, 0.01):
        one, two = now.step((x, x * factor)), later.step((x, x * factor))
        assert_close(two.values(), one.values(), equal_nan=True, **EXACT)
    assert_close(state(later), state(now), **EXACT)
    assert now.scaler.state_dict() == later.scaler.state_dict()
    assert now.scaler.scale < 2.0**16


def test_the_scale_follows_torchs_own():
    torch.manual_seed(0)
    weight = torch.zeros(1, requires_grad=True)
    sgd, theirs = torch.optim.SGD([weight], lr=0.1), torch.amp.GradScaler("cpu", init_scale=2.0**10, growth_interval=3)
    mine = LossScaler(torch.tensor(2.0**10), growth_interval=3)
    for overflow in (torch.rand(60) < 0.25).tolist():
        theirs.scale(weight.sum()).backward()
        weight.grad.fill_(math.inf if overflow else 1.0)
        theirs.step(sgd)
        theirs.update()
        mine.update(torch.tensor(overflow))
        assert mine.scale.item() == theirs.get_scale()


def test_the_scaler_goes_on_from_its_state():
    one, two = LossScaler(growth_interval=3), LossScaler(growth_interval=3)
    pattern = [False, False, True, False, False, False, False]
    for overflow in pattern[:2]:
        one.update(torch.tensor(overflow))
    one.reference = 32.0
    two.load_state_dict(one.state_dict())
    for overflow in pattern[2:]:
        one.update(torch.tensor(overflow))
        two.update(torch.tensor(overflow))
    assert one.state_dict() == two.state_dict() == {"scale": 2.0**16, "good_steps": 1, "reference": 32.0}


@pytest.mark.parametrize("scale", [0.0, 0.5, 3.0, math.inf])
def test_scales_that_are_no_power_of_two_are_refused(scale):
    with pytest.raises(ValueError, match="power of two of at least 1"):
        LossScaler(torch.tensor(scale))


def test_a_growth_interval_of_nothing_is_refused():
    with pytest.raises(ValueError, match="at least 1 step, got 0"):
        LossScaler(growth_interval=0)


def test_unknown_precisions_and_half_weights_are_refused():
    with pytest.raises(ValueError, match="one of fp32, bf16, fp16, got 'half'"):
        run_with("half")
    with pytest.raises(ValueError, match="do not call"):
        run_with("fp16", one_weight().half())


def test_a_first_batch_without_targets_does_not_fix_the_reference():
    scaler = LossScaler()
    objective = scaler.scaled(lambda model, batch: Loss(torch.tensor(0.0), batch))
    objective(None, 0)
    assert scaler.reference is None
    objective(None, 60)
    assert scaler.reference == 64.0


def test_the_scale_does_not_grow_for_ever():
    scaler = LossScaler(growth_interval=1)
    for _ in range(100):
        scaler.update(torch.tensor(False))
    assert scaler.scale.item() == 2.0**32


def test_a_deferred_overflow_at_scale_one_is_a_failure():
    model = one_weight()
    adam = torch.optim.Adam(model.parameters(), fused=True)
    run = Run(model, regression, adam, precision="fp16", defer_checks=True)
    run.scaler = LossScaler(torch.tensor(1.0))
    step = run.step((column(1.0), column(-1e6)))
    with pytest.raises(NonFiniteStep, match="step 0"):
        step.values()
