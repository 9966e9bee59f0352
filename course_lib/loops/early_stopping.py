"""Stop when validation no longer improves, and go back to the weights that were best."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from torch import nn

from course_lib.loops.compiled import original


@dataclass(slots=True)
class EarlyStopping:
    """Watches one validation metric; keeps a copy of the best weights.

    Args:
        patience: Evaluations without improvement before it says stop.
        metric: Which validation metric, ``"loss"`` by default.
        goal: Whether a smaller or a larger value is better.

    Raises:
        ValueError: If ``patience`` is less than 1, or ``goal`` is something else.

    Example:
        >>> model = nn.Linear(1, 1)
        >>> stopping = EarlyStopping(patience=2)
        >>> [stopping.update(model, step, {"loss": loss}) for step, loss in enumerate([3.0, 2.0, 2.5, 2.5])]
        [False, False, False, True]
        >>> stopping.best_step, stopping.best_value
        (1, 2.0)
    """

    patience: int
    metric: str = "loss"
    goal: Literal["min", "max"] = "min"
    best_value: float | None = None
    best_step: int | None = None
    _best_weights: list[dict[str, Any]] = field(default_factory=list, repr=False)
    _waited: int = field(default=0, repr=False)

    def __post_init__(self) -> None:
        if self.patience < 1:
            raise ValueError(f"patience must be at least 1 evaluation, got {self.patience}.")
        if self.goal not in ("min", "max"):
            raise ValueError(f"goal must be 'min' or 'max', got {self.goal!r}.")

    def update(self, model: nn.Module, step: int, metrics: dict[str, float], *others: object) -> bool:
        """Take in one evaluation; return whether it is time to stop. A nan is no improvement.

        The weights of ``others`` that are modules (an objective that learns) are kept with those of ``model``.

        Raises:
            ValueError: If the metric is not among ``metrics``.
        """
        if self.metric not in metrics:
            raise ValueError(f"early stopping watches {self.metric!r}, but validation gave {sorted(metrics)}.")
        value = metrics[self.metric]
        if self._better(value):
            self.best_value, self.best_step, self._waited = value, step, 0
            self._best_weights = [copy.deepcopy(part.state_dict()) for part in _modules(model, *others)]
            return False
        self._waited += 1
        return self.stopped

    @property
    def stopped(self) -> bool:
        """Whether patience has run out."""
        return self._waited >= self.patience

    def state_dict(self) -> dict[str, Any]:
        """Return all that is needed to go on, the best weights included."""
        return {
            "metric": self.metric,
            "goal": self.goal,
            "best_value": self.best_value,
            "best_step": self.best_step,
            "waited": self._waited,
            "best_weights": self._best_weights,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state_dict` returned; patience is a setting, and stays as it was built.

        Raises:
            ValueError: If another metric or goal was watched.
        """
        if (saved := (state["metric"], state["goal"])) != (self.metric, self.goal):
            raise ValueError(
                f"the saved run stopped early by {saved[0]!r} ({saved[1]}), this one by {self.metric!r} ({self.goal}): "
                "best values cannot be compared."
            )
        self.best_value, self.best_step, self._waited = state["best_value"], state["best_step"], state["waited"]
        self._best_weights = copy.deepcopy(list(state["best_weights"]))

    def _better(self, value: float) -> bool:
        if value != value:
            return False
        if self.best_value is None:
            return True
        return value < self.best_value if self.goal == "min" else value > self.best_value

    def restore(self, model: nn.Module, *others: object) -> None:
        """Give ``model`` (and ``others``, as in `update`) the best weights back, if there was an evaluation yet."""
        if self._best_weights:
            for part, weights in zip(_modules(model, *others), self._best_weights, strict=True):
                part.load_state_dict(weights)


def _modules(*parts: object) -> list[nn.Module]:
    return [original(part) for part in parts if isinstance(part, nn.Module)]
