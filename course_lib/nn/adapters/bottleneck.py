"""Bottleneck adapters: small networks behind a model's layers, the model itself frozen."""

from __future__ import annotations

import math
from collections.abc import Callable
from numbers import Integral

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from course_lib.nn.adapters.targets import Adapted, Targets, freeze, matching, plain
from course_lib.nn.initialisers import he_uniform_


class Bottleneck(nn.Module):
    """``h + up(activation(down(h)))``: through a narrow layer and back, beside a skip."""

    def __init__(self, layer: nn.Linear, width: int, activation: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.activation = activation
        with torch.device("meta"):  # nothing is drawn from torch's global generator
            down, up = nn.Linear(layer.out_features, width), nn.Linear(width, layer.out_features)
        # float16 and bfloat16 would round small updates away
        dtype = torch.promote_types(layer.weight.dtype, torch.float32)
        self.down, self.up = (part.to_empty(device=layer.weight.device).to(dtype) for part in (down, up))

    @torch.no_grad()
    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Start as the identity: ``up`` and biases are zero, ``down`` random."""
        he_uniform_(self.down.weight, gain=1 / math.sqrt(3), generator=generator)
        for parameter in (self.down.bias, self.up.weight, self.up.bias):
            parameter.zero_()

    def forward(self, h: Tensor) -> Tensor:
        """Return the layer's output, adapted."""
        change: Tensor = self.up(self.activation(self.down(h.to(self.down.weight.dtype))))
        return h + change.to(h.dtype)


class BottleneckLinear(Adapted, nn.Linear):
    """A linear layer with a bottleneck behind it. `add_bottlenecks` makes it, `remove_bottlenecks` undoes it."""

    bottleneck: Bottleneck

    def forward(self, x: Tensor) -> Tensor:
        """Return the adapted output."""
        out: Tensor = self.bottleneck(super().forward(x))
        return out


def add_bottlenecks(
    model: nn.Module,
    targets: Targets,
    *,
    width: int = 16,
    activation: Callable[[Tensor], Tensor] = F.gelu,
    train_also: Targets = (),
    generator: torch.Generator | None = None,
) -> list[str]:
    """Put ``h + up(activation(down(h)))`` behind linear layers, and let nothing but that learn.

    Unlike LoRA's, this change is no linear one, so it cannot be merged: it costs a little at each use. The paper puts
    one behind attention and one behind the feed-forward layer of each block, before they are added to the residual
    stream: ``targets=["attention.output", "feed_forward.down"]`` in `Transformer`. It also trains the norms
    (``train_also=["attention_norm", "feed_forward_norm"]``). At the start the model computes what it did before (the
    paper starts near that, with weights of standard deviation 0.01).

    Args:
        model: Changed in place. Afterwards only the new bottlenecks and ``train_also`` require gradients.
        targets: Which layers, each an `nn.Linear`; see `matching`.
        width: Of the narrow layer.
        activation: Of the narrow layer.
        train_also: Modules that learn in full besides, such as a new task's ``["head"]``.
        generator: Where starting values come from; torch's global one if None.

    Returns:
        The names of the layers with a bottleneck.

    Raises:
        ValueError: If targets match nothing, or what is no plain linear layer, and for a width below 1. Then nothing
            has changed.

    Example:
        >>> model = nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 2))
        >>> x = torch.ones(1, 8)
        >>> before = model(x)
        >>> add_bottlenecks(model, ["0"], width=3)
        ['0']
        >>> torch.equal(model(x), before)
        True
        >>> [name for name, parameter in model.named_parameters() if parameter.requires_grad]
        ['0.bottleneck.down.weight', '0.bottleneck.down.bias', '0.bottleneck.up.weight', '0.bottleneck.up.bias']

    Reference: Houlsby et al. 2019, Parameter-efficient transfer learning for NLP, figure 2,
    https://arxiv.org/abs/1902.00751
    """
    model = plain(model)
    if not isinstance(width, Integral) or width < 1:
        raise ValueError(f"width must be a whole number of at least 1, got {width!r}.")
    layers = matching(model, targets)
    for name, layer in layers.items():
        if type(layer) is not nn.Linear:
            raise ValueError(f"bottlenecks go behind plain Linear layers; {name!r} is a {type(layer).__name__}.")
        if isinstance(model.get_submodule(name.rpartition(".")[0]), nn.TransformerEncoderLayer):
            raise ValueError(
                f"torch's TransformerEncoderLayer reads the weights of {name!r} without calling it, so the bottleneck "
                "would be left out: use course_lib.nn.transformer, or adapt other layers."
            )
    freeze(model, train_also=train_also)
    for layer in layers.values():
        assert isinstance(layer, nn.Linear)
        bottleneck = Bottleneck(layer, width, activation)
        bottleneck.reset_parameters(generator)
        layer.__class__ = BottleneckLinear  # it stays the object that others hold, with its names and hooks
        layer.bottleneck = bottleneck.train(layer.training)
    return list(layers)


def remove_bottlenecks(model: nn.Module) -> None:
    """Make layers plain again, the base's bits as they were; what was frozen stays frozen."""
    for layer in list(plain(model).modules()):
        if isinstance(layer, BottleneckLinear):
            del layer.bottleneck
            layer.__class__ = nn.Linear  # type: ignore[assignment]
