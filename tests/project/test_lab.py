"""lab.py: what it decides, without a network and without installing anything."""

import ast
import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def lab(tmp_path, monkeypatch):
    """A fresh lab.py whose checkout is an empty folder."""
    spec = importlib.util.spec_from_file_location("lab_under_test", ROOT / "lab.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    venv = tmp_path / ".venv"
    paths = {"STAMP": venv / "course-setup.json", "UNFINISHED": venv / "course-unfinished"}
    for name, value in {"ROOT": tmp_path, "VENV": venv, **paths}.items():
        monkeypatch.setattr(module, name, value)
    (tmp_path / "pyproject.toml").write_text("[project]")
    (tmp_path / "constraints.txt").write_text("torch==2.13.0")
    return module


@pytest.fixture
def installs(lab, monkeypatch):
    """``lab`` with a working environment in which pip only notes what it was asked for; its exit code can be set."""
    calls, exit_codes = [], []

    def run(command, **options):
        calls.append((command, options))
        return subprocess.CompletedProcess(command, exit_codes.pop() if exit_codes else 0)

    lab.VENV.mkdir()
    monkeypatch.setattr(lab, "ensure_venv", lambda: "3.11.7")
    monkeypatch.setattr(lab.subprocess, "run", run)
    return calls, exit_codes


def test_an_old_python_can_read_the_file():
    ast.parse((ROOT / "lab.py").read_text(encoding="utf-8"), feature_version=(3, 7))


def test_an_old_python_is_told_what_to_do_in_one_line(lab, monkeypatch, capsys):
    monkeypatch.setattr(lab.sys, "version_info", (3, 9, 18))
    assert lab.main(["lab"]) == 1
    told = capsys.readouterr().err
    assert "needs Python 3.11 or newer, and this is 3.9" in told
    assert "make lab PYTHON=" in told
    assert told.count("\n") == 1


def test_a_python_without_venv_is_told_the_cure_before_anything_is_removed(lab, monkeypatch, capsys):
    lab.VENV.mkdir()
    (lab.VENV / "precious").touch()
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(lab.importlib.util, "find_spec", lambda name: None if name == "ensurepip" else find_spec(name))
    assert lab.main(["test"]) == 1
    told = capsys.readouterr().err
    assert "has no module ensurepip" in told
    assert f"sudo apt install python3.{sys.version_info[1]}-venv" in told
    assert (lab.VENV / "precious").exists()


@pytest.mark.parametrize(("arguments", "code"), [([], 2), (["labb"], 2), (["--help"], 0)])
def test_usage(lab, capsys, arguments, code):
    assert lab.main(arguments) == code
    assert "python lab.py test" in capsys.readouterr().out


def test_the_second_set_up_installs_nothing(lab, installs):
    calls, _ = installs
    lab.set_up(["learn", "test"])
    assert len(calls) == 1
    lab.set_up(["learn", "test"])
    lab.set_up(["learn"])  # less than what is there
    assert len(calls) == 1


def test_more_extras_are_installed(lab, installs):
    calls, _ = installs
    lab.set_up(["learn"])
    lab.set_up(["learn", "test"])
    assert [command[-1] for command, _ in calls] == [".[learn]", ".[learn,test]"]


@pytest.mark.parametrize("name", ["pyproject.toml", "constraints.txt"])
def test_changed_dependencies_are_installed(lab, installs, name):
    calls, _ = installs
    lab.set_up(["learn"])
    (lab.ROOT / name).write_text("changed")
    lab.set_up(["learn"])
    assert len(calls) == 2


def test_another_python_is_another_installation(lab):
    assert lab.fingerprint("3.11.7") != lab.fingerprint("3.12.1")


def test_an_installation_that_failed_is_tried_again(lab, installs):
    calls, exit_codes = installs
    lab.set_up(["learn"])
    (lab.ROOT / "constraints.txt").write_text("changed")
    exit_codes.append(1)
    with pytest.raises(lab.SetupError, match="run the same command again"):
        lab.set_up(["learn"])
    assert not lab.STAMP.exists()
    lab.set_up(["learn"])
    assert len(calls) == 3


def test_a_torn_stamp_counts_as_none(lab):
    lab.VENV.mkdir()
    for text in ("", '{"inputs": "ab', "[]"):
        lab.STAMP.write_text(text)
        assert lab.read_stamp() == {}


def test_half_installed_packages_are_forgotten_and_whole_ones_kept(lab):
    packages = lab.VENV / "lib" / "python3.11" / "site-packages"
    for name in ("whole-1.0.dist-info", "half-1.0.dist-info", "~old-1.0.dist-info", "~old", "whole"):
        (packages / name).mkdir(parents=True)
    (packages / "whole-1.0.dist-info" / "INSTALLER").touch()
    lab.forget_half_installed()
    assert sorted(path.name for path in packages.iterdir()) == ["whole", "whole-1.0.dist-info"]


def test_constraints_hold_for_the_build_too_wherever_the_course_is(lab, monkeypatch):
    monkeypatch.setenv("PIP_USER", "1")
    environment = lab.pip_environment()
    assert environment["PIP_CONSTRAINT"] == environment["PIP_BUILD_CONSTRAINT"] == "constraints.txt"  # no blank in it
    assert environment["PIP_USER"] == "0"


def test_a_python_that_does_not_run_is_no_environment(lab):
    assert lab.venv_version() == ""
    python = lab.program("python")
    python.parent.mkdir(parents=True)
    python.write_text("no program")
    assert lab.venv_version() == ""


def test_an_environment_is_made_anew_when_it_is_broken_half_made_or_moved_and_only_then(lab, monkeypatch):
    made = []

    def make(command, **options):
        assert command[1:] == ["-m", "venv", str(lab.VENV)]
        assert lab.UNFINISHED.exists()  # so that a kill at this point is seen by the next run
        made.append(command)

    versions = ["", "3.11.7"]  # the first look finds it broken, the others do not
    monkeypatch.setattr(lab, "venv_version", lambda: versions.pop(0) if versions[1:] else versions[0])
    monkeypatch.setattr(lab.subprocess, "run", make)
    lab.VENV.mkdir()
    leftover = lab.VENV / "leftover"
    leftover.touch()
    assert lab.ensure_venv() == "3.11.7"
    assert len(made) == 1
    assert not leftover.exists()

    leftover.touch()
    lab.STAMP.write_text(json.dumps({"root": str(lab.ROOT)}))
    lab.ensure_venv()
    assert len(made) == 1
    assert leftover.exists()  # it works: it stays

    lab.UNFINISHED.touch()
    lab.ensure_venv()
    assert len(made) == 2

    lab.STAMP.write_text(json.dumps({"root": "another folder"}))  # whose programs its own would start
    lab.ensure_venv()
    assert len(made) == 3
    assert not lab.STAMP.exists()
    assert not lab.UNFINISHED.exists()


def test_jupyterlab_opens_the_first_notebook_and_takes_options(lab):
    command = lab.jupyter_command(["--no-browser"], as_root=False)
    assert command[1:3] == ["-m", "jupyterlab"]
    assert f"--ServerApp.root_dir={lab.ROOT}" in command
    assert "--LabApp.default_url=/lab/tree/my/00_start_here.ipynb" in command
    assert command[-1] == "--no-browser"
    assert "--allow-root" not in command
    (extensions,) = (option.partition("=")[2] for option in command if "extra_labextensions_path" in option)
    checkout = Path(__file__).parents[2]
    assert (checkout / Path(extensions).relative_to(lab.ROOT) / "course-sections" / "package.json").is_file()
    assert "--allow-root" in lab.jupyter_command([], as_root=True)


def test_a_finding_that_stops_the_course_stops_the_start(lab, monkeypatch):
    monkeypatch.setattr(lab.subprocess, "run", lambda command, **options: subprocess.CompletedProcess(command, 1))
    with pytest.raises(lab.SetupError, match="marked `fail`"):
        lab.open_lab([])


@pytest.mark.parametrize("broken", ["ruff check", "mypy", "lint-imports", "pytest"])
def test_every_phase_runs_whatever_fails_and_pytest_is_last(lab, monkeypatch, capsys, broken):
    ran = []

    def run(command, **options):
        assert options["stdin"] == subprocess.DEVNULL
        assert options["env"]["OMP_NUM_THREADS"] == "1"
        assert options["env"]["COURSE_SCALE"] == "cpu"
        assert "COURSE_ROOT" not in options["env"]
        ran.append(command)
        fails = f" {broken} " in " ".join(["", Path(command[0]).name, *command[1:], ""])
        return subprocess.CompletedProcess(command, 5 if fails else 0)  # 5: pytest found no tests

    monkeypatch.setenv("COURSE_ROOT", os.sep)
    monkeypatch.setattr(lab.subprocess, "run", run)
    assert lab.run_tests(["-x"]) == 1
    assert len(ran) == 5
    assert ran[-1][1:] == ["-m", "pytest", "-n", "2", "--dist", "loadfile", "-x"]
    last_line = capsys.readouterr().out.splitlines()[-1]
    assert f"FAILED: {broken} (" in last_line


def test_all_phases_right_is_exit_code_0(lab, monkeypatch, capsys):
    monkeypatch.setattr(lab.subprocess, "run", lambda command, **options: subprocess.CompletedProcess(command, 0))
    assert lab.run_tests([]) == 0
    assert "all right (ruff check 0 s, ruff format 0 s" in capsys.readouterr().out


def test_the_website_is_built_by_the_command_with_its_options(lab, monkeypatch):
    asked = []

    def run(command, **options):
        asked.append((command, options["env"]["COURSE_ROOT"]))
        return subprocess.CompletedProcess(command, 1)

    monkeypatch.setattr(lab, "set_up", lambda extras: asked.append(extras))
    monkeypatch.setattr(lab.subprocess, "run", run)
    assert lab.main(["site", "00", "05"]) == 1
    extras, (command, root) = asked
    assert extras == ["learn", "site"]
    assert command[1:] == ["-m", "course_lib.study.cli.main", "site", "00", "05"]
    assert root == str(lab.ROOT)


def test_ctrl_c_is_no_traceback(lab, monkeypatch, capsys):
    def stop(extras):
        raise KeyboardInterrupt

    monkeypatch.setattr(lab, "set_up", stop)
    assert lab.main(["lab"]) == 130
    assert "goes on from here" in capsys.readouterr().err
