"""Notebook 18 over eight seeds: a small GPT on Python's own text, n-grams, epochs, mid-training, memorisation."""

import math
from functools import partial

import numpy as np
import torch

from course_lib.data import Batches, pack, python_text
from course_lib.loops import Run, evaluate, next_token, train
from course_lib.ngrams import AddOne, KneserNey
from course_lib.nn.transformer import Transformer, llama
from course_lib.notebook.results import Claim, record
from course_lib.optim.schedules import warmup_cosine, wsd
from course_lib.tokenization import train_bpe

END = "<|endoftext|>"
VOCABULARY, CONTEXT, BATCH, STEPS, MAIN_RATE, RATE = 512, 64, 16, 300, 4e-3, 6e-3
SMALL_CONTEXT, SMALL_BATCH, SMALL_STEPS = 32, 8, 360  # the runs that are repeated with one thing changed
EPOCHS = (1, 2, 4, 16)
GATES = {"north": 128, "east": 32, "south": 8, "west": 0}  # canaries, and how often each is in the text

CLAIMS = (
    Claim("first-loss", "loss at step 0 over the logarithm of the vocabulary"),
    Claim("over-unigram", "validation nats a token, single tokens minus the GPT", above=0.0),
    Claim("over-bigram", "validation nats a token, Kneser-Ney bigram minus the GPT", above=0.0),
    Claim("behind-trigram", "validation nats a token, the GPT minus Kneser-Ney trigram", above=0.0),
    Claim("add-one-cost", "validation nats a token, add-one trigram minus Kneser-Ney trigram", above=0.0),
    Claim("four-epochs", "validation nats, 4 epochs minus 1 at equal steps", above=0.0),
    Claim("sixteen-epochs", "validation nats, 16 epochs minus 1 at equal steps", above=0.0),
    Claim("mid-target", "validation nats on documentation, the better mix spread evenly minus at the end"),
    Claim("mid-price", "validation nats on code, the better mix at the end minus spread evenly", above=0.0),
    Claim("recalled", "share of tokens guessed right, 16 epochs, training windows minus validation", above=0.0),
    Claim("exposure", "exposure in bits of a canary that is 128 times in the text, 9 at most", limits=(0, 9)),
    Claim("exposure-unseen", "exposure of one that is not in it", limits=(0, 9)),
    Claim("other-order", "validation nats after another order of the batches, minus the first"),
    Claim("other-start", "validation nats from another start, minus the first"),
    Claim("low-rate", "validation nats at an eighth of the learning rate, minus at the rate", above=0.0),
    Claim("high-rate", "validation nats at eight times the learning rate, minus at the rate", above=0.0),
)


def texts() -> dict[str, list[str]]:
    """Documentation and code to train on and to validate on."""
    return {
        "docs": list(python_text("docs")["text"]),
        "code": list(python_text("code", max_bytes=1_200_000)["text"]),
        "new docs": list(python_text("docs", split="validation")["text"]),
        "new code": [text[:6000] for text in python_text("code", split="validation")["text"]],
    }


