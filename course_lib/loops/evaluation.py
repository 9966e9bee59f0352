"""Measuring a model without changing it: not its modes, not its buffers' course, not the random state."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from course_lib.collectives import all_sum, world_size
from course_lib.loops.loss import Batch, Objective, exact_dtype
from course_lib.loops.precision import Precision, in_precision
from course_lib.loops.random_state import unchanged_randomness
from course_lib.nn.modes import evaluation_mode


@contextmanager
def evaluating(model: nn.Module, *others: object, generators: Sequence[torch.Generator] = ()) -> Iterator[nn.Module]:
    """Put ``model`` into evaluation mode without gradients, and put everything back afterwards.

    Each module gets back the mode it had (a frozen batch norm in a training model stays frozen), and torch's
    global random state is restored, so that evaluating or not gives the same training run.

    Args:
        model: What the ``with`` gives back.
        others: What takes part besides; those that are modules (an objective with weights) are treated like ``model``.
        generators: Those that are drawn from; they are put back too.

    Example:
        >>> model = nn.Dropout()
        >>> with evaluating(model):
        ...     model.training
        False
        >>> model.training
        True
    """
    parts = [model, *(other for other in others if isinstance(other, nn.Module))]
    with unchanged_randomness(generators), torch.no_grad(), evaluation_mode(*parts):
        yield model


def evaluate(
    model: nn.Module,
    objective: Objective,
    batches: Iterable[Batch],
    *,
    precision: Precision = "fp32",
    generators: Sequence[torch.Generator] = (),
) -> dict[str, float]:
    """Return the mean loss and mean metrics of ``model`` over all targets of ``batches``.

    Sums are added up and divided once, so the result does not depend on how the data is cut into batches.

    Args:
        model: Evaluated in evaluation mode, and left as it was.
        objective: As for training.
        batches: A finite stream; under torchrun each rank brings its own part.
        precision: What to compute in; see `in_precision`.
        generators: Those that model or objective draw from; they are left as they were, like torch's own.

    Returns:
        ``{"loss": ..., **metrics}``. For a loss that compares rows (``count=None``) the mean over batches.

    Raises:
        ValueError: If ``batches`` is endless by its own account (``epochs=None``), or holds no targets; under torchrun
            on every rank alike, if one of them has no batch at all.

    Example:
        >>> from course_lib.loops import regression
        >>> x, y = torch.tensor([1.0, 2.0, 3.0]), torch.tensor([1.0, 2.0, 6.0])
        >>> evaluate(nn.Identity(), regression, [(x[:2], y[:2]), (x[2:], y[2:])])  # 9 over 3 targets
        {'loss': 3.0}
    """
    refuse_endless(batches)
    sums: dict[str, Tensor] = {}
    device = next((parameter.device for parameter in model.parameters()), torch.device("cpu"))
    in_bits = in_precision(objective, precision, device)
    with evaluating(model, objective, generators=generators):
        for batch in batches:
            loss = in_bits(model, batch)
            count = torch.as_tensor(1 if loss.count is None else loss.count)
            for name, value in {"loss": loss.total, "count": count, **loss.metrics}.items():
                value = value.detach().to(loss.total.device, exact_dtype(loss.total.device))
                sums[name] = sums[name] + value if name in sums else value
    if world_size() > 1:
        _add_over_ranks(device, sums)
    if not sums or float(sums["count"]) == 0:
        raise ValueError("evaluate found no targets: the stream is empty, or every label is masked.")
    return {name: float(value / sums["count"]) for name, value in sums.items() if name != "count"}


def refuse_endless(batches: Iterable[Batch]) -> None:
    """Raise a ValueError if ``batches`` says of itself that it never ends."""
    if getattr(batches, "epochs", 1) is None:
        raise ValueError("evaluation needs a finite stream: build the batches with epochs=1.")


def _add_over_ranks(device: torch.device, sums: dict[str, Tensor]) -> None:
    """Add up ``sums`` of all ranks, after making sure that all have some: otherwise those that have would wait."""
    ready = torch.tensor(float(bool(sums)), device=device)
    all_sum([ready])
    if int(ready) < world_size():
        raise ValueError(
            f"{world_size() - int(ready)} of {world_size()} ranks had no batch to evaluate: give every rank as many "
            "batches, if need be of 0 rows, as course_lib.data.Batches does."
        )
    all_sum(list(sums.values()))
