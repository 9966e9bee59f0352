"""What a generator of images is worth in a classifier's eyes, beside real images and the mean image of each class."""

from __future__ import annotations

import torch
from torch import Tensor

from course_lib.evaluation.generation import frechet_distance, frechet_floor, nearest_neighbours, precision_recall
from course_lib.recipes.image_data import ImageData
from course_lib.zoo import Classifier, ImageGenerator
from course_lib.zoo.card import Scores

_LOOKED_UP = 10_000  # training images among which the nearest is sought
_NUM_LOOKED_UP = 200  # samples that are looked up


def judged(generator: ImageGenerator, judge: Classifier, data: ImageData, *, num: int) -> tuple[str, Scores]:
    """Return how good samples are, in numbers, and in words how these were measured.

    Args:
        generator: Draws ``num`` images, of all classes alike, with its own number of steps and guidance.
        judge: Its features are compared; its first question is what the classes answer.
        data: What the generator has learnt from, and held-out images to compare with.
        num: Samples, and held-out images beside them.

    Returns:
        The measurement in words, and row -> column -> number for the generator, for real images (the best that can
        be expected, as measured between disjoint sets of held-out images), and for the mean image of each class.

    Raises:
        ValueError: If ``num`` is less than 4, or there are not twice as many held-out images.
    """
    images, labels = data.test[0], data.test[1][:, 0]
    if not 4 <= num <= len(images) // 2:
        raise ValueError(
            f"judging needs 4 samples or more, and twice as many of the {len(images)} held-out images, got {num}."
        )
    asked = torch.arange(num) % len(generator.classes)
    rows = {
        "this model": (generator.sample(asked).cpu(), asked),
        "real images": (images[num : 2 * num], labels[num : 2 * num]),
        "mean image of the class": (_class_means(data)[asked], asked),
    }
    real = judge.features(images[:num])
    scores: Scores = {}
    for name, (drawn, wanted) in rows.items():
        seen = judge.features(drawn)
        distance = (
            float(frechet_floor(judge.features(images), num_samples=num, seed=0).mean())
            if name == "real images"
            else frechet_distance(seen, real)
        )
        precision, recall = precision_recall(real, seen)
        nearest = nearest_neighbours(drawn[:_NUM_LOOKED_UP], data.train[0][:_LOOKED_UP]).distances
        scores[name] = {
            "Frechet distance": round(distance, 3),
            "precision": round(precision, 3),
            "recall": round(recall, 3),
            "read as asked": round(float((judge.predict(drawn).cpu() == wanted).double().mean()), 4),
            "to the nearest training image": round(float(nearest.median()), 3),
        }
    measured = (
        f"{num:,} samples, guidance 1.5, 10 steps of Heun's method, against {num:,} held-out images: Frechet distance, "
        f"precision and recall by the features of {judge.card.name}, which also reads them; in pixels the median "
        f"Euclidean distance of {min(num, _NUM_LOOKED_UP)} samples from the nearest of "
        f"{min(_LOOKED_UP, len(data.train[0])):,} training images. No generator can be expected to do better than real "
        "images do."
    )
    return measured, scores


def _class_means(data: ImageData) -> Tensor:
    images, labels = data.train[0], data.train[1][:, 0]
    classes = range(int(labels.max()) + 1)
    return torch.stack([images[labels == number].mean(0) for number in classes])
