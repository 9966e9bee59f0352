"""What all optimizers of the course share: which parameters step together, what is refused, what a checkpoint holds."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Hashable
from typing import Any, NamedTuple, overload

import torch
from torch import Tensor

State = dict[str, Any]  # of one parameter: tensors, numbers, None
Options = dict[str, Any]  # of one param group: lr, betas, ...

# In a param group, besides the optimizer's own options; torch adds the last two by itself.
ALSO_ALLOWED = {"params", "param_names", "name", "initial_lr", "differentiable"}


class Together(NamedTuple):
    """Parameters that one call updates, their gradients and their states, in the same order."""

    parameters: list[Tensor]
    gradients: list[Tensor]
    states: list[State]


class ForeachOptimizer(torch.optim.Optimizer):
    """A torch optimizer whose update is written twice: for one parameter, and for a list of them at once.

    ``_update_one`` is the form to read. ``_update_many`` says the same with ``torch._foreach_*``, which handles a whole
    list in one call: far fewer calls from Python and, on a GPU, far fewer kernels. ``foreach=False`` in a param group
    chooses the first. On the CPU both give the same bits unless the optimizer says otherwise; on a GPU a multi-tensor
    kernel may round the last bit differently.

    A subclass gives its options as ``defaults`` and writes ``_new_state``, ``_check_options``, ``_update_one`` and
    ``_update_many``; ``_alike`` where its parameters differ in more than their step.

    Conventions for all of them: parameters without a gradient are skipped, and their step is not counted; state has the
    parameter's dtype (keep parameters in float32 where training is in bfloat16); ``step`` in the state is a Python int,
    so no cast of `load_state_dict` can round it and reading it never waits for a device. ``state_dict()`` holds
    tensors, numbers, strings, None, lists and dicts only.
    """

    def _new_state(self, parameter: Tensor, options: Options) -> State:
        """Return what is to be remembered about ``parameter``, as it is before its first gradient."""
        raise NotImplementedError

    def _check_options(self, options: Options) -> None:
        """Raise `ValueError` for an option out of range."""
        raise NotImplementedError

    def _update_one(self, parameter: Tensor, gradient: Tensor, state: State, options: Options) -> None:
        """Change ``parameter`` and ``state`` in place; leave ``gradient`` as it is."""
        raise NotImplementedError

    def _update_many(
        self, parameters: list[Tensor], gradients: list[Tensor], states: list[State], options: Options
    ) -> None:
        """Do the same to parameters of one dtype, device and kind (see ``_alike``)."""
        raise NotImplementedError

    def _alike(self, parameter: Tensor, state: State) -> Hashable:
        """Return what, besides device and dtype, parameters must share to be updated together."""
        return int(state["step"])

    @overload
    def step(self, closure: None = None) -> None: ...

    @overload
    def step(self, closure: Callable[[], float]) -> float: ...

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:
        """Update every parameter that has a gradient, once.

        Args:
            closure: Computes the loss and its gradients anew before the update, as in torch.

        Returns:
            What ``closure`` returned, else None.

        Raises:
            ValueError: If a gradient is sparse; nothing has changed then.
        """
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        gathered = [(group, self._gather(group)) for group in self.param_groups]  # all, before anything changes
        for group, lists in gathered:
            for together in lists:
                if group["foreach"]:
                    self._update_many(*together, group)
                else:
                    for parameter, gradient, state in zip(*together, strict=True):
                        self._update_one(parameter, gradient, state, group)
        return loss

    def _gather(self, group: Options) -> list[Together]:
        """Return the parameters that have gradients, in lists of those that are alike."""
        lists: dict[Hashable, Together] = {}
        for parameter in group["params"]:
            gradient = parameter.grad
            if gradient is None:
                continue
            if gradient.layout is not torch.strided:
                raise ValueError(
                    f"{type(self).__name__} cannot use a sparse gradient ({gradient.layout}, shape "
                    f"{tuple(gradient.shape)}): build the embedding with sparse=False, or use torch.optim.SparseAdam."
                )
            state = self.state[parameter]
            if not state:
                state.update(self._new_state(parameter, group))
            kind = parameter.device, parameter.dtype, self._alike(parameter, state)
            together = lists.get(kind)
            if together is None:
                together = lists[kind] = Together([], [], [])
            parameters, gradients, states = together
            parameters.append(parameter)
            gradients.append(gradient)
            states.append(state)
        return list(lists.values())

    def add_param_group(self, param_group: Options) -> None:
        """Add parameters with options of their own; what is not given is as in the constructor.

        Raises:
            ValueError: If an option is unknown or out of range, or a parameter is complex or there twice.
        """
        super().add_param_group({**self.defaults, **param_group})
        try:
            self._check_group(self.param_groups[-1])
        except ValueError:
            self.param_groups.pop()
            raise

    def _check_group(self, group: Options) -> None:
        name = type(self).__name__
        unknown = group.keys() - self.defaults.keys() - ALSO_ALLOWED
        if unknown:
            raise ValueError(f"{name} has no option {sorted(unknown)}; it knows {sorted(self._option_names())}.")
        for key in self.defaults:
            if isinstance(group[key], tuple | list):
                group[key] = list(group[key])  # each group its own; no tuple, for JSON would give back a list
        if len({id(parameter) for parameter in group["params"]}) < len(group["params"]):
            raise ValueError(f"{name}: a parameter is in its param group twice; it would be updated twice a step.")
        for parameter in group["params"]:
            if not parameter.is_floating_point():
                raise ValueError(
                    f"{name} works on real parameters, got {parameter.dtype} of shape {tuple(parameter.shape)}: make "
                    "torch.view_as_real of it the parameter."
                )
        check_number(f"{name}: lr", group["lr"], usual=f"{self.defaults['lr']}")
        check_number(f"{name}: weight_decay", group["weight_decay"], usual="0 to 0.1")
        self._check_options(group)

    def _option_names(self) -> set[str]:
        return self.defaults.keys() - ALSO_ALLOWED

    def load_state_dict(self, state_dict: State) -> None:
        """Take over options and state of a ``state_dict()`` made by an optimizer of the same class.

        Tensors are copied: unlike torch's, an optimizer never writes into the snapshot it was loaded from. Keys of the
        state that JSON has turned into text (``"0"``) are numbers again.

        Raises:
            ValueError: If groups, options, names or shapes of the state do not fit; nothing has changed then.
        """
        state_dict = copy.deepcopy(state_dict)
        states = {int(key) if str(key).isdecimal() else key: state for key, state in state_dict["state"].items()}
        state_dict["state"] = states
        unknown_keys = states.keys() - {index for saved in state_dict["param_groups"] for index in saved["params"]}
        if unknown_keys:
            raise ValueError(
                f"this state has entries {sorted(map(str, unknown_keys))} that are in no param group of it."
            )
        for group, saved in zip(self.param_groups, state_dict["param_groups"], strict=False):
            missing, unknown = self._option_names() - saved.keys(), saved.keys() - group.keys() - ALSO_ALLOWED
            if missing or unknown:
                raise ValueError(
                    f"this state is not of {type(self).__name__}: options {sorted(missing)} are missing and "
                    f"{sorted(unknown)} are unknown. Load it into an optimizer of the class that made it."
                )
            for parameter, index in zip(group["params"], saved["params"], strict=False):
                if state := states.get(index):
                    self._check_state(index, parameter, state, saved)
        super().load_state_dict(state_dict)

    def _check_state(self, index: int, parameter: Tensor, state: State, options: Options) -> None:
        expected = self._new_state(torch.empty_like(parameter, device="meta"), options)
        place = f"{type(self).__name__}: the state of parameter {index}, of shape {tuple(parameter.shape)},"
        if state.keys() != expected.keys():
            raise ValueError(f"{place} must hold {sorted(expected)}, got {sorted(state)}.")
        for key, value in expected.items():
            wanted, got = _kind(parameter if value is None else value), _kind(state[key])
            if got != wanted and not (value is None and state[key] is None):
                raise ValueError(f"{place} must hold {wanted} as {key!r}, got {got}. Is this another model's state?")


def scale_(tensors: list[Tensor], factor: float) -> None:
    """Multiply all ``tensors``, which share device and dtype, by ``factor`` in place.

    On the CPU ``torch._foreach_mul_`` first rounds the factor to the tensors' dtype (0.9 is 0.8984 in bfloat16), which
    ``mul_`` does not.
    """
    if tensors[0].device.type == "cpu" and tensors[0].itemsize < 4:
        for tensor in tensors:
            tensor.mul_(factor)
    else:
        torch._foreach_mul_(tensors, factor)


def _kind(value: object) -> str:
    return f"a tensor of shape {tuple(value.shape)}" if isinstance(value, Tensor) else f"one {type(value).__name__}"


def check_number(name: str, value: object, *, below: float = math.inf, usual: str) -> None:
    """Refuse ``value`` unless it is a Python number of at least 0 and less than ``below``."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < below:
        raise ValueError(f"{name} must be a Python number in [0, {below:g}), got {value!r}; usual is {usual}.")


def check_betas(name: str, betas: object) -> None:
    """Refuse ``betas`` unless they are two decay rates in [0, 1)."""
    if not isinstance(betas, list) or len(betas) != 2:
        raise ValueError(f"{name}: betas must be two numbers, got {betas!r}; usual is (0.9, 0.999).")
    check_number(f"{name}: betas[0]", betas[0], below=1.0, usual="0.9")
    check_number(f"{name}: betas[1]", betas[1], below=1.0, usual="0.999")
