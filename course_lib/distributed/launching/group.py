"""The process group of a program whose ranks were started by `launch` or torchrun, and each rank's device."""

from __future__ import annotations

import functools
import itertools
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

import torch
import torch.distributed as dist

from course_lib.collectives import initialized

_groups = itertools.count()  # a process may enter several groups, one after the other


@contextmanager
def process_group(
    *, backend: str | None = None, timeout: float = 1800.0, start_timeout: float = 60.0
) -> Iterator[torch.device]:
    """Join the process group that the environment describes, and leave it at the end of the ``with``.

    torchrun and :func:`launch` tell each process by environment variables which rank it is (``RANK``, ``LOCAL_RANK``),
    how many there are (``WORLD_SIZE``, ``LOCAL_WORLD_SIZE``) and where they meet (``MASTER_ADDR``, ``MASTER_PORT``).
    Without ``RANK`` this is one process on its own: no group is made.

    Args:
        backend: ``"gloo"`` (CPU), ``"nccl"`` (GPU), or by default NCCL where each rank of this machine has a GPU of its
            own, otherwise gloo.
        timeout: Seconds after which a collective that some rank never joins ends with an error.
        start_timeout: Seconds to wait until every rank is there.

    Yields:
        The device of this rank: tensors there can be communicated.

    Raises:
        ValueError: If ranks disagree about the world size, two processes claim one rank, the port is in use, or NCCL
            is asked for with fewer GPUs than ranks.
        TimeoutError: If ranks are missing after ``start_timeout``; it says which.
        ConnectionError: If rank 0 ends meanwhile.

    Example:
        >>> with process_group(backend="gloo") as device:  # one process: nothing to join
        ...     device
        device(type='cpu')
    """
    me = _from_environment("RANK", 0)
    size = _from_environment("WORLD_SIZE", 1)
    chosen, my_device = _choose(
        backend, _from_environment("LOCAL_RANK", 0), _from_environment("LOCAL_WORLD_SIZE", size)
    )
    if my_device.type == "cuda":
        torch.cuda.set_device(my_device)
    if "RANK" not in os.environ:
        yield my_device
        return
    if not 0 <= me < size:
        raise ValueError(f"RANK must lie between 0 and WORLD_SIZE - 1 = {size - 1}, got {me}. Start ranks from 0.")
    attempt = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")
    prefix = f"attempt {attempt}, group {next(_groups)}"
    store = dist.PrefixStore(prefix, _meet(me, start_timeout))  # type: ignore[attr-defined]
    try:
        _check_in(store, me, size, start_timeout)
    except dist.DistNetworkError:
        raise ConnectionError(
            f"Rank {me} lost rank 0 while waiting for the others: rank 0's own error says why."
        ) from None
    dist.init_process_group(
        chosen,
        store=store,
        rank=me,
        world_size=size,
        timeout=timedelta(seconds=timeout),
        device_id=my_device if my_device.type == "cuda" else None,
    )
    try:
        _wait_for_all(store, "joined", me, size, start_timeout)  # who left now would break off who still connects
        yield my_device
    finally:
        dist.destroy_process_group()


def device() -> torch.device:
    """Return the device whose tensors this process can communicate: its own GPU under NCCL, otherwise the CPU.

    Example:
        >>> device()  # no process group
        device(type='cpu')
    """
    if initialized() and "nccl" in dist.get_backend_config():
        return torch.device("cuda", torch.cuda.current_device())
    return torch.device("cpu")


def _from_environment(name: str, default: int) -> int:
    text = os.environ.get(name, str(default))
    if not text.isdecimal():
        raise ValueError(f"The environment variable {name} must be a whole number from 0, got {text!r}.")
    return int(text)


def _choose(backend: str | None, local_rank: int, local_size: int) -> tuple[str, torch.device]:
    num_gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if backend is None:
        backend = "cpu:gloo,cuda:nccl" if num_gpus >= local_size else "gloo"
    if "nccl" not in backend:
        return backend, torch.device("cpu")
    if num_gpus < local_size:
        raise ValueError(
            f"NCCL needs a GPU for each rank: {local_size} ranks on this machine, {num_gpus} GPUs. "
            'Use fewer ranks, or backend="gloo".'
        )
    return backend, torch.device("cuda", local_rank)


def _meet(me: int, start_timeout: float) -> dist.Store:  # type: ignore[name-defined]
    """The store through which the ranks find each other: hosted by torchrun's agent or `launch`, else by rank 0."""
    for name in ("MASTER_ADDR", "MASTER_PORT"):
        if name not in os.environ:
            raise ValueError(f"RANK is set but {name} is not. Start the program with torchrun, or set all of them.")
    host, port = os.environ["MASTER_ADDR"], _from_environment("MASTER_PORT", 0)
    hosting = me == 0 and os.environ.get("TORCHELASTIC_USE_AGENT_STORE") != "True"
    try:
        return _store(host, port, hosting, start_timeout)
    except dist.DistNetworkError as error:
        if hosting:
            raise ValueError(
                f"Rank 0 cannot listen on port {port} of {host}: another program has it, or the address is not this "
                f"machine's. Choose another MASTER_PORT. ({str(error).splitlines()[0]})"
            ) from None
        raise TimeoutError(
            f"Rank {me} found nobody at {host}:{port} within {start_timeout:g} s. "
            "Is rank 0 running, and are MASTER_ADDR and MASTER_PORT the same everywhere?"
        ) from None


@functools.cache  # kept: another rank may already look here for the next group when rank 0 leaves this one
def _store(host: str, port: int, hosting: bool, start_timeout: float) -> dist.Store:  # type: ignore[name-defined]
    patience = timedelta(seconds=start_timeout)
    return dist.TCPStore(  # type: ignore[attr-defined]
        host, port, is_master=hosting, timeout=patience, wait_for_workers=False, multi_tenant=True
    )


def _check_in(store: dist.Store, me: int, size: int, start_timeout: float) -> None:  # type: ignore[name-defined]
    """Return when every rank is there, with the same world size; otherwise tell what is wrong."""
    if store.add(f"claims of {me}", 1) > 1:
        raise ValueError(f"Two processes say that they are rank {me} of {size}. Give each process its own RANK.")
    first = store.compare_set("size", "", str(size)).decode()
    if first != str(size):
        store.set("disagreement", f"rank {me} was told {size}, another one {first}")
    missing = _wait_for_all(store, "came", me, size, start_timeout)
    if store.check(["disagreement"]):
        raise ValueError(
            f"The ranks disagree about WORLD_SIZE: {store.get('disagreement').decode()}. Start all with the same one."
        )
    if missing:
        raise TimeoutError(
            f"Rank {me} waited {start_timeout:g} s for {size} ranks; {missing} did not come. "
            "Did they fail at their start, or is WORLD_SIZE larger than the number of processes?"
        )


def _wait_for_all(
    store: dist.Store,  # type: ignore[name-defined]
    what: str,
    me: int,
    size: int,
    seconds: float,
) -> list[int]:
    """Say ``what`` and wait until all ranks have; return those that have not by then, or when ranks disagree."""
    store.set(f"{what} {me}", "")  # after a disagreement was noted: who sees this sees that
    keys = [f"{what} {rank}" for rank in range(size)]
    deadline, pause = time.monotonic() + seconds, 0.001
    while not store.check(keys):
        if time.monotonic() > deadline or store.check(["disagreement"]):
            return [rank for rank, key in enumerate(keys) if not store.check([key])]
        time.sleep(pause)
        pause = min(2 * pause, 0.1)
    return []
