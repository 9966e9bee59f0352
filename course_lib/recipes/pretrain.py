"""Pretrain a language model from the command line: ``python -m course_lib.recipes.pretrain --help``."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated, Any

import torch
import typer

from course_lib.collectives import rank, world_size
from course_lib.loops.precision import DTYPES, Precision
from course_lib.recipes import corpus as corpora
from course_lib.recipes.command_line import (
    DeviceName,
    chosen_device,
    new_app,
    recipe_line,
    run_app,
    telling_interruption,
)
from course_lib.recipes.corpus import Corpus
from course_lib.recipes.pretraining import pretrain
from course_lib.recipes.report import Place
from course_lib.recipes.settings import Architecture, Schedule, Settings
from course_lib.recipes.sharing import Parallel, Sharing
from course_lib.recipes.sums_corpus import from_sums
from course_lib.scaling import chip_of, measured_peak

_TEXT, _MODEL, _TRAINING, _RUN = "Text (one of five)", "Model", "Training", "Run"
_SHARING = "Several processes (torchrun)"
_DEFAULT = Settings()
_HELD_OUT = 0.05

app = new_app()


def _option(name: str, help_: str, panel: str) -> Any:
    return typer.Option(name, help=help_, rich_help_panel=panel)


@app.command(
    epilog="The model, a card and samples are written to OUT/model; load them with course_lib.zoo.load_folder. The "
    "same command goes on with a run that was killed. GPT-2's smallest shape on one GPU: python -m "
    "course_lib.recipes.pretrain --hub HuggingFaceFW/fineweb-edu --hub-config sample-10BT --out runs/gpt2 "
    "--architecture gpt --vocab-size 50257 --width 768 --layers 12 --heads 12 --context 1024 --batch-size 32 "
    "--accumulate 16 --steps 19000 --warmup 700 --learning-rate 6e-4 --precision bf16 --compile --workers 16. On eight "
    "GPUs of one machine torchrun --nproc-per-node 8 -m takes the place of python -m; files for clusters are in "
    "course_lib/recipes/launch."
)
def command(
    out: Annotated[Path, _option("--out", "Folder for the run; made if it is not there.", _RUN)],
    text: Annotated[Path | None, _option("--text", "A file or a folder of text.", _TEXT)] = None,
    hub: Annotated[str | None, _option("--hub", "A data set of the Hugging Face hub, owner/name.", _TEXT)] = None,
    python_text: Annotated[bool, _option("--python-text", "The running Python's own text.", _TEXT)] = False,
    tales: Annotated[int | None, _option("--tales", "This many made-up stories.", _TEXT)] = None,
    sums: Annotated[int | None, _option("--sums", "This many made-up sums with their answers.", _TEXT)] = None,
    text_column: Annotated[
        str | None, _option("--text-column", "For tables and the hub: where the text is; by default text.", _TEXT)
    ] = None,
    hub_config: Annotated[str | None, _option("--hub-config", "For the hub: which configuration.", _TEXT)] = None,
    stream: Annotated[bool, _option("--stream", "Read --text or --hub while training.", _TEXT)] = False,
    max_bytes: Annotated[int | None, _option("--max-bytes", "Of --python-text: learn from so much.", _TEXT)] = None,
    digits: Annotated[int | None, _option("--digits", "Of --sums: the most of a number; 2.", _TEXT)] = None,
    operations: Annotated[str | None, _option("--operations", "Of --sums: some of + - *; +.", _TEXT)] = None,
    worked: Annotated[float | None, _option("--worked", "Of --sums: share that show their work; 0.5.", _TEXT)] = None,
    held_out: Annotated[
        float | None, _option("--held-out", "Share of --text or --hub to validate on; by default 0.05.", _TEXT)
    ] = None,
    vocab_size: Annotated[int, _option("--vocab-size", "Of the tokenizer.", _MODEL)] = _DEFAULT.vocab_size,
    architecture: Annotated[Architecture, _option("--architecture", "Family.", _MODEL)] = _DEFAULT.architecture,
    width: Annotated[int, _option("--width", "Of the residual stream.", _MODEL)] = _DEFAULT.width,
    layers: Annotated[int, _option("--layers", "Blocks.", _MODEL)] = _DEFAULT.num_layers,
    heads: Annotated[int, _option("--heads", "Attention heads.", _MODEL)] = _DEFAULT.num_heads,
    kv_heads: Annotated[int | None, _option("--kv-heads", "Heads of keys and values.", _MODEL)] = None,
    context: Annotated[int, _option("--context", "Tokens a window.", _MODEL)] = _DEFAULT.context_length,
    tied: Annotated[bool, _option("--tied/--untied", "The output layer is the embedding.", _MODEL)] = _DEFAULT.tied,
    dropout: Annotated[float, _option("--dropout", "Share that is dropped.", _MODEL)] = _DEFAULT.dropout,
    batch_size: Annotated[
        int, _option("--batch-size", "Windows a batch, over all ranks.", _TRAINING)
    ] = _DEFAULT.batch_size,
    accumulate: Annotated[int, _option("--accumulate", "Batches an update.", _TRAINING)] = _DEFAULT.accumulate,
    steps: Annotated[int, _option("--steps", "Updates.", _TRAINING)] = _DEFAULT.steps,
    learning_rate: Annotated[float, _option("--learning-rate", "Peak.", _TRAINING)] = _DEFAULT.learning_rate,
    schedule: Annotated[Schedule, _option("--schedule", "After the warmup.", _TRAINING)] = _DEFAULT.schedule,
    warmup: Annotated[int, _option("--warmup", "Updates to the peak.", _TRAINING)] = _DEFAULT.warmup,
    weight_decay: Annotated[float, _option("--weight-decay", "On matrices.", _TRAINING)] = _DEFAULT.weight_decay,
    beta2: Annotated[float, _option("--beta2", "AdamW's second.", _TRAINING)] = _DEFAULT.beta2,
    max_grad_norm: Annotated[float, _option("--max-grad-norm", "Clipping.", _TRAINING)] = _DEFAULT.max_grad_norm,
    z_loss: Annotated[float, _option("--z-loss", "Penalty on large logits.", _TRAINING)] = _DEFAULT.z_loss,
    ema: Annotated[float, _option("--ema", "Decay of averaged weights; 0: none.", _TRAINING)] = _DEFAULT.ema,
    precision: Annotated[Precision, _option("--precision", "Of the arithmetic.", _TRAINING)] = _DEFAULT.precision,
    compiled: Annotated[bool, _option("--compile", "Compile the model.", _TRAINING)] = _DEFAULT.compiled,
    seed: Annotated[int, _option("--seed", "Of weights, order, split, samples.", _TRAINING)] = _DEFAULT.seed,
    name: Annotated[str | None, _option("--name", "For the card; by default that of OUT.", _RUN)] = None,
    device: Annotated[DeviceName, _option("--device", "auto: CUDA, else Apple's MPS, else CPU.", _RUN)] = "auto",
    parallel: Annotated[
        Parallel | None,
        _option(
            "--parallel",
            "Copies of the model learn from different rows: whole ones (ddp, the default), or one cut up among the "
            "processes (fsdp). Or all processes share each layer (tp), or are stages of a pipeline (pp).",
            _SHARING,
        ),
    ] = None,
    tp: Annotated[
        int | None,
        _option("--tp", "So many neighbouring processes share each layer; with ddp, fsdp or pp.", _SHARING),
    ] = None,
    pp: Annotated[
        int | None,
        _option(
            "--pp",
            "So many stages that layers are dealt out to; with ddp (and --tp besides), fsdp or tp. The batches of "
            "--accumulate go through them one behind the other: take several times as many as stages.",
            _SHARING,
        ),
    ] = None,
    peak: Annotated[
        float | None, _option("--peak-tflops", "Of a device, for MFU; by default data sheet or measured.", _RUN)
    ] = None,
    workers: Annotated[int | None, _option("--workers", "Processes that tokenise.", _RUN)] = None,
    every: Annotated[int | None, _option("--every", "Updates between validations and checkpoints.", _RUN)] = None,
    progress: Annotated[bool, _option("--progress/--no-progress", "Show a bar.", _RUN)] = True,
) -> None:
    """Train a byte-level BPE tokenizer and a transformer on your text, a public data set, or text made here."""
    settings = Settings(
        vocab_size=vocab_size,
        architecture=architecture,
        width=width,
        num_layers=layers,
        num_heads=heads,
        num_kv_heads=kv_heads,
        context_length=context,
        tied=tied,
        dropout=dropout,
        batch_size=batch_size,
        accumulate=accumulate,
        steps=steps,
        learning_rate=learning_rate,
        schedule=schedule,
        warmup=warmup,
        weight_decay=weight_decay,
        beta2=beta2,
        max_grad_norm=max_grad_norm,
        z_loss=z_loss,
        ema=ema,
        precision=precision,
        compiled=compiled,
        seed=seed,
    )
    chosen = chosen_device(device)
    if peak is not None and not 0 < peak < math.inf:
        raise ValueError(f"--peak-tflops must be positive and finite, got {peak}.")
    if [text is not None, hub is not None, python_text, tales is not None, sums is not None].count(True) != 1:
        raise ValueError("say where the text comes from, by one of --text, --hub, --python-text, --tales and --sums.")
    own = text is not None or hub is not None
    for option, given, of, applies in (
        ("--stream", stream, "--text and --hub", own),
        ("--held-out", held_out is not None, "--text and --hub", own),
        ("--text-column", text_column is not None, "--text and --hub", own),
        ("--hub-config", hub_config is not None, "--hub", hub is not None),
        ("--max-bytes", max_bytes is not None, "--python-text", python_text),
        ("--digits", digits is not None, "--sums", sums is not None),
        ("--operations", operations is not None, "--sums", sums is not None),
        ("--worked", worked is not None, "--sums", sums is not None),
    ):
        if given and not applies:
            raise ValueError(f"{option} is for {of}: leave it out.")
    if stream and held_out is not None:
        raise ValueError("--held-out does not apply with --stream, of which the first documents are held out.")
    peak_flops = world_size() * (_peak(chosen, precision) if peak is None else peak * 1e12)
    place = Place(
        out=out,
        device=chosen,
        peak_flops_per_second=peak_flops,
        num_workers=workers,
        every=every,
        progress=progress,
        sharing=Sharing(parallel=parallel, tp=tp, pp=pp),
    )
    column, share = text_column or "text", _HELD_OUT if held_out is None else held_out
    corpus: Corpus
    if text is not None:
        corpus = corpora.from_path(text, text_column=column, validation_share=share, seed=seed, streaming=stream)
    elif hub is not None:
        corpus = corpora.from_name(
            hub, config=hub_config, text_column=column, validation_share=share, seed=seed, streaming=stream
        )
    elif python_text:
        corpus = corpora.from_python(max_bytes=max_bytes)
    elif tales is not None:
        corpus = corpora.from_tales(tales, seed=seed)
    else:
        assert sums is not None
        asked: dict[str, Any] = {"digits": digits, "operations": operations, "worked_share": worked}
        corpus = from_sums(sums, seed=seed, **{name: value for name, value in asked.items() if value is not None})
    with telling_interruption("pretrain"):
        named = name or out.resolve().name
        card = pretrain(corpus, settings, place, name=named, recipe=recipe_line("pretrain")).card
    if rank() > 0:
        return
    for sample in card.samples:
        print(f"{sample}\n{'-' * 60}")
    for label, score in {"model": card.validation, **card.baselines}.items():
        print(f"{label}: {score['nats_per_token']:.3f} nats a token, {score['bits_per_byte']:.3f} bits a byte")
    if "tokens_per_second" in card.training:
        rate, share = card.training["tokens_per_second"], float(card.training["model_flops_utilisation"])
        print(f"{rate:,} tokens a second, MFU {share:.1%} of {peak_flops / 1e12:.3g} TFLOP/s")
    print(f"written to {out / 'model'}")


def _peak(device: torch.device, precision: Precision) -> float:
    """The data sheet's figure for a GPU, else the rate of one large matrix product in the precision chosen."""
    if device.type == "cuda":
        try:
            return chip_of(torch.cuda.get_device_name(device)).peak_flops_per_second
        except ValueError as error:
            raise ValueError(f"{error} Here: give it as --peak-tflops.") from None
    return measured_peak(device, dtype=DTYPES.get(precision, torch.float32), repeats=20)


def main() -> None:
    """Run the command. Exit codes: 0 done, 1 training failed, 2 a user's mistake, 130 interrupted."""
    run_app(app, "pretrain")


if __name__ == "__main__":
    main()
