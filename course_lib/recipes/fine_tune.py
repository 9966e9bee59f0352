"""Teach a language model to answer, from the command line: ``python -m course_lib.recipes.fine_tune --help``."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated, Literal

import torch
import typer

from course_lib.alignment import ChatExample, ChatTemplate, chat_batch, story_instructions
from course_lib.alignment.stories.instructions import Split
from course_lib.collectives import rank
from course_lib.loops import next_token
from course_lib.nn.transformer import Transformer, grow_vocabulary
from course_lib.recipes.command_line import (
    BatchSize,
    Device,
    Ema,
    Every,
    LearningRate,
    Name,
    Out,
    Precision,
    Progress,
    Steps,
    Warmup,
    WeightDecay,
    chosen_device,
    new_app,
    print_scores,
    recipe_line,
    run_app,
    telling_interruption,
)
from course_lib.recipes.first_alone import first_alone
from course_lib.recipes.run_parts import versions
from course_lib.recipes.sharing import BY_DEFAULT, Sharing
from course_lib.recipes.story_chats import answered, following, replier, story_examples
from course_lib.recipes.tensor_training import TensorSettings, effort, train_tensors
from course_lib.zoo import Card, Pretrained, load_folder, save
from course_lib.zoo.files import WEIGHTS
from course_lib.zoo.folders import load_any

_DEFAULT = TensorSettings(steps=1500, batch_size=16, learning_rate=1e-3, warmup=50, weight_decay=0.01, ema=0.0)
_HELD_OUT = 300  # conversations
_NUM_REQUESTS = 200
_NUM_SAMPLES = 3

app = new_app()


def fine_tune(
    base: Pretrained,
    settings: TensorSettings,
    *,
    num_demonstrations: int,
    out: Path,
    name: str,
    recipe: str,
    device: str | torch.device = "cpu",
    sharing: Sharing = BY_DEFAULT,
    every: int | None = None,
    progress: bool = True,
) -> Pretrained:
    """Teach ``base`` to tell the story it is asked for, and write it with its card to the folder ``model`` in ``out``.

    Its tokenizer gets the marks of `course_lib.alignment.ChatTemplate`, the model rows for them. It learns from
    requests with tales that fulfil them; only the tales count in the loss.

    Args:
        base: A model of stories; left as it is.
        settings: How; a row is as long as the model's context and holds one or more conversations.
        num_demonstrations: How many conversations to learn from.
        out: A folder: the log, checkpoints, and at last the model are written there.
        name: For the card.
        recipe: The command or call that does this, for the card.
        device: Where to train.
        sharing: How several processes share the work.
        every: Updates between two checkpoints; by default a twentieth of all.
        progress: Whether to show a bar.

    Returns:
        The model with its weights rounded to bf16, as they are written, and its card; ask it by its ``chat``.

    Raises:
        ValueError: If there are fewer rows than make a batch, a conversation does not fit into the model's context,
            the base can chat already, or ``out`` is a file or holds a run with other settings or data.
        NonFiniteStep: If an update was not finite.
        KeyboardInterrupt: If training was interrupted; the message says where the same call will go on.
    """
    place, template = torch.device(device), ChatTemplate()
    tokenizer = base.tokenizer.with_special(template.marks)

    def examples(num: int, split: Split) -> list[ChatExample]:
        return story_examples(
            num, tokenizer, template=template, length=base.model.config.context_length, seed=settings.seed, split=split
        )

    def untaught() -> Transformer:
        generator = torch.Generator().manual_seed(settings.seed)
        return grow_vocabulary(base.model, len(template.marks), generator=generator).to(place)

    rows = examples(num_demonstrations, "train")
    if len(rows) < settings.batch_size:
        raise ValueError(
            f"{num_demonstrations} demonstrations make {len(rows)} rows of text, a batch takes {settings.batch_size}: "
            "take more demonstrations, or a smaller batch."
        )
    model = train_tensors(
        untaught().train(),
        next_token,
        chat_batch(rows, length=base.model.config.context_length),
        settings,
        out=out,
        asked={"base": base.card.files.get(WEIGHTS), "demonstrations": num_demonstrations},
        generators=[],
        sharing=sharing,
        every=every,
        progress=progress,
    )
    held_out = examples(_HELD_OUT, "evaluation")
    validation, baseline = (answered(one, held_out, tokenizer) for one in (model, untaught().eval()))  # by all ranks

    def written() -> Pretrained:
        before = f"{base.card.name}, not taught"
        num_parameters = sum(weight.numel() for weight in model.parameters())
        card = Card(
            name,
            f"{base.card.name}, {num_parameters / 1e6:.2g} million parameters, taught to tell the story it is asked "
            "for.",
            architecture=asdict(model.config),
            num_parameters=num_parameters,
            tokenizer=f"that of {base.card.name}, with the marks {', '.join(template.marks)}",
            data=f"{num_demonstrations:,} requests with tales that fulfil them, of course_lib.alignment."
            f"demonstrations, seed {settings.seed}; stories and pairs of hero and wish of its evaluation split are "
            f"held out; of these the answers alone are measured below. Before that, what {base.card.name} has learnt "
            f"from: {base.card.data}",
            data_licence=base.card.data_licence,
            licence=base.card.licence,
            limits="Tells short stories from one grammar, for requests worded like those it has learnt from. It does "
            "not always do as it is asked (see how often, for each thing that can be asked), and refuses nothing. Made "
            "for experiments, not for children.",
            recipe=recipe,
            seed=settings.seed,
            training={"demonstrations": num_demonstrations, "rows": len(rows)} | effort(out, settings, place, sharing),
            versions=versions("datasets"),
            validation=validation,
            baselines={before: baseline},
        )
        taught = Pretrained(model, tokenizer, card)
        measured, scores = following(
            {"this model": replier(model, tokenizer), before: replier(untaught().eval(), tokenizer)},
            num=_NUM_REQUESTS,
            seed=settings.seed + 1,
        )
        asked = [each.text for each in story_instructions(_NUM_SAMPLES, seed=settings.seed + 2, split="evaluation")]
        samples = [f"{text}\n\n{answer}" for text, answer in zip(asked, replier(model, tokenizer)(asked), strict=True)]
        taught = replace(taught, card=replace(card, measured=measured, scores=scores, samples=samples))
        return replace(taught, card=save(out / "model", taught))

    return first_alone(written, lambda: load_folder(out / "model", device=place))


@app.command(
    epilog="The model and its card are written to OUT/model; load them with course_lib.zoo.load_folder('OUT/model')"
    ". The same command goes on with a run that was killed."
)
def command(
    out: Out,
    base: Annotated[
        str, typer.Option(help="Story model of the zoo, or the folder of your own, with a slash.")
    ] = "stories",
    num_demonstrations: Annotated[int, typer.Option(help="Conversations to learn from.")] = 40_000,
    steps: Steps = _DEFAULT.steps,
    batch_size: BatchSize = _DEFAULT.batch_size,
    learning_rate: LearningRate = _DEFAULT.learning_rate,
    warmup: Warmup = _DEFAULT.warmup,
    weight_decay: WeightDecay = _DEFAULT.weight_decay,
    ema: Ema = _DEFAULT.ema,
    precision: Precision = _DEFAULT.precision,
    seed: Annotated[int, typer.Option(help="Of demonstrations, order and new rows.")] = _DEFAULT.seed,
    name: Name = None,
    device: Device = "auto",
    parallel: Annotated[
        Literal["ddp", "fsdp", "tp"] | None,
        typer.Option(
            help="Under torchrun: each process has the whole model (ddp, the default) or a part (fsdp), or all share "
            "each layer (tp)."
        ),
    ] = None,
    tp: Annotated[int | None, typer.Option(help="With ddp or fsdp: so many processes share each layer.")] = None,
    every: Every = None,
    progress: Progress = True,
) -> None:
    """Teach a model of stories to tell the one it is asked for, by demonstrations (supervised fine-tuning)."""
    settings = TensorSettings(
        steps=steps,
        batch_size=batch_size,
        learning_rate=learning_rate,
        warmup=warmup,
        weight_decay=weight_decay,
        ema=ema,
        precision=precision,
        seed=seed,
    )
    with telling_interruption("fine_tune"):
        card = fine_tune(
            load_any(base),
            settings,
            num_demonstrations=num_demonstrations,
            out=out,
            name=name or out.resolve().name,
            recipe=recipe_line("fine_tune"),
            device=chosen_device(device),
            sharing=Sharing(parallel=parallel, tp=tp),
            every=every,
            progress=progress,
        ).card
    if rank() > 0:
        return
    for label, score in {"model": card.validation, **card.baselines}.items():
        print(f"{label}: {score['nats_per_token']:.3f} nats a token of the answers")
    print_scores(card.scores)
    print(f"written to {out / 'model'}")


def main() -> None:
    """Run the command. Exit codes: 0 done, 1 training failed, 2 a user's mistake, 130 interrupted."""
    run_app(app, "fine_tune")


if __name__ == "__main__":
    main()
