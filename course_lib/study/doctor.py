"""Looks this machine over: what the course needs, what is there, and the cure where something is not."""

from __future__ import annotations

import os
import platform
import re
import shutil
import sys
import tempfile
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Literal

GIB = 2**30
MEMORY_GIB = 3  # what one notebook may use
DISK_GIB = 2


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing looked at: how it stands, and what to do where it does not stand well."""

    level: Literal["ok", "warn", "fail"]
    what: str
    cure: str = ""

    @property
    def ok(self) -> bool:
        """Whether nothing needs to be done."""
        return self.level == "ok"


def findings() -> list[Finding]:
    """Look everything over, in about the time that importing torch takes.

    Returns:
        One finding for each thing: ``fail`` where the course cannot work, ``warn`` where a part of it cannot, or
        only slowly. When packages are missing, what needs them is not looked at.
    """
    packages = _packages()
    found = [Finding("ok", f"Python {platform.python_version()}"), *packages]
    if any(finding.level == "fail" for finding in packages):
        return found
    return [*found, _torch(), _processors(), _memory(), _disk(), _course(), _progress(), _scale(), _git(), _compiler()]


def report() -> int:
    """Print every finding with its cure, a line each; colours only where a terminal shows them and ``NO_COLOR`` allows.

    Returns:
        The exit code: 1 if the course cannot work as things are, else 0.
    """
    found = findings()
    try:
        from rich.console import Console
        from rich.text import Text
    except ModuleNotFoundError:  # the packages are what is missing: say so all the same
        for finding in found:
            print(f"{finding.level:4}  {_line(finding)}")
    else:
        console = Console(highlight=False, soft_wrap=True)
        styles = {"ok": "green", "warn": "yellow", "fail": "bold red"}
        for finding in found:
            console.print(Text.assemble((f"{finding.level:4}", styles[finding.level]), "  ", _line(finding)))
    return 1 if any(finding.level == "fail" for finding in found) else 0


def environment_lines() -> list[str]:
    """Return the few lines about this machine that belong beside measured times: no paths, no names of persons.

    Example:
        >>> environment_lines()[0].startswith("Python 3.")
        True
    """
    import psutil
    import torch

    return [
        f"Python {platform.python_version()}, PyTorch {torch.__version__}",
        f"CPU cores: {os.cpu_count()}, threads used by PyTorch: {torch.get_num_threads()}",
        f"accelerator: {_accelerator() or 'none'}",
        f"memory: {psutil.virtual_memory().total / GIB:.0f} GiB",
    ]


def _line(finding: Finding) -> str:
    return f"{finding.what}: {finding.cure}" if finding.cure else finding.what


def _packages() -> list[Finding]:
    """One finding for each package that is missing, or one that all are there."""
    try:
        required = metadata.requires("course-lib") or []
    except metadata.PackageNotFoundError:
        cure = "run `make lab` in the course's folder, or `pip install -e .[learn]` there."
        return [Finding("fail", "course-lib is not installed in this Python", cure)]
    # Lines such as "torch>=2.10" and "scikit-learn>=1.5; extra == 'learn'".
    wanted = [line for line in required if "extra ==" not in line or "'learn'" in line.replace('"', "'")]
    names = [re.split(r"[^\w.-]", line)[0] for line in wanted]
    missing = [name for name in names if not _installed(name)]
    if not missing:
        return [Finding("ok", f"all {len(names)} packages that the course uses are installed")]
    cure = "run `make lab` again, or `pip install -e .[learn]` in the course's folder."
    return [Finding("fail", f"the package {name} is missing", cure) for name in missing]


def _installed(name: str) -> bool:
    try:
        metadata.version(name)
    except metadata.PackageNotFoundError:
        return False
    return True


def _accelerator() -> str:
    import torch

    if torch.cuda.is_available():
        return f"CUDA, {torch.cuda.get_device_name()}"
    return "MPS" if torch.backends.mps.is_available() else ""


def _torch() -> Finding:
    import torch

    accelerator = _accelerator()
    what = f"PyTorch {torch.__version__} on {accelerator or 'the CPU'}"
    if not accelerator and shutil.which("nvidia-smi"):
        cure = "this machine has an NVIDIA driver; to use its GPU, install a CUDA build of PyTorch."
        return Finding("warn", what, cure)
    return Finding("ok", what)


def _processors() -> Finding:
    import torch

    cores, threads = os.cpu_count() or 1, torch.get_num_threads()
    what = f"CPU cores: {cores}, threads used by PyTorch: {threads}"
    if threads > cores:
        return Finding("warn", what, f"more threads than cores is slow; set OMP_NUM_THREADS={cores}.")
    return Finding("ok", what)


def _memory() -> Finding:
    import psutil

    memory = psutil.virtual_memory()
    what = f"memory: {memory.total / GIB:.1f} GiB, {memory.available / GIB:.1f} GiB of it free"
    if memory.available < MEMORY_GIB * GIB:
        return Finding("warn", what, f"a notebook may need {MEMORY_GIB} GiB; close other programs and idle kernels.")
    return Finding("ok", what)


def _disk() -> Finding:
    free = shutil.disk_usage(Path.cwd()).free
    what = f"disk: {free / GIB:.0f} GiB free here"
    if free < DISK_GIB * GIB:
        return Finding("warn", what, f"keep {DISK_GIB} GiB free for data and checkpoints.")
    return Finding("ok", what)


def _course() -> Finding:
    from course_lib.content import course_root, notebook_paths

    try:
        root = course_root()
    except FileNotFoundError as error:
        return Finding("fail", "the course's notebooks are not found", str(error))
    count = len(notebook_paths(root))
    return Finding("ok", f"course with {count} notebook{'' if count == 1 else 's'} in {root}")


def _progress() -> Finding:
    """Whether the progress file's folder, or the nearest one above it that exists, can be written to."""
    from course_lib.study.memory.progress_file import progress_path

    folder = progress_path().parent
    existing = next(place for place in (folder, *folder.parents) if place.exists())
    try:
        with tempfile.TemporaryFile(dir=existing):
            pass
    except OSError as error:
        cure = "make it writable, or set COURSE_HOME to a folder that is."
        return Finding("fail", f"progress cannot be kept in {folder} ({error.strerror})", cure)
    return Finding("ok", f"progress is kept in {folder}")


def _scale() -> Finding:
    from course_lib.notebook.scale import device, scale

    try:
        in_force = scale()
    except ValueError as error:
        return Finding("fail", "the scale is not known", str(error))
    if in_force == "gpu" and device().type == "cpu":
        cure = "notebooks would take hours; unset COURSE_SCALE."
        return Finding("warn", "COURSE_SCALE asks for the gpu setting, and PyTorch sees no GPU", cure)
    return Finding("ok", f"notebooks run at {in_force} scale, on {device().type}")


def _git() -> Finding:
    if shutil.which("git"):
        return Finding("ok", "git is installed")
    return Finding("warn", "git is not installed", "only fetching new versions of the course needs it.")


def _compiler() -> Finding:
    names = ["cl"] if os.name == "nt" else ["c++", "g++", "clang++"]
    if os.environ.get("CXX") or any(shutil.which(name) for name in names):
        return Finding("ok", "a C++ compiler is installed")
    cures = {"linux": "`sudo apt install g++` or the like", "darwin": "`xcode-select --install`"}
    cure = cures.get(sys.platform, "Visual Studio's build tools for C++")
    return Finding("warn", "no C++ compiler", f"only torch.compile on the CPU needs one; {cure} brings it.")
