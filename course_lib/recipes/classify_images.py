"""Train a classifier of small images from the command line: ``python -m course_lib.recipes.classify_images --help``."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated, Any

import torch
import torch.nn.functional as F
import typer
from torch import Tensor, nn

from course_lib.collectives import rank
from course_lib.data.augment import random_affine
from course_lib.evaluation.generation import nearest_neighbours
from course_lib.loops import Loss, Objective
from course_lib.loops.loss import Batch
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
from course_lib.recipes.run_parts import versions
from course_lib.recipes.sharing import BY_DEFAULT, Sharing
from course_lib.recipes.tensor_training import TensorSettings, effort, train_tensors
from course_lib.zoo import Classifier, ImageCard, ImageNetwork, load_classifier, save_images

_DEFAULT = TensorSettings()
_COMPARED = 1000  # held-out images that are looked up in training
_LOOKED_UP = 5000  # training images that they are looked up in

app = new_app()


def classify_images(
    data: ImageData,
    settings: TensorSettings,
    *,
    out: Path,
    name: str,
    recipe: str,
    feature_width: int = 64,
    device: str | torch.device = "cpu",
    sharing: Sharing = BY_DEFAULT,
    every: int | None = None,
    progress: bool = True,
) -> Classifier:
    """Train a classifier on ``data``, and write it with its card to the folder ``model`` in ``out``.

    Each image is turned, moved, scaled and sheared a little anew each time it is seen. Several processes (torchrun),
    who share each batch, draw these changes each for itself.

    Args:
        data: What to learn, and what to be judged by.
        settings: How.
        out: A folder: the log, checkpoints, and at last the model are written there.
        name: For the card.
        recipe: The command or call that does this, for the card.
        feature_width: Numbers that the network makes of an image before it decides.
        device: Where to train.
        sharing: How several processes share the work.
        every: Updates between two checkpoints; by default a twentieth of all.
        progress: Whether to show a bar.

    Returns:
        The classifier with its weights rounded to bf16, as they are written, and its card.

    Raises:
        ValueError: If ``out`` is a file or holds a run with other settings or data.
        NonFiniteStep: If an update was not finite.
        KeyboardInterrupt: If training was interrupted.
    """
    place = torch.device(device)
    heads = {question: len(classes) for question, classes in data.classes.items()}
    architecture: dict[str, Any] = {
        "image_size": data.image_size,
        "heads": heads,
        "widths": [16, 32, 64],
        "feature_width": feature_width,
    }
    network = ImageNetwork(**architecture, generator=torch.Generator().manual_seed(settings.seed)).to(place)
    augmenting = torch.Generator(place).manual_seed(settings.seed + rank())
    network = train_tensors(
        network,
        augmented_classification(list(heads), generator=augmenting),
        data.train,
        settings,
        out=out,
        asked={"data": data.digest(), "feature_width": feature_width},
        generators=[augmenting],
        sharing=sharing,
        every=every,
        progress=progress,
    )

    def written() -> Classifier:
        num_parameters = sum(weight.numel() for weight in network.parameters())
        side = data.image_size
        card = ImageCard(
            name,
            f"A convolutional network of {num_parameters:,} parameters that says of an image: {', '.join(heads)}. Its "
            f"{feature_width} features serve to measure distances between sets of images.",
            kind="classifier",
            architecture=architecture,
            num_parameters=num_parameters,
            images=f"{side}x{side} pixels, one channel, float32 in [0, 1], 1 is ink",
            classes=data.classes,
            data=data.data,
            data_licence=data.licence,
            licence="Apache-2.0, as far as the data allows",
            limits=data.limits,
            recipe=recipe,
            seed=settings.seed,
            training=effort(out, settings, place, sharing),
            versions=versions(),
            measured=f"Share of {len(data.test[0]):,} held-out images that are named rightly, and of the first "
            f"{min(_COMPARED, len(data.test[0])):,} of them by the nearest of {min(_LOOKED_UP, len(data.train[0])):,} "
            "training images.",
            scores={},
        )
        found = Classifier(network, card)
        card.scores.update(
            {
                "this model": accuracies(found, *data.test),
                "nearest training image": _nearest(data),
                "chance": {question: round(1 / num, 4) for question, num in heads.items()},
            }
        )
        return Classifier(network, save_images(out / "model", found))

    return first_alone(written, lambda: load_classifier(out / "model", device=place))


def augmented_classification(heads: list[str], *, generator: torch.Generator) -> Objective:
    """Return the cross-entropy of all heads together, on images that are moved, turned and sheared a little.

    Args:
        heads: Question of each column of the labels.
        generator: Draws the changes, on the images' device.

    Shape:
        - batch: images ``(N, 1, S, S)``, labels ``(N, Q)``, int64

    Returns:
        An objective. The loss of an image is the sum over its questions, in nats; metrics ``<question>_accuracy``.
    """
    change = partial(random_affine, degrees=8.0, translate=0.05, scale=(0.93, 1.07), shear=5.0)

    def objective(network: nn.Module, batch: Batch) -> Loss:
        images, labels = batch
        logits: dict[str, Tensor] = network(change(images, generator=generator))
        losses, metrics = [], {}
        for column, head in enumerate(heads):
            target = labels[:, column]
            losses.append(F.cross_entropy(logits[head].float(), target, reduction="sum"))
            metrics[f"{head}_accuracy"] = (logits[head].detach().argmax(-1) == target).sum()
        return Loss(torch.stack(losses).sum(), len(images), metrics)

    return objective


def accuracies(classifier: Classifier, images: Tensor, labels: Tensor) -> dict[str, float]:
    """Return question -> share of ``images`` whose label in that column is predicted, to four digits."""
    right = {
        head: (classifier.predict(images, head).cpu() == labels[:, column]).double().mean()
        for column, head in enumerate(classifier.heads)
    }
    return {head: round(float(share), 4) for head, share in right.items()}


def _nearest(data: ImageData) -> dict[str, float]:
    """How often the nearest training image, pixel by pixel, has the right label: what needs no learning."""
    images, labels = (tensor[:_COMPARED] for tensor in data.test)
    known, names = (tensor[:_LOOKED_UP] for tensor in data.train)
    guessed = names[nearest_neighbours(images, known).indices[:, 0]]
    shares = (guessed == labels).double().mean(0)
    return {question: round(float(share), 4) for question, share in zip(data.classes, shares, strict=True)}


@app.command(
    epilog="The model and its card are written to OUT/model; load them with course_lib.zoo.load_classifier('OUT/model')"
    ". The same command goes on with a run that was killed."
)
def command(
    data: Annotated[Source, typer.Option(help="Which images.")],
    out: Out,
    num_glyphs: Annotated[int, typer.Option(help="Of glyphs: how many to learn from.")] = 40_000,
    steps: Steps = _DEFAULT.steps,
    batch_size: BatchSize = _DEFAULT.batch_size,
    learning_rate: LearningRate = _DEFAULT.learning_rate,
    warmup: Warmup = _DEFAULT.warmup,
    weight_decay: WeightDecay = _DEFAULT.weight_decay,
    ema: Ema = _DEFAULT.ema,
    precision: Precision = _DEFAULT.precision,
    feature_width: Annotated[int, typer.Option(help="Features of an image.")] = 64,
    seed: Annotated[int, typer.Option(help="Of weights, order and changes.")] = _DEFAULT.seed,
    name: Name = None,
    device: Device = "auto",
    parallel: Copies = None,
    every: Every = None,
    progress: Progress = True,
) -> None:
    """Train a convolutional classifier on digits, on a part of MNIST, or on glyphs (characters and faces at once)."""
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
    with telling_interruption("classify_images"):
        found = classify_images(
            image_data(data, num_glyphs=num_glyphs, seed=seed),
            settings,
            out=out,
            name=name or out.resolve().name,
            recipe=recipe_line("classify_images"),
            feature_width=feature_width,
            device=chosen_device(device),
            sharing=Sharing(parallel=parallel),
            every=every,
            progress=progress,
        )
    if rank() > 0:
        return
    for row, scores in found.card.scores.items():
        print(f"{row}: " + ", ".join(f"{question} {share:.4f}" for question, share in scores.items()))
    print(f"written to {out / 'model'}")


def main() -> None:
    """Run the command. Exit codes: 0 done, 1 training failed, 2 a user's mistake, 130 interrupted."""
    run_app(app, "classify_images")


if __name__ == "__main__":
    main()
