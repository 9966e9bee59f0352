"""Layers with low-rank updates beside their weights: ``W x + scale * B A x``, for several named pairs ``A, B``."""

from __future__ import annotations

import math
from contextlib import nullcontext
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from course_lib.nn.adapters.targets import Adapted
from course_lib.nn.initialisers import he_normal_, he_uniform_


@dataclass(frozen=True, slots=True, kw_only=True)
class LoRAConfig:
    """What an adapter was made with; see `add_lora`."""

    rank: int
    alpha: float
    dropout: float
    rslora: bool
    targets: str | tuple[str, ...]
    train_also: tuple[str, ...]

    def __post_init__(self) -> None:
        if not isinstance(self.rank, Integral) or self.rank < 1:
            raise ValueError(f"rank must be a whole number of at least 1, got {self.rank!r}; 4 to 64 is usual.")
        if not (isinstance(self.alpha, Real) and math.isfinite(self.alpha) and self.alpha > 0):
            raise ValueError(f"alpha must be positive and finite, got {self.alpha!r}; once or twice the rank is usual.")
        if not (isinstance(self.dropout, Real) and 0 <= self.dropout < 1):
            raise ValueError(f"dropout must be in [0, 1), got {self.dropout!r}.")

    @property
    def scale(self) -> float:
        """What ``B A`` is multiplied by: ``alpha / rank``, or ``alpha / sqrt(rank)`` for rsLoRA."""
        return self.alpha / (math.sqrt(self.rank) if self.rslora else self.rank)


class LowRank(nn.Module):
    """One adapter's pair of matrices for one layer; ``A`` reads the input, ``B`` writes the output."""

    def __init__(self, config: LoRAConfig, a: Tensor, b: Tensor) -> None:
        super().__init__()
        self.config = config
        self.A = nn.Parameter(a)
        self.B = nn.Parameter(b)

    def extra_repr(self) -> str:
        """Show the settings."""
        return f"rank={self.config.rank}, scale={self.config.scale:g}, dropout={self.config.dropout:g}"


