"""One list of dependencies: environment.yml and constraints.txt say the same as pyproject.toml."""

import re
import tomllib
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from rattler import MatchSpec

ROOT = Path(__file__).resolve().parents[2]
CONDA_NAMES = {"torch": "pytorch"}  # where conda-forge calls a package otherwise
PIP_ONLY = {"fsrs"}  # not on conda-forge

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
LEARN = [Requirement(line) for line in PROJECT["dependencies"] + PROJECT["optional-dependencies"]["learn"]]
TEST = [Requirement(line) for line in PROJECT["optional-dependencies"]["test"]]
ENVIRONMENT = yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf-8"))
CONDA_LINES = [line for line in ENVIRONMENT["dependencies"] if isinstance(line, str)]
(PIP_LINES,) = [line["pip"] for line in ENVIRONMENT["dependencies"] if isinstance(line, dict)]
CONSTRAINTS = [
    Requirement(line)
    for line in (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    if line and not line.startswith("#")
]


def wanted(*, pip_only):
    """``{name: version specifier}`` of the base and ``learn`` dependencies, by conda's names if not ``pip_only``."""
    chosen = [requirement for requirement in LEARN if (requirement.name in PIP_ONLY) == pip_only]
    return {CONDA_NAMES.get(each.name, each.name): str(each.specifier) for each in chosen}


def test_conda_specs_are_those_of_pyproject():
    specs = [MatchSpec(line, strict=True) for line in CONDA_LINES]
    given = {str(spec.name.normalized): str(spec.version or "") for spec in specs}
    assert given == wanted(pip_only=False) | {"python": PROJECT["requires-python"], "pip": ""}


def test_what_conda_lacks_comes_by_pip_and_the_course_itself_last():
    *packages, course = PIP_LINES
    given = {each.name: str(each.specifier) for each in map(Requirement, packages)}
    assert given == wanted(pip_only=True)
    assert course == "--editable ."


def test_the_parser_is_a_real_one():
    with pytest.raises(Exception, match="version spec"):
        MatchSpec("pytorch>==2", strict=True)


def test_every_package_is_named_once():
    names = [canonicalize_name(each.name) for each in CONSTRAINTS]
    assert sorted(set(names)) == sorted(names)


def test_constraints_are_exact_public_versions():
    loose = [str(each) for each in CONSTRAINTS if not re.fullmatch(r"==[\w.]+", str(each.specifier))]
    assert loose == []  # no ranges, and no local builds such as +cpu, which only some indexes have


def test_constraints_satisfy_pyproject():
    pins = {canonicalize_name(each.name): str(each.specifier).removeprefix("==") for each in CONSTRAINTS}
    direct = {canonicalize_name(each.name): each.specifier for each in LEARN + TEST}
    assert direct.keys() - pins.keys() == set()
    assert [name for name, specifier in direct.items() if not specifier.contains(pins[name])] == []


def test_constraints_name_all_that_gets_installed():
    """What is installed and needed, near or far, is pinned; else two machines would get different versions of it."""
    pinned = {canonicalize_name(each.name) for each in CONSTRAINTS}
    assert installed_closure(LEARN + TEST) - pinned - cuda_libraries() == set()


def installed_closure(requirements):
    """Canonical names of the installed packages that ``requirements`` bring in."""
    todo, seen, names = list(requirements), set(), set()
    while todo:
        requirement = todo.pop()
        key = (canonicalize_name(requirement.name), *sorted(requirement.extras))
        if key in seen:
            continue
        seen.add(key)
        try:
            needs = distribution(requirement.name).requires or []
        except PackageNotFoundError:
            continue  # for another system
        names.add(key[0])
        extras = [{"extra": extra} for extra in (requirement.extras or {""})]
        todo += [
            need for need in map(Requirement, needs) if need.marker is None or any(map(need.marker.evaluate, extras))
        ]
    return names


def cuda_libraries():
    """Torch pins these itself, and only some of its builds have them."""
    needs = [Requirement(line) for line in distribution("torch").requires or []]
    direct = [each for each in needs if each.name.startswith(("nvidia-", "cuda-", "triton"))]
    return installed_closure(direct) - {"setuptools"}
