"""What a U-Net is made of: a residual block that is told the time, attention between pixels, and resizing."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from course_lib.nn._layers import convolution, linear
from course_lib.nn.initialisers import he_normal_, xavier_normal_

# Shape letters used in this file: N = images, C = channels, H and W = height and width, E = width of the embedding.


class TimeResidualBlock(nn.Module):
    """``x + conv(silu(norm(conv(silu(norm(x))) + linear(silu(embedding)))))``: a residual block told the time.

    The second convolution starts at 0, so that the block starts as the identity (or as the 1x1 convolution that
    changes the number of channels).

    Args:
        num_in: Channels of the input.
        num_out: Channels of the output.
        embedding_width: E, of what `TimeEmbedding` returns.
        num_groups: Of the group norms; must divide both numbers of channels.
        generator: Where starting weights come from; torch's global one if None.

    Shape:
        - x: ``(N, num_in, H, W)``
        - embedding: ``(N, E)``, after its SiLU, which all blocks share
        - output: ``(N, num_out, H, W)``

    Raises:
        ValueError: If the groups do not divide the channels.

    Reference: Ho, Jain and Abbeel 2020, Denoising diffusion probabilistic models, appendix B,
    https://arxiv.org/abs/2006.11239
    """

    def __init__(
        self, num_in: int, num_out: int, *, embedding_width: int, num_groups: int, generator: torch.Generator | None
    ) -> None:
        super().__init__()
        self.norm1 = group_norm(num_groups, num_in)
        self.conv1 = conv3x3(num_in, num_out, generator=generator)
        self.time = linear(embedding_width, num_out, initialiser=xavier_normal_, generator=generator)
        self.norm2 = group_norm(num_groups, num_out)
        self.conv2 = conv3x3(num_out, num_out, generator=generator)
        nn.init.zeros_(self.conv2.weight)
        self.shortcut: nn.Module = nn.Identity()
        if num_in != num_out:
            self.shortcut = convolution(
                num_in, num_out, kernel_size=1, bias=True, initialiser=xavier_normal_, generator=generator
            )

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:
        """Return the block's output for ``x`` at the time that ``embedding`` tells."""
        branch = self.conv1(F.silu(self.norm1(x)))
        branch = branch + self.time(embedding)[:, :, None, None]
        branch = self.conv2(F.silu(self.norm2(branch)))
        out: Tensor = self.shortcut(x) + branch
        return out


class PixelAttention(nn.Module):
    """``x + attention(norm(x))``: every pixel looks at every other one, with one head over all channels.

    A convolution sees its neighbourhood; this is how the two ends of a stroke hear of each other. The last layer starts
    at 0, so that the block starts as the identity.

    Args:
        num_channels: C.
        num_groups: Of the group norm; must divide C.
        generator: Where starting weights come from; torch's global one if None.

    Shape:
        - input, output: ``(N, C, H, W)``

    Raises:
        ValueError: If the groups do not divide the channels.
    """

    def __init__(self, num_channels: int, *, num_groups: int, generator: torch.Generator | None) -> None:
        super().__init__()
        self.norm = group_norm(num_groups, num_channels)
        self.queries_keys_values = linear(
            num_channels, 3 * num_channels, initialiser=xavier_normal_, generator=generator
        )
        self.out = linear(num_channels, num_channels, initialiser=xavier_normal_, generator=generator)
        nn.init.zeros_(self.out.weight)

    def forward(self, x: Tensor) -> Tensor:
        """Return ``x`` plus what each of its pixels gathered from all."""
        rows = self.norm(x).flatten(2).transpose(1, 2)  # (N, C, H, W) -> (N, H*W, C)
        query, key, value = self.queries_keys_values(rows).chunk(3, dim=-1)
        gathered = F.scaled_dot_product_attention(query[:, None], key[:, None], value[:, None])[:, 0]
        found: Tensor = self.out(gathered)
        return x + found.transpose(1, 2).reshape(x.shape)


def conv3x3(num_in: int, num_out: int, *, stride: int = 1, generator: torch.Generator | None) -> nn.Conv2d:
    """Return a 3x3 convolution that keeps the image's size; with stride 2 it halves it, rounding up."""
    return convolution(
        num_in, num_out, kernel_size=3, stride=stride, bias=True, initialiser=he_normal_, generator=generator
    )


def group_norm(num_groups: int, num_channels: int) -> nn.GroupNorm:
    """Return torch's group norm, which is one kernel where ours, written to be read, is several."""
    if num_groups < 1 or num_channels % num_groups:
        raise ValueError(f"num_groups must divide the channels of every level, got {num_groups} for {num_channels}.")
    return nn.GroupNorm(num_groups, num_channels)
