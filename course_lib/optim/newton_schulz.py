"""Newton-Schulz iteration: push all singular values of a matrix to about 1, by matrix products alone."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

COEFFICIENTS = (3.4445, -4.7750, 2.0315)


def newton_schulz(
    matrix: Tensor,
    *,
    steps: int = 5,
    coefficients: Sequence[float] = COEFFICIENTS,
    eps: float = 1e-7,
    dtype: torch.dtype | None = None,
) -> Tensor:
    """Return nearly the closest matrix with orthonormal rows or columns: U V^T where ``matrix`` is U S V^T.

    An odd polynomial of a matrix acts on its singular values alone. Each step applies
    ``p(s) = a s + b s^3 + c s^5``; with the usual coefficients p is so steep at 0 that small values grow 3.4-fold a
    step, and the larger ones are thrown about between 0.68 and 1.14 rather than settling at 1: speed for exactness.
    Coefficients ``(1.875, -1.25, 0.375)`` converge to 1, in more steps. A singular value of 0 stays 0.

    Args:
        matrix: One matrix, or a batch of them.
        steps: How often the polynomial is applied.
        coefficients: a, b and c.
        eps: The matrix is first divided by its Frobenius norm, or by ``eps`` if that is larger.
        dtype: What to compute in; None is ``matrix``'s own. bfloat16 is enough in training.

    Shape:
        - matrix: ``(..., rows, columns)``
        - output: the same, in ``matrix``'s dtype

    Returns:
        A new tensor. Where the singular values of ``matrix / |matrix|`` are 0.01 or more, the output's all lie
        between 0.68 and 1.14 after five steps.

    Raises:
        ValueError: If ``matrix`` is no matrix or not real, or there are no steps or not three coefficients.

    Example:
        >>> out = newton_schulz(torch.diag(torch.tensor([5.0, 2.0])), coefficients=(1.875, -1.25, 0.375), steps=9)
        >>> out.round(decimals=4).tolist()
        [[1.0, 0.0], [0.0, 1.0]]

    Reference: Jordan et al. 2024, "Muon: an optimizer for hidden layers in neural networks",
    https://kellerjordan.github.io/posts/muon/; Bernstein & Newhouse 2024, "Old optimizer, new norm: an anthology",
    https://arxiv.org/abs/2409.20325
    """
    if matrix.ndim < 2 or not matrix.is_floating_point():
        raise ValueError(
            f"newton_schulz needs a real (..., rows, columns), got {matrix.dtype} of shape {tuple(matrix.shape)}."
        )
    if steps < 1 or len(coefficients) != 3:
        raise ValueError(f"newton_schulz needs steps >= 1 and 3 coefficients, got {steps} and {coefficients!r}.")
    a, b, c = coefficients
    x = matrix.to(matrix.dtype if dtype is None else dtype)
    x = x.flatten(0, -3) if x.ndim > 3 else x
    tall = x.shape[-2] > x.shape[-1]
    if tall:
        x = x.mT  # the square matrices below get the smaller side
    x = x / torch.linalg.matrix_norm(x, keepdim=True).clamp(min=eps)
    fused = torch.addmm if x.ndim == 2 else torch.baddbmm  # products and sums in one
    for _ in range(steps):
        gram = x @ x.mT
        square = fused(gram, gram, gram, beta=b, alpha=c)  # b gram + c gram gram
        x = fused(x, square, x, beta=a)  # a x + square x
    return (x.mT if tall else x).reshape(matrix.shape).to(matrix.dtype)
