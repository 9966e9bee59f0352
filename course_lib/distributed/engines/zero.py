"""ZeRO by hand: what data parallelism holds on every rank is cut into parts, in three stages."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

import torch
import torch.distributed as dist
from torch import Tensor, nn

from course_lib.distributed.engines.gathered import GatheredParameters, Places
from course_lib.distributed.engines.kept_whole import WholeParameters
from course_lib.distributed.engines.norms import norm_over_shards
from course_lib.distributed.engines.units import blocks, cut_up
from course_lib.distributed.same_start import same_start
from course_lib.loops import Loss, Objective, OverRanks, Run
from course_lib.loops.compiled import original
from course_lib.loops.loss import Batch
from course_lib.optim import LAMB, Adafactor, Muon

MIXING = (Adafactor, LAMB, Muon, torch.optim.Adafactor, torch.optim.LBFGS, torch.optim.Muon)  # look at whole matrices


class Zero:
    """Data parallelism without its copies: each rank steps its part of the parameters, and holds no more than it must.

    Plain data parallelism keeps parameters, gradients and the optimizer's state on every rank. Stage 1 cuts up the
    state: a rank gets the sum of its part of the gradient (reduce-scatter), steps that part of the parameters, and all
    parts are sent around (all-gather). Stage 2 frees whole gradients too, each as soon as it is summed, still in the
    backward pass. Stage 3 cuts up the parameters themselves: a block's are gathered before it computes, and freed
    after. (Under ``precision="bf16"`` autocast keeps 16-bit copies of matrices until the backward pass.) With Adam in
    float32, for N parameters on p ranks, that is ``16 N`` bytes, then ``8 N + 8 N / p``, ``4 N + 12 N / p`` and
    ``16 N / p``. The updates are those of plain data parallelism.

    Build it first, then the optimizer over its ``groups``, then the run. A parameter that no rank uses in a step counts
    as having a gradient of zeros: other than in a `Run` alone, momentum and weight decay go on for it. The optimizer
    must treat each number by itself (SGD, Adam, AdamW, RMSprop).

    Args:
        model: On its device already; rank 0's weights are copied to all. In stage 3 it has its parameters only while
            it computes, and from then on every rank must call the same blocks in the same order, in evaluation too.
        stage: What is cut up: 1 the optimizer's state, 2 gradients as well, 3 parameters as well.
        groups: Parameter groups, as torch's optimizers take them; all that learns, in one group, by default.
        units: Modules whose parameters travel together; those of `blocks` by default. The rest is one more unit.
        group: Ranks that share the work; all of them by default.

    Raises:
        ValueError: If there is no process group, ranks have built different models, or a part does not fit; and when
            the run is built, if the optimizer is not one over ``groups`` or looks at more than one number at a time,
            or the run keeps a moving average of weights that are not there.

    Example:
        >>> import tempfile
        >>> from course_lib.loops import regression
        >>> with tempfile.NamedTemporaryFile() as file:
        ...     dist.init_process_group("gloo", store=dist.FileStore(file.name, 1), rank=0, world_size=1)
        ...     model = nn.Linear(3, 1)
        ...     zero = Zero(model, stage=1)
        ...     run = Run(model, regression, torch.optim.AdamW(zero.groups, lr=0.1), gradients=zero)
        ...     step = run.step((torch.ones(4, 3), torch.ones(4, 1)))
        ...     print([tuple(shard.shape) for shard in zero.groups[0]["params"]], sorted(zero.whole_parameters()))
        ...     dist.destroy_process_group()
        [(4,)] ['bias', 'weight']

    Reference: Rajbhandari et al. 2020, ZeRO: memory optimizations toward training trillion parameter models,
    sections 5 and 7, https://arxiv.org/abs/1910.02054
    """

    def __init__(
        self,
        model: nn.Module,
        *,
        stage: Literal[1, 2, 3],
        groups: Iterable[Mapping[str, Any]] | None = None,
        units: Sequence[nn.Module] | None = None,
        group: dist.ProcessGroup | None = None,
    ) -> None:
        if stage not in (1, 2, 3):
            raise ValueError(f"stage must be 1, 2 or 3, got {stage}; none at all is DDP.")
        self.stage, self._model = stage, original(model)
        if stage == 3:
            _refuse_what_needs_parameters_elsewhere(self._model)
        same_start(self._model, group)
        learning = [p for p in self._model.parameters() if p.requires_grad]
        options = (
            [{"params": learning}] if groups is None else [{**one, "params": list(one["params"])} for one in groups]
        )
        places = _places(self._model)
        parts = cut_up(
            self._model,
            blocks(self._model) if units is None else units,
            [one["params"] for one in options],
            group,
            keep_whole=stage < 3,
        )
        self.groups = [
            {**one, "params": [unit.flats[number].shard for unit in parts if number in unit.flats]}
            for number, one in enumerate(options)
        ]
        self.flats = {id(flat.shard): flat for unit in parts for flat in unit.flats.values()}
        self._parts: WholeParameters | GatheredParameters
        if stage == 3:
            self._parts = GatheredParameters(self._model, parts, places)
        else:
            self._parts = WholeParameters(parts, free_gradients=stage == 2)
        ranks = group or dist.group.WORLD
        self.over_ranks = OverRanks(
            group=group,
            summed=True,
            norm=lambda shards: norm_over_shards({ranks: [shard.grad for shard in shards if shard.grad is not None]}),
            check=self._check,
        )

    def __call__(self, model: nn.Module, objective: Objective, micro_batches: Sequence[Batch]) -> list[Loss]:
        """Leave my part of the gradient, summed over micro-batches and ranks, in the shards' ``.grad``."""
        return self._parts.gradients(model, objective, micro_batches)

    def whole_parameters(self) -> dict[str, Tensor]:
        """Return copies of all parameters that learn, by their names; every rank must call this."""
        return self._whole({id(shard): shard for shard in self._shards()})

    def whole_gradients(self) -> dict[str, Tensor]:
        """Return the gradients that the last update used, by the names of parameters; every rank must call this.

        Raises:
            ValueError: If there are none.
        """
        gradients = {id(shard): shard.grad for shard in self._shards() if shard.grad is not None}
        if len(gradients) < len(self.flats):
            raise ValueError("there are no gradients: ask after an update, before they are set to None.")
        return self._whole(gradients)

    def _whole(self, parts: Mapping[int, Tensor]) -> dict[str, Tensor]:
        return {
            name: view.clone()
            for shard, flat in self.flats.items()
            for name, view in zip(flat.names, flat.views(flat.gathered(parts[shard])), strict=True)
        }

    def _shards(self) -> list[nn.Parameter]:
        return [flat.shard for flat in self.flats.values()]

    def _check(self, run: Run) -> None:
        optimizer = run.optimizer
        stepped = {id(parameter) for group in optimizer.param_groups for parameter in group["params"]}
        if stepped != set(self.flats) or original(run.model) is not self._model:
            raise ValueError(
                "the run must train the model that Zero was built with, by an optimizer over its shards: "
                "zero = Zero(model, ...); optimizer = AdamW(zero.groups, ...); Run(model, ..., gradients=zero)."
            )
        if isinstance(optimizer, MIXING):
            raise ValueError(
                f"{type(optimizer).__name__} looks at whole matrices, and a rank has parts that do not end where they "
                "do: take an optimizer that treats each number by itself (SGD, Adam, AdamW), or DDP."
            )
        if self.stage == 3 and run.ema is not None:
            raise ValueError("in stage 3 no rank has the weights to be averaged: take stage 1 or 2 with an EMA.")
        if isinstance(self._parts, WholeParameters):
            parts = self._parts
            optimizer.register_step_post_hook(lambda *_: parts.gather())


def _places(model: nn.Module) -> dict[str, Places]:
    """Under which modules and names each parameter is found, by its first name."""
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    found: dict[str, Places] = {name: [] for name in names.values()}
    for module in model.modules():
        for name, parameter in module._parameters.items():
            if parameter is not None:
                found[names[id(parameter)]].append((module, name))
    return found


def _refuse_what_needs_parameters_elsewhere(model: nn.Module) -> None:
    if any(isinstance(module, nn.RNNBase) for module in model.modules()):
        raise ValueError(
            "torch's recurrent layers keep their parameters in a second list, from which they cannot be taken away: "
            "take stage 1 or 2."
        )
    if any("forward" in vars(module) for module in model.modules()):
        raise ValueError(
            "a block that computes its activations again does so without its parameters in stage 3: take FullySharded "
            "with checkpoint_activations, or stage 1 or 2."
        )
