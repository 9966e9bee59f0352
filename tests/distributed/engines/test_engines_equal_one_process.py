"""Every engine on two and four ranks against one process: losses, norms, every gradient, and the weights in the end."""

import copy
import gc

import pytest
import torch
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.testing import assert_close

from course_lib.collectives import rank, world_size
from course_lib.data import Batches
from course_lib.distributed import DDP, FullySharded, Zero, checkpoint_activations, live_bytes
from course_lib.loops import EMA, Run, next_token, train
from course_lib.nn.transformer import Transformer, gpt

CLOSE = {"rtol": 1e-10, "atol": 1e-12}  # float64, sums in another order
# The gradient of a key's bias is 0 but for rounding, which Adam divides by its own size.
WEIGHTS_CLOSE = {"rtol": 1e-10, "atol": 1e-10}
STEPS, ROWS, BATCH_SIZE, TOKENS = 20, 13, 6, 5  # an epoch's last batch has one row: none for most ranks
ENGINES = ["ddp", "zero 1", "zero 2", "zero 3", "fsdp"]
KEPT = "fsdp, kept and checkpointed"


def model(width=6):
    """Tied weights, norms, biases: every kind of parameter that a transformer has."""
    config = gpt(vocab_size=11, width=width, num_layers=2, num_heads=2, context_length=TOKENS)
    return Transformer(config, generator=torch.Generator().manual_seed(0)).double()


def batches():
    generator = torch.Generator().manual_seed(1)
    text = torch.randint(0, 11, (ROWS, TOKENS + 1), generator=generator)
    y = text[:, 1:].clone()
    y[torch.rand(y.shape, generator=generator) < 0.3] = -100  # rows have different numbers of targets
    return Batches((text[:, :-1], y), batch_size=BATCH_SIZE, seed=2)


def decayed(learner):
    """Two groups of parameters, as language models are trained with."""
    matrices = [p for p in learner.parameters() if p.ndim > 1]
    return [{"params": matrices, "weight_decay": 0.1}, {"params": [p for p in learner.parameters() if p.ndim == 1]}]


def make_run(engine, learner=None):
    """Ranks start from different weights: those of the first must win."""
    learner, gradients = model() if learner is None else learner, None
    if rank() > 0 and engine != "plain":
        nn.init.ones_(learner.embedding.weight)
    if engine.endswith("checkpointed"):
        checkpoint_activations(*learner.blocks)
    if engine == "ddp":
        gradients = DDP(learner)
    elif engine.startswith("zero"):
        gradients = Zero(learner, stage=int(engine[-1]), groups=decayed(learner))
    elif engine.startswith("fsdp"):
        mesh = init_device_mesh("cpu", (2, 2), mesh_dim_names=("copies", "parts")) if "copies" in engine else None
        gradients = FullySharded(learner, mesh=mesh, reshard_after_forward="kept" not in engine)
    groups = gradients.groups if isinstance(gradients, Zero) else decayed(learner)
    optimizer = torch.optim.AdamW(groups, lr=0.02, weight_decay=0.0)
    options = {} if gradients is None else {"gradients": gradients}
    return Run(learner, next_token, optimizer, max_grad_norm=0.5, **options)


def whole_gradients(run):
    if hasattr(run.gradients, "whole_gradients"):
        return run.gradients.whole_gradients()
    return {name: parameter.grad.clone() for name, parameter in run.model.named_parameters()}


def whole_parameters(run):
    if hasattr(run.gradients, "whole_parameters"):
        return run.gradients.whole_parameters()
    return {name: parameter.detach() for name, parameter in run.model.named_parameters()}


def trained(engine, accumulate=1, steps=STEPS):
    """What updates gave, read off in all worlds by the same lines; gradients of the first two and the last."""
    run, record = make_run(engine), []
    for step in train(run, batches(), steps=steps, accumulate=accumulate):
        gradients = whole_gradients(run) if step.index in (1, 2, steps) else {}
        record.append({"loss": step.loss, "norm": step.grad_norm, "count": torch.as_tensor(step.count), **gradients})
    return record, whole_parameters(run)


def worker(me, expected):
    for engine in ENGINES:
        compare(engine, trained(engine), expected["each batch"])
        if world_size() == 2:
            compare(engine, trained(engine, accumulate=2, steps=2), expected["two batches"])
    other_way = KEPT if world_size() == 2 else "fsdp, two copies"
    compare(other_way, trained(other_way, accumulate=2, steps=2), expected["two batches"])
    check_memory()
    if world_size() == 2:
        check_the_bare_loop(expected)
        check_moving_average(expected)


