"""The moving average of the weights: torch's own bit for bit, and what a skipped step does to it."""

import pytest
import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torch.testing import assert_close

from course_lib.loops import EMA, Loss, NonFiniteStep, Run, classification

EXACT = {"rtol": 0, "atol": 0}


def test_it_is_torchs_average_after_every_step(batches, norm_model, make_run):
    """Averaged parameters and copied buffers, from the first update (a copy) on."""
    model = norm_model()
    run, theirs = make_run(model), AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(0.9))
    run.ema = EMA(model, decay=0.9)
    for batch in batches(8):
        run.step(batch)
        theirs.update_parameters(model)
        assert_close(run.ema.model.state_dict(), theirs.module.state_dict(), **EXACT)


def test_the_average_is_the_sum_that_its_definition_says(batches, small_model, make_run):
    """After n updates: decay**(n-1) of the first weights, and (1 - decay) * decay**(n-i) of the i-th."""
    run = make_run(small_model(), objective=None)
    weight, seen = run.model[0].weight, []
    average = EMA(run.model, decay=0.75)
    for value in (4.0, -2.0, 1.0):
        nn.init.constant_(weight, value)
        seen.append(value)
        average.update(run.model)
    expected = 0.75**2 * seen[0] + 0.25 * 0.75 * seen[1] + 0.25 * seen[2]
    assert_close(average.model[0].weight, torch.full_like(weight, expected), rtol=1e-15, atol=0)


def test_a_step_that_was_skipped_on_the_device_does_not_count(batches, norm_model):
    told, alone, model = EMA(norm_model()), EMA(norm_model()), norm_model()
    yes, no = torch.tensor(True), torch.tensor(False)
    for step in range(4):
        nn.init.constant_(model[0].weight, float(step))
        alone.update(model)
        told.update(model, no)
    assert_close(told.model.state_dict(), alone.model.state_dict(), rtol=1e-6, atol=0)  # lerp by tensor, by number
    before = {name: tensor.clone() for name, tensor in told.model.state_dict().items()}
    nn.init.constant_(model[0].weight, 1e6)
    told.update(model, yes)
    assert_close(told.model.state_dict(), before, **EXACT)


def test_the_average_is_for_evaluation_and_leaves_the_trained_model_alone(norm_model):
    model = norm_model().train()
    average = EMA(model)
    assert not any(module.training for module in average.model.modules())
    assert not any(parameter.requires_grad for parameter in average.model.parameters())
    assert model.training
    assert all(parameter.requires_grad for parameter in model.parameters())
    average.update(model)
    nn.init.zeros_(model[0].weight)
    assert average.model[0].weight.abs().sum() > 0  # no memory is shared


def test_copy_to_gives_the_average_to_a_model(norm_model):
    average, other = EMA(norm_model(seed=0)), norm_model(seed=1)
    average.copy_to(other)
    assert_close(other.state_dict(), average.model.state_dict(), **EXACT)


def test_it_goes_on_from_its_state(norm_model):
    model = norm_model()
    one, two = EMA(model, decay=0.5), EMA(norm_model(seed=1), decay=0.5)
    one.update(model)
    two.load_state_dict(one.state_dict())
    nn.init.ones_(model[0].weight)
    one.update(model)
    two.update(model)
    assert two.num_updates == 2
    assert_close(two.model.state_dict(), one.model.state_dict(), **EXACT)


@pytest.mark.parametrize("decay", [-0.1, 1.0, float("nan")])
def test_decays_outside_zero_to_one_are_refused(decay):
    with pytest.raises(ValueError, match="from 0 to below 1"):
        EMA(nn.Linear(1, 1), decay=decay)


def test_another_model_is_refused():
    with pytest.raises(ValueError, match="other parameters"):
        EMA(nn.Linear(1, 1)).update(nn.Linear(2, 1))


def test_a_run_tells_it_what_was_skipped(batches, norm_model):
    """Deferred: an fp16 overflow in the first step, and a step after a bad one, leave no trace in the average."""

    def make(**options):
        model = norm_model().eval()
        adam = torch.optim.Adam(model.parameters(), lr=0.1, fused=True)
        return Run(model, classification, adam, precision="fp16", ema=EMA(model, decay=0.5), **options)

    def shouted(model, batch):
        loss = classification(model, batch)
        return Loss(loss.total * 1e5, loss.count, loss.metrics)

    runs = [make(defer_checks=deferred) for deferred in (False, True)]
    one, (x, y), *rest = batches(4)
    for run in runs:
        run.objective = shouted
        assert bool(run.step(one).skipped)
        run.objective = classification
        run.step(one)
    late = runs[1].step((x * float("nan"), y))
    for batch in rest:
        runs[1].step(batch)
    with pytest.raises(NonFiniteStep):
        late.values()
    assert [int(run.ema.num_updates) for run in runs] == [1, 1]
    assert runs[0].scaler.state_dict() == runs[1].scaler.state_dict()
    assert_close(runs[1].ema.model.state_dict(), runs[0].ema.model.state_dict(), **EXACT)
    assert_close(runs[1].model.state_dict(), runs[0].model.state_dict(), **EXACT)
