"""Seeds: the same numbers again from every global generator, a mode that is put back, and fingerprints of bits."""

import hashlib
import os
import random
import struct
import subprocess
import sys

import numpy as np
import pytest
import torch
from torch import nn

from course_lib.loops.seeds import fingerprint, seed_all, seeded


@pytest.fixture(autouse=True)
def as_before(monkeypatch):
    """Leave torch's modes, the environment and the generators as they were."""
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", "")
    with seeded(0, deterministic=True):
        torch.use_deterministic_algorithms(False)
        yield


def draws():
    return random.random(), np.random.rand(), torch.rand(3).tolist()


def modes():
    return (
        torch.are_deterministic_algorithms_enabled(),
        torch.is_deterministic_algorithms_warn_only_enabled(),
        torch.backends.cudnn.benchmark,
    )


def test_one_seed_is_that_of_each_library():
    seed_all(7)
    assert draws() == (
        random.Random(7).random(),
        np.random.RandomState(7).rand(),
        torch.rand(3, generator=torch.Generator().manual_seed(7)).tolist(),
    )
    assert torch.initial_seed() == 7


def test_the_largest_seed_gives_the_same_draws_in_another_process():
    seed = 2**32 - 1
    code = f"from course_lib.loops.seeds import *; seed_all({seed})\n"
    code += "print(random.random(), np.random.rand(), torch.rand(3).tolist())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120)
    seed_all(seed)
    assert done.stdout.strip() == " ".join(map(str, draws()))


@pytest.mark.parametrize("seed", [-1, 2**32, 1.0, True, None, "0"])
def test_a_bad_seed_is_refused_before_anything_is_seeded(seed):
    seed_all(3)
    expected = draws()
    seed_all(3)
    with pytest.raises(ValueError, match=r"seed must be a whole number from 0 to 2\*\*32 - 1, got"):
        seed_all(seed, deterministic=True)
    assert draws() == expected
    assert modes()[0] is False


def test_deterministic_mode():
    torch.backends.cudnn.benchmark = True
    seed_all(0)
    assert modes() == (False, False, True)  # left as they are
    seed_all(0, deterministic=True)
    assert modes() == (True, False, False)
    assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == ":4096:8"
    seed_all(1)
    assert modes() == (True, False, False)


def test_a_workspace_that_will_do_is_kept(monkeypatch):
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":16:8")
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    seed_all(0, deterministic=True)
    assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == ":16:8"


def test_deterministic_mode_after_cuda_has_started_is_refused(monkeypatch):
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":0:0")
    seed_all(3)
    expected = draws()
    seed_all(3)
    with monkeypatch.context() as started:
        started.setattr(torch.cuda, "is_initialized", lambda: True)
        message = "CUDA has started with CUBLAS_WORKSPACE_CONFIG=':0:0'.*before the first use of a GPU"
        with pytest.raises(ValueError, match=message):
            seed_all(4, deterministic=True)
    assert draws() == expected
    assert modes()[0] is False


@pytest.mark.parametrize("before", [(False, False, True), (True, True, False)])
def test_seeded_puts_generators_and_modes_back(before):
    enabled, only_warns, benchmark = before
    torch.use_deterministic_algorithms(enabled, warn_only=only_warns)
    torch.backends.cudnn.benchmark = benchmark
    seed_all(3)
    expected = draws()
    seed_all(3)

    def fail_inside():
        with seeded(4, deterministic=True):
            assert modes() == (True, False, False)
            draws()
            raise RuntimeError("stopped")

    with pytest.raises(RuntimeError, match="stopped"):
        fail_inside()
    assert draws() == expected
    assert modes() == before


def layers():
    """A model of every kind of number, the values known without a generator."""
    model = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3))
    with torch.no_grad():
        for tensor in model.state_dict().values():
            tensor.copy_(torch.arange(tensor.numel()).view(tensor.shape))
    return model


def test_a_fingerprint_is_known_by_hand():
    model = nn.Linear(2, 1, bias=False, dtype=torch.float64)
    with torch.no_grad():
        model.weight.copy_(torch.tensor([[0.1, -0.0]], dtype=torch.float64))
    expected = hashlib.sha256(b"6 weight torch.float64 (1, 2)\n" + struct.pack("<dd", 0.1, -0.0)).hexdigest()
    assert fingerprint(model) == expected


def test_equal_weights_have_equal_fingerprints():
    one, other = layers(), layers()
    assert one[0].weight.data_ptr() != other[0].weight.data_ptr()
    assert fingerprint(one) == fingerprint(other.eval())
    with torch.no_grad():
        other[0].weight.set_(other[0].weight.T.contiguous().T)  # other strides, same numbers
    assert fingerprint(one) == fingerprint(other)


@pytest.mark.parametrize("kind", [torch.bfloat16, torch.float16, torch.float64, torch.complex64])
def test_each_kind_of_number_has_its_bits(kind):
    one, other = (
        nn.ParameterDict({"w": torch.arange(4).to(kind), "empty": torch.zeros(0), "x": torch.tensor(1.0)}) for _ in "12"
    )
    assert fingerprint(one) == fingerprint(other)
    with torch.no_grad():
        other["w"].view(torch.uint8)[0] ^= 1  # the lowest bit
    assert fingerprint(one) != fingerprint(other)


@pytest.mark.parametrize(
    "change",
    [
        lambda model: model[0].weight.view(torch.int32)[2, 1].add_(1),  # one unit in the last place
        lambda model: model[0].weight.view(-1)[0].neg_(),  # 0.0 and -0.0
        lambda model: model[1].running_mean[1].add_(1),
        lambda model: model[1].num_batches_tracked.add_(1),
        lambda model: model.double(),
        lambda model: setattr(model[0], "weight", nn.Parameter(model[0].weight.reshape(2, 3))),
        lambda model: model.append(nn.Linear(1, 1)),
    ],
)
def test_any_difference_shows(change):
    model = layers()
    before = fingerprint(model)
    assert fingerprint(layers()) == before
    with torch.no_grad():
        change(model)
    assert fingerprint(model) != before


def test_state_that_is_no_tensor_is_refused():
    class Odd(nn.Module):
        def get_extra_state(self):
            return {"mode": 1}

    with pytest.raises(ValueError, match="needs tensors, but '_extra_state' is a dict"):
        fingerprint(Odd())
