"""Notebook 17 over eight seeds: induction heads, contexts extended; over three: architectures, lags, starts, rates."""

import copy
import math
from collections.abc import Iterator
from dataclasses import replace
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from course_lib.loops import Run, classification, evaluate, next_token, train
from course_lib.nn.transformer import EncoderDecoder, Transformer, attention_maps, generate, llama, rotary_tables
from course_lib.notebook.results import Claim, record

V, T, WIDTH, UPDATES, EVERY, FACTOR = 64, 48, 64, 250, 10, 4
NOTE = 0.25  # attention on the token before that makes a head of layer 1 a writer of notes; an even spread has 0.08
SWEEP_SEEDS, LAGS = 3, (2, 8, 24)  # what has no claims runs for so many seeds only
SOURCE, LETTERS, BEGIN, BLANK = 6, 12, 12, 13

CLAIMS = (
    Claim("one-layer-loss", "repeated blocks, one layer: loss on what can be known, last 10 of 250 updates, in nats"),
    Claim("two-layer-loss", "the same for a transformer of two layers", limits=(0, math.inf)),
    Claim("layer-gap", "one layer's loss minus two layers'", above=0.0),
    Claim("cliff-at", "update at which the mean loss of ten first falls below 1.5, two layers (260: not by 250)"),
    Claim("score-before", "induction score of the best head, 40 updates before that", limits=(0, 1)),
    Claim("score-after", "the same after 250 updates", limits=(0, 1)),
    Claim("ablate-one", "rise of the loss without the head of the highest induction score"),
    Claim("ablate-layer", "rise of the loss without all heads of layer 2", above=0.0),
    Claim("ablate-previous", "rise of the loss without layer 1's previous-token heads (score above 0.25)", above=0.0),
    Claim("score-without-notes", "induction score of the best head without them", limits=(0, 1)),
    Claim("unscaled-rise", "loss in the last twelfth of a context 4 times longer minus that in the second", above=0.0),
    Claim("yarn-gain", "what YaRN takes off the loss in that last twelfth, without training", above=0.0),
    Claim("linear-cost", "what linear interpolation adds there, without training", above=0.0),
    Claim("tuned-yarn", "loss there with YaRN after 40 more updates", limits=(0, math.inf)),
    Claim("leak-loss", "training loss of next tokens without a causal mask, last 10 of 100 updates"),
    Claim("leak-accuracy", "share of right tokens which that model then writes", limits=(0, 1)),
)


def say_it_again(generator: torch.Generator, rows: int = 32, length: int = T, blocks=(4, 16)):
    """Rows that repeat a block of random tokens: inputs, targets (-100: nobody can know), and the blocks' lengths."""
    period = torch.randint(blocks[0], blocks[1] + 1, (rows, 1), generator=generator)
    block = torch.randint(V, (rows, blocks[1]), generator=generator)
    place = torch.arange(length + 1)[None]
    text = block.gather(1, place % period)
    return text[:, :-1], torch.where(place[:, 1:] > period, text[:, 1:], -100), period


def stream(seed: int, draw=say_it_again, **options) -> Iterator[tuple[Tensor, Tensor]]:
    """Endless batches, never the same twice."""
    generator = torch.Generator().manual_seed(seed)
    while True:
        yield draw(generator, **options)[:2]


@torch.no_grad()
def start(model: nn.Module) -> nn.Module:
    """Embeddings of size 1 (positions 0.3) instead of 0.02, which suits widths of a thousand."""
    for name, weight in model.named_parameters():
        weight *= 50 if name.endswith("embedding.weight") else 15 if name.endswith("positions.weight") else 1
    return model


@torch.no_grad()
def small(seed: int, *, library_start: bool = False, **options) -> Transformer:
    """The model of the page: embeddings of size 1 and matrices of 1 / sqrt(width), where the library starts at 0.02."""
    shape = {"vocab_size": V, "width": WIDTH, "num_layers": 2, "num_heads": 4, "context_length": T}
    config = llama(**(shape | {"feed_forward_width": WIDTH} | options))
    model = Transformer(config, generator=torch.Generator().manual_seed(seed))
    for weight in () if library_start else model.parameters():
        if weight.ndim > 1:
            weight *= (1.0 if weight is model.embedding.weight else WIDTH**-0.5) / 0.02
    return model


