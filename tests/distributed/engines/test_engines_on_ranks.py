"""What engines promise besides equality: bad steps stop all ranks alike, nothing is mixed up, refusals in words."""

import copy
import math
import time

import pytest
import torch
from torch import nn
from torch.multiprocessing.reductions import StorageWeakRef
from torch.testing import assert_close

from course_lib.collectives import world_size
from course_lib.distributed import DDP, FullySharded, Zero, check_same_model, checkpoint_activations, norm_over_shards
from course_lib.loops import EMA, Loss, NonFiniteStep, Run, regression
from course_lib.optim import LAMB

CLOSE = {"rtol": 1e-10, "atol": 1e-12}  # float64, sums in another order
EXACT = {"rtol": 0, "atol": 0}


def small_model(width=8):
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(5, width), nn.Tanh(), nn.Linear(width, width), nn.Tanh(), nn.Linear(width, 1))


def engine_and_run(name, model, objective=regression, *, optimizer=torch.optim.SGD, lr=0.1, **options):
    if name == "ddp":
        engine = DDP(model)
    else:
        engine = FullySharded(model) if name == "fsdp" else Zero(model, stage=int(name[-1]))
    parameters = engine.groups if isinstance(engine, Zero) else model.parameters()
    return engine, Run(model, objective, optimizer(parameters, lr=lr), gradients=engine, **options)


def whole_parameters(engine, run):
    if isinstance(engine, DDP):
        return {name: parameter.detach().clone() for name, parameter in run.model.named_parameters()}
    return engine.whole_parameters()


def rows(me=0, count=3):
    generator = torch.Generator().manual_seed(me)
    x = torch.randn(count, 5, generator=generator)
    return x, x.sum(1, keepdim=True)


ENGINES = ["ddp", "zero 1", "zero 2", "zero 3", "fsdp"]


def worker(me):
    for name in ENGINES:
        check_bad_step_of_one_rank(name, me)
        check_fp16_overflow_of_one_rank(name, me)
    check_only_one_block_is_whole()
    check_gradients_are_freed_in_the_backward_pass()
    check_objective_with_weights(me)
    check_objective_that_calls_twice(me)
    check_deferred_checks(me)
    check_half_precision(me)
    check_norm(me)
    check_refusals(me)


def check_bad_step_of_one_rank(name, me):
    engine, run = engine_and_run(name, small_model())
    run.step(rows(me))
    before = whole_parameters(engine, run)
    x, y = rows(me)
    with pytest.raises(NonFiniteStep, match="step 1: loss nan"):
        run.step((x * (math.nan if me == 1 else 1.0), y))
    assert_close(whole_parameters(engine, run), before, **EXACT)
    assert run.index == 1
    run.step(rows(me))  # all go on


def check_fp16_overflow_of_one_rank(name, me):
    engine, run = engine_and_run(name, small_model(), lr=0.01, precision="fp16")
    fine = rows(me)
    assert run.step(fine).skipped is False
    before = whole_parameters(engine, run)
    big = (fine[0], fine[1] + 1e5)
    assert run.step(big if me == 1 else fine).skipped is True
    assert run.scaler.scale.item() == 2.0**15
    assert_close(whole_parameters(engine, run), before, **EXACT)
    assert run.step(fine).skipped is False


def check_only_one_block_is_whole():
    """While a block computes the others have no parameters, and when its forward pass is over nobody keeps them."""
    model, seen = small_model(), []
    linears = [module for module in model if isinstance(module, nn.Linear)]
    for linear in linears:  # before the engine adds its own, which frees
        linear.register_forward_hook(lambda *_: seen.append(sum("weight" in one._parameters for one in linears)))
    wholes = []
    for linear in linears:
        linear.register_forward_hook(
            lambda module, *_: wholes.append(StorageWeakRef(module._parameters["weight"].untyped_storage()))
        )

    def objective(model, batch):
        loss = regression(model, batch)
        end = time.monotonic() + 5
        while time.monotonic() < end and not all(whole.expired() for whole in wholes):
            time.sleep(0.01)  # gloo's thread lets go of what it gathered a moment later
        assert [whole.expired() for whole in wholes] == [True, True, True]
        return loss

    _, run = engine_and_run("zero 3", model, objective)
    run.step(rows())
    assert seen == [1, 1, 1]
    assert [list(one._parameters) for one in linears] == [["flat_0"]] * 3
    assert {name for name, _ in model.named_parameters()} == {"0.flat_0", "2.flat_0", "4.flat_0"}


