"""The doctor: each trouble is named with its cure, and what it prints is a line for each finding."""

import builtins
import json
import os
import subprocess
import sys
from importlib import metadata

import pytest

from course_lib.study import doctor


def one(findings, words):
    """The one finding whose line holds ``words``."""
    (found,) = [finding for finding in findings if words in f"{finding.what}: {finding.cure}"]
    return found


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("COURSE_HOME", str(tmp_path / "not" / "there" / "yet"))
    monkeypatch.setenv("COURSE_SCALE", "cpu")
    return tmp_path


def test_a_machine_that_is_set_up_has_no_failure_and_stays_as_it_is(home):
    found = doctor.findings()
    assert [finding for finding in found if finding.level == "fail"] == []
    assert all(finding.cure for finding in found if not finding.ok)
    assert all("\n" not in finding.what + finding.cure for finding in found)
    assert list(home.iterdir()) == []  # looking whether progress can be kept makes no folder


def test_a_missing_package_is_named_and_what_needs_it_is_left_out(monkeypatch):
    version = metadata.version

    def without_fsrs(name):
        if name == "fsrs":
            raise metadata.PackageNotFoundError(name)
        return version(name)

    monkeypatch.setattr(doctor.metadata, "version", without_fsrs)
    missing = one(doctor.findings(), "fsrs")
    assert missing.level == "fail"
    assert "make lab" in missing.cure
    assert len(doctor.findings()) == 2


def test_packages_of_other_extras_are_not_asked_for(monkeypatch):
    monkeypatch.setattr(doctor.metadata, "requires", lambda name: ["torch>=2.10", 'nonesuch>=1; extra == "test"'])
    assert one(doctor.findings(), "packages that the course uses").what.startswith("all 1 ")


def test_a_library_that_is_not_installed_is_a_failure(monkeypatch):
    def nothing(name):
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(doctor.metadata, "requires", nothing)
    assert one(doctor.findings(), "course-lib is not installed").level == "fail"


def test_an_unknown_scale_is_a_failure(monkeypatch):
    monkeypatch.setenv("COURSE_SCALE", "huge")
    found = one(doctor.findings(), "the scale is not known")
    assert found.level == "fail"
    assert "'huge'" in found.cure


def test_a_course_that_is_not_there_is_a_failure(home, monkeypatch):
    monkeypatch.setenv("COURSE_ROOT", str(home))
    assert one(doctor.findings(), "notebooks are not found").level == "fail"


def test_progress_that_cannot_be_kept_is_a_failure(home, monkeypatch):
    (home / "file").touch()
    monkeypatch.setenv("COURSE_HOME", str(home / "file" / "inside"))
    found = one(doctor.findings(), "progress cannot be kept")
    assert found.level == "fail"
    assert "COURSE_HOME" in found.cure


def test_missing_programs_are_warnings_only(monkeypatch):
    monkeypatch.delenv("CXX", raising=False)
    monkeypatch.setattr(doctor.shutil, "which", lambda name: None)
    found = doctor.findings()
    assert one(found, "git is not installed").level == one(found, "no C++ compiler").level == "warn"
    assert doctor.report() == 0


def test_little_memory_is_a_warning(monkeypatch):
    monkeypatch.setattr(doctor, "MEMORY_GIB", 10**6)
    assert one(doctor.findings(), "memory: ").level == "warn"


@pytest.mark.parametrize(("level", "code"), [("ok", 0), ("warn", 0), ("fail", 1)])
def test_the_report_has_a_line_each_and_an_exit_code(monkeypatch, capsys, level, code):
    two = [doctor.Finding("ok", "Python 3.11.7"), doctor.Finding(level, "disk [full]: " + "x" * 200, "sweep it.")]
    monkeypatch.setattr(doctor, "findings", lambda: two)
    assert doctor.report() == code
    lines = capsys.readouterr().out.splitlines()
    assert lines == ["ok    Python 3.11.7", f"{level:4}  disk [full]: {'x' * 200}: sweep it."]


def test_the_report_needs_no_package(monkeypatch, capsys):
    real_import = builtins.__import__

    def without_rich(name, *rest):
        if name.startswith("rich"):
            raise ModuleNotFoundError(name)
        return real_import(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without_rich)
    monkeypatch.setattr(doctor, "findings", lambda: [doctor.Finding("fail", "the package rich is missing", "make lab")])
    assert doctor.report() == 1
    assert capsys.readouterr().out == "fail  the package rich is missing: make lab\n"


@pytest.mark.parametrize(("no_color", "colored"), [({}, True), ({"NO_COLOR": "1"}, False)])
def test_colours_obey_no_color(no_color, colored):
    code = "from course_lib.study import doctor; doctor.findings = lambda: [doctor.Finding('ok', 'x')]; doctor.report()"
    plain = {name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "FORCE_COLOR")}
    environment = {**plain, "TERM": "xterm", "FORCE_COLOR": "1", **no_color}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert ("\x1b[32m" in done.stdout) == colored


def test_lines_for_a_notebook_tell_no_path_and_no_person(monkeypatch):
    monkeypatch.setenv("USER", "ada")
    lines = doctor.environment_lines()
    assert len(lines) == 4
    told = json.dumps(lines)
    assert "PyTorch" in told
    assert "GiB" in told
    assert os.sep not in told
    assert "ada" not in told.lower()
