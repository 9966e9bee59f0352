"""The feed-forward layer: what each token does by itself with what attention brought it."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from course_lib.nn.transformer.config import TransformerConfig


class FeedForward(nn.Module):
    """``down(gelu(up(x)))``, or with a gate ``down(silu(gate(x)) * up(x))`` (SwiGLU).

    Args:
        config: Of the model.

    Shape:
        - input, output: ``(..., width)``

    Reference: Hendrycks and Gimpel 2016, Gaussian error linear units, https://arxiv.org/abs/1606.08415; Shazeer 2020,
    GLU variants improve transformer, eq. 6, https://arxiv.org/abs/2002.05202
    """

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        self.kind = config.feed_forward
        self.up = nn.Linear(config.width, config.hidden_width, bias=config.bias)
        self.gate = nn.Linear(config.width, config.hidden_width, bias=config.bias) if self.kind == "swiglu" else None
        self.down = nn.Linear(config.hidden_width, config.width, bias=config.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Transform each token."""
        if self.gate is not None:
            hidden = F.silu(self.gate(x)) * self.up(x)
        else:
            hidden = F.gelu(self.up(x), approximate="tanh" if self.kind == "gelu_tanh" else "none")
        out: Tensor = self.down(hidden)
        return out
