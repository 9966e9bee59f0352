"""Sets the course up, then opens it (``python lab.py lab``), tests it (``test``) or builds its website (``site``)."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

# Standard library only, and this file must load under Python 3.7, if only to say that a newer one is needed.
MINIMUM = (3, 11)
ROOT = Path(__file__).resolve().parent
VENV = ROOT / ".venv"
STAMP = VENV / "course-setup.json"  # written last: what is installed, and from which files
UNFINISHED = VENV / "course-unfinished"  # there while .venv is being made
FIRST_PAGE = "my/00_start_here.ipynb"
EXTRAS = {"lab": ["learn"], "test": ["learn", "test", "site"], "site": ["learn", "site"]}
USAGE = """usage: python lab.py lab [JupyterLab's options, such as --no-browser]
       python lab.py test [pytest's options, such as tests/data or -x]
       python lab.py site [notebooks, such as 00 05, for a quick look]
All set up .venv first: a few minutes the first time, seconds afterwards."""

# JupyterLab's first screen is the notebook, not a question about news or updates.
JUPYTER_SETTINGS = {"@jupyterlab/apputils-extension:notification": {"fetchNews": "false", "checkForUpdates": False}}

# One process for both, because each would import torch.
PREPARE = """
import sys
from course_lib.study import copies, doctor

if doctor.report() != 0:
    sys.exit(1)
for line in copies.prepare():
    print(line)
"""


class SetupError(Exception):
    """Something is missing on this machine; the message says what, and what to do."""


def main(arguments: list[str]) -> int:
    """Run one subcommand and return the exit code of the process."""
    if sys.version_info[:2] < MINIMUM:
        return _complain(old_python(sys.version_info[:2]))
    if not arguments or arguments[0] not in EXTRAS:
        print(USAGE)
        return 0 if arguments and arguments[0] in ("-h", "--help", "help") else 2
    command, options = arguments[0], arguments[1:]
    try:
        set_up(EXTRAS[command])
        return {"lab": open_lab, "test": run_tests, "site": build_site}[command](options)
    except SetupError as error:
        return _complain(str(error))
    except KeyboardInterrupt:
        return _complain("stopped; the same command goes on from here.", code=130)


def old_python(version: tuple[int, ...]) -> str:
    """Return the one line that someone with too old a Python needs."""
    return (
        "this course needs Python {}.{} or newer, and this is {}.{}: install a newer one and name it, "
        "for example `make lab PYTHON=python3.12` or `python3.12 lab.py lab`."
    ).format(*MINIMUM, *version)


def set_up(extras: list[str]) -> None:
    """Make ``.venv`` and install the course with ``extras`` into it, or return at once where that is done already.

    Raises:
        SetupError: If Python cannot make the environment, or pip cannot fill it.
    """
    version = ensure_venv()
    inputs = fingerprint(version)
    if is_installed(read_stamp(), inputs, extras):
        return
    _say(
        "Installing what the course needs into .venv: some minutes and about 2 GB of disk the first time "
        "(7 GB on Linux where PyTorch comes with its CUDA libraries). Please wait ..."
    )
    started = time.monotonic()
    STAMP.unlink(missing_ok=True)
    forget_half_installed()
    done = subprocess.run(pip_command(extras), cwd=ROOT, env=pip_environment(), stdin=subprocess.DEVNULL)
    if done.returncode != 0:
        raise SetupError(
            f"pip could not install the course (exit code {done.returncode}, its reason stands above). A first "
            "installation needs the network and free disk; then run the same command again: it goes on from here."
        )
    quiet_jupyterlab()
    STAMP.write_text(json.dumps({"root": str(ROOT), "inputs": inputs, "extras": extras}), encoding="utf-8")
    _say(f"Installed in {time.monotonic() - started:.0f} s.")


def ensure_venv() -> str:
    """Return the version of ``.venv``'s Python, after making ``.venv`` anew where it is missing, broken or moved."""
    moved = read_stamp().get("root", str(ROOT)) != str(ROOT)
    version = "" if moved or UNFINISHED.exists() else venv_version()
    if version:
        return version
    missing = [name for name in ("venv", "ensurepip") if importlib.util.find_spec(name) is None]
    if missing:
        raise SetupError(
            f"this Python has no module {missing[0]}, which makes virtual environments: on Debian and Ubuntu run "
            "`sudo apt install python{}.{}-venv`; elsewhere install Python from python.org.".format(*sys.version_info)
        )
    if VENV.exists():
        _say("The environment in .venv is broken, half made or from another folder: making it anew.")
        try:
            shutil.rmtree(VENV)
        except OSError as error:
            raise SetupError(f"cannot remove .venv: {error}. Close what uses it, or delete it by hand.") from error
    VENV.mkdir()
    UNFINISHED.touch()
    base_python = getattr(sys, "_base_executable", "") or sys.executable  # not a Python inside the .venv just removed
    subprocess.run([base_python, "-m", "venv", str(VENV)], stdin=subprocess.DEVNULL)
    version = venv_version()
    if not version:
        raise SetupError(f"`{base_python} -m venv .venv` made no working environment; its reason stands above.")
    UNFINISHED.unlink()
    return version


def venv_version() -> str:
    """Return the version of the Python in ``.venv``, or ``""`` where it does not run or has no pip."""
    probe = "import pip, platform; print(platform.python_version())"
    try:
        done = subprocess.run(
            [str(program("python")), "-I", "-c", probe], stdin=subprocess.DEVNULL, capture_output=True, text=True
        )
    except OSError:
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def program(name: str) -> Path:
    """Return where ``.venv`` keeps the program ``name`` on this system."""
    return VENV / "Scripts" / f"{name}.exe" if os.name == "nt" else VENV / "bin" / name


def fingerprint(python_version: str) -> str:
    """Return a hash of all that decides what gets installed, except the extras."""
    digest = hashlib.sha256(python_version.encode())
    for name in ("pyproject.toml", "constraints.txt"):
        digest.update((ROOT / name).read_bytes())
    return digest.hexdigest()


def read_stamp() -> dict[str, object]:
    """Return what the last complete installation wrote, or ``{}``."""
    try:
        stamp = json.loads(STAMP.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return stamp if isinstance(stamp, dict) else {}


def is_installed(stamp: dict[str, object], inputs: str, extras: list[str]) -> bool:
    """Return whether ``stamp`` tells of an installation from the same ``inputs`` with at least these ``extras``."""
    installed = stamp.get("extras")
    return stamp.get("inputs") == inputs and isinstance(installed, list) and set(extras) <= set(installed)


def forget_half_installed() -> None:
    """Remove the traces of packages whose installation was cut off, so that pip installs them again.

    pip takes a package for installed as soon as it has a ``.dist-info`` folder; the file ``INSTALLER``
    goes into it after the package's own files. Names with ``~`` are old versions on their way out.
    """
    for packages in (*VENV.glob("lib/python*/site-packages"), *VENV.glob("Lib/site-packages")):
        cut_off = [info for info in packages.glob("*.dist-info") if not (info / "INSTALLER").is_file()]
        for folder in (*cut_off, *packages.glob("~*")):
            shutil.rmtree(folder, ignore_errors=True)


def pip_command(extras: list[str]) -> list[str]:
    """Return the command that installs the course, editable, with ``extras``; to be run in the checkout."""
    quiet = ["-qq", "--disable-pip-version-check", "--no-input"]
    return [str(program("python")), "-m", "pip", "install", *quiet, "--editable", f".[{','.join(extras)}]"]


def pip_environment() -> dict[str, str]:
    """Return the environment for pip, where the constraints hold for the build tools too.

    The path is relative because pip splits the variable at blanks, which folders may have in their names.
    """
    constraints = {"PIP_CONSTRAINT": "constraints.txt", "PIP_BUILD_CONSTRAINT": "constraints.txt"}
    return {**os.environ, **constraints, "PIP_USER": "0"}


def quiet_jupyterlab() -> None:
    """Give this environment's JupyterLab the defaults of ``JUPYTER_SETTINGS``; a person's own settings win."""
    folder = VENV / "share" / "jupyter" / "lab" / "settings"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "overrides.json").write_text(json.dumps(JUPYTER_SETTINGS), encoding="utf-8")


def open_lab(options: list[str]) -> int:
    """Look the machine over, make the learner's copies and serve them in JupyterLab until Ctrl-C."""
    looked_over = subprocess.run([str(program("python")), "-c", PREPARE], cwd=ROOT, stdin=subprocess.DEVNULL)
    if looked_over.returncode != 0:
        raise SetupError("the course cannot start yet: mend what is marked `fail` above, then run the command again.")
    _say("Starting JupyterLab; Ctrl-C in this window stops it.")
    return _hand_over(jupyter_command(options, as_root=getattr(os, "geteuid", lambda: 1)() == 0))


def jupyter_command(options: list[str], *, as_root: bool) -> list[str]:
    """Return the command that serves the checkout with the first notebook open; ``options`` come last and win."""
    command = [str(program("python")), "-m", "jupyterlab", f"--ServerApp.root_dir={ROOT}"]
    command += [f"--LabApp.default_url=/lab/tree/{FIRST_PAGE}", "-y"]  # -y: one Ctrl-C stops it, without a question
    command += [f"--LabApp.extra_labextensions_path={ROOT / 'course_lib' / 'study' / 'labextension'}"]
    return [*command, *(["--allow-root"] if as_root else []), *options]


def _hand_over(command: list[str]) -> int:
    """Become ``command``, so that signals reach it directly; where that cannot be, wait for it."""
    os.chdir(ROOT)
    if os.name == "posix":
        os.execv(command[0], command)
    process = subprocess.Popen(command)
    while True:
        try:
            return process.wait()
        except KeyboardInterrupt:
            continue  # the server got it too, and is closing its kernels


def linters() -> dict[str, list[str]]:
    """Return the commands that read the code without running it, by name."""
    python = str(program("python"))
    return {
        "ruff check": [python, "-m", "ruff", "check", "."],
        "ruff format": [python, "-m", "ruff", "format", "--check", "."],
        "mypy": [python, "-m", "mypy"],
        "lint-imports": [str(program("lint-imports")), "--no-logo"],
    }


def pytest_command(options: list[str]) -> list[str]:
    """Return the command of the whole test suite: two processes, each file in one of them; ``options`` come last."""
    return [str(program("python")), "-m", "pytest", "-n", "2", "--dist", "loadfile", *options]


def run_tests(options: list[str]) -> int:
    """Run every linter, then pytest, whatever fails; return 0 only where nothing did."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "COURSE_SCALE": "cpu"}
    environment.pop("COURSE_ROOT", None)  # the tests are about this checkout
    seconds, failed = {}, []
    for name, command in {**linters(), "pytest": pytest_command(options)}.items():
        _say(f"--- {name}")
        started = time.monotonic()
        if subprocess.run(command, cwd=ROOT, env=environment, stdin=subprocess.DEVNULL).returncode != 0:
            failed.append(name)
        seconds[name] = time.monotonic() - started
        if name != "pytest":
            _say(f"{name}: {'FAILED' if name in failed else 'ok'}, {seconds[name]:.0f} s")
    verdict = f"FAILED: {', '.join(failed)}" if failed else "all right"
    _say(f"make test: {verdict} ({', '.join(f'{name} {taken:.0f} s' for name, taken in seconds.items())})")
    return 1 if failed else 0


def build_site(options: list[str]) -> int:
    """Build the course's website in ``build/site``."""
    command = [str(program("python")), "-m", "course_lib.study.cli.main", "site", *options]
    environment = {**os.environ, "COURSE_ROOT": str(ROOT)}
    return subprocess.run(command, cwd=ROOT, env=environment, stdin=subprocess.DEVNULL).returncode


def _say(line: str) -> None:
    print(line, flush=True)


def _complain(line: str, *, code: int = 1) -> int:
    print(f"lab.py: {line}", file=sys.stderr, flush=True)
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
