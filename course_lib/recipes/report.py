"""What is said of a finished run: how good the model is beside simpler ones, how fast it was trained, on what."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median

import torch
from torch import nn

from course_lib.data import Batches
from course_lib.loops import Loss, Objective, evaluate, next_token, read_log
from course_lib.loops.loss import Batch
from course_lib.ngrams import KneserNey
from course_lib.nn.transformer import Transformer, TransformerConfig
from course_lib.recipes.corpus import Corpus
from course_lib.recipes.run_parts import check_folder, versions, where_it_ran
from course_lib.recipes.settings import Settings
from course_lib.recipes.sharing import BY_DEFAULT, Sharing
from course_lib.recipes.tokens import Tokens
from course_lib.scaling import flops_per_token, mfu
from course_lib.tokenization import bits_per_byte
from course_lib.zoo import Card

_BASELINE_TOKENS = 20_000_000  # of training text at most for the n-gram model, which holds all its counts in memory
_IN_ARCHITECTURE = ("vocab_size", "architecture", "width", "num_layers", "num_heads", "num_kv_heads", "tied", "seed")


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a run happens.

    Args:
        out: A folder: the tokenizer, the log, checkpoints, and at last the model are written there.
        device: Where to train: that of this process.
        peak_flops_per_second: Of the devices of all processes together; what MFU is measured by.
        num_workers: Processes that tokenise; None for this one alone.
        every: Updates between two validations, each with a checkpoint; None for a twentieth of all.
        progress: Whether to show a bar.
        sharing: How several processes share the work.

    Raises:
        ValueError: If ``out`` is a file, or a number is out of its range.
    """

    out: Path
    device: torch.device
    peak_flops_per_second: float
    num_workers: int | None = None
    every: int | None = None
    progress: bool = True
    sharing: Sharing = BY_DEFAULT

    def __post_init__(self) -> None:
        check_folder(self.out)
        if not 0 < self.peak_flops_per_second < math.inf:
            raise ValueError(f"peak_flops_per_second must be positive and finite, got {self.peak_flops_per_second}.")
        for name in ("num_workers", "every"):
            if (value := getattr(self, name)) is not None and value < 1:
                raise ValueError(f"{name} must be at least 1, got {value}.")


def objective(device: torch.device, *, z_loss: float = 0.0) -> Objective:
    """Return `next_token` for batches that may still lie elsewhere than on ``device``."""

    def on_device(model: nn.Module, batch: Batch) -> Loss:
        x, y = batch
        return next_token(model, (x.to(device), y.to(device)), z_loss=z_loss)

    return on_device


def held_out_loss(model: Transformer, tokens: Tokens, settings: Settings, place: Place) -> float:
    """Return the nats a token on all that was held out, in float32; every rank calls this, and looks at its share."""
    windows = Batches(tokens.validation, batch_size=settings.batch_size, seed=0, shuffle=False, epochs=1)
    return evaluate(model, objective(place.device), windows)["loss"]


def card_of(
    corpus: Corpus,
    tokens: Tokens,
    settings: Settings,
    place: Place,
    model: Transformer,
    *,
    loss: float,
    name: str,
    recipe: str,
) -> Card:
    """Return a card for the finished model, whose `held_out_loss` is ``loss``.

    Beside it stand an interpolated Kneser-Ney trigram, trained on the same tokens, and the process that wrote the
    text where its probabilities are known.
    """
    held_out = tokens.held_out()

    def scored(nats_per_token: float) -> dict[str, float]:
        bits = bits_per_byte(nats_per_token, num_tokens=len(held_out), num_bytes=tokens.num_validation_bytes)
        return {"nats_per_token": round(nats_per_token, 4), "bits_per_byte": round(bits, 4)}

    trigram = KneserNey(
        tokens.stream(_BASELINE_TOKENS), order=3, vocab_size=settings.vocab_size, separator=tokens.separator
    )
    baselines = {"interpolated Kneser-Ney trigram": scored(-float(trigram.log_prob(held_out).mean()))}
    if corpus.validation_nats is not None:
        baselines["the process that wrote the text"] = scored(corpus.validation_nats / len(held_out))
    num_parameters = sum(parameter.numel() for parameter in model.parameters())
    num_seen = settings.steps * settings.tokens_per_step
    chosen = {key: value for key, value in asdict(settings).items() if key not in _IN_ARCHITECTURE}
    return Card(
        name,
        f"A decoder of {num_parameters / 1e6:.2g} million parameters in the style of {settings.architecture}, trained "
        f"from nothing on {num_seen / 1e6:.3g} million tokens.",
        architecture=asdict(settings.config()),
        num_parameters=num_parameters,
        tokenizer=f"byte-level BPE, {settings.vocab_size:,} tokens",
        data=corpus.data,
        data_licence=corpus.licence,
        licence="Apache-2.0, as far as the data allows",
        limits=corpus.limits,
        recipe=recipe,
        seed=settings.seed,
        training=_effort(tokens, num_seen, settings.config(), place) | chosen,
        versions=versions("datasets"),
        validation=scored(loss) | {"num_tokens": len(held_out), "num_bytes": tokens.num_validation_bytes},
        baselines=baselines,
    )


def _effort(tokens: Tokens, num_seen: int, config: TransformerConfig, place: Place) -> dict[str, float | int | str]:
    """How much was learnt from, and what it took, from the log."""
    found: dict[str, float | int | str] = {"tokens_seen": num_seen}
    if tokens.num_train is not None:
        found |= {"tokens_to_learn_from": tokens.num_train, "epochs": round(num_seen / tokens.num_train, 2)}
    found |= where_it_ran(place.out, place.device)
    found |= place.sharing.card()
    speeds = [row["tokens_per_second"] for row in read_log(place.out / "log.jsonl").rows if "tokens_per_second" in row]
    if speeds:
        peak, speed = place.peak_flops_per_second, median(speeds)
        utilisation = mfu(flops_per_token=flops_per_token(config), tokens_per_second=speed, peak_flops_per_second=peak)
        found["tokens_per_second"] = round(speed)
        found["model_flops_utilisation"] = round(utilisation, 4)
        found["of_peak_flops_per_second"] = f"{peak:.3g}"
    return found
