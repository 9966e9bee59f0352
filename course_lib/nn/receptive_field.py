"""How many input pixels, along one axis, an output of a stack of convolutions and poolings can see."""

from __future__ import annotations

from collections.abc import Iterable


def receptive_field(layers: Iterable[tuple[int, int] | tuple[int, int, int]]) -> int:
    """Return the side of the square of input pixels that one output pixel depends on.

    Each layer adds ``(kernel_size - 1) * dilation`` steps, and a step is as long as the strides before it multiply to.
    That is the largest field possible; how much each pixel in it counts is another matter, and less at its rim.

    Args:
        layers: From input to output ``(kernel_size, stride)`` or ``(kernel_size, stride, dilation)``, poolings too.
            Of a residual net, those of its longest path.

    Returns:
        1 for no layers.

    Raises:
        ValueError: If a number is missing, or below 1.

    Example:
        >>> receptive_field([(3, 1), (3, 1)])  # two 3x3 see what one 5x5 sees
        5
        >>> receptive_field([(3, 1), (2, 2), (3, 1), (2, 2)])  # the ConvNet of this package
        10

    Reference: Araujo, Norris and Sim 2019, Computing receptive fields of convolutional neural networks, eq. 2,
    https://distill.pub/2019/computing-receptive-fields
    """
    field = step = 1
    for layer in layers:
        if len(layer) not in (2, 3) or min(layer) < 1:
            raise ValueError(f"a layer is (kernel_size, stride) or (kernel_size, stride, dilation), >= 1, got {layer}.")
        kernel_size, stride, dilation = (*layer, 1)[:3]
        field += (kernel_size - 1) * dilation * step
        step *= stride
    return field
