"""Inputs with their targets: the one shape in which every data set of the course arrives."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

# Shape letters used in this file: N = examples, D = columns of a table.


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Examples:
    """Rows of inputs ``x`` with their targets ``y``, and where they come from.

    Row ``i`` of ``x`` belongs to row ``i`` of ``y``. Nothing is scaled or shuffled behind your back: what a
    data set did to its numbers stands in the docstring of the function that loads it.

    Args:
        x: Inputs, one row an example.
        y: Targets: class numbers for classification, measured values for regression.
        classes: Name of class 0, class 1, and so on; empty for regression.
        name: What to call it in tables and figures.
        source: Who made it, in words.
        licence: Under what terms it may be used.
        features: Names of the columns of ``x`` when it is a table; empty otherwise.

    Shape:
        - x: ``(N, ...)``, ``(N, D)`` for a table
        - y: ``(N,)``, int64 below ``len(classes)`` for classification, floating point for regression

    Raises:
        ValueError: If ``x`` and ``y`` differ in length, a class number has no name, or a column has none.

    Example:
        >>> pets = Examples(torch.rand(3, 2), torch.tensor([0, 1, 0]), ("cat", "dog"), "pets", "made up", "CC0-1.0")
        >>> pets
        Examples('pets': 3 rows, x (2,) float32, y int64, 2 classes)
        >>> pets.take([2, 0]).y
        tensor([0, 0])
    """

    x: Tensor
    y: Tensor
    classes: tuple[str, ...]
    name: str
    source: str
    licence: str
    features: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.x.ndim < 1 or self.y.ndim < 1 or len(self.x) != len(self.y):
            raise ValueError(
                f"Examples {self.name!r} needs one row of y for each row of x, "
                f"got x {tuple(self.x.shape)} and y {tuple(self.y.shape)}."
            )
        if self.classes:
            self._check_class_numbers()
        if self.features and (self.x.ndim != 2 or self.x.shape[1] != len(self.features)):
            raise ValueError(
                f"Examples {self.name!r} names {len(self.features)} features, but x is {tuple(self.x.shape)}: "
                "a table is (rows, columns) with one name a column."
            )

    def _check_class_numbers(self) -> None:
        if self.y.dtype != torch.int64 or self.y.ndim != 1:
            raise ValueError(
                f"Examples {self.name!r} has {len(self.classes)} classes, so y must be int64 of shape (N,), "
                f"got {self.y.dtype} of shape {tuple(self.y.shape)}. For regression, leave classes empty."
            )
        if self.y.is_meta:  # a shape without numbers, for tests of big settings
            return
        if len(self.y) and not 0 <= int(self.y.min()) <= int(self.y.max()) < len(self.classes):
            raise ValueError(
                f"Examples {self.name!r} names {len(self.classes)} classes, so y must lie in 0 to "
                f"{len(self.classes) - 1}, got {int(self.y.min())} to {int(self.y.max())}."
            )

    def __len__(self) -> int:
        """Return the number of examples."""
        return len(self.x)

    def __repr__(self) -> str:
        kind = f"{len(self.classes)} classes" if self.classes else "regression"
        dtype_x, dtype_y = (str(tensor.dtype).removeprefix("torch.") for tensor in (self.x, self.y))
        shape = tuple(self.x.shape[1:])
        return f"Examples({self.name!r}: {len(self)} rows, x {shape} {dtype_x}, y {dtype_y}, {kind})"

    def take(self, indices: Sequence[int] | Tensor) -> Examples:
        """Return the rows named by ``indices``, in that order; a row may come twice.

        Args:
            indices: Row numbers, counted from 0.

        Shape:
            - indices: ``(M,)``, int64; the result has ``M`` rows

        Raises:
            ValueError: If they are not whole numbers from 0 to ``N - 1``.
        """
        rows = torch.as_tensor(indices, device=self.x.device)
        if rows.numel() == 0:
            rows = rows.long()
        if rows.ndim != 1 or rows.dtype not in (torch.int64, torch.int32):
            raise ValueError(
                f"take needs a list of row numbers, got {rows.dtype} of shape {tuple(rows.shape)}; "
                "turn a mask into row numbers with mask.nonzero().flatten()."
            )
        if len(rows) and not 0 <= int(rows.min()) <= int(rows.max()) < len(self):
            raise ValueError(
                f"take needs row numbers from 0 to {len(self) - 1}, got {int(rows.min())} to {int(rows.max())}."
            )
        return replace(self, x=self.x.index_select(0, rows), y=self.y.index_select(0, rows.to(self.y.device)))

    def to(self, device: torch.device | str) -> Examples:
        """Return the same examples on ``device``."""
        return replace(self, x=self.x.to(device), y=self.y.to(device))
