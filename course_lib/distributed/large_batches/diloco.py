"""Local SGD and DiLoCo on real ranks: many steps alone, then a meeting, so that hardly anything is sent."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from course_lib.collectives import all_sum, initialized, rank, world_size
from course_lib.distributed.engines import check_same_model
from course_lib.distributed.large_batches.outer_step import OuterStep
from course_lib.distributed.planning.collective_costs import collective_cost
from course_lib.loops import Loss, NonFiniteStep, Objective, OverRanks, Run, backprop
from course_lib.loops.loss import Batch


class DiLoCo:
    """The parts of a `Run` that make each worker train by itself and meet the others every so many steps.

    Between meetings a worker makes its own updates with its own optimizer on its own rows. At a meeting all agree on
    how far they moved on average, an outer optimizer makes a step of it, and all go on from there. Each meeting sends
    as much as one step of data parallelism, so everything together sends ``every`` times less.

    A worker is a rank, or several that share every step as usual (an *island*, a group of ranks with fast links).
    All begin with the parameters of the first rank of ``group``, frozen ones included.

    Let the number of steps be a multiple of ``every``, or call `meet` once more: until then models differ. Buffers
    (batch norm's averages) and the inner optimizers' states stay each worker's own; a checkpoint of the run holds those
    of the worker that saves it.

    Args:
        model: The run's, the same on every rank.
        every: Updates between meetings, H.
        outer_rate: Learning rate of the outer step. 1 with no momentum is local SGD.
        outer_momentum: Nesterov momentum of the outer step.
        group: Ranks that meet: one of each worker, all of the same place in it. All ranks by default.
        island: The ranks of this worker; by default it is alone.

    Raises:
        ValueError: If ``every`` is below 1, or the ranks have built different models.

    Example:
        >>> from course_lib.loops import regression
        >>> model = nn.Linear(1, 1)
        >>> diloco = DiLoCo(model, every=2)
        >>> run = Run(model, regression, torch.optim.AdamW(model.parameters()), **diloco.parts())
        >>> for _ in range(4):
        ...     step = run.step((torch.ones(4, 1), torch.ones(4, 1)))
        >>> diloco.num_meetings, diloco.sent_bytes  # one process has nobody to send anything to
        (2, 0.0)

    Reference: Douillard et al. 2023, "DiLoCo: distributed low-communication training of language models", algorithm 1,
    https://arxiv.org/abs/2311.08105; Stich 2019, "Local SGD converges fast and communicates little",
    https://arxiv.org/abs/1805.09767
    """

    def __init__(
        self,
        model: nn.Module,
        *,
        every: int,
        outer_rate: float = 0.7,
        outer_momentum: float = 0.9,
        group: dist.ProcessGroup | None = None,
        island: dist.ProcessGroup | None = None,
    ) -> None:
        if every < 1:
            raise ValueError(f"every must be at least 1 update, got {every}.")
        self.every = every
        self.num_meetings = 0
        self.sent_bytes = 0.0
        self._group = group
        self._island = island
        self._parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
        if initialized():
            check_same_model(model, group)
            for parameter in model.parameters():
                if island is not None:
                    dist.broadcast(parameter.detach(), group=island, group_src=0)
                dist.broadcast(parameter.detach(), group=group, group_src=0)
        self._outer = OuterStep(self._parameters, rate=outer_rate, momentum=outer_momentum)
        self.over_ranks = OverRanks(group=_alone() if island is None else island, check=self._check)

    def parts(self) -> dict[str, Any]:
        """Return the keyword arguments for `Run`: ``gradients`` and ``after_step``."""
        return {"gradients": self, "after_step": (self.after_step,)}

    def __call__(self, model: nn.Module, objective: Objective, micro_batches: Sequence[Batch]) -> list[Loss]:
        """Backpropagate; where that fails, let the others know, who would wait at the next meeting."""
        try:
            losses = backprop(model, objective, micro_batches)
        except Exception:
            self._tell_failure()
            raise
        verdict = self._verdict(losses)
        if self._island is not None:
            all_sum([verdict], self._island)
        count, bad = verdict.tolist()
        if bad or not count:
            self._tell_failure()  # the run itself raises
        return losses

    def after_step(self, run: Run) -> None:
        """Meet if it is time."""
        if run.index % self.every == 0:
            self.meet()

    @torch.no_grad()
    def meet(self) -> None:
        """Average what all workers moved, make the outer step, and go on from there on every rank.

        Raises:
            NonFiniteStep: On every rank alike, if a worker has failed since the last meeting.
        """
        num_failed = self._exchange_failures(failed=False)
        if num_failed:
            raise NonFiniteStep(
                f"{num_failed} of {world_size(self._group)} workers had a loss or gradient that was not finite, or an "
                f"error, since meeting {self.num_meetings}: see the output of the others."
            )
        average = [parameter.detach().clone() for parameter in self._parameters]
        all_sum(average, self._group)
        torch._foreach_div_(average, world_size(self._group))
        self._outer.step(average)
        self._outer.give(self._parameters)
        self.num_meetings += 1
        size = sum(parameter.numel() * parameter.element_size() for parameter in self._parameters)
        self.sent_bytes += collective_cost("all_reduce", size, num_ranks=world_size(self._group)).sent_bytes

    def _verdict(self, losses: Sequence[Loss]) -> Tensor:
        """How many targets there were, and whether a number is not finite; nothing is read from the device yet."""
        gradients = [parameter.grad for parameter in self._parameters if parameter.grad is not None]
        numbers = [loss.total.detach() for loss in losses]
        if gradients:
            numbers.append(nn.utils.get_total_norm(gradients))
        bad = (~torch.stack([number.isfinite() for number in numbers]).all()).float()
        counts = [torch.as_tensor(1 if loss.count is None else loss.count).to(bad) for loss in losses]
        return torch.stack([torch.stack(counts).sum(), bad])

    def _tell_failure(self) -> None:
        self._exchange_failures(failed=True)

    def _exchange_failures(self, *, failed: bool) -> int:
        flag = torch.tensor(float(failed), device=self._parameters[0].device)
        all_sum([flag], self._group)
        return int(flag)

    def _check(self, run: Run) -> None:
        if self.after_step not in run.after_step:
            raise ValueError("these workers would never meet: give Run both parts, Run(..., **diloco.parts()).")
        if run.ema is not None:
            raise ValueError("an average of one worker's weights is nobody's: DiLoCo takes no ema.")
        if run.precision == "fp16":
            raise ValueError("fp16 skips steps, each worker others, so they would not meet: use bf16 or fp32.")
        mine = {id(parameter) for parameter in self._parameters}
        if any(id(parameter) not in mine for group in run.optimizer.param_groups for parameter in group["params"]):
            raise ValueError("the optimizer changes parameters that DiLoCo does not average: give it the run's model.")

    def state_dict(self) -> dict[str, Any]:
        """Return what is needed to go on from a meeting, besides the run's own state."""
        return {"outer": self._outer.state_dict(), "num_meetings": self.num_meetings, "sent_bytes": self.sent_bytes}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from what `state_dict` returned."""
        self._outer.load_state_dict(state["outer"])
        self.num_meetings, self.sent_bytes = state["num_meetings"], state["sent_bytes"]


def _alone() -> dist.ProcessGroup | None:
    """A group of this rank only; every rank must ask for its own at the same time."""
    if not initialized() or world_size() == 1:
        return None
    groups: list[dist.ProcessGroup] = [dist.new_group([member]) for member in range(world_size())]
    return groups[rank()]
