"""What all tests share: real processes that talk by gloo, and that can never hang the tests."""

import multiprocessing
import os
import pickle
import time
from datetime import timedelta

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from course_lib.distributed.launching.launcher import _start_method

GROUP_SECONDS = 120  # a collective that one rank never joins ends with an error after this
JOIN_SECONDS = 280


def _enter(rank, worlds, folder, pickled, environment):
    os.environ.clear()
    os.environ.update(environment)  # of this test: the server from which processes are forked has that of its start
    torch.set_num_threads(1)
    worker, arguments = pickle.loads(pickled)
    for world in worlds:
        if rank >= world:
            continue
        store = dist.FileStore(f"{folder}/store_{world}", world)
        timeout = timedelta(seconds=GROUP_SECONDS)
        dist.init_process_group("gloo", store=store, rank=rank, world_size=world, timeout=timeout)
        try:
            worker(rank, *arguments)
        finally:
            dist.destroy_process_group()


def _on(worlds, folder):
    """A function that runs ``worker(rank, *arguments)`` in worlds of those sizes; what fails there fails here.

    The processes are started once for all worlds, because starting is what takes long; where that can be done they are
    forked from a server that has imported torch.
    """

    def run(worker, *arguments):
        method = _start_method()
        if method == "forkserver":
            multiprocessing.get_context(method).set_forkserver_preload(["course_lib.distributed.launching.preload"])
        context = mp.start_processes(
            _enter,
            args=(worlds, str(folder), pickle.dumps((worker, arguments)), dict(os.environ)),  # tensors as plain bytes
            nprocs=max(worlds),
            join=False,
            start_method=method,
        )
        deadline = time.monotonic() + JOIN_SECONDS
        try:
            while not context.join(timeout=1):
                assert time.monotonic() < deadline, f"the ranks did not end within {JOIN_SECONDS} s"
        finally:
            for process in context.processes:
                process.kill()

    return run


@pytest.fixture
def on_two_ranks(tmp_path):
    """A function that runs ``worker(rank, *arguments)`` in two processes."""
    return _on((2,), tmp_path)


@pytest.fixture
def on_two_and_four_ranks(tmp_path):
    """A function that runs ``worker(rank, *arguments)`` in two processes, then in four."""
    return _on((2, 4), tmp_path)
