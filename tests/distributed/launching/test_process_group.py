"""Joining the group that the environment describes: on real processes, and each way in which it can be wrong."""

import itertools
import os
import re
import socket
from contextlib import closing

import pytest
import torch
import torch.distributed as dist

from course_lib.collectives import initialized, rank
from course_lib.distributed import device, launch, process_group
from course_lib.distributed.launching import group


def free_port():
    with closing(socket.socket()) as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def describe(rank, size, port):
    return {"RANK": str(rank), "WORLD_SIZE": str(size), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}


def entered(rank, size, port):
    """What a process meets that is told so."""
    os.environ.update(describe(rank, size, port))
    try:
        with process_group(start_timeout=20) as mine:
            total = torch.ones(1, device=mine) * (rank + 1)
            dist.all_reduce(total)
            return total.item(), dist.get_world_size(), device() == mine
    except ValueError as error:
        return str(error)


def worker(ports):
    """Leave the group of the launch: from here on the environment tells who is there."""
    me = rank()
    dist.destroy_process_group()
    del os.environ["TORCHELASTIC_USE_AGENT_STORE"]  # rank 0 is the host
    for port in ports["good"], ports["good"]:  # one after the other at the same place
        assert entered(me, 2, port) == (3.0, 2, True)
        assert not initialized()
    said = entered(me, 2 + me, ports["sizes"])
    dist.init_process_group("gloo", store=dist.FileStore(ports["file"], 2), rank=me, world_size=2)
    return said


def test_two_processes_find_each_other_or_hear_what_is_wrong(tmp_path):
    said = launch(worker, {"good": free_port(), "sizes": free_port(), "file": str(tmp_path / "again")})
    told = r"The ranks disagree about WORLD_SIZE: rank \d was told \d, another one \d\. Start all with the same one\."
    assert all(re.fullmatch(told, what) for what in said)


@pytest.fixture
def told(monkeypatch):
    def tell(environment):
        for name in ("RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"):
            monkeypatch.delenv(name, raising=False)
        for name, value in environment.items():
            monkeypatch.setenv(name, value)

    return tell


def join(**options):
    with process_group(**options) as mine:
        return mine


def test_one_process_on_its_own_needs_no_group(told):
    told({})
    with process_group(backend="gloo") as mine:
        assert mine == device() == torch.device("cpu")
        assert not initialized()


def test_one_rank_alone_is_a_group(told):
    told(describe(0, 1, free_port()))
    with process_group(backend="gloo"):
        assert dist.get_world_size() == 1
    assert not initialized()


def test_ranks_that_do_not_come_are_named(told):
    told(describe(0, 4, free_port()))
    with pytest.raises(TimeoutError, match=r"Rank 0 waited 0\.3 s for 4 ranks; \[1, 2, 3\] did not come"):
        join(start_timeout=0.3)
    told(describe(1, 2, free_port()))
    with pytest.raises(TimeoutError, match=r"Rank 1 found nobody at 127\.0\.0\.1:\d+ within 0\.3 s"):
        join(start_timeout=0.3)


def test_two_processes_that_claim_one_rank_are_told(told, monkeypatch):
    port = free_port()
    host = dist.TCPStore("127.0.0.1", port, is_master=True, wait_for_workers=False)
    told(describe(1, 2, port))
    with pytest.raises(TimeoutError, match=r"Rank 1 waited .* \[0\] did not come"):
        join(start_timeout=0.3)
    monkeypatch.setattr(group, "_groups", itertools.count(next(group._groups) - 1))  # as a second process would count
    with pytest.raises(ValueError, match=r"Two processes say that they are rank 1 of 2"):
        join(start_timeout=0.3)
    del host


def test_a_port_in_use_is_told_at_once(told):
    with closing(socket.socket()) as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        told(describe(0, 2, port))
        with pytest.raises(ValueError, match=rf"Rank 0 cannot listen on port {port} of 127\.0\.0\.1: another program"):
            join()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"RANK": "2"}, r"RANK must lie between 0 and WORLD_SIZE - 1 = 1, got 2"),
        ({"RANK": "first"}, r"The environment variable RANK must be a whole number from 0, got 'first'"),
        ({"MASTER_PORT": None}, r"RANK is set but MASTER_PORT is not"),
    ],
)
def test_an_environment_that_makes_no_sense_is_refused(told, change, message):
    environment = {**describe(0, 2, free_port()), **change}
    told({name: value for name, value in environment.items() if value is not None})
    with pytest.raises(ValueError, match=message):
        join(start_timeout=0.3)


def test_nccl_needs_a_gpu_for_each_rank_of_the_machine(told):
    num_gpus = torch.cuda.device_count()
    told({**describe(0, num_gpus + 1, free_port())})
    with pytest.raises(ValueError, match=rf"{num_gpus + 1} ranks on this machine, {num_gpus} GPUs"):
        join(backend="nccl")
