"""Arithmetic with whole fine-tunes: their mean, what each has learnt as a vector, and vectors added to a base."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

State = Mapping[str, Tensor]
"""A state dict: name -> tensor."""


def average_weights(states: Sequence[State], *, weights: Sequence[float] | None = None) -> dict[str, Tensor]:
    """Return the mean of several fine-tunes of ONE base, number by number.

    Fine-tunes that start at the same point mostly end in one valley of the loss, and its middle is often better than
    any of its sides, at the cost of a single model. Models trained from different starts have no such valley, and
    their mean is of no use.

    Args:
        states: State dicts with the same names and shapes.
        weights: How much each counts; they sum to 1. Equal ones by default.

    Returns:
        A state dict in the first one's dtypes; the sums are taken in float64. What is not floating, such as a counter,
        must be the same in all.

    Raises:
        ValueError: If there is none, if they differ in names, shapes or counters, or the weights do not fit.

    Example:
        >>> average_weights([{"w": torch.tensor([1.0])}, {"w": torch.tensor([3.0])}])
        {'w': tensor([2.])}

    Reference: Wortsman et al. 2022, Model soups: averaging weights of multiple fine-tuned models improves accuracy
    without increasing inference time, https://arxiv.org/abs/2203.05482
    """
    if not states:
        raise ValueError("average_weights needs at least one state dict, got none.")
    shares = [1 / len(states)] * len(states) if weights is None else list(weights)
    if len(shares) != len(states) or not math.isclose(math.fsum(shares), 1, abs_tol=1e-6):
        raise ValueError(f"weights must be {len(states)} numbers that sum to 1, got {shares}.")
    first = states[0]
    for number, state in enumerate(states[1:], start=1):
        _check_alike(first, state, f"state dict {number}", "the first")
    averaged = {}
    for name, value in first.items():
        if value.is_floating_point():
            total = sum(
                (share * state[name].double() for share, state in zip(shares, states, strict=True)),
                start=torch.zeros((), dtype=torch.float64, device=value.device),
            )
            averaged[name] = total.to(value.dtype)
        else:
            averaged[name] = value.clone()
    return averaged


def task_vector(finetuned: State, base: State) -> dict[str, Tensor]:
    """Return ``finetuned - base``: the direction that learning the task has moved the weights in.

    `lora_updates` gives the same for an adapter.

    Args:
        finetuned: State dict after fine-tuning.
        base: State dict before.

    Returns:
        Name -> difference, for all floating tensors.

    Raises:
        ValueError: If the two differ in names, shapes or counters.

    Example:
        >>> task_vector({"w": torch.tensor([3.0])}, {"w": torch.tensor([1.0])})
        {'w': tensor([2.])}

    Reference: Ilharco et al. 2023, Editing models with task arithmetic, section 2, https://arxiv.org/abs/2212.04089
    """
    _check_alike(base, finetuned, "the fine-tune", "the base")
    return {name: finetuned[name] - value for name, value in base.items() if value.is_floating_point()}


def add_task_vectors(base: State, vectors: Sequence[State], *, scale: float = 1.0) -> dict[str, Tensor]:
    """Return ``base + scale * (the sum of vectors)``: a model that has learnt several tasks; or, with a negative
    scale, one that has unlearnt them.

    Args:
        base: State dict.
        vectors: As from `task_vector` or `lora_updates`; a name that one lacks counts as zero.
        scale: Of all vectors; tuned on held-out data, 0.3 to 1 for a few tasks.

    Returns:
        A state dict in the base's dtypes; the sums are taken in float64.

    Raises:
        ValueError: If a vector has a name that the base has not, or another shape there.

    Example:
        >>> base, vector = {"w": torch.tensor([1.0])}, {"w": torch.tensor([2.0])}
        >>> add_task_vectors(base, [vector, vector], scale=0.5)
        {'w': tensor([3.])}
        >>> add_task_vectors(base, [vector], scale=-1.0)
        {'w': tensor([-1.])}

    Reference: Ilharco et al. 2023, Editing models with task arithmetic, section 2, https://arxiv.org/abs/2212.04089
    """
    for number, vector in enumerate(vectors):
        for name, value in vector.items():
            if name not in base or base[name].shape != value.shape or not base[name].is_floating_point():
                there = f"{tuple(base[name].shape)} of {base[name].dtype}" if name in base else "nothing"
                raise ValueError(
                    f"task vector {number} has {name!r} {tuple(value.shape)}, where the base has {there}: was it made "
                    "from this base?"
                )
    state = {}
    for name, value in base.items():
        moves = [vector[name].double() for vector in vectors if name in vector]
        state[name] = (value.double() + scale * torch.stack(moves).sum(0)).to(value.dtype) if moves else value.clone()
    return state


def _check_alike(one: State, other: State, other_name: str, one_name: str) -> None:
    for name in [*one, *other]:
        if name not in one or name not in other:
            has, lacks = (one_name, other_name) if name in one else (other_name, one_name)
            raise ValueError(f"{name!r} is in {has}, but not in {lacks}: are both fine-tunes of one base?")
        if one[name].shape != other[name].shape:
            raise ValueError(
                f"{name!r} is {tuple(one[name].shape)} in {one_name}, {tuple(other[name].shape)} in {other_name}."
            )
        if not one[name].is_floating_point() and not torch.equal(one[name], other[name]):
            raise ValueError(
                f"{name!r} is a counter or index ({one[name].dtype}) and differs between {one_name} and {other_name}: "
                "it has no mean; leave it out, or give both the same."
            )
