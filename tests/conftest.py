"""What all tests share: two real processes that talk by gloo, and that can never hang the tests."""

import time
from datetime import timedelta

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp

WORLD = 2
GROUP_SECONDS = 30  # a collective that one rank never joins ends with an error after this
JOIN_SECONDS = 120


def _enter(rank, worker, store_path, arguments):
    torch.set_num_threads(1)
    store = dist.FileStore(store_path, WORLD)
    dist.init_process_group("gloo", store=store, rank=rank, world_size=WORLD, timeout=timedelta(seconds=GROUP_SECONDS))
    try:
        worker(rank, *arguments)
    finally:
        dist.destroy_process_group()


@pytest.fixture
def on_two_ranks(tmp_path):
    """A function that runs ``worker(rank, *arguments)`` in two processes; an assertion failing there fails here."""

    def run(worker, *arguments):
        context = mp.start_processes(
            _enter,
            args=(worker, str(tmp_path / "store"), arguments),
            nprocs=WORLD,
            join=False,
            start_method="spawn",
        )
        deadline = time.monotonic() + JOIN_SECONDS
        try:
            while not context.join(timeout=1):
                assert time.monotonic() < deadline, f"the ranks did not end within {JOIN_SECONDS} s"
        finally:
            for process in context.processes:
                process.kill()

    return run
