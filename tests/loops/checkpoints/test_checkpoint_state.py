"""What goes into a checkpoint comes out of it: every type, every bit; the rest is refused by its path."""

import json
import math
import struct
from collections import OrderedDict, defaultdict
from enum import IntEnum

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load, save
from torch import nn

from course_lib.loops.checkpoints.state import pack, unpack

STORABLE = [
    *(torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.float8_e4m3fn, torch.float8_e5m2),
    *(torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8, torch.uint16, torch.uint32, torch.uint64),
    *(torch.bool, torch.complex64),
]


def str_of_type(value):
    return type(value).__name__


def through_files(state):
    """What `read` gives after `write`, without a disk: JSON text and safetensors bytes in between."""
    tree, tensors = pack(state)
    return unpack(json.loads(json.dumps(tree, allow_nan=False)), load(save(tensors)))


def same(one, other):
    """Equal in type and bits, all the way down; == would let 1 pass for True, and no nan for itself."""
    if type(one) is not type(other):
        return False
    if isinstance(one, torch.Tensor):
        return (one.dtype, one.shape) == (other.dtype, other.shape) and one.contiguous().view(-1).view(
            torch.uint8
        ).tolist() == other.contiguous().view(-1).view(torch.uint8).tolist()
    if isinstance(one, float):
        return struct.pack("<d", one) == struct.pack("<d", other)
    if isinstance(one, dict):
        return list(one) == list(other) and all(
            type(a) is type(b) and same(one[a], other[b]) for a, b in zip(one, other, strict=True)
        )
    if isinstance(one, (list, tuple)):
        return len(one) == len(other) and all(same(a, b) for a, b in zip(one, other, strict=True))
    return one == other


plain = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.integers(min_value=2**62, max_value=2**130),
    st.floats(allow_nan=True, allow_subnormal=True),
    st.text(),
    st.sampled_from(["__metadata__", "tensor", "dict", "\ud800", "", "a.b"]),
)
keys = st.one_of(st.text(), st.integers(), st.sampled_from(["a", "a.b", "b", "tensor", "int"]))
tensor = st.builds(
    lambda shape, dtype: torch.arange(math.prod(shape)).reshape(shape).to(dtype),
    st.lists(st.integers(0, 3), max_size=3),
    st.sampled_from([torch.float32, torch.bfloat16, torch.bool, torch.uint8]),
)
states = st.recursive(
    st.one_of(plain, tensor),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.lists(inner, max_size=3).map(tuple),
        st.dictionaries(keys, inner, max_size=3),
        st.dictionaries(keys, inner, max_size=3).map(OrderedDict),
    ),
    max_leaves=12,
)


@settings(max_examples=150, deadline=None, derandomize=True)
@given(states)
def test_any_state_comes_back_with_its_types_and_bits(state):
    assert same(through_files(state), state)


@pytest.mark.parametrize(
    "value",
    [
        *(True, 1, 1.0, 0, False, None, "", [], (), {}, OrderedDict(), 2**63 - 1, 2**63, -(2**63), 10**5000),
        *(-0.0, 5e-324, 0.1, 1e22, math.inf, -math.inf, math.nan),
        struct.unpack("<d", bytes.fromhex("0100000000f0f7ff"))[0],  # a nan with a sign and other bits
        *({0: 1, "0": 2, -1: 3}, {"b": 1, "a": 2}, [(), [()], ((),)], "\ud800 \x00 é"),
    ],
    ids=str_of_type,
)
def test_values_that_are_easily_mistaken_for_others(value):
    assert same(through_files(value), value)
    assert same(through_files({"deep": [value]}), {"deep": [value]})


@pytest.mark.parametrize("dtype", STORABLE, ids=str)
def test_every_dtype_keeps_every_bit(dtype):
    """All byte patterns: nans, infinities and subnormals among them. For bools, both values."""
    every = torch.tensor([0, 1] * 64, dtype=torch.uint8) if dtype is torch.bool else torch.arange(256).to(torch.uint8)
    whole = every.view(dtype)
    for value in (whole, whole[3], whole[:0], whole.reshape(2, -1).T, whole[::2], whole[1:3]):
        assert same(through_files(value), value)


def test_a_dtype_is_either_kept_or_refused():
    """Some can be written by safetensors but not read; which ones, depends on its version."""
    for dtype in {dtype for dtype in vars(torch).values() if isinstance(dtype, torch.dtype)}:
        try:
            value = (torch.arange(64) % 2).to(torch.uint8).view(dtype)  # bytes that are bools too
            _, tensors = pack(value)
        except (ValueError, RuntimeError):
            assert dtype not in STORABLE
        else:
            assert same(unpack({"tensor": "state"}, load(save(tensors))), value)


