"""Run a function on several worker processes from a notebook cell or a script, and get back what each returned."""

from __future__ import annotations

import linecache
import logging
import multiprocessing
import os
import signal
import sys
import tempfile
import threading
import time
import types
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
import torch.distributed as dist

from course_lib.collectives import initialized
from course_lib.distributed.launching.failures import failure, time_out
from course_lib.distributed.launching.rank_folder import RankFolder
from course_lib.distributed.launching.shown import shown
from course_lib.distributed.launching.worker import run_worker

if TYPE_CHECKING:
    from torch.distributed.elastic.multiprocessing import PContext

_POLL_SECONDS = 0.02
_SETTLE_SECONDS = 0.2
_GRACE_SECONDS = 2
_LONGEST_TEMPORARY_PATH = 70  # bytes; a socket's own may have 107
_one_at_a_time = threading.Lock()  # starting changes `__main__`, and no two threads may ask for one exit code at once


class Results(list[Any]):
    """What the ranks returned, in rank order.

    Attributes:
        start_seconds: From the call until every rank had its process group.
        wall_seconds: From the call until all had ended.
    """

    start_seconds: float
    wall_seconds: float


def launch(
    fn: Callable[..., Any],
    *arguments: Any,
    num_workers: int = 2,
    timeout: float = 60.0,
    backend: str | None = None,
    show: bool = True,
    num_threads: int = 1,
) -> Results:
    """Run ``fn(*arguments)`` on ``num_workers`` processes that form a process group; return what each returned.

    The function may stand in a notebook's cell: it travels with what it uses (a lambda, a closure, a class of the cell
    too). Inside, :func:`course_lib.collectives.rank` says which process it is, :func:`device` where its tensors belong.
    Workers are started and watched by ``torch.distributed.elastic.multiprocessing``, the part of torchrun that does so.
    The first launch takes a few seconds, later ones a fraction of one; on a machine with GPUs each takes seconds.

    What a rank prints appears in the cell as it comes, behind its rank. When a rank fails, when the time is over, when
    the cell is interrupted or its kernel dies, all workers end.

    Args:
        fn: Called on every rank. It works on copies: changes to the caller's variables do not come back.
        arguments: Passed to every rank alike, tensors on the CPU.
        num_workers: How many processes.
        timeout: Seconds until all must have returned, starting included.
        backend: As in :func:`process_group`: NCCL where each rank has a GPU, otherwise gloo on the CPU.
        show: Whether to show what the ranks print.
        num_threads: Threads torch may use in each worker; more workers than cores with many threads each crawl.

    Returns:
        A list with what rank 0, 1, ... returned, tensors on the CPU. It knows its ``start_seconds`` and
        ``wall_seconds``.

    Raises:
        WorkerFailed: If a rank raised an exception or died; it names the rank, with the traceback.
        WorkersTimedOut: If ranks had not returned in time; it tells where each was.
        ValueError: If called from within a worker, or with a number that makes no sense.
        TypeError: If the function or an argument cannot be sent to another process.

    Example:
        >>> from course_lib.collectives import rank
        >>> launch(lambda base: base + rank(), 10, num_workers=2)
        [10, 11]
    """
    if not callable(fn):
        raise TypeError(f"launch needs a function to call, got {fn!r}: write launch(fn, x), not launch(fn(x)).")
    for name, value in (("num_workers", num_workers), ("num_threads", num_threads), ("timeout", timeout)):
        if not value > 0:
            raise ValueError(f"{name} must be positive, got {value}.")
    if initialized():
        raise ValueError("launch was called where a process group exists, so within a worker: call it outside.")
    began = time.time()
    with tempfile.TemporaryDirectory(prefix="launch_", ignore_cleanup_errors=True) as folder, ExitStack() as stack:
        folders = [RankFolder(Path(folder), rank) for rank in range(num_workers)]
        for rank_folder in folders:
            rank_folder.path.mkdir()
        store = dist.TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)  # type: ignore[attr-defined]
        environments = [_environment(rank, num_workers, store.port, num_threads) for rank in range(num_workers)]
        task = Path(folder) / "task.pt"
        _send(task, fn, arguments, list(environments[0]))
        stack.enter_context(_quiet())
        if show:
            stack.enter_context(shown(folders))
        ended = _run(
            (str(task), num_threads, backend, 2 * timeout),  # ours comes first, and tells more than a collective's
            environments,
            folder,
            began + timeout,
        )
        stack.close()  # all that was printed stands before what comes next
        states = {rank_folder.state() for rank_folder in folders}
        if ended or "raised" in states:
            raise failure(folders, ended)
        if states != {"returned"}:
            raise time_out(folders, timeout)
        answers = [rank_folder.load() for rank_folder in folders]
    results = Results(value for _, value in answers)
    results.start_seconds = max(ready for ready, _ in answers) - began
    results.wall_seconds = time.time() - began
    return results


def _start_method() -> str:
    """Fork workers from a server that has imported torch, so that each is there at once, where that can be done.

    It cannot once CUDA or macOS's own numeric libraries are loaded, nor if the path of the temporary folder is too long
    for the server's socket: there each worker is started afresh.
    """
    fits = len(os.fsencode(tempfile.gettempdir())) <= _LONGEST_TEMPORARY_PATH
    return "forkserver" if sys.platform == "linux" and fits and torch.cuda.device_count() == 0 else "spawn"


