"""Checklists for the training projects people start most often: what to do in which order, and where it is taught."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Item:
    """One thing to tick off, and the notebooks that teach it."""

    stage: str
    text: str
    notebooks: tuple[str, ...]


def _items(stage: str, *entries: tuple[str, str]) -> tuple[Item, ...]:
    return tuple(Item(stage, text, tuple(numbers.split())) for text, numbers in entries)


_FRAME = _items(
    "Frame",
    ("Write down in one sentence what goes in, what comes out, and who acts on it", "00"),
    ("Choose the metric that the decision hangs on, and the value at which the project is worth it", "00 38"),
    ("Ask whether calling an existing model would do, and what it costs", "00 43"),
)
_DATA = _items(
    "Data",
    ("Look at a hundred examples yourself, with their labels", "00 15"),
    ("Split before anything is fitted: by time, person or source if new ones will come", "00 01"),
    ("Search for duplicates across the split and for inputs that give the target away", "01 15"),
    ("Note where each source comes from and what its licence allows", "43"),
)
_TRAIN = _items(
    "Train",
    ("Check the loss of the untrained model against the value that chance gives", "03 09"),
    ("Overfit one batch until its loss is near zero; if it cannot be done, look for the bug first", "09"),
    ("Find the learning rate by a sweep; add warmup and a decay", "04 05"),
    ("Log loss, gradient norm and learning rate; clip the norm; stop on the first NaN", "05"),
    ("Save checkpoints, and try once that a killed run goes on", "05"),
    ("Repeat the runs you compare over several seeds", "09 38"),
)
_FINISH = _items(
    "Finish",
    ("Score the test set once, at the end, with a confidence interval", "00 38"),
    ("Read the worst mistakes, and the score of each subgroup", "38 39"),
    ("Write the model card: data, metric, limits, cost", "00 43"),
    ("Decide how you will notice that it has got worse, and when you will train again", "42"),
)

CHECKLISTS: dict[str, tuple[Item, ...]] = {
    "tabular": (
        *_FRAME,
        *_DATA,
        *_items(
            "Baseline",
            ("Score the majority class or the mean", "00"),
            ("Score a linear model and gradient boosting, by cross-validation: what you build must beat them", "01"),
        ),
        *_items(
            "Model",
            ("Put scaling and imputation inside the pipeline that is cross-validated", "01"),
            ("Choose the loss for the target: outliers, counts, imbalance", "03"),
            ("Choose the penalty by cross-validation, not by the test set", "01 07"),
        ),
        *_FINISH,
    ),
    "image-classifier": (
        *_FRAME,
        *_DATA,
        *_items(
            "Baseline",
            ("Score the majority class, and a linear model on the pixels", "00"),
            ("Score a linear model on the features of a pretrained network", "20"),
        ),
        *_items(
            "Model",
            ("Start from pretrained weights unless you have a reason not to", "20"),
            ("With a network of your own: convolutions, normalisation, residual connections, He initialisation", "06"),
            ("Use augmentations that leave the label true, and look at augmented images", "07 11"),
            ("With few labels, learn from the unlabelled images first", "11 13"),
        ),
        *_TRAIN,
        *_items("After training", ("Measure calibration, and robustness to the changes you expect", "03 39")),
        *_FINISH,
    ),
    "language-model": (
        *_FRAME,
        *_items(
            "Data",
            ("Filter, remove near duplicates, and mix sources on purpose", "15"),
            ("Take the evaluation texts out of the training set, near duplicates too", "15 38"),
            ("Train the tokenizer on the mix; check bytes per token for each language and for code", "16"),
        ),
        *_items(
            "Plan",
            ("Measure small models first; fit the scaling law and predict the loss of the big one", "19"),
            ("Divide the compute between parameters and tokens", "19"),
            ("Work out memory and time before renting: weights, optimizer state, activations, utilisation", "32"),
        ),
        *_items(
            "Baseline",
            ("Score an n-gram model with good smoothing, in bits per byte", "18"),
        ),
        *_items("Model", ("Check the causal mask: a change in a later token must not move an earlier logit", "17")),
        *_TRAIN,
        *_items(
            "Scale out",
            ("Compare the loss and every gradient of two workers with those of one", "33"),
            ("Shard optimizer state, gradients and weights only as far as memory asks for", "34"),
        ),
        *_items(
            "After training",
            ("Read samples at several temperatures", "18"),
            ("Go on with instruction tuning and preferences: course checklist fine-tune", "24 26"),
        ),
        *_FINISH,
    ),
    "fine-tune": (
        *_FRAME,
        *_DATA,
        *_items(
            "Baseline",
            ("Score the base model with a good prompt and a few examples in it: that may be enough", "18 20"),
        ),
        *_items(
            "Model",
            ("Choose between all weights, LoRA and a head by memory and by how far the task is from pretraining", "20"),
            ("Use the chat template that the base model was trained with; compute the loss on answers only", "24"),
            ("With preferences: begin from the tuned model, keep a frozen reference, watch the divergence", "25 26"),
        ),
        *_TRAIN,
        *_items(
            "After training",
            ("Score what the base model could do before: what was forgotten?", "20 21"),
            ("Compare with the base model on prompts that nobody tuned on, by people or a checked judge", "38"),
            ("Merge the adapter and compare its outputs with the unmerged ones", "20"),
        ),
        *_FINISH,
    ),
    "rl": (
        *_items(
            "Frame",
            ("Write down observation, action, reward and end of an episode; tell termination from a time limit", "22"),
            ("Ask how the reward could be earned without doing what you want", "22 25"),
            ("Ask whether demonstrations would do: cloning them is simpler", "23"),
        ),
        *_items(
            "Baseline",
            ("Score a random policy and the best simple rule you can write", "22"),
            ("Make sure that a known algorithm solves a known task in your code first", "22 23"),
        ),
        *_items(
            "Train",
            ("Normalise observations and advantages; check that autoreset steps are not learned from", "22 23"),
            ("Log return, episode length, entropy, divergence from the old policy, and value error", "23"),
            ("Run at least eight seeds: one lucky run proves nothing", "22 38"),
            (
                "With a language model: watch the divergence from the reference, and read answers, not only rewards",
                "25",
            ),
        ),
        *_items(
            "Finish",
            ("Score on seeds and starts that training never saw, with an interval over runs", "22 38"),
            ("Watch episodes: is the reward earned as you meant it?", "22 25"),
            ("Write the model card: environment, reward, limits, cost", "00 43"),
        ),
    ),
    "image-generator": (
        *_FRAME,
        *_DATA,
        *_items(
            "Baseline",
            ("Measure the distance between two halves of the real data: no model can do better", "31 38"),
            ("Score a simple model of the pixels", "10"),
        ),
        *_items(
            "Model",
            (
                "Choose between diffusion, a flow, a VAE and a GAN by what you need: quality, likelihood, codes, speed",
                "28 29 30 31",
            ),
            ("Plot the noise schedule's signal-to-noise ratio before training", "31"),
            ("Keep an average of the weights for sampling", "05 31"),
        ),
        *_TRAIN,
        *_items(
            "After training",
            ("Trade steps and guidance against quality and variety", "31"),
            ("Look for the nearest training image of each sample: is it a copy?", "31 40"),
        ),
        *_FINISH,
    ),
}


def checklist(task: str) -> tuple[Item, ...]:
    """Return the checklist for a task.

    Raises:
        ValueError: If there is none; the message lists those there are.
    """
    name = task.casefold().replace(" ", "-").replace("_", "-")
    if name not in CHECKLISTS:
        raise ValueError(f"there is no checklist {task!r}. There are: {', '.join(CHECKLISTS)}.")
    return CHECKLISTS[name]