def drawn(ids, seed: int) -> dict[str, list[list[int]]]:
    """Leave out a random tenth of the documents of each kind: the text is part of what chance decides."""
    rng = np.random.default_rng([seed, 18])
    return {
        kind: [part[i] for i in sorted(rng.permutation(len(part))[len(part) // 10 :])] for kind, part in ids.items()
    }


def gpt(seed: int, *, small: bool = False) -> Transformer:
    """A decoder of the kind that today's language models are, in small."""
    sizes = {"width": 32, "num_layers": 1, "num_heads": 2} if small else {"width": 64, "num_layers": 2, "num_heads": 4}
    config = llama(vocab_size=VOCABULARY, context_length=SMALL_CONTEXT if small else CONTEXT, **sizes)
    return Transformer(config, generator=torch.Generator().manual_seed(seed))


def pretrain(model, batches, steps: int, *, rate: float = RATE, schedule=None) -> Transformer:
    """Train on the next token."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=rate, betas=(0.9, 0.95), weight_decay=0.1)
    schedule = schedule or partial(warmup_cosine, total=steps, warmup=steps // 10, floor=0.1)
    for _ in train(Run(model, next_token, optimizer, schedule=schedule, max_grad_norm=1.0), batches, steps=steps):
        pass
    return model


def nats(model, windows, num: int | None = None) -> float:
    """Mean loss over windows."""
    x, y = windows
    return evaluate(model, next_token, Batches((x[:num], y[:num]), batch_size=128, seed=0, shuffle=False, epochs=1))[
        "loss"
    ]


def right(model, windows, num: int = 300) -> float:
    """Share of the tokens in the second half of each window that have the largest logit."""
    x, y = (part[:num] for part in windows)
    half = x.shape[1] // 2
    with torch.no_grad():
        return (model(x).argmax(-1) == y)[:, half:].float().mean().item()


def canary(gate: str, code) -> str:
    """A sentence that says nothing true."""
    return f"The code of the {gate} gate is {' '.join(map(str, code))}.\n"


def exposure(model, tokenizer, gate: str, secret, rng, others: int = 511) -> float:
    """Bits by which the true code is ahead of the middle of random ones: log2 of their number over its rank."""
    codes = [secret, *rng.integers(0, 10, (others, len(secret)))]
    rows = torch.tensor([tokenizer.encode(canary(gate, code)) for code in codes])
    x = torch.nn.functional.pad(rows[:, :-1], (1, 0), value=tokenizer.special[END])
    with torch.no_grad():
        loss = torch.cat(
            [
                -model(a).log_softmax(-1).gather(-1, b[..., None]).sum((1, 2))
                for a, b in zip(x.split(256), rows.split(256), strict=True)
            ]
        )
    return math.log2((others + 1) / (1 + int((loss[1:] < loss[0]).sum())))


def main_run(parts, ids, seed: int) -> tuple[dict, dict]:
    """The notebook's run, against the n-grams of the same tokens."""
    rng, tokenizer = np.random.default_rng(seed), parts["tokenizer"]
    secrets = {gate: rng.integers(0, 10, 6) for gate in GATES}
    planted = [tokenizer.encode(canary(gate, secrets[gate])) for gate, times in GATES.items() for _ in range(times)]
    documents = [*ids["docs"], *ids["code"], *planted]
    windows = pack([documents[i] for i in rng.permutation(len(documents))], context_length=CONTEXT, separator=0)
    new = pack([*ids["new docs"], *ids["new code"]], context_length=CONTEXT, separator=0)
    stream = np.concatenate([[*part, 0] for part in [*ids["docs"], *ids["code"]]])
    fresh = new[1][new[1] >= 0].numpy()
    model = gpt(seed)
    first = nats(model, windows, 64)
    pretrain(model, Batches(windows, batch_size=BATCH, seed=seed), STEPS, rate=MAIN_RATE)
    loss = nats(model, new)
    settings = {"vocab_size": VOCABULARY, "separator": 0}
    grams = {n: -KneserNey(stream, order=n, **settings).log_prob(fresh).mean() for n in (1, 2, 3)}
    exposures = {gate: exposure(model, tokenizer, gate, secrets[gate], rng) for gate in GATES}
    claims = {
        "first-loss": first / math.log(VOCABULARY),
        "over-unigram": grams[1] - loss,
        "over-bigram": grams[2] - loss,
        "behind-trigram": loss - grams[3],
        "add-one-cost": -AddOne(stream, order=3, **settings).log_prob(fresh).mean() - grams[3],
        "exposure": exposures["north"],
        "exposure-unseen": exposures["west"],
    }
    return claims, {"nats": loss, "exposures": list(exposures.values())}


def repeats(ids, seed: int) -> tuple[dict, dict]:
    """As many steps on all the text, and on a half, a quarter and a sixteenth of it; another order, start and rate."""
    x, y = pack([*ids["docs"], *ids["code"]], context_length=SMALL_CONTEXT, separator=0)
    new = pack([*ids["new docs"], *ids["new code"]], context_length=SMALL_CONTEXT, separator=0)
    rows = torch.from_numpy(np.random.default_rng(seed).permutation(len(x)))[: SMALL_STEPS * SMALL_BATCH]
    found, seen = [], []
    for epochs in EPOCHS:
        part = x[rows[: len(rows) // epochs]], y[rows[: len(rows) // epochs]]
        model = pretrain(gpt(seed, small=True), Batches(part, batch_size=SMALL_BATCH, seed=seed), SMALL_STEPS)
        found.append(nats(model, new, 1000))
        seen.append(nats(model, part, 300))
    claims = {
        "four-epochs": found[2] - found[0],
        "sixteen-epochs": found[3] - found[0],
        "recalled": right(model, part) - right(model, new),
    }
    quarter = SMALL_STEPS // 4

    def short(start: int = seed, order: int = seed, rate: float = RATE) -> float:
        batches = Batches((x[rows], y[rows]), batch_size=SMALL_BATCH, seed=order)
        return nats(pretrain(gpt(start, small=True), batches, quarter, rate=rate), new, 500)

    base = short()
    claims |= {
        "other-order": short(order=seed + 100) - base,
        "other-start": short(start=seed + 100) - base,
        "low-rate": short(rate=RATE / 8) - base,
        "high-rate": short(rate=RATE * 8) - base,
    }
    return claims, {"epochs-new": found, "epochs-seen": seen}


def mid_training(ids, seed: int) -> tuple[dict, dict]:
    """The same windows twice: documentation in the last tenth of the steps, or spread over all of them."""
    rng, num = np.random.default_rng(seed), SMALL_STEPS * SMALL_BATCH
    parts = {kind: pack(ids[kind], context_length=SMALL_CONTEXT, separator=0) for kind in ids}
    chosen = {}
    for kind, share in (("code", num - num // 10), ("docs", num // 10)):
        rows = torch.from_numpy(rng.permutation(len(parts[kind][0]))[:share])
        chosen[kind] = [part[rows] for part in parts[kind]]
    x, y = (torch.cat(both) for both in zip(chosen["code"], chosen["docs"], strict=True))
    schedule = partial(wsd, total=SMALL_STEPS, warmup=SMALL_STEPS // 10, decay=SMALL_STEPS // 10)
    losses = {}
    for name, order in (("end", torch.arange(num)), ("even", torch.from_numpy(rng.permutation(num)))):
        batches = Batches((x[order], y[order]), batch_size=SMALL_BATCH, seed=seed, shuffle=False)
        model = pretrain(gpt(seed, small=True), batches, SMALL_STEPS, schedule=schedule)
        losses[name] = [nats(model, parts[kind], 600) for kind in ("new docs", "new code")]
    (end_docs, end_code), (even_docs, even_code) = losses["end"], losses["even"]
    return {"mid-target": even_docs - end_docs, "mid-price": end_code - even_code}, {
        "mid-end": losses["end"],
        "mid-even": losses["even"],
    }


PARTS: dict = {}


def experiment(seed: int) -> dict[str, object]:
    """Everything once."""
    torch.set_num_threads(1)
    if not PARTS:  # text and tokeniser are the same for every seed
        found = texts()
        tokenizer = train_bpe(found["docs"] + found["code"], vocab_size=VOCABULARY, special_tokens=[END])
        PARTS.update(tokenizer=tokenizer, ids={kind: list(tokenizer.encode_many(part)) for kind, part in found.items()})
    claims: dict[str, object] = {}
    series: dict[str, object] = {}
    ids = drawn(PARTS["ids"], seed)
    for found_claims, lists in (main_run(PARTS, ids, seed), repeats(ids, seed), mid_training(ids, seed)):
        claims |= found_claims
        series |= lists
    return {**claims, "series": series}


if __name__ == "__main__":
    record(__file__, experiment, CLAIMS)
