"""Evaluation is exact for any cut of the data, and leaves no trace in training."""

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from course_lib.data import Batches
from course_lib.loops import Loss, Run, classification, evaluate, evaluating, train

EXACT = {"rtol": 0, "atol": 0}


def test_each_module_gets_the_mode_it_had(norm_model):
    model = norm_model()
    model[1].eval()  # a frozen batch norm in a model that trains
    modes = [module.training for module in model.modules()]
    with evaluating(model) as same:
        assert same is model
        assert not any(module.training for module in model.modules())
        assert not torch.is_grad_enabled()
    assert [module.training for module in model.modules()] == modes
    assert torch.is_grad_enabled()


def test_modes_and_random_state_come_back_after_an_error(norm_model):
    model, random_state = norm_model(), torch.get_rng_state()
    model[3].eval()
    modes = [module.training for module in model.modules()]
    with pytest.raises(RuntimeError, match="mat1"), evaluating(model):
        model(torch.rand(4, 6))  # draws numbers, then fails: the model takes 5
    assert [module.training for module in model.modules()] == modes
    assert_close(torch.get_rng_state(), random_state, **EXACT)


def test_evaluation_leaves_the_random_state_alone(batches, norm_model):
    def noisy(model, batch):
        torch.rand(5)
        return classification(model, batch)

    model = norm_model()
    loader = torch.utils.data.DataLoader(batches(3), batch_size=None, shuffle=True)  # draws its seed from the global
    torch.manual_seed(3)
    before = torch.get_rng_state()
    evaluate(model, noisy, loader)
    assert_close(torch.get_rng_state(), before, **EXACT)


def test_training_with_and_without_evaluation_ends_with_the_same_bits(batches, norm_model, state):
    """Dropout reads the global generator and batch norm keeps averages: either would give a trace away."""

    def trained(evaluated):
        model = norm_model()
        run = Run(model, classification, torch.optim.Adam(model.parameters(), lr=0.01))
        torch.manual_seed(4)
        for _ in train(run, batches(12), steps=12):
            if evaluated:
                evaluate(model, classification, batches(3, seed=9))
        return state(run), torch.get_rng_state()

    assert_close(trained(True), trained(False), **EXACT)


@pytest.mark.parametrize("batch_size", [1, 5, 12, 100])
def test_ragged_batches_give_the_mean_over_targets(batch_size, ragged_batch, small_model):
    """Of 12 rows 7 have a target: any mean of means would be another number."""
    model, (x, y) = small_model(), ragged_batch
    data = Batches((x, y), batch_size=batch_size, seed=0, shuffle=False, epochs=1)
    found = evaluate(model, classification, data)
    with torch.no_grad():
        logits = model(x[5:])
        oracle = -logits.log_softmax(-1)[torch.arange(7), y[5:]].mean()
        accuracy = (logits.argmax(-1) == y[5:]).double().mean()
    assert_close(found, {"loss": oracle.item(), "accuracy": accuracy.item()}, rtol=1e-12, atol=0)


def test_many_small_losses_are_added_up_in_float64():
    """2^24 + 1 is no float32: a float32 sum would stay at 2^24."""
    totals = [torch.tensor(2.0**24), *[torch.tensor(1.0)] * 4]
    found = evaluate(nn.Identity(), lambda model, batch: Loss(batch, 1), totals)
    assert found == {"loss": (2**24 + 4) / 5}


def test_a_loss_that_couples_rows_is_averaged_over_batches():
    data = [torch.tensor(value) for value in (1.0, 2.0, 6.0)]
    assert evaluate(nn.Identity(), lambda model, batch: Loss(batch, None), data) == {"loss": 3.0}


def test_an_endless_stream_is_refused(ragged_batch, small_model):
    endless = Batches(ragged_batch, batch_size=4, seed=0)
    with pytest.raises(ValueError, match="build the batches with epochs=1"):
        evaluate(small_model(), classification, endless)


@pytest.mark.parametrize("rows", [slice(0, 0), slice(0, 5)])
def test_no_targets_are_refused(rows, ragged_batch, small_model):
    x, y = ragged_batch
    data = [(x[rows], y[rows])] if rows.stop else []
    with pytest.raises(ValueError, match="no targets: the stream is empty, or every label is masked"):
        evaluate(small_model(), classification, data)
