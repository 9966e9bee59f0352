"""Monitors: their numbers against slow references, and a training that does not notice them."""

import copy
import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.testing import assert_close

from course_lib.loops import Loss, Run, classification, train
from course_lib.loops.monitors import ActivationStatistics, UpdateRatios, gradient_norms

EXACT = {"rtol": 0, "atol": 0}
CLOSE = {"rtol": 1e-12, "atol": 0}  # float64


def double(batches):
    return [(x.double(), y) for x, y in batches]


def slow_norm(tensor):
    """The formula read aloud: the root of the sum of squares, one number after the other."""
    return math.sqrt(math.fsum(x**2 for x in tensor.flatten().tolist()))


def test_update_ratios_match_a_slow_reference(make_run, batches):
    run = make_run(optimizer=torch.optim.Adam, lr=0.01)
    with UpdateRatios(run, every=3) as ratios:
        before = copy.deepcopy(run.model)
        for step in train(run, double(batches(9)), steps=9):
            expected = {}
            old = dict(before.named_parameters())
            for name, new in run.model.named_parameters():
                expected[f"update_ratio/{name}"] = slow_norm(new.detach() - old[name].detach()) / slow_norm(old[name])
            assert_close(ratios.values(), expected if step.index % 3 == 0 else {}, **CLOSE)
            before = copy.deepcopy(run.model)


def test_a_ratio_known_by_thought_alone(make_run):
    model = nn.Linear(1, 1, bias=False)
    with torch.no_grad():
        model.weight.fill_(2.0)
    run = make_run(
        model, objective=lambda model, batch: classification(lambda x: F.pad(model(x), (0, 1)), batch), lr=4.0
    )
    ratios = UpdateRatios(run, every=1)
    with torch.no_grad():
        model.weight.zero_()  # logits 0 and 0: the gradient is -1/2, the step 2
    run.step((torch.ones(1, 1), torch.tensor([0])))
    assert ratios.values() == {"update_ratio/weight": math.inf}
    with torch.no_grad():
        model.weight.zero_()
    run.optimizer.param_groups[0]["lr"] = 0.0
    run.step((torch.ones(1, 1), torch.tensor([0])))
    assert ratios.values() == {"update_ratio/weight": 0.0}


def test_ratios_scale_with_the_learning_rate_and_not_with_the_units_of_the_weights():
    found = []
    for lr, scale in ((0.1, 1.0), (0.2, 1.0), (0.1 * 9, 3.0)):
        model = nn.Linear(4, 1, bias=False, dtype=torch.float64)
        with torch.no_grad():
            model.weight.copy_(torch.arange(1, 5) * scale)

        def linear(model, batch, scale=scale):
            return Loss((model(batch) / scale).sum(), len(batch))

        run = Run(model, linear, torch.optim.SGD(model.parameters(), lr=lr))
        ratios = UpdateRatios(run, every=1)
        run.step(torch.eye(4, dtype=torch.float64))
        found.append(ratios.values()["update_ratio/weight"])
    assert found[1] == pytest.approx(2 * found[0], rel=1e-12)
    assert found[2] == pytest.approx(found[0], rel=1e-12)


@pytest.mark.parametrize("options", [{"momentum": 0.9}, {}])
def test_training_is_the_same_with_and_without_monitors(make_run, norm_model, state, batches, options):
    def trained(watched):
        run = make_run(norm_model(), options=options, max_grad_norm=0.5)
        torch.manual_seed(3)  # dropout
        steps = train(run, batches(12), steps=12)
        if not watched:
            return [float(step.loss) for step in steps], state(run)
        with UpdateRatios(run, every=2) as ratios, ActivationStatistics(run.model) as statistics:
            losses = []
            for step in steps:
                losses.append(float(step.loss))
                ratios.values(), gradient_norms(run.model), statistics.values()
        return losses, state(run)

    alone, watched = trained(False), trained(True)
    assert alone[0] == watched[0]
    assert_close(watched[1], alone[1], **EXACT)


def test_a_resumed_run_measures_what_the_unbroken_one_did(make_run, batches):
    data = double(batches(6))
    run = make_run()
    with UpdateRatios(run, every=3) as ratios:
        for step in train(run, data, steps=6):
            if step.index == 5:
                saved = copy.deepcopy(run.model.state_dict())
    resumed = make_run(index=5)
    resumed.model.load_state_dict(saved)
    with UpdateRatios(resumed, every=3) as again:
        resumed.step(data[5])
    assert again.values() == ratios.values() != {}


