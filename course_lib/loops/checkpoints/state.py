"""A state as JSON and named tensors, and back: the same types, bits and order, and nothing that could run code."""

from __future__ import annotations

import math
import struct
from collections import OrderedDict
from collections.abc import Mapping
from functools import cache
from typing import Any

import torch
from safetensors.torch import load, save
from torch import Tensor

DEEPEST = 100  # levels; a state that contains itself has no end
LARGEST = 2**63  # integers from here on are written in base 16, which no limit on digits applies to

# In JSON, None, bools, strings, finite floats, integers and lists stand for themselves. Everything else is an object
# whose first key says what it is: {"dict": [[key, value], ...]}, {"tuple": [...]}, {"tensor": name}, ...


def pack(state: Any) -> tuple[Any, dict[str, Tensor]]:
    """Split ``state`` into what JSON can hold and the tensors it refers to by name.

    What comes out of `unpack` is what went in: 1 is not 1.0, a tuple is not a list, -0.0 and every bit of a nan stay,
    and dictionaries keep their order. A tensor that occurs twice (tied weights) is stored once, and is one tensor
    again afterwards. Views that overlap in part become tensors of their own. Tensors come back on the CPU.

    Args:
        state: Tensors, numbers, bools, strings, ``None``, and lists, tuples, dicts and OrderedDicts of them; keys are
            strings or integers. Subclasses are refused, because they would come back as something else.

    Returns:
        The JSON value, and contiguous CPU tensors by name; those that were so already are not copied.

    Raises:
        ValueError: For anything else, with the path at which it was found.

    Example:
        >>> tree, tensors = pack({"weight": torch.zeros(2), "betas": (0.9, 0.999)})
        >>> tree
        {'dict': [['weight', {'tensor': 'weight'}], ['betas', {'tuple': [0.9, 0.999]}]]}
        >>> list(tensors)
        ['weight']
    """
    packer = _Packer()
    return packer.pack(state, ()), packer.tensors


def unpack(tree: Any, tensors: Mapping[str, Tensor]) -> Any:
    """Put together again what `pack` took apart.

    Raises:
        ValueError: If ``tree`` was not made by `pack`, or refers to a tensor that is not there.

    Example:
        >>> unpack(*pack({0: [True, 1, 1.0], "rest": (None, float("-inf"))}))
        {0: [True, 1, 1.0], 'rest': (None, -inf)}
    """
    restored: dict[str, Tensor] = {}  # so that one name is one tensor

    def build(node: Any) -> Any:
        if isinstance(node, list):
            return [build(child) for child in node]
        if not isinstance(node, dict):
            return node
        match node:
            case {"int": str(digits)}:
                return int(digits, 16)
            case {"float": str(bits)}:
                return struct.unpack(">d", bytes.fromhex(bits))[0]
            case {"tuple": list(children)}:
                return tuple(build(child) for child in children)
            case {"dict": list(pairs)}:
                return {key: build(value) for key, value in pairs}
            case {"ordered": list(pairs), **rest}:
                ordered = OrderedDict((key, build(value)) for key, value in pairs)
                if "metadata" in rest:  # the versions of a model's modules, which load_state_dict looks at
                    ordered._metadata = build(rest["metadata"])  # type: ignore[attr-defined]
                return ordered
            case {"tensor": str(name), **rest}:
                if name not in restored:
                    restored[name] = _own_memory(tensors[name], rest.get("stride"))
                return restored[name]
        raise ValueError(f"unknown kind of value {sorted(node)}")

    try:
        return build(tree)
    except (KeyError, TypeError, RuntimeError) as error:
        raise ValueError(f"{type(error).__name__}: {error}") from error


