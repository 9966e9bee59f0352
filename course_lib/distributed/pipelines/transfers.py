"""Activations from stage to stage, and gradients back: sent without waiting, received in order."""

from __future__ import annotations

from collections.abc import Hashable

import torch
import torch.distributed as dist
from torch import Tensor

from course_lib.collectives import rank, world_size

DTYPES = (torch.float64, torch.float32, torch.bfloat16, torch.float16)
MOST_AXES = 8


class Transfers:
    """What one stage exchanges with the stages before and behind it.

    Activations and gradients travel in process groups of their own. In one, NCCL would carry out what two neighbours
    send each other in the order of the calls, and each could wait for the other. Sending returns at once; the tensor is
    kept until it has left.

    Args:
        group: The stages of this pipeline, in order. Every member builds its transfers at the same time.
        device: Of the tensors.
    """

    def __init__(self, group: dist.ProcessGroup, device: torch.device) -> None:
        self.device = device
        self.stage, self.num_stages = rank(group), world_size(group)
        self._onward = self._back = group
        if self.num_stages > 1:
            back = dist.new_group(dist.get_process_group_ranks(group), use_local_synchronization=True)
            assert isinstance(back, dist.ProcessGroup)  # this rank is a member
            self._back = back
        self._sent: set[Hashable] = set()
        self._announced: dict[Hashable, tuple[torch.dtype, list[int]]] = {}
        self._leaving: list[tuple[dist.Work, Tensor]] = []

    def send_activation(self, activation: Tensor, key: Hashable) -> None:
        """Send to the stage behind; the first of each ``key`` is announced, since only this stage knows its shape."""
        if activation.dtype not in DTYPES or activation.ndim > MOST_AXES:
            raise ValueError(
                f"stages pass on one floating-point tensor of at most {MOST_AXES} axes, got {activation.dtype} of "
                f"shape {tuple(activation.shape)}."
            )
        if key not in self._sent:
            padding = [0] * (MOST_AXES - activation.ndim)
            header = [DTYPES.index(activation.dtype), activation.ndim, *activation.shape, *padding]
            self._send(torch.tensor(header, device=self.device), self.stage + 1, self._onward)
            self._sent.add(key)
        self._send(activation, self.stage + 1, self._onward)

    def receive_activation(self, key: Hashable) -> Tensor:
        """Wait for the next one from the stage before; ``key`` as the sender has it."""
        if key not in self._announced:
            header = torch.empty(2 + MOST_AXES, dtype=torch.int64, device=self.device)
            self._receive(header, self.stage - 1, self._onward)
            number, num_axes, *shape = header.tolist()
            self._announced[key] = DTYPES[number], shape[:num_axes]
        dtype, shape = self._announced[key]
        activation = torch.empty(shape, dtype=dtype, device=self.device)
        self._receive(activation, self.stage - 1, self._onward)
        return activation

    def send_gradient(self, gradient: Tensor) -> None:
        """Send to the stage before."""
        self._send(gradient, self.stage - 1, self._back)

    def receive_gradient(self, like: Tensor) -> Tensor:
        """Wait for the gradient of an activation that was sent."""
        gradient = torch.empty_like(like, memory_format=torch.contiguous_format)
        self._receive(gradient, self.stage + 1, self._back)
        return gradient

    def from_first_to_last(self, tensor: Tensor) -> None:
        """Overwrite ``tensor`` on the last stage by what the first one has; nothing on stages between."""
        if self.stage == 0:
            self._send(tensor, self.num_stages - 1, self._onward)
        elif self.stage == self.num_stages - 1:
            self._receive(tensor, 0, self._onward)
        self.wait()

    def add_between_ends(self, tensor: Tensor) -> None:
        """Add up, in place, what the first and the last stage have; both call this."""
        theirs = torch.empty_like(tensor, memory_format=torch.contiguous_format)
        if self.stage == 0:
            self._send(tensor.clone(), self.num_stages - 1, self._onward)
            self._receive(theirs, self.num_stages - 1, self._back)
        else:
            self._send(tensor.clone(), 0, self._back)
            self._receive(theirs, 0, self._onward)
        self.wait()
        tensor += theirs

    def wait(self) -> None:
        """Wait until all that was sent has left."""
        for work, _ in self._leaving:
            work.wait()
        self._leaving.clear()

    def _send(self, tensor: Tensor, to: int, group: dist.ProcessGroup) -> None:
        if tensor.numel() == 0:
            return  # both sides know the shape
        tensor = tensor.detach().contiguous()
        work = dist.isend(tensor, group=group, group_dst=to)
        assert work is not None
        self._leaving = [(one, kept) for one, kept in self._leaving if not one.is_completed()] + [(work, tensor)]

    def _receive(self, tensor: Tensor, source: int, group: dist.ProcessGroup) -> None:
        if tensor.numel() > 0:
            work = dist.irecv(tensor, group=group, group_src=source)
            assert work is not None
            work.wait()
