"""What a training run looked like: its numbers by step, and their plot."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch


@dataclass(slots=True)
class History:
    """The record that `fit` returns.

    Args:
        losses: Training loss of each update, in order.
        rows: One dictionary an evaluation: ``step``, the mean training ``loss`` since the row before, and
            ``validation_loss`` with the other validation metrics where there was validation data.
        best_step: The step whose weights the model has now, if early stopping brought them back.
    """

    first_step: int = 0
    losses: list[float] = field(default_factory=list)
    rows: list[dict[str, float]] = field(default_factory=list)
    best_step: int | None = None

    def state_dict(self) -> dict[str, Any]:
        """Return the record as tensors and plain values, for a checkpoint."""
        return {
            "first_step": self.first_step,
            "losses": torch.tensor(self.losses, dtype=torch.float64),
            "rows": [dict(row) for row in self.rows],
            "best_step": self.best_step,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Become the record that `state_dict` was taken from."""
        self.first_step, self.best_step = state["first_step"], state["best_step"]
        self.losses, self.rows = state["losses"].tolist(), [dict(row) for row in state["rows"]]

    def column(self, name: str) -> list[float]:
        """Return one column of ``rows``.

        Raises:
            ValueError: If there is no such column; the message lists those there are.
        """
        known = list(dict.fromkeys(key for row in self.rows for key in row))
        if name not in known:
            raise ValueError(f"the history has no column {name!r}; it has: {', '.join(known) or 'no rows yet'}.")
        return [row[name] for row in self.rows if name in row]

    def plot(self, ax: Any = None) -> Any:
        """Draw the training loss of every update, and the validation loss over it; return the axes.

        Args:
            ax: Matplotlib axes to draw on; new ones by default.
        """
        import matplotlib.pyplot as plt

        if ax is None:
            _, ax = plt.subplots(figsize=(6.4, 3.2))
        steps = range(self.first_step + 1, self.first_step + len(self.losses) + 1)
        ax.plot(steps, self.losses, color="0.75", linewidth=0.8, label="training, each batch")
        lines = {"loss": ("#0072B2", "training, mean"), "validation_loss": ("#D55E00", "validation")}
        for name, (color, label) in lines.items():
            points = [(row["step"], row[name]) for row in self.rows if name in row]
            if points:
                ax.plot(*zip(*points, strict=True), color=color, label=label)
        if self.best_step is not None:
            ax.axvline(self.best_step, color="0.4", linestyle=":", linewidth=1, label="weights kept")
        ax.set(xlabel="updates", ylabel="loss per target (nats or squared units)")
        ax.legend(frameon=False)
        return ax
