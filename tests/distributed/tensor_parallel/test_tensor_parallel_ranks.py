"""Split transformers on two and four ranks against one process: losses, norms, every gradient, weights in the end."""

import pytest
import torch
import torch.distributed as dist
from torch import nn
from torch.testing import assert_close

from course_lib.collectives import rank, world_size
from course_lib.data import Batches
from course_lib.distributed import (
    FullySharded,
    TensorParallel,
    block_traffic,
    counting_collectives,
    device_mesh,
    parallelize_transformer,
    split_transformer,
    vocabulary_parallel_next_token,
)
from course_lib.loops import EMA, NonFiniteStep, Run, evaluate, next_token, train
from course_lib.nn.transformer import Transformer, bert, gpt, llama

CLOSE = {"rtol": 1e-10, "atol": 1e-12}  # float64, sums in another order
# The gradient of a key's bias is 0 but for rounding, which Adam divides by its own size.
WEIGHTS_CLOSE = {"rtol": 1e-10, "atol": 1e-10}
STEPS, FEW, ROWS, BATCH_SIZE, TOKENS, VOCABULARY = 20, 4, 9, 4, 4, 12  # an epoch's last batch has one row
SIZES = {"vocab_size": VOCABULARY, "width": 16, "num_layers": 2, "num_heads": 8, "context_length": TOKENS}
CONFIGS = {
    "gpt": gpt(**SIZES),  # tied, learned positions, biases
    "llama": llama(**SIZES, num_kv_heads=4, feed_forward_width=8, qk_norm=True),  # a gate, fewer heads for keys
}
WAYS = ["by hand", "by hand, sequence", "DTensor", "DTensor, sequence"]


def model(name, seed=0):
    return Transformer(CONFIGS[name], generator=torch.Generator().manual_seed(seed)).double()


def batches(place=0, places=1):
    generator = torch.Generator().manual_seed(1)
    text = torch.randint(0, VOCABULARY, (ROWS, TOKENS + 1), generator=generator)
    y = text[:, 1:].clone()
    y[torch.rand(y.shape, generator=generator) < 0.3] = -100  # rows have different numbers of targets
    return Batches((text[:, :-1], y), batch_size=BATCH_SIZE, seed=2, rank=place, world_size=places)