class LoRALayer(Adapted):
    """What the three kinds of layer below share. `add_lora` turns a plain layer into one, `remove_lora` back.

    The layer stays the object it was, with its parameters, hooks and place in the model: only its class changes, as
    torch's own ``parametrize`` does it. The base's weight is never written to; merged, the layer uses another one.
    """

    FILE_NAMES: ClassVar[tuple[str, str]] = ("lora_A.weight", "lora_B.weight")  # peft's, of A and B
    weight: Tensor
    lora: nn.ModuleDict
    active: tuple[str, ...]
    merged_weight: Tensor | None

    def forward(self, x: Tensor) -> Tensor:
        """Return the base's output plus that of each active adapter."""
        if self.active and self.merged_weight is not None:
            return self._with_weight(x, self.merged_weight)
        out: Tensor = super().forward(x)
        total = out
        for name in self.active:
            update = self.lora[name]
            assert isinstance(update, LowRank)
            total = self._plus_update(total, x, update)
        return total.to(out.dtype)  # a bf16 layer has float32 adapters

    def update_of_weight(self) -> Tensor:
        """Return ``scale * B A``, summed over the active adapters, in the weight's shape."""
        device = self.weight.device.type
        with nullcontext() if device == "meta" else torch.autocast(device, enabled=False):  # it would round products
            products = [self._product(update) * update.config.scale for update in self._active_updates()]
        return torch.stack(products).sum(0) if products else torch.zeros_like(self.weight)

    def add(self, name: str, config: LoRAConfig, generator: torch.Generator | None) -> None:
        """Add an adapter, which changes nothing yet: one of its matrices is zero. It is not active."""
        # float16 and bfloat16 would round small updates away
        dtype = torch.promote_types(self.weight.dtype, torch.float32)
        a, b = (torch.zeros(shape, dtype=dtype, device=self.weight.device) for shape in self.shapes(self, config.rank))
        self._start(a, b, generator)
        self.lora[name] = LowRank(config, a, b).train(self.training)

    def updated_weight(self) -> Tensor:
        """Return the weight with the active adapters in it."""
        with torch.no_grad():
            return (self.weight + self.update_of_weight()).to(self.weight.dtype)

    @staticmethod
    def shapes(layer: Any, rank: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Return the shapes of A and B for a layer, which may be plain yet."""
        raise NotImplementedError

    def _start(self, a: Tensor, b: Tensor, generator: torch.Generator | None) -> None:
        he_uniform_(a, gain=1 / math.sqrt(3), generator=generator)  # uniform within 1 / sqrt(fan in), as nn.Linear

    def _active_updates(self) -> list[LowRank]:
        return [update for name in self.active if isinstance(update := self.lora[name], LowRank)]

    def _plus_update(self, out: Tensor, x: Tensor, update: LowRank) -> Tensor:
        raise NotImplementedError

    def _with_weight(self, x: Tensor, weight: Tensor) -> Tensor:
        raise NotImplementedError

    def _product(self, update: LowRank) -> Tensor:
        raise NotImplementedError

    def _input(self, x: Tensor, update: LowRank) -> Tensor:
        x = x.to(update.A.dtype)
        dropout = update.config.dropout
        return F.dropout(x, dropout, self.training) if dropout else x

    def _load_from_state_dict(self, *arguments: Any) -> None:
        self.merged_weight = None  # it is that of the old weights
        super()._load_from_state_dict(*arguments)


class LoRALinear(LoRALayer, nn.Linear):
    """A linear layer. A: ``(rank, inputs)``, B: ``(outputs, rank)``."""

    @staticmethod
    def shapes(layer: nn.Linear, rank: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Return the shapes of A and B."""
        return (rank, layer.in_features), (layer.out_features, rank)

    def _plus_update(self, out: Tensor, x: Tensor, update: LowRank) -> Tensor:
        inner = F.linear(self._input(x, update), update.A)
        rows, inner_rows = out.reshape(-1, self.out_features), inner.reshape(-1, update.config.rank)
        # product, scale and sum in one pass: at small ranks the sum alone costs as much as the product
        summed = torch.addmm(rows.to(inner.dtype), inner_rows, update.B.T, alpha=update.config.scale)
        return summed.view(out.shape)

    def _with_weight(self, x: Tensor, weight: Tensor) -> Tensor:
        return F.linear(x, weight, self.bias)

    def _product(self, update: LowRank) -> Tensor:
        return update.B @ update.A


class LoRAConv2d(LoRALayer, nn.Conv2d):
    """A convolution. A: ``(rank, inputs, *kernel)``, a convolution like the base's; B: ``(outputs, rank, 1, 1)``."""

    @staticmethod
    def shapes(layer: nn.Conv2d, rank: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Return the shapes of A and B."""
        return (rank, layer.in_channels, *layer.kernel_size), (layer.out_channels, rank, 1, 1)

    def _plus_update(self, out: Tensor, x: Tensor, update: LowRank) -> Tensor:
        inner = F.conv2d(self._input(x, update), update.A, None, self.stride, self.padding, self.dilation)
        return out + F.conv2d(inner * update.config.scale, update.B)

    def _with_weight(self, x: Tensor, weight: Tensor) -> Tensor:
        return F.conv2d(x, weight, self.bias, self.stride, self.padding, self.dilation)

    def _product(self, update: LowRank) -> Tensor:
        return (update.B.flatten(1) @ update.A.flatten(1)).view_as(self.weight)


class LoRAEmbedding(LoRALayer, nn.Embedding):
    """A table of embeddings. A: ``(rank, rows)``, zero at the start; B: ``(width, rank)``, random, as in peft."""

    FILE_NAMES: ClassVar[tuple[str, str]] = ("lora_embedding_A", "lora_embedding_B")

    @staticmethod
    def shapes(layer: nn.Embedding, rank: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Return the shapes of A and B."""
        return (rank, layer.num_embeddings), (layer.embedding_dim, rank)

    def _start(self, a: Tensor, b: Tensor, generator: torch.Generator | None) -> None:
        he_normal_(b, gain=math.sqrt(b.shape[1]), generator=generator)  # standard deviation 1

    def _plus_update(self, out: Tensor, x: Tensor, update: LowRank) -> Tensor:
        rows = F.embedding(x, update.A.T, self.padding_idx)
        return out + F.linear(rows * update.config.scale, update.B)

    def _with_weight(self, x: Tensor, weight: Tensor) -> Tensor:
        return F.embedding(x, weight, self.padding_idx)

    def _product(self, update: LowRank) -> Tensor:
        return update.A.T @ update.B.T


KINDS: dict[type[nn.Module], type[LoRALayer]] = {
    nn.Linear: LoRALinear,
    nn.Conv2d: LoRAConv2d,
    nn.Embedding: LoRAEmbedding,
}
