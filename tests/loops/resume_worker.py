"""A short run with everything that has state, started by test_resume.py: unbroken, or from the checkpoint of a step."""

import os
import sys
from pathlib import Path

import torch
from torch import nn

from course_lib.data import Batches
from course_lib.loops import EMA, Checkpoints, Run, RunLog, classification, evaluate, read_log, train
from course_lib.loops.checkpoints.checkpoint_files import write
from course_lib.optim import AdamW

STEPS, ACCUMULATE = 6, 2
NOISE = torch.Generator()  # of the objective's own, besides torch's global one for dropout


def noisy_classification(model, batch):
    x, y = batch
    return classification(model, (x + 0.1 * torch.randn(x.shape, generator=NOISE), y))


def overflowing(model, batch):
    """A loss so large that fp16 overflows at the first scale or two, so that steps are skipped and the scale moves."""
    loss = noisy_classification(model, batch)
    return type(loss)(loss.total * 4.0, loss.count, loss.metrics)


KINDS = {
    "momentum": (noisy_classification, lambda weights: torch.optim.SGD(weights, 0.1, momentum=0.9), "fp32"),
    "adam": (noisy_classification, lambda weights: torch.optim.Adam(weights, 0.01, amsgrad=True), "bf16"),
    "ours": (overflowing, lambda weights: AdamW(weights, lr=0.01), "fp16"),
}


def new_run(kind, seed):
    objective, optimizer, precision = KINDS[kind]
    torch.manual_seed(seed)
    NOISE.manual_seed(seed)
    model = nn.Sequential(nn.Linear(5, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.3), nn.Linear(8, 3))
    return Run(
        model,
        objective,
        optimizer(model.parameters()),
        schedule=lambda step: 1 / (1 + step),
        precision=precision,
        ema=EMA(model, decay=0.9),
        max_grad_norm=0.5,
        generators=(NOISE,),
    )


def data(seed=1):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(14, 5, generator=generator), torch.randint(0, 3, (14,), generator=generator)


def go_on(run, log=None, save=None, evaluation=False):
    """Train to the end; the 14 rows make an epoch of 4 batches, so that steps end in the middle of epochs."""
    for step in train(
        run, Batches(data(), batch_size=4, seed=3).skip(run.consumed), steps=STEPS, accumulate=ACCUMULATE
    ):
        if log is not None:
            log.record(step.index, learning_rate=step.learning_rate, **step.values())
        if evaluation:
            evaluate(run.model, classification, [data(seed=2)])
        if save is not None:
            save(step.index)


def keep_result(folder, run, log_path=None):
    rows = []
    if log_path is not None:
        rows = [{name: row[name] for name in row if name != "wall_seconds"} for row in read_log(log_path).rows]
    write(folder, run.index, {"run": run.state_dict(), "rows": rows})


def unbroken(root, kind):
    """Once with nothing but updates; once with evaluation, a log, and a checkpoint of every step, each in a folder."""
    bare = new_run(kind, seed=0)
    go_on(bare)
    keep_result(root / "bare", bare)
    run = new_run(kind, seed=0)
    Checkpoints(root / "0").save(run)
    with RunLog(root / "log.jsonl") as log:
        go_on(run, log, lambda index: Checkpoints(root / str(index)).save(run), evaluation=True)
    keep_result(root / "unbroken", run, root / "log.jsonl")


def resumed(root, kind, k):
    """In objects built from other seeds; the log holds what the killed run had written after the checkpoint."""
    run = new_run(kind, seed=100 + k)
    assert Checkpoints(root / str(k)).resume(run)
    log_path = root / f"log {k}.jsonl"
    log_path.write_bytes((root / "log.jsonl").read_bytes())
    with RunLog(log_path) as log:
        log.resumed(run.index)
        go_on(run, log)
    keep_result(root / f"resumed {k}", run, log_path)


if __name__ == "__main__":
    torch.set_num_threads(1)
    mode, root = sys.argv[1], Path(sys.argv[2])
    if mode == "unbroken":
        for kind in KINDS:
            unbroken(root / kind, kind)
    elif mode == "resumed":  # each step in a process of its own, forked where that spares importing torch anew
        torch.optim.SGD([torch.zeros(1)])  # the first optimizer imports 800 more modules
        for k in map(int, sys.argv[3:]):
            child = os.fork() if hasattr(os, "fork") else 0
            if child == 0:
                for kind in KINDS:
                    resumed(root / kind, kind, k)
                if hasattr(os, "fork"):
                    sys.stdout.flush()
                    os._exit(0)
            elif os.waitpid(child, 0)[1] != 0:
                sys.exit(f"resuming from step {k} failed")
