"""Gradients that are measured on their way: the length of every part's gradient, before they are added up."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.distributed as dist
from torch import Tensor, nn

from course_lib.collectives import all_sum, rank, world_size
from course_lib.distributed.large_batches.noise_scale import AveragedNoiseScale, NoiseScale, noise_scale
from course_lib.loops import Loss, Objective, OverRanks, Run, backprop
from course_lib.loops.loss import Batch, exact_dtype


class MeasuredGradients:
    """A ``gradients`` function of `Run` that estimates the gradient noise scale as it goes.

    The parts are the micro-batches of all ranks, which need not have equally many. It takes the gradient of each by
    itself, notes its length, adds them up (over ranks as well), and compares with the length of the sum. The update is
    the same as without it. It costs a copy of the gradients, and waits for the device to read one number a part.

    The noise scale comes out in targets, as the objective counts them, if the parts are independent draws. (Tokens of
    one sequence are not independent, so a scale in tokens holds for sequences of that length.)

    Args:
        decay: Of the averages over steps.
        group: Ranks that see different rows; all by default.

    Example:
        >>> from course_lib.loops import regression
        >>> model, measured = nn.Linear(3, 1), MeasuredGradients()
        >>> run = Run(model, regression, torch.optim.SGD(model.parameters(), lr=0.1), gradients=measured)
        >>> halves = [(torch.eye(3), torch.ones(3, 1)), (-torch.eye(3), torch.ones(3, 1))]
        >>> step = run.step(*halves)
        >>> measured.sizes, measured.noise_scale.noise > 0
        ([3, 3], True)
    """

    def __init__(self, *, decay: float = 0.99, group: dist.ProcessGroup | None = None) -> None:
        self.average = AveragedNoiseScale(decay=decay)
        self.sizes: list[int] = []
        self.latest: NoiseScale | None = None
        self.over_ranks = OverRanks(group=group, summed=True, check=_check)

    @property
    def noise_scale(self) -> NoiseScale:
        """Averaged over the steps so far."""
        return self.average.estimate

    def __call__(self, model: nn.Module, objective: Objective, micro_batches: Sequence[Batch]) -> list[Loss]:
        """Leave in ``.grad`` the gradient of the sum of all losses, over ranks too; return this rank's losses."""
        parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
        total = [torch.zeros_like(parameter) for parameter in parameters]
        used = [False] * len(parameters)
        losses, squares = [], []
        for batch in micro_batches:
            for parameter in parameters:
                parameter.grad = None
            losses += backprop(model, objective, [batch])
            used = [before or parameter.grad is not None for before, parameter in zip(used, parameters, strict=True)]
            part = [torch.zeros_like(p) if p.grad is None else p.grad for p in parameters]
            squares.append(_square(part))
            torch._foreach_add_(total, part)
        all_sum(total, self.over_ranks.group)
        self.sizes, part_squares, used = self._of_all_ranks([_count(loss) for loss in losses], squares, used)
        for parameter, gradient, has_one in zip(parameters, total, used, strict=True):
            parameter.grad = gradient if has_one else None
        self._estimate(part_squares, float(_square(total)))
        return losses

    def _of_all_ranks(
        self, sizes: list[int | Tensor], squares: list[Tensor], used: list[bool]
    ) -> tuple[list[int], list[float], list[bool]]:
        """Every rank's parts, in rank order, and which parameters any rank used; the same on every rank."""
        group, place = self.over_ranks.group, rank(self.over_ranks.group)
        num_parts = squares[0].new_zeros(world_size(group))
        num_parts[place] = len(sizes)
        flags = squares[0].new_tensor(used)
        all_sum([num_parts, flags], group)
        many = [round(number) for number in num_parts.tolist()]
        table = squares[0].new_zeros(2, sum(many))
        mine = slice(sum(many[:place]), sum(many[: place + 1]))
        table[0, mine] = torch.stack([torch.as_tensor(size).to(table) for size in sizes])
        table[1, mine] = torch.stack(squares)
        all_sum([table], group)
        counts, lengths = table.tolist()
        return [round(count) for count in counts], lengths, flags.bool().tolist()

    def _estimate(self, squares: list[float], whole_square: float) -> None:
        """Take this step into the averages, unless it has one part only or is not finite (the run will say so)."""
        parts = [(size, square / size**2) for size, square in zip(self.sizes, squares, strict=True) if size > 0]
        self.latest = None
        if len(parts) > 1 and math.isfinite(whole_square):
            sizes, means = zip(*parts, strict=True)
            self.latest = noise_scale(sizes, means, whole_square=whole_square / sum(sizes) ** 2)
            self.average.add(self.latest)


def _check(run: Run) -> None:
    if run.precision == "fp16":
        raise ValueError("fp16 scales the loss, and with it every length: measure gradients in bf16 or fp32.")
    known = {id(parameter) for parameter in run.model.parameters()}
    if any(id(parameter) not in known for group in run.optimizer.param_groups for parameter in group["params"]):
        raise ValueError("the optimizer changes parameters that are not the model's: their gradients are not measured.")


def _count(loss: Loss) -> int | Tensor:
    if loss.count is None:
        raise ValueError("this objective compares the rows of its batch: its gradient is not a mean over targets.")
    return loss.count


def _square(gradients: list[Tensor]) -> Tensor:
    norms = torch._foreach_norm(gradients)
    return torch.stack([norm.to(exact_dtype(norm.device)) for norm in norms]).square().sum()
