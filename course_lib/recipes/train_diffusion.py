"""Train a generator of small images from the command line: ``python -m course_lib.recipes.train_diffusion --help``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import torch
import typer

from course_lib.collectives import rank
from course_lib.diffusion import flow_matching
from course_lib.nn.unet import UNet
from course_lib.recipes.command_line import (
    BatchSize,
    Copies,
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
    recipe_line,
    run_app,
    telling_interruption,
)
from course_lib.recipes.first_alone import first_alone
from course_lib.recipes.image_data import ImageData, Source, image_data
from course_lib.recipes.judging import judged
from course_lib.recipes.run_parts import versions
from course_lib.recipes.sharing import BY_DEFAULT, Sharing
from course_lib.recipes.tensor_training import TensorSettings, effort, train_tensors
from course_lib.zoo import Classifier, ImageCard, ImageGenerator, load_classifier, load_generator, save_images

_DEFAULT = TensorSettings(steps=3000, batch_size=32, ema=0.998)
_JUDGES = {"digits": "digit_classifier", "glyphs": "glyph_classifier"}

app = new_app()


def train_diffusion(
    data: ImageData,
    settings: TensorSettings,
    *,
    judge: Classifier,
    out: Path,
    name: str,
    recipe: str,
    width: int = 16,
    multipliers: Sequence[int] = (1, 2, 4),
    num_judged: int | None = None,
    device: str | torch.device = "cpu",
    sharing: Sharing = BY_DEFAULT,
    every: int | None = None,
    progress: bool = True,
) -> ImageGenerator:
    """Train a U-Net on ``data`` by flow matching, and write it with its card to the folder ``model`` in ``out``.

    It is told the first question's class of each image, and not told it for every tenth, so that it can be guided.
    Several processes (torchrun), who share each batch, draw noise each for itself.

    Args:
        data: What to learn, and what to be judged by.
        settings: How.
        judge: By whose features samples are compared with held-out images, and who reads what they show; trained on
            such images, with the same classes in its first question.
        out: A folder: the log, checkpoints, and at last the model are written there.
        name: For the card.
        recipe: The command or call that does this, for the card.
        width: Channels of the U-Net at full size.
        multipliers: Of the channels at each smaller size.
        num_judged: How many samples are compared with as many held-out images; by default 1,000, or half of those.
        device: Where to train.
        sharing: How several processes share the work.
        every: Updates between two checkpoints; by default a twentieth of all.
        progress: Whether to show a bar.

    Returns:
        The generator with its weights rounded to bf16, as they are written, and its card.

    Raises:
        ValueError: If the judge knows other classes, ``num_judged`` is more than half of the held-out images, or
            ``out`` is a file or holds a run with other settings or data.
        NonFiniteStep: If an update was not finite.
        KeyboardInterrupt: If training was interrupted.
    """
    place = torch.device(device)
    question, classes = next(iter(data.classes.items()))
    if judge.card.classes.get(question) != classes:
        raise ValueError(f"the judge {judge.card.name} does not tell the {len(classes)} classes of {question!r} apart.")
    num_judged = min(1000, len(data.test[0]) // 2) if num_judged is None else num_judged
    architecture: dict[str, Any] = {"width": width, "multipliers": list(multipliers), "num_classes": len(classes)}
    network = UNet(**architecture, generator=torch.Generator().manual_seed(settings.seed)).to(place)
    noising = torch.Generator(place).manual_seed(settings.seed + rank())
    network = train_tensors(
        network,
        flow_matching(generator=noising, times="logit_normal"),
        (2 * data.train[0] - 1, data.train[1][:, 0]),
        settings,
        out=out,
        asked={"data": data.digest()} | architecture,
        generators=[noising],
        sharing=sharing,
        every=every,
        progress=progress,
    )

    def written() -> ImageGenerator:
        num_parameters = sum(weight.numel() for weight in network.parameters())
        side = data.image_size
        card = ImageCard(
            name,
            f"A U-Net of {num_parameters:,} parameters that draws images of a class asked for, trained by flow "
            "matching.",
            kind="generator",
            architecture=architecture,
            num_parameters=num_parameters,
            images=f"{side}x{side} pixels, one channel, float32 in [0, 1], 1 is ink; inside, [-1, 1]",
            classes={question: classes},
            data=data.data,
            data_licence=data.licence,
            licence="Apache-2.0, as far as the data allows",
            limits="Draws nothing but such images, some of them misshapen. Made for experiments.",
            recipe=recipe,
            seed=settings.seed,
            training={"image_size": side} | effort(out, settings, place, sharing),
            versions=versions(),
            measured="",
            scores={},
        )
        measured, scores = judged(ImageGenerator(network, card), judge, data, num=num_judged)
        card = replace(card, measured=measured, scores=scores)
        return ImageGenerator(network, save_images(out / "model", ImageGenerator(network, card)))

    return first_alone(written, lambda: load_generator(out / "model", device=place))


@app.command(
    epilog="The model and its card are written to OUT/model; load them with course_lib.zoo.load_generator('OUT/model')"
    ". The same command goes on with a run that was killed."
)
def command(
    data: Annotated[Source, typer.Option(help="Which images.")],
    out: Out,
    judge: Annotated[
        str | None,
        typer.Option(help="Classifier to judge by, of the zoo or a folder; needed for mnist_small."),
    ] = None,
    num_glyphs: Annotated[int, typer.Option(help="Of glyphs: how many to learn from.")] = 40_000,
    width: Annotated[int, typer.Option(help="Channels of the U-Net at full size.")] = 16,
    multipliers: Annotated[str, typer.Option(help="Of the channels at each smaller size.")] = "1,2,4",
    steps: Steps = _DEFAULT.steps,
    batch_size: BatchSize = _DEFAULT.batch_size,
    learning_rate: LearningRate = _DEFAULT.learning_rate,
    warmup: Warmup = _DEFAULT.warmup,
    weight_decay: WeightDecay = _DEFAULT.weight_decay,
    ema: Ema = _DEFAULT.ema,
    precision: Precision = _DEFAULT.precision,
    seed: Annotated[int, typer.Option(help="Of weights, order and noise.")] = _DEFAULT.seed,
    num_judged: Annotated[int | None, typer.Option(help="Samples to judge by.")] = None,
    name: Name = None,
    device: Device = "auto",
    parallel: Copies = None,
    every: Every = None,
    progress: Progress = True,
) -> None:
    """Train a U-Net by flow matching to draw digits, a part of MNIST, or glyphs, of a class asked for."""
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
    chosen = judge or _JUDGES.get(data)
    if chosen is None:
        raise ValueError(
            f"no classifier of {data} comes with the course: train one with course_lib.recipes.classify_images, and "
            "give its folder as --judge."
        )
    place = chosen_device(device)
    with telling_interruption("train_diffusion"):
        generator = train_diffusion(
            image_data(data, num_glyphs=num_glyphs, seed=seed),
            settings,
            judge=load_classifier(chosen, device=place),
            out=out,
            name=name or out.resolve().name,
            recipe=recipe_line("train_diffusion"),
            width=width,
            multipliers=_numbers(multipliers),
            num_judged=num_judged,
            device=place,
            sharing=Sharing(parallel=parallel),
            every=every,
            progress=progress,
        )
    if rank() > 0:
        return
    for row, scores in generator.card.scores.items():
        print(f"{row}: " + ", ".join(f"{column} {value:.3f}" for column, value in scores.items()))
    print(f"written to {out / 'model'}")


def _numbers(text: str) -> list[int]:
    try:
        return [int(word) for word in text.split(",")]
    except ValueError:
        raise ValueError(f"--multipliers must be whole numbers with commas, such as 1,2,4, got {text!r}.") from None


def main() -> None:
    """Run the command. Exit codes: 0 done, 1 training failed, 2 a user's mistake, 130 interrupted."""
    run_app(app, "train_diffusion")


if __name__ == "__main__":
    main()
