"""A small U-Net that is told the time and the class: what denoises images in diffusion and flow matching."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from course_lib.nn.time_embedding import TimeEmbedding
from course_lib.nn.unet_blocks import PixelAttention, TimeResidualBlock, conv3x3, group_norm

# Shape letters used in this file: N = images, C = channels of the images, H and W = height and width.


class UNet(nn.Module):
    """Down through ever smaller images with more channels, up again, each size handing its features across.

    The way down sees more and more of the image, the way up brings it back to pixels; the skips across carry the detail
    that shrinking loses. The same computation as ``diffusers.UNet2DModel`` with plain down and up blocks.

    Args:
        num_channels: C; 1 for grey, 3 for colour.
        width: Channels at full size.
        multipliers: One entry a size, each half as large as the one before (rounding up): its channels are this times
            ``width``.
        num_blocks: Residual blocks at each size on the way down; one more on the way up.
        num_classes: How many classes can be asked for. None: a model without classes.
        attention: Whether pixels of the smallest image attend to each other.
        num_groups: Of the group norms; must divide the channels of every size.
        generator: Where starting weights come from; torch's global one if None.

    Shape:
        - x: ``(N, C, H, W)``, any size; values in [-1, 1] with noise of standard deviation up to 1
        - time: ``(N,)``, floating point from 0 (data) to 1 (noise)
        - labels: ``(N,)``, int64 in ``[0, num_classes)``, or -1 for "any"; None is that for all rows
        - output: ``(N, C, H, W)``, the prediction (noise, image or velocity, as trained); 0 before training

    Raises:
        ValueError: If sizes do not fit together, in the arguments or in what it is called with.

    Example:
        >>> model = UNet(width=8, num_classes=10, generator=torch.Generator().manual_seed(0))
        >>> model(torch.zeros(2, 1, 8, 8), torch.rand(2), torch.tensor([3, -1])).shape
        torch.Size([2, 1, 8, 8])

    Reference: Ronneberger, Fischer and Brox 2015, U-Net, https://arxiv.org/abs/1505.04597; told the time as by Ho, Jain
    and Abbeel 2020, Denoising diffusion probabilistic models, appendix B, https://arxiv.org/abs/2006.11239
    """

    def __init__(
        self,
        *,
        num_channels: int = 1,
        width: int = 32,
        multipliers: Sequence[int] = (1, 2),
        num_blocks: int = 1,
        num_classes: int | None = None,
        attention: bool = True,
        num_groups: int = 8,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        if min(num_channels, width, num_blocks, *multipliers, len(multipliers)) < 1:
            raise ValueError(
                "num_channels, width, num_blocks and every multiplier must be at least 1, got "
                f"{num_channels}, {width}, {num_blocks} and {tuple(multipliers)}."
            )
        self.num_channels = num_channels
        widths = [width * multiplier for multiplier in multipliers]
        embedding_width = 4 * width

        def block(num_in: int, num_out: int) -> TimeResidualBlock:
            return TimeResidualBlock(
                num_in, num_out, embedding_width=embedding_width, num_groups=num_groups, generator=generator
            )

        self.time = TimeEmbedding(width, embedding_width, num_classes=num_classes, generator=generator)
        self.first = conv3x3(num_channels, width, generator=generator)
        self.down = nn.ModuleList()
        self.shrink = nn.ModuleList()
        skips, now = [width], width
        for level, level_width in enumerate(widths):
            blocks = nn.ModuleList()
            for _ in range(num_blocks):
                blocks.append(block(now, level_width))
                now = level_width
                skips.append(now)
            self.down.append(blocks)
            if level + 1 < len(widths):
                self.shrink.append(conv3x3(now, now, stride=2, generator=generator))
                skips.append(now)
        self.middle = nn.ModuleList([block(now, now), block(now, now)])
        self.attention: nn.Module = (
            PixelAttention(now, num_groups=num_groups, generator=generator) if attention else nn.Identity()
        )
        self.up = nn.ModuleList()
        self.grow = nn.ModuleList()
        for level, level_width in reversed(list(enumerate(widths))):
            blocks = nn.ModuleList()
            for _ in range(num_blocks + 1):
                blocks.append(block(now + skips.pop(), level_width))
                now = level_width
            self.up.append(blocks)
            if level > 0:
                self.grow.append(conv3x3(now, now, generator=generator))
        self.norm = group_norm(num_groups, now)
        self.last = conv3x3(now, num_channels, generator=generator)
        nn.init.zeros_(self.last.weight)

    def forward(self, x: Tensor, time: Tensor, labels: Tensor | None = None) -> Tensor:
        """Return the prediction for each image of ``x``."""
        if x.ndim != 4 or x.shape[1] != self.num_channels or time.shape != x.shape[:1]:
            raise ValueError(
                f"this UNet needs images (N, {self.num_channels}, H, W) and time (N,), got {tuple(x.shape)} and "
                f"{tuple(time.shape)}."
            )
        embedding = F.silu(self.time(time, labels))
        h = self.first(x)
        skips = [h]
        for level, blocks in enumerate(self.down):
            for block in blocks.children():
                h = block(h, embedding)
                skips.append(h)
            if level < len(self.shrink):
                h = self.shrink[level](h)
                skips.append(h)
        h = self.middle[1](self.attention(self.middle[0](h, embedding)), embedding)
        for level, blocks in enumerate(self.up):
            for block in blocks.children():
                h = block(torch.cat([h, skips.pop()], dim=1), embedding)
            if level < len(self.grow):
                h = self.grow[level](F.interpolate(h, size=skips[-1].shape[2:], mode="nearest"))
        out: Tensor = self.last(F.silu(self.norm(h)))
        return out
