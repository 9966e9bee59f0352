"""Xavier and He initialisation: random weights whose scale keeps signals alive through depth."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal, TypeVar

import torch
from torch import Tensor, nn

Initialiser = Callable[..., Tensor]
"""Fills a weight in place and returns it; called as ``initialiser(weight, groups=..., generator=...)``."""

Model = TypeVar("Model", bound=nn.Module)

_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
_TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)


def fan_in_and_fan_out(weight: Tensor, *, groups: int = 1) -> tuple[int, int]:
    """Count the inputs that one output sums over, and the outputs that one input reaches.

    For a convolution each counts its channels times the kernel's positions (at stride 1, borders aside). In a grouped
    one an input channel reaches the outputs of its own group only; ``torch.nn.init`` counts those of all groups,
    because a weight does not know its groups.

    Args:
        weight: Of a linear layer or a (not transposed) convolution.
        groups: Of the convolution.

    Shape:
        - weight: ``(outputs, inputs)``, or ``(outputs, inputs // groups, *kernel)``

    Returns:
        ``(fan_in, fan_out)``.

    Raises:
        ValueError: If ``weight`` has fewer than two axes, is empty, or its outputs cannot be split into ``groups``.

    Example:
        >>> fan_in_and_fan_out(torch.empty(20, 30))
        (30, 20)
        >>> fan_in_and_fan_out(torch.empty(32, 16, 3, 3))  # 16 * 9 in, 32 * 9 out
        (144, 288)
        >>> fan_in_and_fan_out(torch.empty(32, 1, 3, 3), groups=16)  # depthwise, two outputs for each input
        (9, 18)
    """
    if weight.ndim < 2 or weight.numel() == 0:
        raise ValueError(
            f"fans need a weight (outputs, inputs, *kernel) with entries, got shape {tuple(weight.shape)}; "
            "set biases and norm weights to 0 or 1 instead."
        )
    if groups < 1 or weight.shape[0] % groups:
        raise ValueError(f"{weight.shape[0]} outputs cannot be split into groups={groups} equal groups.")
    positions = math.prod(weight.shape[2:])
    return weight.shape[1] * positions, weight.shape[0] // groups * positions


def activation_gain(activation: Callable[[Tensor], Tensor]) -> float:
    """Return the gain that makes up for what an activation does to a standard normal signal: ``1 / sqrt(E[f(z)^2])``.

    Weights of variance ``gain^2 / fan_in`` then give pre-activations of variance 1 again. Computed as a sum over a
    fine grid, so it works for any elementwise function (``torch.nn.init.calculate_gain`` lists some; its 5/3 for tanh
    is a rule of thumb, this is 1.59).

    Args:
        activation: Elementwise, not zero everywhere.

    Raises:
        ValueError: If ``E[f(z)^2]`` is zero or not finite.

    Example:
        >>> round(activation_gain(torch.relu) ** 2, 4)  # half of the signal is lost
        2.0
    """
    step = 1e-3
    z = torch.arange(-12.0, 12.0, step, dtype=torch.float64, device="cpu")
    density = torch.exp(-z.square() / 2) / math.sqrt(2 * math.pi)
    with torch.no_grad():
        power = float((activation(z).square() * density).sum() * step)
    if not (0 < power < math.inf):
        raise ValueError(f"E[activation(z)^2] must be positive and finite for a standard normal z, got {power}.")
    return 1 / math.sqrt(power)


def xavier_normal_(
    weight: Tensor, *, gain: float = 1.0, groups: int = 1, generator: torch.Generator | None = None
) -> Tensor:
    """Fill with ``N(0, std^2)``, ``std = gain * sqrt(2 / (fan_in + fan_out))``: for linear, tanh and sigmoid units.

    Keeping the forward variance asks for ``1 / fan_in``, keeping the gradient's for ``1 / fan_out``; this is the
    compromise.

    Args:
        weight: Filled in place, see `fan_in_and_fan_out`. On the meta device nothing is drawn.
        gain: Makes up for what the activation takes away, see `activation_gain`.
        groups: Of a grouped convolution.
        generator: Where the numbers come from; torch's global one if None. A CPU generator serves a weight on any
            device, and then gives the same numbers there.

    Returns:
        ``weight``.

    Raises:
        ValueError: As `fan_in_and_fan_out`, and if ``gain`` is not positive and finite.

    Example:
        >>> g = torch.Generator().manual_seed(0)
        >>> round(xavier_normal_(torch.empty(400, 600), generator=g).var().item() * 500, 2)
        1.0

    Reference: Glorot and Bengio 2010, Understanding the difficulty of training deep feedforward neural networks, eq. 12
    """
    return _fill_normal(weight, _xavier_std(weight, gain, groups), generator)


def xavier_uniform_(
    weight: Tensor, *, gain: float = 1.0, groups: int = 1, generator: torch.Generator | None = None
) -> Tensor:
    """Fill with ``U(-a, a)``, ``a = gain * sqrt(6 / (fan_in + fan_out))``: the variance of `xavier_normal_`, bounded.

    Arguments, result and errors as there.

    Example:
        >>> g = torch.Generator().manual_seed(0)
        >>> bool(xavier_uniform_(torch.empty(2, 4), generator=g).abs().max() <= 1)
        True

    Reference: Glorot and Bengio 2010, eq. 16
    """
    return _fill_uniform(weight, _xavier_std(weight, gain, groups), generator)


def he_normal_(
    weight: Tensor,
    *,
    mode: Literal["fan_in", "fan_out"] = "fan_in",
    gain: float = math.sqrt(2),
    groups: int = 1,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Fill with ``N(0, std^2)``, ``std = gain / sqrt(fan)``: for ReLU units, which pass on half of the signal's power.

    With ``gain=1`` it is LeCun's initialisation.

    Args:
        weight: Filled in place, see `fan_in_and_fan_out`. On the meta device nothing is drawn.
        mode: ``fan_in`` keeps the scale of activations, ``fan_out`` that of gradients.
        gain: ``sqrt(2)`` for ReLU; others from `activation_gain`.
        groups: Of a grouped convolution.
        generator: As for `xavier_normal_`.

    Returns:
        ``weight``.

    Raises:
        ValueError: As `fan_in_and_fan_out`, if ``mode`` is neither, and if ``gain`` is not positive and finite.

    Example:
        >>> g = torch.Generator().manual_seed(0)
        >>> round(he_normal_(torch.empty(400, 600), generator=g).var().item() * 600, 2)
        2.0

    Reference: He, Zhang, Ren and Sun 2015, Delving deep into rectifiers, eq. 10 and 14,
    https://arxiv.org/abs/1502.01852
    """
    return _fill_normal(weight, _he_std(weight, mode, gain, groups), generator)


def he_uniform_(
    weight: Tensor,
    *,
    mode: Literal["fan_in", "fan_out"] = "fan_in",
    gain: float = math.sqrt(2),
    groups: int = 1,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Fill with ``U(-a, a)``, ``a = gain * sqrt(3 / fan)``: the variance of `he_normal_`, bounded.

    Arguments, result and errors as there. With ``gain=1 / sqrt(3)`` it is what torch's own layers start from.

    Example:
        >>> g = torch.Generator().manual_seed(0)
        >>> bool(he_uniform_(torch.empty(2, 6), generator=g).abs().max() <= 1)
        True

    Reference: He, Zhang, Ren and Sun 2015, https://arxiv.org/abs/1502.01852
    """
    return _fill_uniform(weight, _he_std(weight, mode, gain, groups), generator)


def initialise(model: Model, initialiser: Initialiser, *, generator: torch.Generator | None = None) -> Model:
    """Fill the weight of every linear and convolutional layer anew, in the order of ``modules()``; biases become 0.

    Norms, embeddings and every other kind of layer are left alone.

    Args:
        model: Changed in place.
        initialiser: One of this file, such as ``partial(he_normal_, mode="fan_out")``, or your own, which must take
            ``groups`` and ``generator`` by name.
        generator: Handed to it.

    Returns:
        ``model``.

    Raises:
        ValueError: If there is no such layer, if there is a transposed convolution, whose weight has its axes the other
            way, and if a weight is computed from other parameters (weight norm), so that filling it would be lost.

    Example:
        >>> layer = initialise(nn.Linear(3, 2), xavier_normal_, generator=torch.Generator().manual_seed(0))
        >>> layer.bias.tolist()
        [0.0, 0.0]
    """
    transposed = [name for name, module in model.named_modules() if isinstance(module, _TRANSPOSED)]
    if transposed:
        raise ValueError(
            f"initialise does not know transposed convolutions ({', '.join(transposed)}): their weight is "
            "(inputs, outputs, *kernel). Fill it with the initialiser through weight.transpose(0, 1)."
        )
    layers = {name: module for name, module in model.named_modules() if isinstance(module, (nn.Linear, *_CONVOLUTIONS))}
    if not layers:
        raise ValueError(f"{type(model).__name__} has no linear or convolutional layer to initialise.")
    for name, layer in layers.items():
        if "weight" not in layer._parameters:
            raise ValueError(f"the weight of {name or 'the layer'} is computed from others: initialise it before that.")
        groups = 1 if isinstance(layer, nn.Linear) else layer.groups
        with torch.no_grad():
            initialiser(layer.weight, groups=groups, generator=generator)
            if layer.bias is not None:
                layer.bias.zero_()
    return model


def _xavier_std(weight: Tensor, gain: float, groups: int) -> float:
    _check_gain(gain)
    return gain * math.sqrt(2 / sum(fan_in_and_fan_out(weight, groups=groups)))


def _he_std(weight: Tensor, mode: str, gain: float, groups: int) -> float:
    _check_gain(gain)
    if mode not in ("fan_in", "fan_out"):
        raise ValueError(f'mode must be "fan_in" or "fan_out", got {mode!r}.')
    fan_in, fan_out = fan_in_and_fan_out(weight, groups=groups)
    return gain / math.sqrt(fan_in if mode == "fan_in" else fan_out)


def _check_gain(gain: float) -> None:
    if not (math.isfinite(gain) and gain > 0):
        raise ValueError(f"gain must be positive and finite, got {gain!r}; 1 is neutral, sqrt(2) is ReLU's.")


def _fill_normal(weight: Tensor, std: float, generator: torch.Generator | None) -> Tensor:
    return _fill(weight, generator, lambda values: values.normal_(0, std, generator=generator))


def _fill_uniform(weight: Tensor, std: float, generator: torch.Generator | None) -> Tensor:
    bound = math.sqrt(3) * std
    return _fill(weight, generator, lambda values: values.uniform_(-bound, bound, generator=generator))


@torch.no_grad()
def _fill(weight: Tensor, generator: torch.Generator | None, draw: Callable[[Tensor], Tensor]) -> Tensor:
    if weight.is_meta:
        return weight
    if generator is None or generator.device.type == weight.device.type:
        return draw(weight)
    return weight.copy_(draw(torch.empty(weight.shape, dtype=weight.dtype, device=generator.device)))