class _Packer:
    """Walks a state, collecting its tensors."""

    def __init__(self) -> None:
        self.tensors: dict[str, Tensor] = {}
        self._names: dict[tuple[Any, ...], str] = {}  # by where a tensor's numbers lie in memory
        self._memory: set[int] = set()

    def pack(self, value: Any, path: tuple[Any, ...]) -> Any:
        if len(path) > DEEPEST:
            raise ValueError(f"{_spell(path[:5])}... is nested deeper than {DEEPEST} levels: does it contain itself?")
        kind = type(value)  # exactly: a subclass would come back as its base
        if value is None or kind is bool or kind is str:
            return value
        if kind is int:
            return value if -LARGEST < value < LARGEST else {"int": hex(value)}
        if kind is float:
            return value if math.isfinite(value) else {"float": struct.pack(">d", value).hex()}
        if kind is list:
            return self._each(value, path)
        if kind is tuple:
            return {"tuple": self._each(value, path)}
        if kind is dict:
            return {"dict": self._pairs(value, path)}
        if kind is OrderedDict:
            node = {"ordered": self._pairs(value, path)}
            metadata = getattr(value, "_metadata", None)
            return node if metadata is None else {**node, "metadata": self.pack(metadata, (*path, "_metadata"))}
        if kind is Tensor:
            return self._tensor(value, path)
        raise ValueError(f"{_spell(path)} is a {kind.__module__}.{kind.__qualname__}: {_advice(value)}.")

    def _each(self, values: list[Any] | tuple[Any, ...], path: tuple[Any, ...]) -> list[Any]:
        return [self.pack(value, (*path, place)) for place, value in enumerate(values)]

    def _pairs(self, values: dict[Any, Any], path: tuple[Any, ...]) -> list[list[Any]]:
        for key in values:
            if type(key) not in (str, int):
                raise ValueError(
                    f"{_spell(path)} has the key {key!r}, a {type(key).__name__}: keys must be strings or integers."
                )
        return [[key, self.pack(value, (*path, key))] for key, value in values.items()]

    def _tensor(self, tensor: Tensor, path: tuple[Any, ...]) -> dict[str, Any]:
        _check_tensor(tensor, path)
        kind = (tensor.device, tensor.dtype, tensor.is_conj(), tensor.is_neg())
        place = (*kind, tensor.data_ptr(), tensor.shape, tensor.stride())
        if place not in self._names or tensor.numel() == 0:
            name = self._free_name(path)
            self._names[place] = name
            plain = tensor.detach().resolve_conj().resolve_neg().cpu().contiguous()
            memory = plain.untyped_storage().data_ptr()
            self.tensors[name] = plain.clone() if memory in self._memory else plain  # safetensors refuses overlaps
            self._memory.add(memory)
        node: dict[str, Any] = {"tensor": self._names[place]}
        if not tensor.is_contiguous() and _is_dense(tensor):
            node["stride"] = list(tensor.stride())  # channels_last stays so: sums go through memory in its order
        return node

    def _free_name(self, path: tuple[Any, ...]) -> str:
        """The path with dots, told apart from another that reads the same ({"a": {"b": ...}} and {"a.b": ...})."""
        plain = ".".join(map(str, path)).encode("utf-8", "backslashreplace").decode() or "state"
        name, number = plain, 1
        while name in self.tensors or name == "__metadata__":  # the one name that safetensors keeps for itself
            number += 1
            name = f"{plain}#{number}"
        return name


def _check_tensor(tensor: Tensor, path: tuple[Any, ...]) -> None:
    if tensor.layout is not torch.strided or tensor.is_meta:
        kind = "has no values (device meta)" if tensor.is_meta else f"has the layout {tensor.layout}"
        raise ValueError(f"{_spell(path)} {kind}: a checkpoint holds dense tensors.")
    if tensor.requires_grad:
        raise ValueError(f"{_spell(path)} requires a gradient, which a file cannot hold: put tensor.detach() there.")
    if not _can_store(tensor.dtype):
        raise ValueError(f"{_spell(path)} has the dtype {tensor.dtype}, which safetensors cannot hold: convert it.")


@cache
def _can_store(dtype: torch.dtype) -> bool:
    """Ask the installed safetensors: newer ones know more dtypes, and some can be written but not read."""
    try:
        probe = torch.zeros(16, dtype=torch.uint8).view(dtype)
        again = _own_memory(load(save({"probe": probe}))["probe"], None)
    except Exception:  # which one depends on the version and the dtype
        return False
    return again.dtype == dtype and again.shape == probe.shape


def _is_dense(tensor: Tensor) -> bool:
    """Whether the tensor fills its memory without gaps or overlaps, in whatever order of dimensions."""
    order = sorted(range(tensor.ndim), key=tensor.stride, reverse=True)
    return tensor.permute(order).is_contiguous()


def _own_memory(tensor: Tensor, stride: list[int] | None) -> Tensor:
    """A copy in memory that torch has aligned: the file's is mapped, and lies anywhere."""
    copied = torch.empty_strided(tensor.shape, stride or tensor.stride(), dtype=tensor.dtype)
    return copied.copy_(tensor)


def _spell(path: tuple[Any, ...]) -> str:
    """A path as it would be typed: state["optimizer"]["state"][0]."""
    return "state" + "".join(f"[{part!r}]" for part in path).replace("'", '"')


def _advice(value: Any) -> str:
    if isinstance(value, Tensor):
        return "put a plain tensor there (a state_dict's, or tensor.detach())"
    for base in (bool, int, float, str, tuple, list, dict):
        if isinstance(value, base):
            return f"put {base.__name__}(value) there, a subclass of it would not come back as itself"
    if hasattr(value, "tolist"):
        return "put value.tolist() or torch.as_tensor(value) there"
    return "a checkpoint holds tensors, numbers, bools, strings, None, and lists, tuples and dicts of them"
