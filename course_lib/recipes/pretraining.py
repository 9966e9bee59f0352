"""Text in, a model in a folder out: tokenise, pack, train, evaluate, write a card."""

from __future__ import annotations

from dataclasses import asdict, replace

import torch
from torch import Tensor

from course_lib.data import Batches
from course_lib.distributed import ShardedCheckpoints
from course_lib.loops import EMA, Run, fit, seed_all
from course_lib.nn.transformer import Transformer
from course_lib.recipes.corpus import Corpus
from course_lib.recipes.first_alone import first_alone
from course_lib.recipes.report import Place, card_of, held_out_loss, objective
from course_lib.recipes.run_parts import round_to_bf16, where_it_goes_on
from course_lib.recipes.settings import Settings
from course_lib.recipes.sharing import Shared, share
from course_lib.recipes.speed_log import SpeedLog
from course_lib.recipes.tokens import Tokens, tokenise, tokenizer_for
from course_lib.scaling import flops_per_token
from course_lib.tokenization import BPETokenizer
from course_lib.zoo import Pretrained, load_folder, save
from course_lib.zoo.files import digest

_WATCHED_WINDOWS = 128  # of validation are looked at during training, all of it at the end
_SAMPLE_TOKENS = 160


def pretrain(corpus: Corpus, settings: Settings, place: Place, *, name: str, recipe: str) -> Pretrained:
    """Train a language model on ``corpus``, and write it with its card to the folder ``model`` in ``place.out``.

    Run again with the same arguments after being killed, it goes on from its newest checkpoint, and ends with the
    same bits. A tokenizer that lies in ``place.out`` already is used.

    In a process group (torchrun) all ranks call this, with an ``out`` that all see, and share each batch, or the model,
    or both: without dropout the run is that of one process, up to rounding. It may go on on another number of ranks,
    and shared in another way. At the end every rank has the whole model on its device. The micro-batches of an update
    (``settings.accumulate``) are those of a pipeline.

    Args:
        corpus: What to learn, and what to be judged by.
        settings: Model and training.
        place: Where.
        name: For the card.
        recipe: The command or call that does this, for the card.

    Returns:
        The model with its weights rounded to bf16, as they are written, and its card.

    Raises:
        ValueError: If there is too little text, ``place.out`` holds a run with other settings or data, or
            ``place.sharing`` does not fit.
        NonFiniteStep: If an update was not finite.
        KeyboardInterrupt: If training was interrupted; the message says where the same call will go on.
    """
    place.sharing.check(batch_size=settings.batch_size, ema=settings.ema, precision=settings.precision)
    place.out.mkdir(parents=True, exist_ok=True)
    file = place.out / "tokenizer.json"
    tokenizer = first_alone(lambda: tokenizer_for(corpus, file, vocab_size=settings.vocab_size))
    asked, settings = settings, replace(settings, vocab_size=tokenizer.vocab_size)  # a short text has fewer pairs
    tokens = first_alone(
        lambda: tokenise(corpus, tokenizer, settings, device=place.device, num_workers=place.num_workers)
    )
    model = Transformer(settings.config(), generator=torch.Generator().manual_seed(settings.seed)).to(place.device)
    low = torch.bfloat16 if settings.precision == "bf16" else None
    shared = share(model, place.sharing, param_dtype=low)
    seed_all(settings.seed + shared.place)  # dropout differs between rows
    run = _run(shared, settings, place.device)
    log = SpeedLog(
        place.out / "log.jsonl",
        settings=asdict(asked) | {"data": tokens.digest(), "tokenizer": digest(file)},
        run=run,
        tokens_per_step=settings.tokens_per_step,
        flops_per_token=flops_per_token(settings.config()),
        peak_flops_per_second=place.peak_flops_per_second,
    )
    checkpoints = ShardedCheckpoints(place.out / "checkpoints")
    with log:
        fit(
            run,
            replace(tokens.train, rank=shared.place, world_size=shared.copies),
            steps=settings.steps,
            accumulate=settings.accumulate,
            validation=replace(
                _watched(tokens.validation, settings.batch_size), rank=shared.place, world_size=shared.copies
            ),
            every=place.every,
            log=log,
            checkpoints=checkpoints,
            progress=place.progress,
        )
    if run.index < settings.steps:
        raise KeyboardInterrupt(where_it_goes_on(checkpoints, run.index, settings.steps))
    trained = shared.whole() if run.ema is None else run.ema.model
    assert isinstance(trained, Transformer)
    round_to_bf16(trained)
    loss = held_out_loss(trained, tokens, settings, place)
    return first_alone(
        lambda: _written(trained, tokenizer, corpus, tokens, settings, place, loss=loss, name=name, recipe=recipe),
        lambda: load_folder(place.out / "model"),
    )


def _run(shared: Shared, settings: Settings, device: torch.device) -> Run:
    model = shared.model
    return Run(
        torch.compile(model) if settings.compiled else model,  # type: ignore[arg-type]
        shared.objective(objective(device, z_loss=settings.z_loss)),
        settings.optimizer(model),
        schedule=settings.rates,
        precision=settings.precision,
        ema=EMA(model, decay=settings.ema) if settings.ema else None,
        max_grad_norm=settings.max_grad_norm,
        gradients=shared.gradients,
    )


def _written(
    trained: Transformer,
    tokenizer: BPETokenizer,
    corpus: Corpus,
    tokens: Tokens,
    settings: Settings,
    place: Place,
    *,
    loss: float,
    name: str,
    recipe: str,
) -> Pretrained:
    """Write the model with its card and samples."""
    card = card_of(corpus, tokens, settings, place, trained, loss=loss, name=name, recipe=recipe)
    pretrained = Pretrained(trained.eval(), tokenizer, card)
    room = settings.context_length - 1 - max(len(tokenizer.encode(prompt)) for prompt in corpus.prompts)
    samples = pretrained.complete(corpus.prompts, max_new_tokens=min(_SAMPLE_TOKENS, room))
    texts = [prompt + rest for prompt, rest in zip(corpus.prompts, samples, strict=True)]
    measured, scores = ("", {}) if corpus.measure is None else corpus.measure(pretrained)
    pretrained = replace(pretrained, card=replace(card, samples=texts, measured=measured, scores=scores))
    return replace(pretrained, card=save(place.out / "model", pretrained))


def _watched(validation: tuple[Tensor, Tensor], batch_size: int) -> Batches:
    """Windows from all over the text held out, in batches of one size, so that nothing is compiled for a rest."""
    x, y = validation
    num = min(len(x), _WATCHED_WINDOWS)
    num = max(num // batch_size * batch_size, min(num, batch_size))
    rows = torch.linspace(0, len(x) - 1, num).long()
    return Batches((x[rows], y[rows]), batch_size=batch_size, seed=0, shuffle=False, epochs=1)
