"""Train a reward model from the command line: ``python -m course_lib.recipes.train_reward_model --help``."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated

import torch
import typer

from course_lib.alignment import RewardModel, centre, reward_objective
from course_lib.alignment.rewards.model import Pooling
from course_lib.collectives import rank
from course_lib.nn.transformer import Transformer
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
    print_scores,
    recipe_line,
    run_app,
    telling_interruption,
)
from course_lib.recipes.comparisons import compared, judged_by_rater
from course_lib.recipes.first_alone import first_alone
from course_lib.recipes.run_parts import round_to_bf16, versions
from course_lib.recipes.sharing import BY_DEFAULT, Sharing
from course_lib.recipes.tensor_training import TensorSettings, effort, train_tensors
from course_lib.zoo import Card, Pretrained, PretrainedReward, load_reward_model, save
from course_lib.zoo.files import REWARD_MODEL, WEIGHTS
from course_lib.zoo.folders import load_any

_DEFAULT = TensorSettings(steps=200, batch_size=32, learning_rate=1e-3, warmup=20, weight_decay=0.01, ema=0.0)
_NUM_TEST = 1000
_CENTRED_ON = 500  # texts to learn from, whose mean reward is 0

app = new_app()


def train_reward_model(
    base: Pretrained,
    settings: TensorSettings,
    *,
    num_pairs: int,
    temperature: float,
    length_bias: float,
    pooling: Pooling = "last",
    centring: float = 0.01,
    out: Path,
    name: str,
    recipe: str,
    sharing: Sharing = BY_DEFAULT,
    every: int | None = None,
    progress: bool = True,
) -> PretrainedReward:
    """Train a reward model on comparisons of texts of ``base``, and write it with its card to ``model`` in ``out``.

    Args:
        base: A model of stories: it writes the texts to compare, and the reward model begins from its weights; where
            it is, training happens. It is left as it is.
        settings: How.
        num_pairs: Comparisons to learn from.
        temperature: The rater's noise, in units of taste.
        length_bias: What the rater takes a word to be worth, in units of taste.
        pooling: Where the head reads.
        centring: Weight of the penalty that holds a pair's mean reward at 0.
        out: A folder: the log, checkpoints, and at last the model are written there.
        name: For the card.
        recipe: The command or call that does this, for the card.
        sharing: How several processes share the work.
        every: Updates between two checkpoints; by default a twentieth of all.
        progress: Whether to show a bar.

    Returns:
        The reward model with its weights rounded to bf16, as they are written, and its card. Texts like those of
        ``base`` have a mean reward of about 0.

    Raises:
        ValueError: If there are fewer comparisons than make a batch, a number is out of its range, or ``out`` is a file
            or holds a run with other settings or data.
        NonFiniteStep: If an update was not finite.
        KeyboardInterrupt: If training was interrupted; the message says where the same call will go on.
    """
    if num_pairs < settings.batch_size:
        raise ValueError(
            f"{num_pairs} comparisons make no batch of {settings.batch_size}: take more, or a smaller one."
        )
    asked: dict[str, float | int | str] = {
        "num_pairs": num_pairs,
        "temperature": temperature,
        "length_bias": length_bias,
    }
    comparisons = compared(
        base,
        num_train=num_pairs,
        num_test=_NUM_TEST,
        temperature=temperature,
        length_bias=length_bias,
        seed=settings.seed,
    )
    device = base.model.embedding.weight.device
    transformer = Transformer(base.model.config, generator=torch.Generator().manual_seed(settings.seed))
    transformer.load_state_dict(base.model.state_dict())
    if transformer.head is not None:
        transformer.head.requires_grad_(False)  # a reward model does not use it
    model = train_tensors(
        RewardModel(transformer.to(device), pooling=pooling).train(),
        reward_objective(centring=centring),
        comparisons.train.batch(),
        settings,
        out=out,
        asked=asked | {"pooling": pooling, "centring": centring, "base": base.card.files.get(WEIGHTS)},
        generators=[],
        sharing=sharing,
        every=every,
        progress=progress,
    )

    def written() -> PretrainedReward:
        few = comparisons.train[:_CENTRED_ON]
        centre(model, [*few.prompts, *few.prompts], [*few.chosen, *few.rejected])
        round_to_bf16(model)
        measured, scores = judged_by_rater(model, comparisons)
        num_parameters = sum(weight.numel() for weight in model.parameters())
        card = Card(
            name,
            f"{base.card.name} with a head that says how much a rater would like a story: a reward model of "
            f"{num_parameters / 1e6:.2g} million parameters."
            + (" The rater takes longer stories for better, and so does it." if length_bias > 0 else ""),
            architecture=asdict(base.model.config) | {"pooling": pooling},
            num_parameters=num_parameters,
            tokenizer=f"that of {base.card.name}",
            data=f"{num_pairs:,} comparisons of two texts of {base.card.name}, seed {settings.seed}, by a simulated "
            f"rater who goes by course_lib.alignment.story_taste, with noise of temperature {temperature:g}, and takes "
            f"each word to be worth {length_bias:g}; {_NUM_TEST:,} comparisons of other texts are held out",
            data_licence=base.card.data_licence,
            licence=base.card.licence,
            limits="Knows one rater's taste in one kind of story, and can be talked round: a policy that is trained on "
            "its reward alone finds texts that it likes and nobody else does. Made for showing that.",
            recipe=recipe,
            seed=settings.seed,
            training=asked | {"centring": centring} | effort(out, settings, device, sharing),
            versions=versions("datasets"),
            validation={},
            kind=REWARD_MODEL,
            measured=measured,
            scores=scores,
        )
        found = PretrainedReward(model, base.tokenizer, card)
        return replace(found, card=save(out / "model", found))

    return first_alone(written, lambda: load_reward_model(out / "model", device=device))


@app.command(
    epilog="The model and its card are written to OUT/model; load them with "
    "course_lib.zoo.load_reward_model('OUT/model'). The same command goes on with a run that was killed."
)
def command(
    out: Out,
    base: Annotated[str, typer.Option(help="Story model of the zoo, or the folder of your own.")] = "stories",
    num_pairs: Annotated[int, typer.Option(help="Comparisons to learn from.")] = 6000,
    temperature: Annotated[float, typer.Option(help="Of the rater's noise.")] = 0.5,
    length_bias: Annotated[float, typer.Option(help="What the rater takes a word to be worth.")] = 0.03,
    pooling: Annotated[Pooling, typer.Option(help="Where the head reads.")] = "mean",
    centring: Annotated[float, typer.Option(help="Weight of the penalty on a pair's mean.")] = 0.01,
    steps: Steps = _DEFAULT.steps,
    batch_size: BatchSize = _DEFAULT.batch_size,
    learning_rate: LearningRate = _DEFAULT.learning_rate,
    warmup: Warmup = _DEFAULT.warmup,
    weight_decay: WeightDecay = _DEFAULT.weight_decay,
    ema: Ema = _DEFAULT.ema,
    precision: Precision = _DEFAULT.precision,
    seed: Annotated[int, typer.Option(help="Of texts, noise and order.")] = _DEFAULT.seed,
    name: Name = None,
    device: Device = "auto",
    parallel: Copies = None,
    every: Every = None,
    progress: Progress = True,
) -> None:
    """Train a reward model on comparisons of a model's stories, by a simulated rater with a weakness for length."""
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
    with telling_interruption("train_reward_model"):
        card = train_reward_model(
            load_any(base, device=chosen_device(device)),
            settings,
            num_pairs=num_pairs,
            temperature=temperature,
            length_bias=length_bias,
            pooling=pooling,
            centring=centring,
            out=out,
            name=name or out.resolve().name,
            recipe=recipe_line("train_reward_model"),
            sharing=Sharing(parallel=parallel),
            every=every,
            progress=progress,
        ).card
    if rank() > 0:
        return
    print_scores(card.scores)
    print(f"written to {out / 'model'}")


def main() -> None:
    """Run the command. Exit codes: 0 done, 1 training failed, 2 a user's mistake, 130 interrupted."""
    run_app(app, "train_reward_model")


if __name__ == "__main__":
    main()
