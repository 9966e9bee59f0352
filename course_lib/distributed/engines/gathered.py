"""ZeRO's third stage: a unit's parameters are there only while it computes; between, each rank has its part alone."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from course_lib.collectives import gather_rows
from course_lib.distributed.engines.flat_shard import FlatShard
from course_lib.distributed.engines.units import Unit
from course_lib.loops import Loss, Objective, backprop
from course_lib.loops.loss import Batch

Places = list[tuple[nn.Module, str]]  # where a parameter is found: several if it is tied


class GatheredParameters:
    """A model whose units have their parameters only while they compute, and flat shards (``flat_0`` ...) otherwise.

    What is in no unit is gathered for the whole of a forward and backward pass, so that an objective may call what it
    likes of the model.

    Args:
        model: Taken apart here.
        units: Those of it, with shards that do not keep the whole.
        places: For each name of a parameter the modules and names under which it is found.
    """

    def __init__(self, model: nn.Module, units: Sequence[Unit], places: dict[str, Places]) -> None:
        self._live: dict[int, tuple[_GatheredUnit, FlatShard]] = {}  # by the address of what is gathered now
        self._called: list[str] = []  # the units in the order in which this step entered them
        self._units = [_GatheredUnit(unit, places, self._live, self._called) for unit in units]
        self._group = next(flat.group for unit in units for flat in unit.flats.values())
        self._root = next((unit for unit in self._units if unit.module is model), None)

    def gradients(self, model: nn.Module, objective: Objective, micro_batches: Sequence[Batch]) -> list[Loss]:
        """Add the sum over ranks and micro-batches to the shards' ``.grad``, my part of it; return the losses.

        Raises:
            ValueError: On all ranks alike, if they have called other units or in another order: what they gathered does
                not belong together then. (One that calls more of them than others waits for the group's time-out.)
        """
        losses = []
        self._called.clear()
        for batch in micro_batches:
            with torch.autograd.graph.saved_tensors_hooks(self._pack, self._unpack), self._root_gathered():
                losses += backprop(model, objective, [batch])
            for unit in self._units:
                unit.release()
        self._check_calls(losses[0].total.device)
        for flat in (flat for unit in self._units for flat in unit.flats):
            if flat.shard.grad is None:  # nobody has called this unit
                flat.shard.grad = torch.zeros_like(flat.shard)
        return losses

    def _check_calls(self, device: torch.device) -> None:
        order = zlib.crc32(repr(self._called).encode())
        if len(set(gather_rows(torch.tensor([order], device=device), self._group).tolist())) > 1:
            raise ValueError(
                "in stage 3 every rank must call the same units in the same order, but in this step they did not. If "
                "the model chooses its way by the data, take stage 1 or 2."
            )

    def _pack(self, tensor: Tensor) -> Any:
        """Have autograd note of gathered parameters only where they are found: else its graph would keep them all."""
        found = self._live.get(tensor.untyped_storage().data_ptr())
        return tensor if found is None else (*found, tensor.size(), tensor.stride(), tensor.storage_offset())

    def _unpack(self, packed: Any) -> Tensor:
        if isinstance(packed, Tensor):
            return packed
        unit, flat, size, stride, offset = packed
        again: Tensor = unit.again(flat).as_strided(size, stride, offset)
        return again

    @contextmanager
    def _root_gathered(self) -> Iterator[None]:
        if self._root is None:
            yield
            return
        self._root.enter()
        try:
            yield
        finally:
            self._root.leave()


class _Gather(torch.autograd.Function):
    """Forward: all-gather of the parts. Backward: reduce-scatter of the gradient, which is its transpose."""

    @staticmethod
    def forward(ctx: Any, shard: Tensor, flat: FlatShard, release: Callable[[], None]) -> Tensor:
        ctx.flat, ctx.release = flat, release
        return flat.gathered(shard)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        ctx.release()  # nothing that used these parameters is left to be differentiated
        return ctx.flat.reduced(gradients[0]), None, None


class _GatheredUnit:
    """Gathers a unit's parameters before its forward pass, frees them after it, and gathers them again for backward."""

    def __init__(
        self,
        unit: Unit,
        places: dict[str, Places],
        live: dict[int, tuple[_GatheredUnit, FlatShard]],
        called: list[str],
    ) -> None:
        self.module = unit.module
        self.flats, self._live, self._called = list(unit.flats.values()), live, called
        self._first = self.flats[0].names[0]
        self._places = [places[name] for flat in self.flats for name in flat.names]
        self._depth = 0
        self._wholes: list[Tensor] = []
        self._again: dict[FlatShard, Tensor] = {}
        self._take_away()
        for number, flat in unit.flats.items():
            self.module.register_parameter(f"flat_{number}", flat.shard)
        self.module.register_forward_pre_hook(self.enter, prepend=True)  # a bound method: see __deepcopy__
        self.module.register_forward_hook(self.leave, always_call=True)

    def enter(self, *_: Any) -> None:
        """Gather, unless that is done already."""
        self._depth += 1
        if self._depth > 1:
            return
        self._called.append(self._first)
        views: list[Tensor] = []
        for flat in self.flats:
            whole: Tensor = _Gather.apply(flat.shard, flat, self.release)  # type: ignore[no-untyped-call]
            self._wholes.append(whole)
            self._live[whole.untyped_storage().data_ptr()] = self, flat
            views += flat.views(whole)
        for view, place in zip(views, self._places, strict=True):
            for module, name in place:
                module._parameters[name] = view  # type: ignore[assignment]  # as torch.func.functional_call does

    def leave(self, *_: Any) -> None:
        """Free what `enter` has gathered."""
        self._depth -= 1
        if self._depth == 0:
            self._take_away()
            for whole in self._wholes:
                del self._live[whole.untyped_storage().data_ptr()]
            self._wholes.clear()

    def again(self, flat: FlatShard) -> Tensor:
        """Return the whole of ``flat`` for the backward pass: gathered once for all who ask, until `release`."""
        if flat not in self._again:
            self._again[flat] = flat.gathered(flat.shard)
        return self._again[flat]

    def release(self) -> None:
        """Free what was gathered for the backward pass."""
        self._again.clear()

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        raise ValueError(
            "a model in ZeRO's stage 3 cannot be copied, a moving average of its weights included: this rank has only "
            "a part of them. Take stage 1 or 2, or whole_parameters()."
        )

    def _take_away(self) -> None:
        for place in self._places:
            for module, name in place:
                module._parameters.pop(name, None)