def check_gradients_are_freed_in_the_backward_pass():
    """When the first layer's gradient arrives, stage 2 has summed and freed the others'; stage 1 has them all."""
    for stage, there in ((1, [True, True]), (2, [False, False])):
        model, seen = small_model(), []
        later = [model[2].weight, model[4].weight]
        model[0].weight.register_hook(lambda _, seen=seen, later=later: seen.extend(p.grad is not None for p in later))
        engine_and_run(f"zero {stage}", model)[1].step(rows())
        assert seen == there


class Scaled(nn.Module):
    """An objective with a weight of its own."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(2.0))

    def forward(self, model, batch):
        loss = regression(model, batch)
        return Loss(loss.total * self.scale, loss.count)


def check_objective_with_weights(me):
    model, objective = small_model(), Scaled()
    optimizer = torch.optim.SGD([*model.parameters(), *objective.parameters()], lr=0.1)
    with pytest.raises(ValueError, match="1 of the optimizer's 7 parameters are not in the model that DDP was built"):
        Run(model, objective, optimizer, gradients=DDP(model))
    Run(model, objective, optimizer, gradients=DDP(model, objective)).step(rows(me))
    whole = [regression(small_model(), rows(place)).total.detach() for place in range(world_size())]
    assert_close(objective.scale.grad, sum(whole) / (3 * world_size()))


def check_objective_that_calls_twice(me):
    """As a contrastive or a preference objective does."""

    def twice(model, batch):
        x, y = batch
        return Loss((model(x) * model(-x) - y).square().sum(), len(y))

    def part(place):
        return tuple(tensor.double() for tensor in rows(place, count=2 + place))

    by_hand = small_model().double()
    losses = [twice(by_hand, part(place)) for place in range(world_size())]
    (sum(loss.total for loss in losses) / sum(loss.count for loss in losses)).backward()
    expected = {name: parameter.grad for name, parameter in by_hand.named_parameters()}
    for name in ENGINES:
        engine, run = engine_and_run(name, small_model().double(), twice)
        run.step(part(me))
        found = {n: p.grad for n, p in run.model.named_parameters()} if name == "ddp" else engine.whole_gradients()
        assert_close(found, expected, **CLOSE, msg=lambda text, name=name: f"{name}: {text}")


def check_deferred_checks(me):
    """The verdict that stays on the device, as on a GPU: the bad step changes nothing, its reading raises."""
    for name in ("zero 2", "fsdp"):

        def fused(parameters, lr):
            return torch.optim.AdamW(parameters, lr=lr, fused=True)

        engine, run = engine_and_run(name, small_model(), optimizer=fused, defer_checks=True)
        run.step(rows(me)).values()
        before = whole_parameters(engine, run)
        x, y = rows(me)
        step = run.step((x * (math.nan if me == 1 else 1.0), y))
        assert_close(whole_parameters(engine, run), before, **EXACT)
        with pytest.raises(NonFiniteStep, match="step 1: loss nan"):
            step.values()


def check_half_precision(me):
    x, y = rows(me)
    model = small_model()
    engine = FullySharded(model, param_dtype=torch.bfloat16, reduce_dtype=torch.float32)
    dtypes = []
    model[0].register_forward_hook(lambda module, inputs, output: dtypes.append(output.dtype))
    run = Run(
        model,
        lambda model, batch: regression(lambda x: model(x).float(), batch),
        torch.optim.SGD(model.parameters(), lr=0.1),
        gradients=engine,
    )
    run.step((x, y))
    assert dtypes == [torch.bfloat16]
    plain = small_model()
    Run(plain, regression, torch.optim.SGD(plain.parameters(), lr=0.1)).step((x, y))  # sums over ranks by itself
    for name, gradient in engine.whole_gradients().items():
        exact = plain.get_parameter(name).grad
        assert gradient.dtype == torch.float32
        assert (gradient - exact).norm() < 0.03 * exact.norm()  # bfloat16 has 8 bits
        assert not torch.equal(gradient, exact)


def check_norm(me):
    """Parts on each rank count all, what all have counts once."""
    group = torch.distributed.group.WORLD
    found = norm_over_shards({None: [torch.tensor([2.0])], group: [torch.full((3,), float(me + 1))]})
    assert_close(found, torch.tensor(4.0 + 3 * sum((place + 1) ** 2 for place in range(world_size()))).sqrt())
    assert_close(norm_over_shards({None: [torch.tensor([2.0])], group: []}), torch.tensor(2.0))


def check_refusals(me):
    odd = nn.Linear(5, 1 + (me == 1))
    for engine in (DDP, FullySharded, check_same_model, lambda model: Zero(model, stage=1)):
        with pytest.raises(ValueError, match=r"weight is \[1, 5\] torch.float32 on rank 0 and \[2, 5\] .* on rank 1"):
            engine(copy.deepcopy(odd))
    with pytest.raises(ValueError, match="bias is missing on rank 0"):
        check_same_model(nn.Linear(5, 1, bias=me == 1))
    model = small_model()
    zero = Zero(model, stage=3)
    with pytest.raises(ValueError, match="by an optimizer over its shards"):
        Run(model, regression, torch.optim.SGD(small_model().parameters(), lr=0.1), gradients=zero)
    with pytest.raises(ValueError, match="LAMB looks at whole matrices"):
        Run(model, regression, LAMB(zero.groups, lr=0.1), gradients=zero)
    with pytest.raises(ValueError, match="cannot be copied"):
        EMA(model)
    with pytest.raises(ValueError, match="in stage 3 no rank has the weights to be averaged"):
        Run(model, regression, torch.optim.SGD(zero.groups, lr=0.1), gradients=zero, ema=EMA(small_model()))
    with pytest.raises(ValueError, match="there are no gradients"):
        zero.whole_gradients()
    with pytest.raises(ValueError, match="recurrent layers"):
        Zero(nn.LSTM(2, 2), stage=3)
    recomputed = small_model()
    checkpoint_activations(recomputed[0])
    with pytest.raises(ValueError, match="computes its activations again does so without its parameters"):
        Zero(recomputed, stage=3)
    with pytest.raises(ValueError, match="stage must be 1, 2 or 3, got 0"):
        Zero(small_model(), stage=0)
    model = small_model()
    early = torch.optim.SGD(model.parameters(), lr=0.1)
    engine = FullySharded(model)
    with pytest.raises(ValueError, match="by an optimizer made afterwards"):
        Run(model, regression, early, gradients=engine)
    late = torch.optim.SGD(model.parameters(), lr=0.1)
    with pytest.raises(ValueError, match="no rank has the whole weights to be averaged"):
        Run(model, regression, late, gradients=engine, ema=EMA(small_model()))


def test_engines_on_ranks(on_two_ranks):
    on_two_ranks(worker)


def test_without_a_process_group_the_remedy_is_named():
    for engine in (DDP, FullySharded, lambda model: Zero(model, stage=1)):
        with pytest.raises(ValueError, match="there is no process group: start the workers with"):
            engine(small_model())
    with pytest.raises(ValueError, match="got no tensors"):
        norm_over_shards({None: []})