def compare(engine, found, expected):
    for steps, theirs, close in zip(found, expected, (CLOSE, WEIGHTS_CLOSE), strict=True):
        assert_close(steps, theirs, **close, msg=lambda text: f"{engine} on {world_size()} ranks: {text}")


def check_the_bare_loop(expected):
    """Run's promise against torch's own words: DistributedDataParallel, whose mean is made right for ragged batches."""
    learner = model()
    engine = nn.parallel.DistributedDataParallel(learner)
    optimizer = torch.optim.AdamW(decayed(learner), lr=0.02, weight_decay=0.0)
    stream = iter(batches())
    for _, step in zip(range(2), expected["each batch"][0], strict=False):
        optimizer.zero_grad()
        loss = next_token(engine, next(stream))
        (loss.total * world_size() / step["count"]).backward()
        nn.utils.clip_grad_norm_(learner.parameters(), 0.5)
        for name, parameter in learner.named_parameters():
            assert_close(parameter.grad, step[name], **CLOSE)
        optimizer.step()


def check_moving_average(expected):
    """Where all weights are on a rank, they can be averaged: ZeRO's first two stages."""
    for stage in (1, 2):
        learner = model()
        zero = Zero(learner, stage=stage, groups=decayed(learner))
        optimizer = torch.optim.AdamW(zero.groups, lr=0.02, weight_decay=0.0)
        run = Run(learner, next_token, optimizer, max_grad_norm=0.5, gradients=zero, ema=EMA(learner, decay=0.5))
        for _ in train(run, batches(), steps=3):
            pass
        assert_close(dict(run.ema.model.named_parameters()), expected["averaged"], **WEIGHTS_CLOSE)


def tensors_alive():
    """Bytes of all tensors that Python can see, each storage once: what `live_bytes` says must be all there is."""
    gc.collect()
    storages = {}
    for value in gc.get_objects():
        if type(value) in (torch.Tensor, nn.Parameter):
            storage = value.untyped_storage()
            storages[storage.data_ptr()] = storage.nbytes()
    return sum(storages.values())


def check_memory():
    """Against the formulas of the ZeRO paper with Adam in float32: 4 + 4 + 8 bytes a parameter, in parts."""
    p = world_size()
    shares = {"ddp": (1, 1, 1), "zero 1": (1, 1, p), "zero 2": (1, p, p), "zero 3": (p, p, p), "fsdp": (p, p, p)}
    num_parameters = sum(parameter.numel() for parameter in model(width=32).parameters())
    for name, parts in shares.items():
        looked_at = name == "zero 3" and p == 2  # looking takes a second
        before = tensors_alive() if looked_at else 0
        run = make_run(name, model(width=32).float())
        next(train(run, batches(), steps=1))
        expected = [size * num_parameters / part for size, part in zip((4, 4, 8), parts, strict=True)]
        found = live_bytes(run)
        for kind, size in zip(("parameters", "gradients", "optimizer"), expected, strict=True):
            assert abs(found[kind] - size) < 0.1 * size, (name, kind, found[kind], size)
        if looked_at:
            assert abs(tensors_alive() - before - sum(expected)) < 0.15 * sum(expected)
        del run


def averaged():
    run = make_run("plain")
    run.ema = EMA(run.model, decay=0.5)
    for _ in train(run, batches(), steps=3):
        pass
    return {name: parameter.detach() for name, parameter in run.ema.model.named_parameters()}


def test_engines_equal_one_process(on_two_and_four_ranks):
    expected = {
        "each batch": trained("plain"),
        "two batches": trained("plain", accumulate=2, steps=2),
        "averaged": averaged(),
    }
    on_two_and_four_ranks(worker, expected)


def test_recomputed_activations_change_no_bit():
    learner = model()
    again = copy.deepcopy(learner)
    checkpoint_activations(*again.blocks)
    batch = next(iter(batches()))
    for one in (learner, again):
        next_token(one, batch).total.backward()
    for parameter, other in zip(learner.parameters(), again.parameters(), strict=True):
        assert_close(parameter.grad, other.grad, rtol=0, atol=0)
    with pytest.raises(ValueError, match="was it changed before"):
        checkpoint_activations(again.blocks[0])
    with pytest.raises(ValueError, match="got no modules"):
        checkpoint_activations()
