"""Objectives that are modules or draw numbers: evaluated, restored, saved and stopped like the model itself."""

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from course_lib.loops import (
    EarlyStopping,
    Loss,
    NonFiniteStep,
    Run,
    classification,
    evaluate,
    fit,
    sharpness_aware,
)

EXACT = {"rtol": 0, "atol": 0}


class Centred(nn.Module):
    """Learns a temperature, and keeps a running mean of the model's outputs while it trains."""

    def __init__(self):
        super().__init__()
        self.log_scale = nn.Parameter(torch.zeros(()))
        self.register_buffer("center", torch.zeros(3))

    def forward(self, model, batch):
        x, y = batch
        logits = model(x)
        if self.training:
            self.center.lerp_(logits.detach().float().mean(0), 0.5)
        loss = classification(lambda _: (logits - self.center) * self.log_scale.exp(), (x, y))
        return Loss(loss.total, loss.count, loss.metrics)


def run_of(model, objective, **options):
    learning = [*model.parameters(), *objective.parameters()]
    return Run(model, objective, torch.optim.SGD(learning, lr=0.1), **options)


def test_validation_changes_neither_its_buffers_nor_its_mode(batches, norm_model):
    def trained(**options):
        torch.manual_seed(0)
        objective = Centred()
        run = run_of(norm_model(), objective)
        fit(run, batches(6), steps=6, progress=False, **options)
        return run.model.state_dict(), objective.state_dict(), objective.training

    assert_close(trained(validation=batches(2, seed=5), every=1), trained(), **EXACT)


def test_validation_does_not_move_the_generators_of_the_run(batches, norm_model):
    def trained(**options):
        generator = torch.Generator().manual_seed(3)

        def noisy(model, batch):
            x, y = batch
            return classification(model, (x + torch.randn(x.shape, generator=generator), y))

        torch.manual_seed(0)
        model = norm_model()
        run = Run(model, noisy, torch.optim.SGD(model.parameters(), lr=0.1), generators=[generator])
        fit(run, batches(6), steps=6, progress=False, **options)
        return model.state_dict()

    assert_close(trained(validation=batches(2, seed=5), every=1), trained(), **EXACT)


def test_validation_computes_in_the_precision_of_the_run(batches, norm_model):
    seen = []

    def watched(model, batch):
        seen.append((model.training, model(batch[0]).dtype))
        return classification(model, batch)

    model = norm_model()
    run = Run(model, watched, torch.optim.SGD(model.parameters(), lr=0.1), precision="bf16")
    fit(run, batches(1), steps=1, validation=batches(1), progress=False)
    assert seen == [(True, torch.bfloat16), (False, torch.bfloat16)]
    evaluate(model, watched, batches(1))
    assert seen[-1] == (False, torch.float32)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_bad_step_leaves_its_buffers_as_they_were(precision, batches, norm_model):
    objective = Centred()
    run = run_of(norm_model(), objective, precision=precision)
    (x, y), fine = batches(2)
    run.step(fine)
    before = {name: tensor.clone() for name, tensor in objective.state_dict().items()}
    with pytest.raises(NonFiniteStep):
        run.step((x * float("nan"), y))
    assert_close(objective.state_dict(), before, **EXACT)


def test_early_stopping_brings_its_weights_back_too(batches, norm_model):
    objective, kept = Centred(), {}

    def remember(run):
        kept[run.index] = [{k: v.clone() for k, v in part.state_dict().items()} for part in (run.model, objective)]

    run = run_of(norm_model(), objective, after_step=[remember])
    stopping = EarlyStopping(patience=99)
    history = fit(run, batches(8), steps=8, every=1, validation=batches(1, seed=9), early_stopping=stopping)
    values = history.column("validation_loss")
    best = values.index(min(values)) + 1
    assert history.best_step == best
    assert_close([run.model.state_dict(), objective.state_dict()], kept[best], **EXACT)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_sharpness_aware_takes_its_gradient_once_and_its_buffers_from_the_first_pass(precision, batches, norm_model):
    """With hardly any radius the second gradient is the first: for the objective's weights as for the model's."""
    plain, sharp = Centred(), Centred()
    model, same = norm_model().eval(), norm_model().eval()
    run_of(model, plain, precision=precision).step(*batches(2))
    run_of(same, sharp, precision=precision, gradients=sharpness_aware(1e-7)).step(*batches(2))
    assert_close(sharp.log_scale.grad, plain.log_scale.grad, rtol=1e-2, atol=1e-5)
    assert_close(sharp.center, plain.center, **EXACT)
