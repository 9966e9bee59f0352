"""Randomness under control: one seed for all global generators, a deterministic mode, and a proof of equal bits."""

from __future__ import annotations

import hashlib
import os
import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import nn

from course_lib.loops.random_state import unchanged_randomness

WORKSPACES = (":4096:8", ":16:8")  # under which cuBLAS promises the same bits each time


def seed_all(seed: int, *, deterministic: bool = False) -> None:
    """Seed Python's ``random``, NumPy's legacy functions and torch on all devices.

    With ``deterministic=True`` torch also refuses operations that may give other bits the second time. Then the
    same script gives the same bits again on the same machine, with the same versions and thread counts.
    Another processor or GPU, another torch build or another number of threads adds up in another order, and
    no seed changes that. Nor does it reach generators that you make yourself (``torch.Generator()``,
    ``np.random.default_rng()``): give those a seed of their own. The order of a ``set`` of texts differs from process
    to process unless ``PYTHONHASHSEED`` is set before Python starts.

    Args:
        seed: A whole number from 0 to 2**32 - 1 (NumPy takes no others).
        deterministic: Whether to turn on deterministic algorithms for the rest of the process; False leaves that mode
            as it is. Costs speed on a GPU; there an operation without such an algorithm raises a RuntimeError.

    Raises:
        ValueError: If the seed is out of range, or the deterministic mode comes too late: cuBLAS reads
            ``CUBLAS_WORKSPACE_CONFIG`` when CUDA starts. Nothing is seeded then.

    Example:
        >>> seed_all(0)
        >>> first = random.random(), np.random.rand(), torch.rand(1)
        >>> seed_all(0)
        >>> first == (random.random(), np.random.rand(), torch.rand(1))
        True

    Reference: https://docs.pytorch.org/docs/stable/notes/randomness.html
    """
    if type(seed) is not int or not 0 <= seed < 2**32:
        raise ValueError(f"seed must be a whole number from 0 to 2**32 - 1, got {seed!r}.")
    if deterministic:
        _make_deterministic()
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)


@contextmanager
def seeded(seed: int, *, deterministic: bool = False) -> Iterator[None]:
    """Like `seed_all`, but only inside a ``with``: generators and modes are put back as they were.

    (``CUBLAS_WORKSPACE_CONFIG`` stays set: once CUDA has read it, taking it back would change nothing.)

    Args:
        seed: As for `seed_all`.
        deterministic: As for `seed_all`.

    Raises:
        ValueError: As `seed_all`.

    Example:
        >>> with seeded(0):
        ...     first = torch.rand(1)
        >>> with seeded(0):
        ...     print(torch.rand(1) == first)
        tensor([True])
    """
    python, legacy = random.getstate(), np.random.get_state()
    deterministic_before = torch.are_deterministic_algorithms_enabled()
    only_warned, benchmark = torch.is_deterministic_algorithms_warn_only_enabled(), torch.backends.cudnn.benchmark
    with unchanged_randomness():
        try:
            seed_all(seed, deterministic=deterministic)
            yield
        finally:
            random.setstate(python)
            np.random.set_state(legacy)
            torch.backends.cudnn.benchmark = benchmark
            if deterministic:
                torch.use_deterministic_algorithms(deterministic_before, warn_only=only_warned)


def fingerprint(model: nn.Module) -> str:
    """Return the SHA-256 of a model's parameters and persistent buffers, bit by bit, with their names and shapes.

    Equal fingerprints mean equal bits; the smallest change of one weight gives another. The device does not
    count, nor the order in which layers were made.

    Args:
        model: Read, not changed; on an accelerator this waits for the device.

    Returns:
        64 hexadecimal digits.

    Raises:
        ValueError: If the model's state holds something that is no tensor.

    Example:
        >>> model = nn.Linear(1, 1)
        >>> before = fingerprint(model)
        >>> with torch.no_grad():
        ...     _ = model.weight.mul_(1 + 2**-20)
        >>> fingerprint(model) == before
        False
    """
    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        if not isinstance(tensor, torch.Tensor):
            raise ValueError(f"fingerprint needs tensors, but {name!r} is a {type(tensor).__name__}.")
        digest.update(f"{len(name)} {name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.cpu().contiguous().flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _make_deterministic() -> None:
    workspace = os.environ.get("CUBLAS_WORKSPACE_CONFIG")
    if workspace not in WORKSPACES:
        if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
            raise ValueError(
                f"CUDA has started with CUBLAS_WORKSPACE_CONFIG={workspace!r}, under which cuBLAS promises nothing: "
                f"call seed_all(..., deterministic=True) before the first use of a GPU, or start Python with "
                f"CUBLAS_WORKSPACE_CONFIG={WORKSPACES[0]}."
            )
        os.environ["CUBLAS_WORKSPACE_CONFIG"] = WORKSPACES[0]
    torch.backends.cudnn.benchmark = False
    torch.use_deterministic_algorithms(True)