class LSTM(nn.Module):
    """A memory of fixed size, passed on from token to token."""

    def __init__(self, vocabulary: int = V, width: int = 80, cell: type[nn.Module] = nn.LSTM) -> None:
        super().__init__()
        self.embedding, self.head = nn.Embedding(vocabulary, width), nn.Linear(width, vocabulary)
        self.memory = cell(width, width, batch_first=True)

    def forward(self, tokens: Tensor) -> Tensor:
        """Return the logits at each place."""
        return self.head(self.memory(self.embedding(tokens))[0])


def trainer(model: nn.Module, rate: float, *, objective=classification) -> Run:
    """AdamW with a warmup of 20 updates and clipped gradients."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=rate, betas=(0.9, 0.98), weight_decay=0.0, fused=True)
    return Run(model, objective, optimizer, schedule=lambda i: min(1.0, (i + 1) / 20), max_grad_norm=1.0)


def learn(model, batches, *, rate=1e-2, updates=UPDATES, **options) -> list[float]:
    """Train; return the loss of each update."""
    return [step.loss.item() for step in train(trainer(model, rate, **options), batches, steps=updates)]


def means(losses: list[float]) -> list[float]:
    """The mean of each ten updates."""
    return [sum(losses[i : i + EVERY]) / EVERY for i in range(0, len(losses), EVERY)]


@torch.no_grad()
def head_scores(model: Transformer, rows: int = 64) -> tuple[Tensor, Tensor]:
    """Of each head: the attention on what followed this token before, and on the token just before, ``(L, H)`` each."""
    x, _, period = say_it_again(torch.Generator().manual_seed(1), rows)
    maps, place = torch.stack(list(attention_maps(model, x).values())), torch.arange(T)
    lag, later = (place[:, None] - place + 1)[None], place >= period
    followed = (lag >= period[..., None]) & (lag % period[..., None] == 0)
    found = (maps * followed[None, :, None]).sum(-1) * later[None, :, None]
    return found.sum((1, 3)) / later.sum(), maps.diagonal(-1, -2, -1).mean((1, 3))


def without(model: Transformer, heads) -> Transformer:
    """A copy that adds nothing of these ``(layer, head)`` to the residual stream."""
    model, size = copy.deepcopy(model), model.config.head_width
    for layer, head in heads:
        model.blocks[layer].attention.output.weight.data[:, head * size : (head + 1) * size] = 0
    return model


def induction(seed: int) -> tuple[dict, dict, Transformer]:
    """One layer and two on repeated blocks; the heads' scores on the way; ablations."""
    one = means(learn(small(seed, num_layers=1), stream(seed)))
    model, losses, scores = small(seed), [], []
    for step in train(trainer(model, 1e-2), stream(seed), steps=UPDATES):
        losses.append(step.loss.item())
        if step.index % EVERY == 0:
            scores.append(head_scores(model, 16)[0].max().item())
    blocks = means(losses)
    cliff = next((i for i, loss in enumerate(blocks) if loss < 1.5), len(blocks))
    copying, previous = head_scores(model)
    notes = [(0, head) for head in range(4) if previous[0, head] > NOTE]
    cut = [[], [(1, copying[1].argmax().item())], [(1, head) for head in range(4)], notes]
    test = [say_it_again(torch.Generator().manual_seed(2), 256)[:2]]
    whole, *rest = (evaluate(without(model, heads), classification, test)["loss"] for heads in cut)
    claims = {"one-layer-loss": one[-1], "two-layer-loss": blocks[-1], "layer-gap": one[-1] - blocks[-1]}
    claims |= {"cliff-at": EVERY * (cliff + 1), "score-before": scores[max(cliff - 4, 0)]}
    claims |= {"score-after": copying.max().item()}
    claims |= {"score-without-notes": head_scores(without(model, notes))[0].max().item()}
    claims |= {f"ablate-{name}": loss - whole for name, loss in zip(("one", "layer", "previous"), rest, strict=True)}
    return claims, {"one-layer": one, "two-layer": blocks, "scores": scores}, model


def longer(model: Transformer, scaling: str) -> Transformer:
    """The same weights read with a context ``FACTOR`` times longer."""
    more = {} if scaling == "none" else {"rope_factor": float(FACTOR)}
    wide = Transformer(replace(model.config, context_length=FACTOR * T, rope_scaling=scaling, **more))
    wide.load_state_dict(model.state_dict())
    return wide


