"""Pipelines on two and four ranks against one process: losses, norms, every gradient, weights in the end."""

import pytest
import torch
import torch.distributed as dist
from torch import nn
from torch.testing import assert_close

from course_lib.collectives import rank, world_size
from course_lib.data import Batches
from course_lib.distributed import (
    FullySharded,
    Pipeline,
    TensorParallel,
    TorchPipeline,
    TransformerStage,
    device_mesh,
    split_transformer,
)
from course_lib.loops import Checkpoints, Loss, NonFiniteStep, Run, evaluate, next_token, regression, train
from course_lib.nn.transformer import Transformer, gpt, llama

CLOSE = {"rtol": 1e-10, "atol": 1e-12}  # float64, sums in another order
# The gradient of a key's bias is 0 but for rounding, which Adam divides by its own size.
WEIGHTS_CLOSE = {"rtol": 1e-10, "atol": 1e-10}
STEPS, FEW, ROWS, BATCH_SIZE, TOKENS, VOCABULARY = 20, 4, 9, 4, 4, 12  # an epoch's last batch has one row
SIZES = {"vocab_size": VOCABULARY, "width": 8, "num_layers": 4, "num_heads": 2, "context_length": TOKENS}
CONFIGS = {"gpt": gpt(**SIZES), "llama": llama(**SIZES)}  # the first with a tied embedding


def model(name, seed=0):
    return Transformer(CONFIGS[name], generator=torch.Generator().manual_seed(seed)).double()


def batches(place=0, places=1, drop_last=False):
    generator = torch.Generator().manual_seed(1)
    text = torch.randint(0, VOCABULARY, (ROWS, TOKENS + 1), generator=generator)
    y = text[:, 1:].clone()
    y[torch.rand(y.shape, generator=generator) < 0.3] = -100  # rows have different numbers of targets
    return Batches((text[:, :-1], y), batch_size=BATCH_SIZE, seed=2, rank=place, world_size=places, drop_last=drop_last)


def with_metric(model, batch):
    """An objective with a metric, whose name only the last stage can know."""
    loss = next_token(model, batch)
    return Loss(loss.total, loss.count, {"twice": 2 * loss.total.detach()})


