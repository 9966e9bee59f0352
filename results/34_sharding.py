"""Notebook 34 over eight seeds: engines against DDP, a run resumed on fewer ranks, clipping by the norm of a shard."""

import math
import tempfile
import warnings
from itertools import islice, pairwise

import torch
from torch import Tensor, nn

from course_lib.collectives import all_sum
from course_lib.data import Batches, digits
from course_lib.data.tales import tales
from course_lib.distributed import DDP, FullySharded, ShardedCheckpoints, Zero, launch
from course_lib.distributed import device as worker_device
from course_lib.loops import Run, classification, next_token, train
from course_lib.nn.transformer import Transformer, gpt
from course_lib.notebook.results import Claim, record

CLAIMS = (
    Claim(
        "same-update",
        "digits, up to 12, to which ZeRO-1, 2, 3 and FSDP2 give DDP's parameters, 4 ranks, 20 steps, float64",
        above=6.0,
    ),
    Claim("resharded", "digits, up to 12, to which losses agree that go on with 2 of 4 ranks, float64", above=6.0),
    Claim(
        "bent",
        "distance between clipping by a shard's norm and by the whole norm, over how far the latter moved, 20 steps",
        above=0.0,
    ),
)
ENGINES = ("DDP", "ZeRO-1", "ZeRO-2", "ZeRO-3", "FSDP2")
CONFIG = gpt(vocab_size=128, width=48, num_layers=4, num_heads=2, context_length=32)
SIZES, LIMIT, STEPS = (64, 128, 128, 128, 10), 0.05, 20


def text_rows() -> tuple[Tensor, Tensor]:
    """Stories as rows of 33 letters: 32 to read, each with the next one to guess."""
    letters = torch.tensor(list(" ".join(tale.text for tale in tales(600, seed=0)).encode()))
    letters = letters[: len(letters) // 33 * 33].view(-1, 33)
    return letters[:, :-1], letters[:, 1:]


ROWS = text_rows()
DIGITS = (digits().x.flatten(1).double(), digits().y)


def digits_of(difference: float) -> float:
    """To how many decimal digits two results agree, counted up to 12: further ones are rounding."""
    return min(12.0, -math.log10(max(difference, 1e-300)))


def new_run(engine: str, seed: int) -> Run:
    """Model, engine, optimiser, run: in this order, on every rank."""
    model = Transformer(CONFIG, generator=torch.Generator().manual_seed(seed)).to(worker_device(), torch.float64)
    gradients: DDP | FullySharded | Zero
    if engine == "DDP":
        gradients = DDP(model)
    elif engine == "FSDP2":
        gradients = FullySharded(model)
    else:
        gradients = Zero(model, stage=int(engine[-1]))  # type: ignore[arg-type]
    learning = gradients.groups if isinstance(gradients, Zero) else model.parameters()
    return Run(model, next_token, torch.optim.AdamW(learning, lr=3e-3), gradients=gradients)


def batches(seed: int) -> Batches:
    """Rows in batches of 30, which four ranks cannot share alike."""
    return Batches(tuple(column.to(worker_device()) for column in ROWS), batch_size=30, seed=seed)


def every_engine(seed: int) -> float:
    """Largest difference of a parameter to DDP's after 20 steps."""
    first: dict[str, Tensor] | None = None
    worst = 0.0
    for engine in ENGINES:
        run = new_run(engine, seed)
        for _ in train(run, batches(seed), steps=STEPS):
            pass
        if isinstance(run.gradients, Zero | FullySharded):
            weights = run.gradients.whole_parameters()
        else:
            weights = {name: p.detach().clone() for name, p in run.model.named_parameters()}
        first = first or weights
        worst = max([worst, *((weights[name] - first[name]).abs().max().item() for name in weights)])
    return worst


def save_on_the_way(seed: int, folder: str) -> list[float]:
    """Losses of 20 steps, saved after 10."""
    run, losses = new_run("FSDP2", seed), []
    for step in train(run, batches(seed), steps=STEPS):
        losses.append(step.loss)
        if step.index == STEPS // 2:
            ShardedCheckpoints(folder).save(run)
    return losses


def resume(seed: int, folder: str) -> list[float]:
    """Losses of the steps after that."""
    run = new_run("FSDP2", seed + 1000)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that the number of ranks differs is what this is about
        ShardedCheckpoints(folder).resume(run)
    return [step.loss for step in train(run, batches(seed).skip(run.consumed), steps=STEPS)]


def network(seed: int) -> nn.Sequential:
    """Four blocks on digits, in float64."""
    g, last = torch.Generator().manual_seed(seed), len(SIZES) - 2
    layers = [nn.Linear(a, b) for a, b in pairwise(SIZES)]
    with torch.no_grad():
        for parameter in nn.ModuleList(layers).parameters():
            parameter.normal_(0, 0.1, generator=g)
    parts = (nn.Sequential(x, nn.Tanh()) if i < last else nn.Sequential(x) for i, x in enumerate(layers))
    return nn.Sequential(*parts).double().to(worker_device())


def flat(weights: dict[str, Tensor]) -> Tensor:
    """All of them in one row."""
    return torch.cat([value.flatten() for value in weights.values()])


def clipped(seed: int) -> float:
    """How far clipping by a shard's own norm leads away from clipping by the whole norm."""
    start, ends = torch.cat([p.detach().flatten() for p in network(seed).parameters()]), []
    for whole_norm in (True, False):
        model = network(seed)
        engine = Zero(model, stage=1)
        shards = engine.groups[0]["params"]
        optimizer = torch.optim.SGD(shards, lr=1.0)
        for x, y in islice(Batches(DIGITS, batch_size=30, seed=seed), STEPS):
            engine(model, classification, [(x.to(worker_device()), y.to(worker_device()))])
            count = torch.tensor(float(len(y)), dtype=torch.float64, device=worker_device())
            all_sum([count])
            square = torch.stack([(shard.grad / count).square().sum() for shard in shards]).sum()
            if whole_norm:
                all_sum([square])
            for shard in shards:
                shard.grad *= min(1.0, LIMIT / square.sqrt().item()) / count
            optimizer.step()
        ends.append(flat(engine.whole_parameters()))
    return ((ends[1] - ends[0]).norm() / (ends[0] - start).norm()).item()


def work(seed: int, folder: str) -> tuple[float, list[float], float]:
    """All that four ranks do, in one start."""
    return every_engine(seed), save_on_the_way(seed, folder), clipped(seed)


def experiment(seed: int) -> dict[str, object]:
    """Everything once, on real ranks."""
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        apart, losses, bent = launch(work, seed, folder, num_workers=4, timeout=240, show=False)[0]
        after = launch(resume, seed, folder, num_workers=2, timeout=120, show=False)[0]
    resharded = max(abs(a - b) for a, b in zip(after, losses[STEPS // 2 :], strict=True))
    return {"same-update": digits_of(apart), "resharded": digits_of(resharded), "bent": bent}


if __name__ == "__main__":
    record(__file__, experiment, CLAIMS)
