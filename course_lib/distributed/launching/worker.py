"""What runs inside a worker: join the group, call the function, leave what came of it in the rank's folder."""

from __future__ import annotations

import faulthandler
import linecache
import multiprocessing
import multiprocessing.util
import os
import shutil
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any, NoReturn

import torch

from course_lib.distributed.launching.group import process_group
from course_lib.distributed.launching.rank_folder import RankFolder

WATCH_SECONDS = 0.5


def run_worker(task: str, num_threads: int, backend: str | None, timeout: float) -> None:
    """Run the task of the folder in this rank; started by `launch`, in a process of its own.

    Args:
        task: The file with the function, its arguments, the sources of cells and the names of its variables.
        num_threads: Threads that torch may use.
        backend: As in :func:`process_group`.
        timeout: Seconds after which a collective that some rank never joins ends with an error.
    """
    folder = RankFolder(Path(task).parent, int(os.environ["RANK"]))
    if hasattr(os, "setsid"):
        os.setsid()  # Ctrl-C in the terminal reaches whoever launched, who ends the workers
    threading.Thread(target=_end_with_the_launch, args=(folder.path,), daemon=True).start()
    _write_to(folder)
    torch.set_num_threads(num_threads)
    try:
        fn, arguments, sources, variables = torch.load(task, weights_only=False, map_location="cpu")
        _forget_all_but(variables)
        linecache.cache.update(sources)  # a traceback shows the lines of a cell
        with process_group(backend=backend, timeout=timeout, start_timeout=timeout):
            ready = time.time()
            try:
                folder.save((ready, call(fn, arguments)))
            except BaseException as error:
                _fail(folder, error)  # before leaving the group: the others fail later than the cause
    except BaseException as error:
        _fail(folder, error)
    _flush()
    multiprocessing.util.Finalize(None, _leave, exitpriority=0)


def _leave() -> None:
    """End at once when all have returned: a thread or a process that the function left would be waited for."""
    multiprocessing.util._run_finalizers()  # type: ignore[attr-defined]  # temporary folders
    os._exit(0)


def _forget_all_but(variables: list[str]) -> None:
    """Unset what the caller has unset since the server was started from which this process was forked."""
    for name in set(os.environ) - set(variables):
        if not name.startswith("TORCHELASTIC_"):
            del os.environ[name]


def _fail(folder: RankFolder, error: BaseException) -> NoReturn:
    try:
        text = str(error)
    except Exception:
        text = "(it cannot be shown as text)"
    folder.save_error(f"{type(error).__name__}: {text}".strip(": "), _traceback(error))
    _flush()
    os._exit(1)


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        stream.flush()


def call(fn: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
    """Call the user's function; the frames inside it are the user's."""
    return fn(*arguments)


def _traceback(error: BaseException) -> str:
    """The traceback without this file's own frames, unless there are no others."""
    described = traceback.TracebackException.from_exception(error)
    mine = [frame for frame in described.stack if frame.filename != __file__]
    described.stack = traceback.StackSummary.from_list(mine or list(described.stack))
    return "".join(described.format())


def _write_to(folder: RankFolder) -> None:
    """Send what this process prints to the rank's files, C's prints too; let a stop tell where it came."""
    for stream, path in ((sys.stdout, folder.stdout), (sys.stderr, folder.stderr)):
        with path.open("ab") as file:
            os.dup2(file.fileno(), 1 if stream is sys.stdout else 2)
    sys.stdout = open(1, "w", buffering=1, encoding="utf-8", errors="replace", closefd=False)  # noqa: SIM115
    sys.stderr = open(2, "w", buffering=1, encoding="utf-8", errors="replace", closefd=False)  # noqa: SIM115
    faulthandler.enable(all_threads=False)  # a crash in C shows where, on stderr
    if hasattr(faulthandler, "register"):
        stopped = folder.stopped.open("w", encoding="utf-8")  # open for as long as the process lives
        faulthandler.register(signal.SIGTERM, file=stopped, all_threads=True, chain=True)


def _end_with_the_launch(folder: Path) -> None:
    """End this process and its children when the launch has ended in whatever way: its process, or its folder."""
    launcher = multiprocessing.parent_process()
    while launcher is not None and folder.exists():
        if wait([launcher.sentinel], timeout=WATCH_SECONDS):
            break
    shutil.rmtree(folder.parent, ignore_errors=True)
    if hasattr(os, "killpg"):
        os.killpg(os.getpgrp(), signal.SIGKILL)
    os._exit(1)