def make_run(name, way, dp=1, tp=1):
    if way == "one process":
        learner = model(name)
        return Run(learner, with_metric, adamw(learner), max_grad_norm=0.5)
    mesh = device_mesh(dp=dp, tp=tp, pp=world_size() // (dp * tp))
    copy, place = mesh.get_local_rank("dp"), mesh.get_local_rank("pp")
    whole = model(name, seed=copy)  # the copies start from different weights: those of the first must win
    stage = TransformerStage(whole, place, mesh["pp"].size())
    if place > 0 and stage.tied is not None:
        nn.init.ones_(stage.tied)  # likewise
    schedule = "gpipe" if "gpipe" in way else "1f1b"
    if "torch" in way:
        engine = TorchPipeline(stage, mesh, schedule=schedule)
    else:
        within = None
        if tp > 1:
            split_transformer(stage, mesh)
            within = TensorParallel(stage, mesh)
        elif "FSDP" in way:
            within = FullySharded(stage, mesh=mesh["dp"])
        engine = Pipeline(stage, mesh, schedule=schedule, within=within)
    return Run(stage, with_metric, adamw(stage), max_grad_norm=0.5, gradients=engine)


def adamw(learner):
    return torch.optim.AdamW(learner.parameters(), lr=0.02, weight_decay=0.1)


def whole(run, what):
    if hasattr(run.gradients, f"whole_{what}"):
        return getattr(run.gradients, f"whole_{what}")()
    named = run.model.named_parameters()
    return {name: (p.grad if what == "gradients" else p.detach()).clone() for name, p in named}


def trained(name, way, accumulate, dp=1, tp=1, steps=STEPS, drop_last=False):
    run, record = make_run(name, way, dp, tp), []
    places = (dist.get_rank() // (world_size() // dp), dp) if way != "one process" else (0, 1)
    for step in train(run, batches(*places, drop_last), steps=steps, accumulate=accumulate):
        gradients = whole(run, "gradients") if step.index in (1, 2, STEPS) else {}
        numbers = {"norm": step.grad_norm, "count": torch.as_tensor(step.count), "twice": step.metrics["twice"]}
        record.append({"loss": step.loss, **numbers, **gradients})
    return record, whole(run, "parameters"), run


def worker(me, expected, folder):
    for name, way, accumulate, steps in (
        ("gpt", "1f1b", 3, STEPS),  # with four stages fewer micro-batches than stages
        ("llama", "gpipe", 5, STEPS),
        ("llama", "1f1b", 5, FEW),
    ):
        found = trained(name, way, accumulate, steps=steps)
        compare(f"{name} {way}", found, expected[name, accumulate])
        check_timeline(found[2].gradients, accumulate if "gpipe" in way else min(accumulate, world_size() - me))
    compare("torch, 1f1b", trained("gpt", "torch 1f1b", 4, drop_last=True), expected["gpt", "even"])
    found = trained("llama", "torch gpipe", 4, drop_last=True, steps=FEW)
    compare("torch, gpipe", found, expected["llama", "even"])
    if world_size() == 4:
        compare("two copies", trained("gpt", "1f1b", 3, dp=2), expected["gpt", 3])
        compare("layers in two parts", trained("gpt", "1f1b", 3, tp=2, steps=FEW), expected["gpt", 3])
        compare("two sharded copies", trained("gpt", "1f1b, FSDP", 3, dp=2, steps=FEW), expected["gpt", 3])
        found = trained("llama", "torch 1f1b", 4, dp=2, drop_last=True, steps=FEW)
        compare("two copies, torch", found, expected["llama", "even"])
    check_evaluation()
    check_a_frozen_tied_embedding()
    check_checkpoints(folder)
    check_a_bad_stage()
    check_that_activations_are_freed(me)
    check_precision()
    check_errors()


def check_timeline(pipeline, held):
    timeline = pipeline.timeline()
    assert pipeline.peak_held == timeline.peak_held[rank()] == held
    assert len(timeline.of_stage(0)) == len(timeline.events) / world_size()
    assert timeline.events[0].start_seconds == 0
    assert 0 < timeline.bubble < 1


def check_evaluation():
    """All stages report what the whole model has; training mode, and the next step's timeline, are as they were."""
    run = make_run("gpt", "1f1b")
    rows = batches()
    finite = Batches(rows.data, batch_size=BATCH_SIZE, seed=0, epochs=1, rank=0, world_size=1)
    with torch.no_grad():
        losses = [with_metric(model("gpt"), batch) for batch in finite]
    count = sum(loss.count for loss in losses)
    for _ in range(2):
        found = evaluate(run.model, run.gradients.forward_only(with_metric), finite)
        assert found["loss"] == pytest.approx(float(sum(loss.total for loss in losses)) / count, rel=1e-12)
        assert found["twice"] == pytest.approx(2 * found["loss"], rel=1e-12)
        run.gradients._precision = "bf16"  # of training: evaluation has its own
    assert run.model.training
    own = Batches(rows.data, batch_size=BATCH_SIZE, seed=0, epochs=1)  # each rank its own rows
    with pytest.raises(ValueError, match="got different micro-batches"):
        evaluate(run.model, run.gradients.forward_only(with_metric), own)


def check_a_frozen_tied_embedding():
    """It stays as it is, under weight decay as well."""
    for way in ("1f1b", "torch 1f1b"):
        run = make_run("gpt", way)
        if run.model.tied is not None:
            run.model.tied.requires_grad_(False)
            before = run.model.tied.clone()
        next(iter(train(run, batches(drop_last=True), steps=1, accumulate=4)))
        assert run.model.tied is None or torch.equal(run.model.tied, before)


def check_checkpoints(folder):
    """Saved in mid-run and gone on from in new stages: the same to the last bit."""
    run, stream = make_run("gpt", "1f1b"), batches()
    folder = f"{folder}/{world_size()}"
    for _ in train(run, stream, steps=3, accumulate=2):
        pass
    Checkpoints(folder).save(run)
    straight = [step.loss for step in train(run, stream.skip(run.consumed), steps=6, accumulate=2)]
    again = make_run("gpt", "1f1b")
    assert Checkpoints(folder).resume(again)
    resumed = [step.loss for step in train(again, stream.skip(again.consumed), steps=6, accumulate=2)]
    assert_close(resumed, straight, rtol=0, atol=0)
    assert_close(again.model.state_dict(), run.model.state_dict(), rtol=0, atol=0)


def compare(what, found, expected):
    """Each step, and the weights in the end where as many steps were made."""
    named = f"{what} on {world_size()} ranks"
    steps = len(found[0])
    assert_close(found[0], expected[0][:steps], **CLOSE, msg=lambda text: f"{named}: {text}")
    if steps == STEPS:
        assert_close(found[1], expected[1], **WEIGHTS_CLOSE, msg=lambda text: f"{named}: {text}")


def check_a_bad_stage():
    """One NaN in the first stage, or one in a gradient that only the first stage sees: all stop alike."""
    run = make_run("llama", "1f1b")
    stream = iter(batches())
    if rank() == 0:
        for parameter in run.model.parameters():
            parameter.register_hook(lambda gradient: gradient * torch.nan)
    before = {name: parameter.detach().clone() for name, parameter in run.model.named_parameters()}
    with pytest.raises(NonFiniteStep):
        run.step(next(stream), next(stream))
    assert_close(dict(run.model.named_parameters()), before, rtol=0, atol=0)


class Saved:
    """Wraps what autograd keeps, and counts how much of it there is."""

    alive = most = 0

    def __init__(self, tensor):
        self.tensor = tensor
        Saved.alive += 1
        Saved.most = max(Saved.most, Saved.alive)

    def __del__(self):
        Saved.alive -= 1


def check_that_activations_are_freed(me):
    """What is kept is counted where autograd keeps it: of one micro-batch, then of six."""
    for way, held in (("1f1b", world_size() - me), ("gpipe", 6)):
        run, most = make_run("gpt", way), []
        x, y = batches().data
        for micro_batches in ([(x[:1], y[:1])], [(x[row : row + 1], y[row : row + 1]) for row in range(6)]):
            Saved.alive = Saved.most = 0
            with torch.autograd.graph.saved_tensors_hooks(Saved, lambda saved: saved.tensor):
                run.step(*micro_batches)
            most.append(Saved.most)
            assert Saved.alive == 0
        assert most[1] == held * most[0] > 0


def check_precision():
    """What travels has the bits of the moment: after single precision half of them, and back again."""
    layers = [nn.Linear(4, 4) for _ in range(world_size())]
    for place, layer in enumerate(layers):
        nn.init.normal_(layer.weight, generator=torch.Generator().manual_seed(place))
        nn.init.zeros_(layer.bias)
    stage, whole_model = layers[rank()], nn.Sequential(*layers)
    batch = (torch.ones(3, 4), torch.ones(3, 4))
    for engine in (Pipeline(stage, device_mesh(pp=world_size())), TorchPipeline(stage, device_mesh(pp=world_size()))):
        for precision in ("fp32", "bf16", "fp32"):
            expected = evaluate(whole_model, regression, [batch], precision=precision)
            if isinstance(engine, Pipeline):
                found = evaluate(stage, engine.forward_only(regression), [batch], precision=precision)
                assert found == expected
            optimizer = torch.optim.SGD(stage.parameters(), lr=0.0)
            run = Run(stage, regression, optimizer, gradients=engine, precision=precision)
            assert float(run.step(*[batch] * world_size()).loss) == pytest.approx(expected["loss"], rel=1e-6)


def check_errors():
    run = make_run("llama", "torch 1f1b")
    stream = batches()
    ragged = [batch for batch, _ in zip(stream, range(3), strict=False)]
    with pytest.raises(ValueError, match="micro-batches of one shape"):
        run.step(*ragged)
    with pytest.raises(ValueError, match=r"as many micro-batches as stages, got 1 for \d"):
        run.step(ragged[0])
    for way in ("1f1b", "torch 1f1b"):
        run = make_run("llama", way)
        with pytest.raises(ValueError, match="got different micro-batches"):
            run.step(*[tuple(tensor + rank() for tensor in batch) for batch in ragged[:2]])
        run.objective = lambda model, batch: with_metric(model, batch[:2])
        x, y = ragged[0]
        run.step(*[(x, y, torch.tensor(1.0))] * world_size())  # a single number, too, can be compared
        for wrong in ([(x, y)] * (world_size() + rank()), [(x[rank() :], y[rank() :])] * world_size()):
            with pytest.raises(ValueError, match="got different micro-batches"):  # not in the first step alone
                run.step(*wrong)
        with pytest.raises(ValueError, match=r"micro-batches \(x, ...\) of tensors"):
            run.step({"x": 1})
        stage, gradients = run.model, run.gradients
        with pytest.raises(ValueError, match="must train the stage"):
            Run(nn.Linear(1, 1), next_token, torch.optim.SGD(stage.parameters()), gradients=gradients)
        optimizer = torch.optim.SGD(stage.parameters())
        with pytest.raises(ValueError, match="fp16"):
            Run(stage, next_token, optimizer, gradients=gradients, precision="fp16")
    with pytest.raises(ValueError, match="no timeline yet"):
        make_run("llama", "1f1b").gradients.timeline()
    if world_size() == 4:
        for odd in ([0, 1, 0, 1], [0, 0, 0, 1]):  # ranks that share a stage; one rank alone
            run = make_run("llama", "1f1b", tp=2)
            with pytest.raises(ValueError, match="got different micro-batches"):
                run.step(*[tuple(tensor + odd[rank()] for tensor in batch) for batch in ragged[:2]])
    with pytest.raises(ValueError, match="schedule must be one of"):
        Pipeline(run.model, device_mesh(pp=world_size()), schedule="zero bubble")


def test_pipelines_equal_one_process(on_two_and_four_ranks, tmp_path):
    expected = {
        (name, accumulate): trained(name, "one process", accumulate)[:2]
        for name, accumulate in (("gpt", 3), ("llama", 5))
    }
    for name in CONFIGS:
        expected[name, "even"] = trained(name, "one process", 4, drop_last=True)[:2]
    on_two_and_four_ranks(worker, expected, str(tmp_path / "checkpoints"))
