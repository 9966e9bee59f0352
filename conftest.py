"""pytest for the whole repository: notebooks first, failing cells in one screen, a closing table of what each took."""

from __future__ import annotations

import json
import os
import queue
import tempfile
import time
from collections import defaultdict
from functools import cache
from pathlib import Path

import pytest

from course_lib.study.running.budget import MAX_MEMORY_BYTES, compute_budget
from course_lib.study.running.failure_report import failure_report
from course_lib.study.running.process_memory import peak_memory_bytes

try:
    from nbval.plugin import IPyNbCell, NbCellError
except ImportError:  # pytest of someone who uses course_lib without the extra "test"
    IPyNbCell = NbCellError = ()

PEAK = "peak_memory_bytes"
FAILED = pytest.StashKey[str]()
SLOWEST = 10


def pytest_configure(config: pytest.Config) -> None:
    """Set the scale, keep away from the user's progress, and print the closing tables."""
    home = tempfile.TemporaryDirectory(prefix="course-tests-", ignore_cleanup_errors=True)
    config.add_cleanup(home.cleanup)
    environment = pytest.MonkeyPatch()
    config.add_cleanup(environment.undo)
    environment.setenv("COURSE_SCALE", "cpu")
    environment.setenv("COURSE_HOME", home.name)
    environment.setenv("IPYTHONDIR", str(Path(home.name, "ipython")))
    environment.delenv("COURSE_ROOT", raising=False)
    if "OMP_NUM_THREADS" not in os.environ:
        environment.setenv("OMP_NUM_THREADS", "1")  # two threads on each of two busy cores are many times slower
    config.option.loadscopereorder = False  # pytest-xdist would start files in another order than ours
    config.pluginmanager.register(Tables(config))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Start with the notebooks, the longest first, so that two workers finish together."""
    items.sort(key=lambda item: -_expected_seconds(item.path) if isinstance(item, IPyNbCell) else 1.0)


@cache
def _expected_seconds(path: Path) -> float:
    try:
        return float(json.loads(path.read_text(encoding="utf-8"))["metadata"]["course"]["compute_seconds"])
    except (ValueError, KeyError, TypeError):
        return 0.0  # `course check` complains about it


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip the cells after one that failed: what they say is only its consequence."""
    if isinstance(item, IPyNbCell) and (failed := item.parent.stash.get(FAILED, None)):
        pytest.skip(f"{failed} of this notebook failed")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> object:
    """Fail a cell at once when the kernel dies under it, and when it writes to stderr."""
    if not isinstance(item, IPyNbCell):
        return (yield)
    kernel = item.parent.kernel
    kernel.await_reply = lambda msg_id, timeout=None: _await_reply(item, msg_id, timeout)
    result = yield
    stderr = "".join(output.text for output in item.test_outputs or () if output.get("name") == "stderr")
    if stderr:
        item.raise_cell_error("The cell writes to stderr; a message for the reader goes to stdout", stderr)
    return result


def _await_reply(item: pytest.Item, msg_id: str, timeout: float | None) -> None:
    """Wait as nbval does, but not for a kernel that is gone (nbval waits until the cell's time is over)."""
    kernel, started = item.parent.kernel, time.monotonic()
    while True:
        try:
            message = kernel.get_message(stream="shell", timeout=1)
        except queue.Empty:
            if not kernel.is_alive():
                item.raise_cell_error("The kernel died in this cell; was there memory left?")
            if timeout is not None and time.monotonic() - started > timeout:
                raise
            continue
        if message["parent_header"].get("msg_id") == msg_id:
            return


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> object:
    """Send a cell's peak memory along with its report, and shorten the report of a failure to one screen."""
    if not isinstance(item, IPyNbCell):
        return (yield)
    kernel = item.parent.kernel
    if call.when == "call" and kernel is not None and kernel.is_alive():
        item.user_properties.append((PEAK, peak_memory_bytes(kernel.km.provisioner.pid)))
    report = yield
    if report.failed:
        item.parent.stash[FAILED] = item.name
        report.longrepr = _in_one_screen(item, call.excinfo.value)
    return report


def _in_one_screen(item: pytest.Item, error: BaseException) -> str:
    cells = item.parent.nb.cells
    position = next(place for place, cell in enumerate(cells, start=1) if cell is item.cell)
    where = f"{item.nodeid.partition('::')[0]}, cell {position} (In [{item.cell_num + 1}])"
    details = getattr(error, "inner_traceback", None) or ""
    message = str(error)
    if message.startswith("Cell execution caused an exception"):
        message = failure_report("", "", "", details).rstrip().rpartition("\n")[2]
    return failure_report(where, item.cell.source, message, details)


class Tables:
    """Adds up what each file took, on whichever worker it ran, and prints it at the end."""

    def __init__(self, config: pytest.Config) -> None:
        self.rootpath = config.rootpath
        self.seconds: dict[str, float] = defaultdict(float)
        self.peaks: dict[str, int] = defaultdict(int)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Add what one phase of one test took."""
        file = report.nodeid.partition("::")[0]
        self.seconds[file] += report.duration
        self.peaks[file] = max([self.peaks[file], *(value for name, value in report.user_properties if name == PEAK)])

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Print the notebooks, then the slowest of the other files."""
        notebooks = sorted(file for file in self.seconds if file.endswith(".ipynb"))
        if notebooks:
            terminalreporter.section("notebooks: seconds with the kernel's start, and peak memory")
            for file in notebooks:
                terminalreporter.line(self._notebook_line(file))
            total = sum(self.seconds[file] for file in notebooks)
            terminalreporter.line(f"{'all':40} {total:7.1f} s")
        others = sorted(set(self.seconds) - set(notebooks), key=lambda file: -self.seconds[file])
        if len(others) > 1:
            terminalreporter.section(f"the slowest of {len(others)} test files")
            for file in others[:SLOWEST]:
                terminalreporter.line(f"{file:60} {self.seconds[file]:7.1f} s")

    def _notebook_line(self, file: str) -> str:
        name, seconds, peak = Path(file).name, self.seconds[file], self.peaks[file]
        over = []
        if seconds > compute_budget(name[:2]):
            over.append(f"over its budget of {compute_budget(name[:2])} s")
        if peak > MAX_MEMORY_BYTES:
            over.append(f"over {MAX_MEMORY_BYTES / 2**30:.0f} GiB")
        return f"{name:40} {seconds:7.1f} s {peak / 2**30:7.2f} GiB  {', '.join(over)}".rstrip()
