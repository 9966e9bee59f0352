"""Run a notebook from top to bottom in a fresh kernel, and store it with clean outputs."""

from __future__ import annotations

import os
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nbformat
from ipykernel.kernelspec import RESOURCES, get_kernel_dict
from jupyter_client.kernelspec import KernelSpec
from jupyter_client.manager import AsyncKernelManager
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError

from course_lib.notebook.scale import Scale
from course_lib.study.checks.outputs import check_outputs
from course_lib.study.checks.page import Page
from course_lib.study.running.failure_report import MAX_LINES, failure_report
from course_lib.study.running.process_memory import peak_memory_bytes
from course_lib.study.running.stored_form import as_stored_text


@dataclass(frozen=True, slots=True)
class Execution:
    """What a run of a notebook gave.

    ``error`` is None if every cell ran and nothing that must not be stored came out; otherwise it says which cell
    and why, in at most 30 lines. ``stored`` tells whether the file was written.
    """

    path: Path
    seconds: float
    peak_memory_bytes: int
    error: str | None
    stored: bool


def execute_notebook(path: Path, *, store: bool = False, timeout: float = 180, scale: Scale = "cpu") -> Execution:
    """Run every cell of a notebook, in a fresh kernel of this Python, in the notebook's folder.

    It computes with one thread unless ``OMP_NUM_THREADS`` says otherwise. The learner's progress is neither read nor
    written. On any error the file stays as it is.

    Args:
        path: The notebook.
        store: Write the outputs into the file, in the stored form (see ``stored_form``).
        timeout: Seconds that one cell may take.
        scale: What ``COURSE_SCALE`` is while it runs.

    Raises:
        ValueError: If there is no such notebook, or it cannot be read.
    """
    path = Path(path).resolve()
    Page.read(path)
    notebook = nbformat.read(path, as_version=4)  # type: ignore[no-untyped-call]
    before = set(path.parent.iterdir())
    started = time.perf_counter()
    error, peak = _run(notebook, path, timeout, scale)
    seconds = time.perf_counter() - started
    text = as_stored_text(notebook)
    if error is None:
        error = _refusal(Page(path, text), sorted(set(path.parent.iterdir()) - before))
    stored = store and error is None
    if stored:
        _write(path, text)
    return Execution(path, seconds, peak, error, stored)


class _ThisPython(AsyncKernelManager):
    """Starts kernels of the Python that runs now, whatever kernels are installed elsewhere."""

    @property
    def kernel_spec(self) -> KernelSpec:
        return KernelSpec(resource_dir=RESOURCES, **get_kernel_dict())


def _run(notebook: Any, path: Path, timeout: float, scale: Scale) -> tuple[str | None, int]:
    """Run all cells; return the report of the first that failed, and the kernel's peak memory."""
    peaks, at = [0], [0]

    def before_cell(cell: Any, cell_index: int) -> None:
        at[0] = cell_index

    def after_cell(cell: Any, cell_index: int, execute_reply: Any) -> None:
        manager: Any = client.km
        peaks.append(peak_memory_bytes(manager.provisioner.pid))

    client = NotebookClient(
        notebook,
        timeout=timeout,
        kernel_name="python3",
        kernel_manager_class=_ThisPython,
        resources={"metadata": {"path": str(path.parent)}},
        record_timing=False,
        extra_arguments=["--log-level=ERROR"],  # kernels warn about their own transport, which no reader can change
        coalesce_streams=True,
        on_cell_start=before_cell,
        on_cell_executed=after_cell,
    )
    with tempfile.TemporaryDirectory(prefix="course-run-", ignore_cleanup_errors=True) as home:
        try:
            client.execute(env=_environment(home, scale), stderr=subprocess.DEVNULL)  # the kernel's own log
        except CellExecutionError as error:
            output = next(o for o in notebook.cells[at[0]].outputs if o.output_type == "error")
            message, details = f"{error.ename}: {error.evalue}", "\n".join(output.traceback)
        except CellTimeoutError:
            message, details = f"it took longer than {timeout:g} s", ""
        except DeadKernelError:
            message = "the kernel died"
            details = f"It had used {max(peaks) / 2**30:.1f} GiB before this cell; was there memory left?"
        else:
            return None, max(peaks)
    cell = notebook.cells[at[0]]
    number = 1 + sum(bool(c.source.strip()) for c in notebook.cells[: at[0]] if c.cell_type == "code")
    where = f"notebooks/{path.name}, cell {at[0] + 1} (In [{number}])"
    return failure_report(where, cell.source, message, details), max(peaks)


def _environment(home: str, scale: Scale) -> dict[str, str]:
    # One thread, as in the tests: two on each of two busy cores are many times slower, and round otherwise.
    return (
        {"OMP_NUM_THREADS": "1"}
        | os.environ
        | {
            "COURSE_SCALE": scale,
            "COURSE_HOME": home,
            "IPYTHONDIR": str(Path(home, "ipython")),  # nobody's start-up files
            "MPLBACKEND": "module://matplotlib_inline.backend_inline",
            "PYDEVD_DISABLE_FILE_VALIDATION": "1",
        }
    )


def _refusal(page: Page, left_behind: list[Path]) -> str | None:
    """Say why outputs must not be stored, None if they may be."""
    reasons = [str(complaint) for complaint in check_outputs(page)]
    if left_behind:
        names = ", ".join(path.name for path in left_behind)
        reasons.append(f"{page.where}: it left files in its folder ({names}). Write to tempfile.TemporaryDirectory().")
    return "\n".join(reasons[:MAX_LINES]) or None


def _write(path: Path, text: str) -> None:
    """Replace the file at once, so that an interrupted write leaves the old one."""
    temporary = path.with_name(f".{path.name}.tmp")
    temporary.write_text(text, encoding="utf-8", newline="\n")
    os.replace(temporary, path)