def test_memory_order_is_kept_and_memory_is_not_shared_with_the_file():
    image = torch.arange(24.0).reshape(1, 2, 3, 4).to(memory_format=torch.channels_last)
    broadcast, gaps = torch.ones(1, 2).expand(3, 2), torch.arange(6.0)[::2]
    again = through_files([image, broadcast, gaps])
    assert again[0].stride() == image.stride() != (24, 12, 4, 1)
    assert all(value.untyped_storage().nbytes() == value.nbytes for value in again)
    assert all(value.data_ptr() % 64 == 0 for value in again)  # as torch aligns it: kernels may sum in another order


def test_tied_tensors_are_stored_once_and_tied_again():
    weight = torch.arange(4.0)
    tree, tensors = pack({"embedding": weight, "head": weight.detach(), "copy": weight.clone()})
    assert sorted(tensors) == ["copy", "embedding"]
    again = unpack(tree, load(save(tensors)))
    again["head"][0] = 9.0
    assert again["embedding"][0] == 9.0
    assert again["copy"][0] == 0.0


def test_views_of_one_memory_that_are_not_the_same_tensor():
    """safetensors refuses overlaps; a conjugate even has the same address, shape and stride as its tensor."""
    flat, wave = torch.arange(6.0), torch.tensor([1 + 2j, 3 - 4j])
    state = [
        flat,
        flat[1:3],
        flat[2:6],
        flat.reshape(2, 3),
        wave,
        wave.conj(),
        wave.conj().imag,
        flat.view(torch.int32),
    ]
    again = through_files(state)
    assert same(again, [value.clone() for value in state])
    assert len({value.data_ptr() for value in again}) == len(state)


def test_names_that_read_the_same_do_not_collide():
    state = {"a": {"b": torch.tensor(1), 0: torch.tensor(2)}, "a.b": torch.tensor(3), "a.0": torch.tensor(4)}
    state |= {"__metadata__": torch.tensor(5), "": torch.tensor(6), "\ud800": torch.tensor(7), "state": torch.tensor(8)}
    state |= {"a.b#2": torch.tensor(9), 7: torch.tensor(10), "7": torch.tensor(11)}
    assert same(through_files(state), state)
    assert same(through_files(torch.tensor(1)), torch.tensor(1))


def test_a_real_model_and_optimizer():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2))
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.1, amsgrad=True)
    model(torch.randn(4, 1, 5, 5)).square().sum().backward()
    optimizer.step()
    state = {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "random": torch.get_rng_state()}
    again = through_files(state)
    assert same(again, state)
    assert again["model"]._metadata == model.state_dict()._metadata  # versions, which load_state_dict looks at


def test_numpys_generator_state():
    """PCG64 counts in 128 bits."""
    state = np.random.default_rng(0).bit_generator.state
    assert same(through_files(state), state)


class Colour(IntEnum):
    RED = 1


class Text(str):
    __slots__ = ()


LOOP = []
LOOP.append(LOOP)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({1, 2}, r'state\["sampler"\]\[1\] is a builtins.set: a checkpoint holds tensors'),
        (b"x", "builtins.bytes"),
        (1j, "builtins.complex"),
        (object(), "builtins.object"),
        (torch.float32, "torch.dtype"),
        (torch.Size([1]), r"torch.Size: put tuple\(value\)"),
        (np.float64(1.0), r"numpy.float64: put float\(value\)"),
        (np.int64(1), r"numpy.int64: put value.tolist\(\) or torch.as_tensor\(value\)"),
        (np.zeros(2), "numpy.ndarray: put value.tolist"),
        (Colour.RED, r"Colour: put int\(value\)"),
        (Text("x"), r"Text: put str\(value\)"),
        (defaultdict(int), r"collections.defaultdict: put dict\(value\)"),
        (nn.Parameter(torch.ones(1)), r"torch.nn.parameter.Parameter: put a plain tensor there"),
        (torch.ones(1, requires_grad=True), r"requires a gradient.*tensor.detach\(\)"),
        (torch.ones(2).to_sparse(), r"has the layout torch.sparse_coo"),
        (torch.ones(2, device="meta"), "has no values"),
        (torch.ones(2, dtype=torch.complex128), "dtype torch.complex128, which safetensors cannot hold"),
        ({1.0: 2}, r"state\[\"sampler\"\]\[1\] has the key 1.0, a float"),
        ({True: 2}, "has the key True, a bool"),
        ({(1, 2): 2}, r"has the key \(1, 2\), a tuple"),
        (LOOP, "nested deeper than 100 levels: does it contain itself"),
    ],
    ids=lambda value: type(value).__name__ if not isinstance(value, str) else "",
)
def test_what_cannot_be_kept_is_refused_by_its_path(value, message):
    with pytest.raises(ValueError, match=message):
        pack({"sampler": [0, value]})


@pytest.mark.parametrize("tree", [{"pickle": "x"}, {"tensor": "not there"}, {"dict": 3}, {"float": "zz"}, {"int": 3}])
def test_a_tree_that_pack_did_not_make_is_refused(tree):
    with pytest.raises(ValueError, match=r"unknown kind|not there|hex"):
        unpack([tree], {})