def test_an_update_that_fails_leaves_no_old_weights_behind(make_run, ragged_batch):
    run = make_run()
    ratios = UpdateRatios(run, every=2)
    run.step(ragged_batch)
    x, y = ragged_batch
    with pytest.raises(RuntimeError, match="step 1: loss nan"):
        run.step((x * math.nan, y))
    assert ratios.values() == {}
    before = copy.deepcopy(run.model)
    run.step(ragged_batch)
    change = run.model[0].weight - before[0].weight
    expected = slow_norm(change.detach()) / slow_norm(before[0].weight)
    assert ratios.values()["update_ratio/0.weight"] == pytest.approx(expected, rel=1e-12)


def test_a_copy_for_an_update_that_broke_off_is_not_used_for_another(make_run, ragged_batch):
    run = make_run(index=1)
    ratios = UpdateRatios(run, every=2)

    def break_off(*_):
        raise RuntimeError("stopped")

    hook = run.optimizer.register_step_pre_hook(break_off)
    with pytest.raises(RuntimeError, match="stopped"):
        run.step(ragged_batch)  # the weights are copied for update 2, which is not made
    hook.remove()
    run.index = 2  # a checkpoint of another time, say
    run.step(ragged_batch)
    assert ratios.values() == {}


def test_only_what_the_optimizer_trains_is_measured(make_run, small_model, ragged_batch):
    model = small_model()
    model[0].bias.requires_grad_(False)
    run = make_run(model)
    group = run.optimizer.param_groups[0]
    group["params"] = [parameter for parameter in group["params"] if parameter is not model[2].bias]
    with UpdateRatios(run, every=1) as ratios:
        run.step(ragged_batch)
        assert list(ratios.values()) == ["update_ratio/0.weight", "update_ratio/2.weight"]
    assert not run.optimizer._optimizer_step_pre_hooks
    assert not run.optimizer._optimizer_step_post_hooks
    run.step(ragged_batch)
    assert ratios.values() == {}  # closed: the last update was not measured


def test_ratios_of_low_precision_weights_do_not_overflow(make_run):
    model = nn.Linear(4, 2, bias=False, dtype=torch.float16)
    with torch.no_grad():
        model.weight.fill_(60000.0)  # the square is beyond float16
    run = make_run(model, objective=lambda model, batch: Loss(model.weight.float().sum(), 1), lr=32.0)
    with UpdateRatios(run, every=1) as ratios:
        run.step(None)  # a gradient of 1: each weight goes down by 32, a step that float16 has there
    assert ratios.values()["update_ratio/weight"] == pytest.approx(32 / 60000, rel=1e-12)


def test_gradient_norms_add_up_to_the_whole(make_run, ragged_batch):
    run = make_run()
    step = run.step(ragged_batch)
    norms = gradient_norms(run.model)
    expected = {f"grad_norm/{name}": slow_norm(p.grad) for name, p in run.model.named_parameters()}
    assert_close(norms, expected, **CLOSE)
    assert math.sqrt(sum(norm**2 for norm in norms.values())) == pytest.approx(float(step.grad_norm), rel=1e-12)


def test_gradient_norms_are_those_after_clipping(make_run, ragged_batch):
    run = make_run(max_grad_norm=0.01)
    run.step(ragged_batch)
    whole = math.sqrt(sum(norm**2 for norm in gradient_norms(run.model).values()))
    assert whole == pytest.approx(0.01, rel=1e-3)  # torch divides by the norm plus 1e-6
    run.optimizer.zero_grad()
    with pytest.raises(ValueError, match="no parameter has a gradient: ask after an update"):
        gradient_norms(run.model)


def slow_statistics(output_EU):
    """Mean, deviation, share of zeros and of dead units, read aloud for rows of units."""
    numbers = [float(x) for row in output_EU for x in row]
    mean = math.fsum(numbers) / len(numbers)
    std = math.sqrt(math.fsum((x - mean) ** 2 for x in numbers) / len(numbers))
    dead = [all(float(row[unit]) == 0 for row in output_EU) for unit in range(output_EU.shape[1])]
    return mean, std, numbers.count(0.0) / len(numbers), sum(dead) / len(dead)