def _send(task: Path, fn: Callable[..., Any], arguments: tuple[Any, ...], variables: list[str]) -> None:
    """Write for the workers the function, its arguments, the lines of cells (no file holds them), variables' names."""
    import cloudpickle

    sources = {name: entry for name, entry in linecache.cache.items() if len(entry) == 4 and not os.path.exists(name)}
    try:
        torch.save((fn, arguments, sources, variables), task, pickle_module=cloudpickle)
    except Exception as error:
        raise TypeError(
            f"{fn!r} or an argument cannot be sent to other processes: {error}. Open files, locks, iterators and "
            "process groups stay where they are: make them inside the function."
        ) from error


def _environment(rank: int, size: int, port: int, num_threads: int) -> dict[str, str]:
    """What torchrun would tell a worker; besides that the caller's environment as it is now."""
    loopback = "lo0" if sys.platform == "darwin" else "lo"
    return {
        "GLOO_SOCKET_IFNAME": loopback,  # on a laptop the host's name may lead nowhere
        **os.environ,
        "OMP_NUM_THREADS": str(num_threads),
        "RANK": str(rank),
        "LOCAL_RANK": str(rank),
        "WORLD_SIZE": str(size),
        "LOCAL_WORLD_SIZE": str(size),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "TORCHELASTIC_USE_AGENT_STORE": "True",  # the store is ours: rank 0 need not host one
    }


def _run(
    arguments: tuple[Any, ...], environments: Sequence[dict[str, str]], folder: str, deadline: float
) -> dict[int, int | None]:
    """Start the workers and wait until all have returned, one has ended early, or the time is over; then end all.

    Returns:
        The exit codes (None if unknown) of ranks that ended early, by themselves.
    """
    with _one_at_a_time:
        workers, processes = _start(arguments, environments, folder)
    try:
        while time.time() < deadline:
            with _one_at_a_time:
                ended = _ended(processes)
                if not ended and (result := workers.wait(0)):
                    return {rank: failed.exitcode for rank, failed in result.failures.items()}
            if ended:
                time.sleep(_SETTLE_SECONDS)  # one that was killed may be noticed after one that could not reach it
                with _one_at_a_time:
                    return _ended(processes)
            time.sleep(_POLL_SECONDS)
        return {}
    finally:
        with _one_at_a_time:
            workers.close(timeout=_GRACE_SECONDS)
        for pid in workers.pids().values():  # each led a session of its own: end what it may have started, too
            with suppress(ProcessLookupError, PermissionError, AttributeError):
                os.killpg(pid, signal.SIGKILL)


def _start(
    arguments: tuple[Any, ...], environments: Sequence[dict[str, str]], folder: str
) -> tuple[PContext, dict[int, BaseProcess | None]]:
    """Return the workers, and the process of each rank; None for one that has ended already."""
    from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs, SignalException, start_processes

    method = _start_method()
    if method == "forkserver":
        multiprocessing.get_context(method).set_forkserver_preload(["course_lib.distributed.launching.preload"])
    others = set(multiprocessing.active_children())
    try:
        with _own_signal_handlers(), _main_module_hidden():
            workers = start_processes(
                name="rank",
                entrypoint=run_worker,
                args=dict.fromkeys(range(len(environments)), arguments),
                envs=dict(enumerate(environments)),
                logs_specs=DefaultLogsSpecs(log_dir=folder),
                start_method=method,
            )
    except BaseException as error:
        for begun in set(multiprocessing.active_children()) - others:
            begun.kill()
        if isinstance(error, SignalException):
            raise KeyboardInterrupt from error
        raise
    by_pid = {process.pid: process for process in multiprocessing.active_children()}
    return workers, {rank: by_pid.get(pid) for rank, pid in workers.pids().items()}


def _ended(processes: Mapping[int, BaseProcess | None]) -> dict[int, int | None]:
    """The exit codes of those that have ended: who returns waits until all have."""
    codes = {rank: process.exitcode if process else None for rank, process in processes.items()}
    return {rank: code for rank, code in codes.items() if code is not None or processes[rank] is None}


@contextmanager
def _own_signal_handlers() -> Iterator[None]:
    """Undo that torch's elastic takes over SIGINT and others: a notebook needs its own."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    names = ("SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT")
    before = {number: signal.getsignal(number) for name in names if (number := getattr(signal, name, None))}
    try:
        yield
    finally:
        for number, handler in before.items():
            if handler is not None:  # one that was not set from Python cannot be set back from there
                signal.signal(number, handler)


@contextmanager
def _main_module_hidden() -> Iterator[None]:
    """Keep multiprocessing from running the caller's script again in each worker, where it would launch again."""
    main = sys.modules["__main__"]
    sys.modules["__main__"] = types.ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence the loggers of torch's launcher: what they would say of a failure, the error says better."""
    loggers = [logging.getLogger(name) for name in ("torch.distributed.elastic", "torch.multiprocessing")]
    silence = logging.NullHandler()
    for logger in loggers:
        logger.addHandler(silence)
        logger.propagate = False
    try:
        yield
    finally:
        for logger in loggers:
            logger.removeHandler(silence)
            logger.propagate = True
