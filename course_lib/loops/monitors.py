"""What to watch besides the loss: how far each update moves the weights, gradients by layer, units that died."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any

import torch
from torch import Tensor, nn

from course_lib.loops.loss import exact_dtype
from course_lib.loops.run import Run


class UpdateRatios:
    """Measures ``|change of the weights| / |weights before|`` for each parameter tensor, every so many updates.

    About 1e-3 is usual for weight matrices; near 1e-1 the learning rate destroys what was learnt, near 1e-6 hardly
    anything is learnt. It is measured around the optimizer's step, so after-step actions are not in it. Training is
    not changed by a bit; a measured update copies the weights once, the others cost nothing.

    Args:
        run: The run to watch.
        every: Updates between two measurements: those whose index is a multiple of it are measured, also after a
            resumption.

    Raises:
        ValueError: If ``every`` is less than 1.

    Example:
        >>> from course_lib.loops import regression, train
        >>> model = nn.Linear(1, 1, bias=False)
        >>> run = Run(model, regression, torch.optim.SGD(model.parameters(), lr=0.0))
        >>> batch = (torch.ones(4, 1), torch.ones(4, 1))
        >>> with UpdateRatios(run, every=2) as ratios:
        ...     [ratios.values() for step in train(run, [batch] * 9, steps=3)]
        [{}, {'update_ratio/weight': 0.0}, {}]

    Reference: the figure of 1e-3 is a rule of thumb from the course notes of Stanford's CS231n, "Ratio of
        weights:updates", https://cs231n.github.io/neural-networks-3/
    """

    def __init__(self, run: Run, *, every: int = 10) -> None:
        if every < 1:
            raise ValueError(f"every must be at least 1 update, got {every}.")
        self._run, self._every = run, every
        trained = {id(parameter) for group in run.optimizer.param_groups for parameter in group["params"]}
        named = {name: p for name, p in run.model.named_parameters() if id(p) in trained and p.requires_grad}
        self._names, self._parameters = list(named), list(named.values())
        self._before: list[Tensor] = []
        self._ratios: Tensor | None = None
        self._index = -1  # of the update that was measured
        self._hooks = [
            run.optimizer.register_step_pre_hook(lambda *_: self._copy()),
            run.optimizer.register_step_post_hook(lambda *_: self._measure()),
        ]

    def values(self) -> dict[str, float]:
        """Return ``{"update_ratio/<parameter>": ratio}`` of the run's last update, or nothing if that was not measured.

        A tensor that was not moved has ratio 0; one that was all zeros before (a fresh bias) has ratio inf. On an
        accelerator this waits for the device.
        """
        if self._ratios is None or self._index != self._run.index:
            return {}
        return dict(zip([f"update_ratio/{name}" for name in self._names], self._ratios.tolist(), strict=True))

    def close(self) -> None:
        """Stop measuring."""
        for hook in self._hooks:
            hook.remove()

    def __enter__(self) -> UpdateRatios:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @torch.no_grad()
    def _copy(self) -> None:
        measured = (self._run.index + 1) % self._every == 0  # the run counts an update after the optimizer's step
        self._before = [parameter.clone() for parameter in self._parameters] if measured else []

    @torch.no_grad()
    def _measure(self) -> None:
        if not self._before:
            return
        changes = _norms([after - before for after, before in zip(self._parameters, self._before, strict=True)])
        self._ratios = torch.where(changes == 0, 0, changes / _norms(self._before))
        self._index, self._before = self._run.index + 1, []


def gradient_norms(model: nn.Module) -> dict[str, float]:
    """Return ``{"grad_norm/<parameter>": norm}``: the Euclidean norm of each parameter's gradient.

    Between two updates these are the gradients the last one used: averaged, and scaled down if they were clipped. (The
    ``grad_norm`` of a `Step` is that of all of them together, before clipping.)

    Args:
        model: Read, not changed; on an accelerator this waits for the device, so call it every so many updates.

    Raises:
        ValueError: If no parameter has a gradient.

    Example:
        >>> model = nn.Linear(2, 1, bias=False)
        >>> model(torch.tensor([[3.0, 4.0]])).sum().backward()
        >>> gradient_norms(model)
        {'grad_norm/weight': 5.0}
    """
    gradients = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
    if not gradients:
        raise ValueError("no parameter has a gradient: ask after an update, before gradients are set to None.")
    norms = _norms([gradient.detach() for gradient in gradients.values()])
    return dict(zip([f"grad_norm/{name}" for name in gradients], norms.tolist(), strict=True))


class ActivationStatistics:
    """Watches what modules put out, inside a ``with``; its hooks are gone afterwards, and outputs are not changed.

    A rectified unit whose output is 0 for every input has gradient 0 for every input: it never learns again.

    Args:
        model: The model to watch.
        kind: Which modules of it; a rectifier called as a function (``F.relu``) is none.
        unit_dim: The dimension of the outputs that counts units: 1 for ``(B, F)`` and images ``(B, C, H, W)``, -1 for
            a Transformer's ``(B, T, D)``. All other dimensions count as examples. A module that the model calls at
            several places is watched as one.

    Raises:
        ValueError: If the model has no such module; the message lists the kinds it has.

    Example:
        >>> model = nn.Sequential(nn.Identity(), nn.ReLU())
        >>> with ActivationStatistics(model) as statistics:
        ...     _ = model(torch.tensor([[1.0, -1.0], [3.0, -2.0]]))
        >>> {name: round(value, 3) for name, value in statistics.values().items()}
        {'mean/1': 1.0, 'std/1': 1.225, 'zero_share/1': 0.5, 'dead_share/1': 0.5}
    """

    def __init__(self, model: nn.Module, *, kind: type[nn.Module] = nn.ReLU, unit_dim: int = 1) -> None:
        self._modules = {name: module for name, module in model.named_modules() if isinstance(module, kind)}
        if not self._modules:
            there = sorted({type(module).__name__ for module in model.modules()})
            raise ValueError(f"there is no {kind.__name__} to watch; the model has: {', '.join(there)}.")
        self._unit_dim = unit_dim
        self._sums = {name: _Sums() for name in self._modules}
        self._hooks: list[Any] = []

    def __enter__(self) -> ActivationStatistics:
        self._hooks = [module.register_forward_hook(self._hook(name)) for name, module in self._modules.items()]
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for hook in self._hooks:
            hook.remove()

    def values(self) -> dict[str, float]:
        """Return, for each module over all forward passes so far, four numbers; on an accelerator this waits for it.

        ``mean/<module>`` and ``std/<module>`` (divided by n) of its outputs; ``zero_share/<module>``, how many of them
        are exactly 0 (half at random initialisation); ``dead_share/<module>``, how many units were 0 every time
        (0 is healthy; with few examples some units are silent by chance).

        Raises:
            ValueError: If a module was not called; the message names it.
        """
        found: dict[str, float] = {}
        for name, sums in self._sums.items():
            if sums.count == 0:
                raise ValueError(f"module {name!r} put nothing out inside the `with`: run the model there.")
            mean = float(sums.total) / sums.count
            found[f"mean/{name}"] = mean
            found[f"std/{name}"] = max(float(sums.squares) / sums.count - mean**2, 0.0) ** 0.5
            found[f"zero_share/{name}"] = float(sums.zeros) / sums.count
            found[f"dead_share/{name}"] = float(torch.logical_not(sums.alive).double().mean())
        return found

    def _hook(self, name: str) -> Callable[[nn.Module, Any, Any], None]:
        @torch.no_grad()
        def add(module: nn.Module, inputs: Any, output: Any) -> None:
            if not isinstance(output, Tensor) or not -output.ndim <= self._unit_dim < output.ndim:
                got = tuple(output.shape) if isinstance(output, Tensor) else type(output).__name__
                raise ValueError(f"module {name!r} must put out a tensor with a dimension {self._unit_dim}, got {got}.")
            self._sums[name].add(name, output.movedim(self._unit_dim, 0).flatten(1))

        return add


@dataclass(slots=True)
class _Sums:
    """What is added up for one module; tensors stay on the device."""

    count: int = 0
    total: Tensor | float = 0.0
    squares: Tensor | float = 0.0
    zeros: Tensor | float = 0.0
    alive: Tensor = field(default_factory=lambda: torch.empty(0))

    def add(self, name: str, output_UE: Tensor) -> None:
        """Take in outputs of U units for E examples."""
        output_UE = output_UE.to(exact_dtype(output_UE.device))
        alive_U = (output_UE != 0).any(1)
        if self.count and alive_U.shape != self.alive.shape:
            raise ValueError(
                f"module {name!r} put out {len(self.alive)} units before and {len(alive_U)} now: give each place in "
                "the model a module of its own, so that their units are not mixed up."
            )
        self.alive = alive_U | self.alive if self.count else alive_U
        self.count += output_UE.numel()
        self.total = self.total + output_UE.sum()
        self.squares = self.squares + output_UE.square().sum()
        self.zeros = self.zeros + torch.count_nonzero(output_UE == 0)


def _norms(tensors: list[Tensor]) -> Tensor:
    """Return the Euclidean norm of each tensor; they stay on the device, so nothing waits."""
    device = tensors[0].device
    dtype = exact_dtype(device)
    return torch.stack([torch.linalg.vector_norm(tensor, dtype=dtype).to(device) for tensor in tensors])
