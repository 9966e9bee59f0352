"""Classes that nobody trained for: the nearest class description decides."""

from __future__ import annotations

from torch import Tensor

from course_lib.evaluation._inputs import class_numbers, unit_rows

# Shape letters used in this file: N = images, K = classes, D = width.


def zero_shot(image_embeddings: Tensor, class_embeddings: Tensor, labels: Tensor) -> float:
    """Return how many images lie nearest, by cosine, to the description of their own class.

    A two-tower model classifies without a single label: each class is described in words ("a bold R"), and an image
    belongs to the description it is nearest to. The classes may be ones that training never showed.

    Args:
        image_embeddings: Of the images.
        class_embeddings: Of one description a class.
        labels: Which row of ``class_embeddings`` each image belongs to.

    Shape:
        - image_embeddings: ``(N, D)``; class_embeddings: ``(K, D)``; floating point
        - labels: ``(N,)``, int64 in ``[0, K)``

    Returns:
        From 0 to 1; ``1 / K`` is chance for equally common classes. Of equally near descriptions the first counts.

    Raises:
        ValueError: If shapes or dtypes do not fit, an embedding is not finite, or a label names no class.

    Example:
        >>> import torch
        >>> zero_shot(torch.tensor([[2.0, 1.0], [0.0, 3.0]]), torch.eye(2), torch.tensor([0, 1]))
        1.0

    Reference: Radford et al. 2021, Learning transferable visual models from natural language supervision, section 3.1,
    https://arxiv.org/abs/2103.00020
    """
    classes = unit_rows("class_embeddings", class_embeddings)
    images = unit_rows("image_embeddings", image_embeddings, width=classes.shape[1])
    labels = class_numbers("labels", labels, rows=len(images))
    if int(labels.max()) >= len(classes):
        raise ValueError(f"labels go up to {int(labels.max())}, but there are only {len(classes)} class embeddings.")
    return float(((images @ classes.T).argmax(dim=1) == labels).double().mean())