@pytest.mark.parametrize(
    ("shape", "unit_dim", "as_rows"),
    [
        ((6, 5), 1, lambda y: y),
        ((3, 5, 2, 2), 1, lambda y: y.permute(0, 2, 3, 1).reshape(-1, 5)),
        ((3, 2, 5), -1, lambda y: y.reshape(-1, 5)),
    ],
)
def test_statistics_match_a_slow_reference_over_several_passes(shape, unit_dim, as_rows):
    generator = torch.Generator().manual_seed(0)
    inputs = [torch.randn(shape, generator=generator) - 0.5 for _ in range(2)]
    for x in inputs:
        x.movedim(unit_dim, 0)[:2] = -1.0  # units 0 and 1 are dead
    model = nn.Sequential(nn.Identity(), nn.ReLU())
    with ActivationStatistics(model, unit_dim=unit_dim) as statistics:
        for x in inputs:
            model(x)
    expected = slow_statistics(torch.cat([as_rows(x.clamp(min=0)) for x in inputs]))
    names = ("mean/1", "std/1", "zero_share/1", "dead_share/1")
    assert_close(statistics.values(), dict(zip(names, expected, strict=True)), **CLOSE)
    assert statistics.values()["dead_share/1"] == 0.4


def test_a_unit_is_alive_if_it_spoke_in_any_pass():
    model = nn.ReLU()
    with ActivationStatistics(nn.Sequential(model)) as statistics:
        model(torch.tensor([[1.0, -1.0, -1.0]]))
        model(torch.tensor([[-1.0, 1.0, -1.0]]))
    assert statistics.values()["dead_share/0"] == 1 / 3
    assert statistics.values()["zero_share/0"] == 2 / 3


def test_hooks_are_gone_afterwards_also_after_an_error():
    model = nn.Sequential(nn.Linear(2, 2), nn.ReLU())

    def fail_inside():
        with ActivationStatistics(model, kind=nn.Module):
            assert all(module._forward_hooks for module in model.modules())
            raise RuntimeError("stopped")

    with pytest.raises(RuntimeError, match="stopped"):
        fail_inside()
    assert not any(module._forward_hooks for module in model.modules())


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_low_precision_outputs_are_added_up_in_full(dtype):
    model = nn.Sequential(nn.ReLU())
    with ActivationStatistics(model) as statistics, torch.autocast("cpu", dtype=torch.bfloat16):
        model(torch.full((4000, 2), 256.0, dtype=dtype))  # sum and squares are beyond float16
    assert statistics.values() == {"mean/0": 256.0, "std/0": 0.0, "zero_share/0": 0.0, "dead_share/0": 0.0}


def test_a_model_without_such_modules_lists_those_it_has():
    with pytest.raises(ValueError, match="there is no ReLU to watch; the model has: GELU, Linear, Sequential"):
        ActivationStatistics(nn.Sequential(nn.Linear(2, 2), nn.GELU()))


def test_what_cannot_be_measured_is_named():
    model = nn.Sequential(nn.ReLU())
    with ActivationStatistics(model) as statistics:
        with pytest.raises(ValueError, match="module '0' put nothing out"):
            statistics.values()
        model(torch.zeros(0, 3))  # a rank without rows
        with pytest.raises(ValueError, match="module '0' put nothing out"):
            statistics.values()
        with pytest.raises(ValueError, match=r"module '0' must put out a tensor with a dimension 1, got \(3,\)"):
            model(torch.zeros(3))
        model(torch.zeros(2, 3))
        with pytest.raises(ValueError, match="module '0' put out 3 units before and 4 now: give each place"):
            model(torch.zeros(2, 4))
    with (
        ActivationStatistics(nn.Sequential(nn.LSTM(2, 2)), kind=nn.LSTM) as statistics,
        pytest.raises(ValueError, match="must put out a tensor with a dimension 1, got tuple"),
    ):
        next(iter(statistics._modules.values()))(torch.zeros(1, 1, 2))


def test_a_bad_interval_is_refused(make_run):
    with pytest.raises(ValueError, match="every must be at least 1 update, got 0"):
        UpdateRatios(make_run(), every=0)
