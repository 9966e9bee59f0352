"""An encoder with a predictor on top: what SimSiam trains."""

from __future__ import annotations

from torch import Tensor, nn


class Siamese(nn.Module):
    """The projections of an encoder, and what a predictor makes of them.

    Both views of a sample go through the same weights ("Siamese twins"), one after the other.

    Args:
        encoder: Images to projections, such as ``nn.Sequential(ConvEncoder(...), ProjectionHead(...))``.
        predictor: Projections to predictions of the same width.

    Shape:
        - input: whatever the encoder takes
        - output: projections ``(N, D)`` and predictions ``(N, D)``

    Example:
        >>> import torch
        >>> from course_lib.nn import ProjectionHead
        >>> model = Siamese(nn.Flatten(), ProjectionHead(16, 4, 16))
        >>> [rows.shape for rows in model(torch.zeros(2, 1, 4, 4))]
        [torch.Size([2, 16]), torch.Size([2, 16])]

    Reference: Chen and He 2021, Exploring simple Siamese representation learning, figure 1,
    https://arxiv.org/abs/2011.10566
    """

    def __init__(self, encoder: nn.Module, predictor: nn.Module) -> None:
        super().__init__()
        self.encoder = encoder
        self.predictor = predictor

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return projections and predictions."""
        projections = self.encoder(images)
        return projections, self.predictor(projections)
