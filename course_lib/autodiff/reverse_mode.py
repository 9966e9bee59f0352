"""Reverse mode: walk a graph from its output back to its leaves, one vector-Jacobian product at a time."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from course_lib.autodiff.rules import Array, unbroadcast
from course_lib.autodiff.variable import Variable, checksum


def topological_order(output: Variable) -> list[Variable]:
    """Return all variables that ``output`` was computed from, each after its parents; ``output`` comes last.

    A depth-first walk with a stack of its own, so that a graph may be deeper than Python's recursion limit. Every
    variable comes once, however many ways lead to it.

    Example:
        >>> x = Variable(2.0)
        >>> [variable.op for variable in topological_order(x * x + x.exp())]
        ['leaf', 'multiply', 'exp', 'add']
    """
    order: list[Variable] = []
    done: set[int] = set()
    stack = [(output, False)]
    while stack:
        variable, parents_done = stack.pop()
        if id(variable) in done:
            continue
        if parents_done:
            done.add(id(variable))
            order.append(variable)
        else:
            stack.append((variable, True))
            stack.extend((parent, False) for parent in reversed(variable.parents) if id(parent) not in done)
    return order


def backward(output: Variable, gradient: ArrayLike | None = None, *, retain_graph: bool = False) -> None:
    """Add the gradient of ``output`` with respect to each leaf to the leaf's ``grad``.

    Each variable is visited once, after everything that was computed from it: by then its gradient is complete, the
    sum over all ways to the output, and can be passed on.

    Args:
        output: What to differentiate: a loss.
        gradient: The vector of the vector-Jacobian product; may be left out for a scalar, where it is 1.
        retain_graph: Keep the graph, so that another backward pass can use it.

    Shape:
        - output: ``()``, or any shape that ``gradient`` has too

    Raises:
        ValueError: If ``output`` is no scalar and there is no ``gradient``, or it has another shape; if nothing here
            requires a gradient; if the graph was used before; if an array that is needed was changed in place. No
            ``grad`` has been touched then.

    Example:
        >>> x = Variable([3.0, 4.0])
        >>> backward((x * x).sum())
        >>> x.grad
        array([6., 8.])
    """
    gradients: dict[Variable, Array] = {output: _start(output, gradient)}
    order = topological_order(output)
    for variable in order:
        _check_usable(variable)
    for variable in reversed(order):
        if variable not in gradients:
            continue
        total = gradients.pop(variable)
        if not variable.parents or variable._retain:
            # A copy, because several variables may have been handed one and the same array.
            variable.grad = total.copy() if variable.grad is None else variable.grad + total
        for parent, vjp in zip(variable.parents, variable._vjps or (), strict=True):
            if parent.requires_grad:
                part = np.asarray(unbroadcast(np.asarray(vjp.pull(total)), parent.shape), parent.dtype)
                gradients[parent] = gradients[parent] + part if parent in gradients else part
    if not retain_graph:
        for variable in order:
            if variable.parents:
                variable._vjps = None


def _start(output: Variable, gradient: ArrayLike | None) -> Array:
    """The gradient that the walk begins with, of the output's shape and dtype."""
    if not output.requires_grad:
        raise ValueError(
            "backward: nothing that this was computed from requires a gradient. Was it computed under no_grad(), or "
            "from plain arrays only?"
        )
    if gradient is None:
        if output.shape != ():
            raise ValueError(
                f"backward starts from a scalar, got shape {output.shape}. Reduce it with sum() or mean(), or pass the "
                "gradient with respect to it."
            )
        return np.ones((), output.dtype)
    start = np.asarray(gradient, output.dtype)
    if start.shape != output.shape:
        raise ValueError(f"backward: the gradient must have the output's shape {output.shape}, got {start.shape}.")
    return start


def _check_usable(variable: Variable) -> None:
    if variable._vjps is None:
        raise ValueError(
            f"backward has gone through this graph before (through {variable.op!r}), and its arrays were given up. "
            "Compute the output anew, or call backward(retain_graph=True) the first time."
        )
    for vjp, sums in zip(variable._vjps, variable._checksums, strict=True):
        for array, before in zip(vjp.needed, sums, strict=False):  # sums is empty where no gradient is wanted
            if checksum(array) != before:
                raise ValueError(
                    f"an array of shape {array.shape} that {variable.op!r} needs for its gradient was changed in place "
                    "after it was used. Change it after backward, or make a new array: x = x + y instead of x += y."
                )