@torch.no_grad()
def by_place(model: Transformer) -> list[float]:
    """Loss in each twelfth of the context."""
    x, y, _ = say_it_again(torch.Generator().manual_seed(3), 64, model.config.context_length)
    losses = F.cross_entropy(model(x).transpose(1, 2), y, reduction="none").unflatten(1, (12, -1))
    return (losses.sum((0, 2)) / (y != -100).unflatten(1, (12, -1)).sum((0, 2))).tolist()


def extension(seed: int, model: Transformer) -> tuple[dict, dict]:
    """Loss by position in a context four times longer, before and after 40 updates on such texts."""
    before, after = {}, {}
    for scaling in ("none", "linear", "ntk", "yarn"):
        wide = longer(model, scaling)
        before[scaling] = by_place(wide)
        if scaling == "yarn" or seed < SWEEP_SEEDS:
            learn(wide, stream(seed + 100, rows=8, length=FACTOR * T), rate=2e-3, updates=40)
            after[scaling] = by_place(wide)
    end = {scaling: losses[-1] for scaling, losses in before.items()}
    claims = {"unscaled-rise": end["none"] - before["none"][1], "yarn-gain": end["none"] - end["yarn"]}
    claims |= {"linear-cost": end["linear"] - end["none"], "tuned-yarn": after["yarn"][-1]}
    return claims, {"by-place": before, "by-place-tuned": after}