def make_run(name, way, dp=1):
    """Ranks start from different weights: those of the first must win."""
    if way == "one process":
        learner = model(name)
        return Run(learner, next_token, adamw(learner), max_grad_norm=0.5)
    learner = model(name, seed=rank())
    mesh = device_mesh(dp=dp, tp=world_size() // dp)
    objective = next_token
    if way.startswith("by hand"):
        objective = vocabulary_parallel_next_token(mesh["tp"].get_group()) if "logits" in way else next_token
        split_transformer(learner, mesh, sequence_parallel="sequence" in way, gather_logits="logits" not in way)
    else:
        parallelize_transformer(learner, mesh, sequence_parallel="sequence" in way)
    engine = FullySharded(learner, mesh=mesh["dp"]) if "FSDP" in way else TensorParallel(learner, mesh)
    return Run(learner, objective, adamw(learner), max_grad_norm=0.5, gradients=engine)


def adamw(learner):
    return torch.optim.AdamW(learner.parameters(), lr=0.02, weight_decay=0.1)


def whole(run, what):
    if hasattr(run.gradients, f"whole_{what}"):
        return getattr(run.gradients, f"whole_{what}")()
    named = run.model.named_parameters()
    return {name: (p.grad if what == "gradients" else p.detach()).clone() for name, p in named}


def trained(name, way, dp=1, steps=STEPS):
    run, record = make_run(name, way, dp), []
    copy = dist.get_rank() // (world_size() // dp) if way != "one process" else 0
    for step in train(run, batches(copy, dp), steps=steps):
        gradients = whole(run, "gradients") if step.index in (1, 2, STEPS) else {}
        record.append({"loss": step.loss, "norm": step.grad_norm, "count": torch.as_tensor(step.count), **gradients})
    return record, whole(run, "parameters")


def worker(me, expected):
    two = world_size() == 2
    for name, way, steps in (  # by hand and by DTensor all steps on two ranks and on four; a few where it takes long
        ("llama", "by hand", STEPS if two else FEW),
        ("gpt", "by hand, sequence, logits", FEW if two else STEPS),
        ("gpt", "DTensor", FEW if two else STEPS),
        ("llama", "DTensor, sequence", STEPS if two else FEW),
    ):
        compare(f"{name} {way}", trained(name, way, steps=steps), expected[name])
    if not two:
        compare("2 x 2 by hand", trained("gpt", "by hand", dp=2), expected["gpt"])
        compare("2 x 2 DTensor and FSDP", trained("llama", "DTensor, FSDP", dp=2, steps=FEW), expected["llama"])
    check_a_block_of_bert(expected["bert"])
    check_traffic()
    check_a_bad_rank()
    check_late_unfreezing()
    check_average(expected["average"])
    check_ranks_that_differ()
    check_errors()


def compare(what, found, expected):
    """Each step, and the weights in the end where as many steps were made."""
    named = f"{what} on {world_size()} ranks"
    steps = len(found[0])
    assert_close(found[0], expected[0][:steps], **CLOSE, msg=lambda text: f"{named}: {text}")
    if steps == STEPS:
        assert_close(found[1], expected[1], **WEIGHTS_CLOSE, msg=lambda text: f"{named}: {text}")


def bert_gradients(split=lambda learner: None):
    """Norms after the additions, windows of any size, no generator in use: float32, as the models are trained."""
    config = bert(**SIZES, dropout=0.0)
    learner = Transformer(config, generator=torch.Generator().manual_seed(3))
    nn.init.normal_(learner.embedding.weight, generator=torch.Generator().manual_seed(4))
    split(learner)
    loss = next_token(learner, next(iter(batches())))
    loss.total.backward()
    return learner, loss.total.detach()


def check_a_block_of_bert(expected):
    gradients, loss = expected
    mesh = device_mesh(tp=world_size())
    learner, found = bert_gradients(lambda model: split_transformer(model, mesh, sequence_parallel=True))
    assert_close(found, loss, rtol=1e-5, atol=1e-5)
    assert_close(TensorParallel(learner, mesh).whole_gradients(), gradients, rtol=1e-5, atol=1e-5)


def check_traffic():
    """Two all-reduces forward and two backward in a block, by hand and by torch; the same bytes with the sequence."""
    mesh = device_mesh(tp=world_size())
    h = torch.randn(3, TOKENS, 16, generator=torch.Generator().manual_seed(5))
    for way in WAYS:
        learner = model("llama").float()
        sequence = "sequence" in way
        (split_transformer if way.startswith("by") else parallelize_transformer)(
            learner, mesh, sequence_parallel=sequence
        )
        mine = h.chunk(world_size(), 1)[rank()] if sequence else h
        rotary = (torch.ones(TOKENS, 1, 2), torch.zeros(TOKENS, 1, 2))
        learner.blocks[0].attention.query_norm = learner.blocks[0].attention.key_norm = None
        with counting_collectives() as counted:
            out = learner.blocks[0](mine.clone().requires_grad_(), rotary=rotary, is_causal=True)
            out.sum().backward()
        p = world_size()
        formula = block_traffic(3 * TOKENS, 16, num_ranks=p, element_size=4, sequence_parallel=sequence)
        if sequence:  # besides, by hand at once and by torch when somebody asks, the gradients of two norms' weights
            assert counted.calls.pop("all_reduce", 2) == 2
            assert counted.bytes.pop("all_reduce", 2 * 16 * 4) == 2 * 16 * 4
        assert counted == formula, way
        assert counted.ring_bytes(p) == 4 * 2 * (p - 1) / p * 3 * TOKENS * 16 * 4


def check_a_bad_rank():
    run = make_run("gpt", "by hand")
    if rank() == 1:
        with torch.no_grad():
            run.model.blocks[0].feed_forward.up.weight[0, 0] = torch.nan
    before = {name: parameter.detach().clone() for name, parameter in run.model.named_parameters()}
    with pytest.raises(NonFiniteStep):
        run.step(next(iter(batches())))
    assert_close(dict(run.model.named_parameters()), before, rtol=0, atol=0, equal_nan=True)
    run = make_run("gpt", "by hand")
    if rank() == 1:  # in what all ranks have, so that no other sees it
        run.model.norm.weight.register_hook(lambda gradient: gradient * torch.nan)
    with pytest.raises(NonFiniteStep):
        run.step(next(iter(batches())))


def check_late_unfreezing():
    """Norms and biases that are unfrozen after the split have whole gradients, too, though each rank used a part."""
    expected, learner = model("llama"), model("llama").requires_grad_(False)
    mesh = device_mesh(tp=world_size())
    split_transformer(learner, mesh, sequence_parallel=True)
    learner.requires_grad_(True)
    for one in (expected, learner):
        next_token(one, next(iter(batches()))).total.backward()
    found = TensorParallel(learner, mesh).whole_gradients()
    assert_close(found, {name: p.grad for name, p in expected.named_parameters()}, **CLOSE)


def averaged(way):
    """What the average of the weights makes of the rows after a few steps."""
    run = make_run("gpt", way)
    run.ema = EMA(run.model, decay=0.5)
    for _ in train(run, batches(), steps=3):
        pass
    x, y = batches().data
    return evaluate(run.ema.model, next_token, [(x, y)])["loss"]


def check_average(expected):
    assert averaged("by hand, sequence") == pytest.approx(expected, rel=1e-10)
    run = make_run("gpt", "DTensor")
    with pytest.raises(ValueError, match="an EMA cannot average DTensors"):
        Run(run.model, next_token, run.optimizer, gradients=run.gradients, ema=EMA(nn.Linear(1, 1)))


def check_ranks_that_differ():
    """Other rows, other shapes in a later step, other random numbers: told on all ranks, before anything is mixed."""
    stream = batches()
    by_all_ranks = Batches(stream.data, batch_size=BATCH_SIZE, seed=2)  # dealt out among all, which is the default
    x, y = next(iter(stream))
    pairs = [("by hand", 1), ("DTensor", 1)] + ([("DTensor, FSDP", 2)] if world_size() == 4 else [])
    for way, dp in pairs:
        run = make_run("gpt", way, dp)
        with pytest.raises(ValueError, match="got different micro-batches"):
            next(train(run, by_all_ranks, steps=1))
        run.step((x, y))
        place = rank() % (world_size() // dp)
        for micro_batches in ([(x[place:], y[place:])], [(x, y)] * (1 + place), [{"x": x} if place else (x,)]):
            with pytest.raises(ValueError, match="got different micro-batches"):
                run.step(*micro_batches)
    generator = torch.Generator().manual_seed(rank())

    def some_targets(model, batch):
        x, y = batch
        return next_token(model, (x, y.masked_fill(torch.rand(y.shape, generator=generator) < 0.5, -100)))

    run = make_run("gpt", "DTensor")
    run.objective = some_targets
    run.gradients = TensorParallel(run.model, device_mesh(tp=world_size()))
    with pytest.raises(ValueError, match="different losses from the same rows"):
        run.step((x, y))


def check_errors():
    mesh = device_mesh(tp=world_size())
    for changes, message in [
        ({"num_heads": 1}, "cannot share num_heads=1"),
        ({"num_kv_heads": 1}, "cannot share num_kv_heads=1"),
        ({"dropout": 0.1}, "dropout=0"),
        ({"fused_projections": True}, "fused_projections=False"),
    ]:
        for split in (split_transformer, parallelize_transformer):
            with pytest.raises(ValueError, match=message):
                split(Transformer(gpt(**(SIZES | changes))), mesh)
    with pytest.raises(ValueError, match="cannot share vocab_size=13"):
        parallelize_transformer(Transformer(gpt(**(SIZES | {"vocab_size": 13}))), mesh)
    with pytest.raises(ValueError, match="cannot share vocab_size=13"):
        split_transformer(refused := Transformer(gpt(**(SIZES | {"vocab_size": 13}))), mesh)
    assert all(isinstance(block.attention.query, nn.Linear) for block in refused.blocks)  # it stays whole
    learner = model("gpt")
    split_transformer(learner, mesh, sequence_parallel=True)
    with pytest.raises(ValueError, match="is split already"):
        split_transformer(learner, mesh)
    with pytest.raises(ValueError, match="multiple of the number of ranks"):
        learner(torch.zeros(1, 3, dtype=torch.int64))
    with pytest.raises(ValueError, match="is not the number of ranks"):
        device_mesh(dp=3, tp=3)
    with pytest.raises(ValueError, match="does not divide the number of ranks"):
        device_mesh(tp=3)
    with pytest.raises(ValueError, match="at least 1"):
        device_mesh(tp=0)
    if world_size() == 4:
        mesh = device_mesh(dp=2, tp=2)
        learner = model("gpt")
        parallelize_transformer(learner, mesh)
        with pytest.raises(ValueError, match="take FullySharded"):
            TensorParallel(learner, mesh)


def test_split_transformers_equal_one_process(on_two_and_four_ranks):
    expected = {name: trained(name, "one process") for name in CONFIGS}
    learner, loss = bert_gradients()
    expected["bert"] = {name: p.grad for name, p in learner.named_parameters()}, loss
    expected["average"] = averaged("one process")
    on_two_and_four_ranks(worker, expected)
