"""Classifier-free guidance: ask with the class and without it, and go further in the direction of the difference."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from course_lib.diffusion.samplers import Denoiser
from course_lib.nn.time_embedding import NO_LABEL

# Shape letters used in this file: N = samples.


def guided(model: nn.Module, labels: Tensor, scale: float) -> Denoiser:
    """Return the denoiser ``without + scale * (with - without)``, where "with" and "without" are the class.

    What the class adds to the prediction is taken ``scale`` times: samples look more like their class, and more like
    each other. It serves every kind of prediction (epsilon, x0, v, a velocity), because each is the same line in the
    others at a given noisy row.

    Args:
        model: Called as ``model(x, time, labels)``; trained with some of its labels dropped (see `denoising`).
        labels: The class asked for, one for each sample.
        scale: 1 is the plain conditional model, 0 the unconditional one, 1.5 to 8 are usual. Ho and Salimans' ``w`` is
            ``scale - 1``.

    Shape:
        - labels: ``(N,)``, int64; -1 for a sample of any class

    Returns:
        A denoiser for batches of exactly N; it asks the model once for ``2 N`` rows, or for N where ``scale`` is 0
        or 1.

    Raises:
        ValueError: If ``scale`` is not finite, labels are no row of whole numbers, or the batch is of another length.

    Example:
        >>> def model(x, time, labels):  # says its label
        ...     return labels[:, None].float()
        >>> guided(model, torch.tensor([4]), 2.0)(torch.zeros(1, 1), torch.zeros(1))  # -1 + 2 * (4 - -1)
        tensor([[9.]])

    Reference: Ho and Salimans 2022, Classifier-free diffusion guidance, eq. 6, https://arxiv.org/abs/2207.12598
    """
    if not math.isfinite(scale):
        raise ValueError(f"scale must be finite, got {scale}; 1 is no guidance.")
    if labels.ndim != 1 or labels.dtype != torch.int64:
        raise ValueError(f"labels must be int64 of shape (N,), got {labels.dtype} of shape {tuple(labels.shape)}.")
    return _Guided(model, labels, scale)


class _Guided(nn.Module):
    """A module, so that samplers find the model in it and ask it in evaluation mode."""

    def __init__(self, model: nn.Module, labels: Tensor, scale: float) -> None:
        super().__init__()
        nothing = torch.full_like(labels, NO_LABEL)
        self.model = model
        self.num_rows = len(labels)
        self.scale = scale
        self.asked = labels if scale == 1 else nothing if scale == 0 else torch.cat([labels, nothing])

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        if len(x) != self.num_rows:
            raise ValueError(
                f"guided was given {self.num_rows} labels, the batch has {len(x)} rows: give one for each."
            )
        if self.scale in (0, 1):
            return self.model(x, time, self.asked)  # type: ignore[no-any-return]
        with_class, without = self.model(torch.cat([x, x]), torch.cat([time, time]), self.asked).chunk(2)
        return without + self.scale * (with_class - without)  # type: ignore[no-any-return]