def leak(seed: int) -> dict:
    """A model that sees the token it is to predict: what it shows in training, and what it writes."""
    model = small(seed, causal=False)
    losses = learn(model, stream(seed), updates=100)
    x, y, _ = say_it_again(torch.Generator().manual_seed(4), 512)
    right = model(x[:, : T // 2])[:, -1].argmax(-1) == y[:, T // 2 - 1]
    return {"leak-loss": means(losses)[-1], "leak-accuracy": right.float().mean().item()}


def task(generator: torch.Generator, rows: int = 32, name: str = "marks") -> tuple[Tensor, Tensor]:
    """Letters, and for each a mark if it comes again later; or the letters sorted, up or down by the toss of a coin."""
    if name == "marks":
        x = torch.randint(LETTERS, (rows, 2 * SOURCE), generator=generator)
        return x, (x[:, :, None] == x[:, None, :]).triu(1).any(-1).long()
    x = torch.rand(rows, LETTERS, generator=generator).argsort(1)[:, :SOURCE]
    y, down = x.sort(1).values, torch.rand(rows, generator=generator) < 0.5
    return x, torch.where(down[:, None], y.flip(1), y)


def dressed(kind: str, x: Tensor, y: Tensor) -> tuple:
    """A task's source and target as one architecture's batch."""
    shifted = torch.cat([torch.full_like(y[:, :1], BEGIN), y[:, :-1]], 1)
    if kind == "encoder-decoder":
        return (x, shifted), y
    if y.max() < 2:  # a label for each place: no target to read
        return (x,), y
    given = torch.full_like(y, BLANK) if kind == "encoder" else shifted
    return (torch.cat([x, given], 1),), torch.cat([torch.full_like(x, -100), y], 1)


def written(kind: str, model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    """What a trained model answers, token by token where it writes."""
    if kind == "encoder-decoder":
        prompt = torch.full_like(x[:, :1], BEGIN)
        return generate(model.decoder, prompt, max_new_tokens=y.shape[1], temperature=0, memory=model.encode(x)).tokens
    if kind == "decoder" and y.max() > 1:
        prompt = torch.cat([x, torch.full_like(x[:, :1], BEGIN)], 1)
        return generate(model, prompt, max_new_tokens=y.shape[1], temperature=0).tokens
    with torch.no_grad():
        return model(*dressed(kind, x, y)[0])[:, -y.shape[1] :].argmax(-1)


def architectures(seed: int) -> dict[str, dict[str, float]]:
    """Share of right marks, and of whole rows sorted either way, for each architecture."""
    shape = {"vocab_size": 14, "width": 48, "num_layers": 2, "num_heads": 4, "context_length": 2 * SOURCE + 1}
    writing = llama(**shape, positions="learned")
    reading, scores = replace(writing, causal=False), {"marks": {}, "sortings": {}}
    kinds = {"encoder": partial(Transformer, reading), "decoder": partial(Transformer, writing)}
    kinds["encoder-decoder"] = partial(EncoderDecoder, reading, writing)
    options = {"rate": 3e-3, "updates": 250, "objective": lambda m, b: classification(lambda inputs: m(*inputs), b)}
    for name in scores:
        for kind, build in kinds.items():
            model = build(generator=torch.Generator().manual_seed(seed))
            learn(start(model), (dressed(kind, *pair) for pair in stream(seed, task, name=name)), **options)
            x, y = task(torch.Generator().manual_seed(5), 512, name)
            out = written(kind, model, x, y)
            right = out == y if name == "marks" else (out == y).all(1) | (out == y.flip(1)).all(1)
            scores[name][kind] = right.float().mean().item()
    return scores


def errand(generator: torch.Generator, rows: int = 32, lag: int = 8) -> tuple[Tensor, Tensor]:
    """Four symbols, a wait, and then: say them again."""
    symbols = torch.randint(1, 9, (rows, 4), generator=generator)
    return F.pad(F.pad(symbols, (0, lag)), (0, 4), value=9), torch.cat([torch.full((rows, 4 + lag), -100), symbols], 1)


def lags(seed: int) -> dict[str, list[float]]:
    """Accuracy at growing lag of an LSTM and a transformer; loss of an RNN that stretches its memory, with clipping."""
    found: dict[str, list[float]] = {"LSTM": [], "transformer": []}
    for lag in LAGS:
        torch.manual_seed(seed)
        shape = {"vocab_size": 10, "width": 32, "num_layers": 2, "num_heads": 2, "context_length": lag + 8}
        transformer = start(Transformer(llama(**shape), generator=torch.Generator().manual_seed(seed)))
        for name, model, rate, updates in (("LSTM", LSTM(10, 64), 3e-3, 300), ("transformer", transformer, 5e-3, 200)):
            learn(model, stream(seed, errand, lag=lag), rate=rate, updates=updates)
            found[name].append(
                evaluate(model, classification, [errand(torch.Generator().manual_seed(6), 256, lag)])["accuracy"]
            )
    for name, clip in (("free", math.inf), ("clipped", 1.0)):
        torch.manual_seed(seed)
        model = LSTM(10, 64, nn.RNN)
        nn.init.orthogonal_(model.memory.weight_hh_l0, gain=1.5)
        run = Run(model, classification, torch.optim.SGD(model.parameters(), lr=0.03, momentum=0.9), max_grad_norm=clip)
        found[name] = means([step.loss.item() for step in train(run, stream(seed, errand), steps=300)])
    return found


@torch.no_grad()
def health(model: Transformer) -> list[float]:
    """Loss, the largest attention score in size in the first layer, mean of log Z."""
    x, y, _ = say_it_again(torch.Generator().manual_seed(7))
    block, tables = model.blocks[0], rotary_tables(torch.arange(T), model.config, dtype=torch.float32)
    q, k, _ = block.attention.heads(block.attention_norm(model.embedding(x)), rotary=tables)
    logits, score = model(x), (q @ k.mT).abs().max().item() / q.shape[-1] ** 0.5
    return [F.cross_entropy(logits.mT, y).item(), score, logits.logsumexp(-1).mean().item()]


def high_rates(seed: int) -> dict[str, list[float]]:
    """A learning rate of 0.1: plain, with QK-norm, with z-loss."""
    found = {}
    for name in ("plain", "QK-norm", "z-loss"):
        model, objective = small(seed, qk_norm=name == "QK-norm"), partial(next_token, z_loss=1e-3 * (name == "z-loss"))
        learn(model, stream(seed), rate=0.1, updates=80, objective=objective)
        found[name] = health(model)
    return found


def experiment(seed: int) -> dict[str, object]:
    """Everything once; what takes long for the first seeds only."""
    torch.set_num_threads(1)
    claims, series, model = induction(seed)
    more, drawn = extension(seed, model)
    sweeps = {"architectures": architectures, "lags": lags, "high-rates": high_rates}
    sweeps["library-start"] = lambda seed: means(learn(small(seed, library_start=True), stream(seed)))
    series |= drawn | {name: sweep(seed) if seed < SWEEP_SEEDS else None for name, sweep in sweeps.items()}
    return claims | more | leak(seed) | {"series": series}


if __name__ == "__main__":
    record(__file__, experiment, CLAIMS)
