"""Two, then four real processes that talk by gloo, started once for both because starting is what takes long."""

import time
from datetime import timedelta

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp

WORLDS = (2, 4)
GROUP_SECONDS = 120  # a collective that one rank never joins ends with an error after this
JOIN_SECONDS = 250


def _enter(rank, worker, folder, arguments):
    torch.set_num_threads(1)
    for world in WORLDS:
        if rank >= world:
            continue
        store = dist.FileStore(f"{folder}/store_{world}", world)
        timeout = timedelta(seconds=GROUP_SECONDS)
        dist.init_process_group("gloo", store=store, rank=rank, world_size=world, timeout=timeout)
        try:
            worker(rank, world, *arguments)
        finally:
            dist.destroy_process_group()


@pytest.fixture
def on_two_and_four_ranks(tmp_path):
    """A function that runs ``worker(rank, world, *arguments)`` on 2 and then 4 ranks; what fails there fails here."""

    def run(worker, *arguments):
        context = mp.start_processes(
            _enter,
            args=(worker, str(tmp_path), arguments),
            nprocs=max(WORLDS),
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
