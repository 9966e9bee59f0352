"""ZeRO's first two stages: parameters are whole on every rank, what is summed and stepped of them is a part."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from course_lib.distributed.engines.flat_shard import FlatShard, all_gather
from course_lib.distributed.engines.units import Unit
from course_lib.loops import Loss, Objective, backprop
from course_lib.loops.loss import Batch


class WholeParameters:
    """A model whose gradients are summed into flat shards: after the backward pass, or while it goes on.

    Args:
        units: Those of the model, with shards that keep the whole.
        free_gradients: False: whole gradients stay until the next step (stage 1). True: a unit's are summed and freed
            as soon as they are complete (stage 2), once for every micro-batch.
    """

    def __init__(self, units: Sequence[Unit], *, free_gradients: bool) -> None:
        self._flats = [flat for unit in reversed(units) for flat in unit.flats.values()]  # as backward completes them
        self._free = free_gradients
        self._missing: dict[FlatShard, int] = {}  # gradients that are not there yet, in this backward pass
        self._next = 0
        if free_gradients:
            for flat in self._flats:
                for parameter in flat.parameters:
                    parameter.register_post_accumulate_grad_hook(lambda _, flat=flat: self._arrived(flat))  # type: ignore[no-untyped-call]

    def gradients(self, model: nn.Module, objective: Objective, micro_batches: Sequence[Batch]) -> list[Loss]:
        """Add the sum over ranks and micro-batches to the shards' ``.grad``, my part of it; return the losses."""
        for flat in self._flats:
            for parameter in flat.parameters:
                parameter.grad = None  # the optimizer has only the shards
        if not self._free:
            losses = backprop(model, objective, micro_batches)
            for flat in self._flats:
                _reduce_in_place(flat)
            return losses
        losses = []
        for batch in micro_batches:
            self._missing, self._next = {flat: len(flat.parameters) for flat in self._flats}, 0
            losses += backprop(model, objective, [batch])
            self._reduce_ready(all_are=True)  # some parameters may have had no gradient
        return losses

    @torch.no_grad()
    def gather(self) -> None:
        """Bring all parts of the parameters to all ranks, after a step has changed each rank's own."""
        for flat in self._flats:
            assert flat.whole is not None
            all_gather(flat.whole, flat.shard.detach().clone(), group=flat.group)

    def _arrived(self, flat: FlatShard) -> None:
        if flat in self._missing:  # else somebody else differentiates this model
            self._missing[flat] -= 1
            self._reduce_ready()

    def _reduce_ready(self, *, all_are: bool = False) -> None:
        """Reduce in one order on all ranks, or they would add up what does not belong together.

        What is complete early waits for those before it: on another rank that may have been different.
        """
        while self._next < len(self._flats) and (all_are or self._missing[self._flats[self._next]] == 0):
            flat = self._flats[self._next]
            self._next += 1
            _reduce(flat)
            for parameter in flat.parameters:
                parameter.grad = None


def _joined(flat: FlatShard) -> Tensor:
    gradients: list[Tensor | None] = [parameter.grad for parameter in flat.parameters]
    if all(gradient is None for gradient in gradients):
        gradients = [torch.zeros_like(parameter) for parameter in flat.parameters]
    return flat.joined(gradients)


@torch.no_grad()
def _reduce(flat: FlatShard) -> None:
    part = flat.reduced(_joined(flat))
    flat.shard.grad = part if flat.shard.grad is None else flat.shard.grad.add_(part)


@torch.no_grad()
def _reduce_in_place(flat: FlatShard) -> None:
    """The sum takes the place of this rank's own numbers in the whole gradient: it costs no memory besides."""
    whole = _joined(flat)
    for parameter, view in zip(flat.parameters, flat.views(whole), strict=True):
        parameter.grad = view
    flat.shard.grad = flat.mine(whole).copy_(flat.reduced(whole))
