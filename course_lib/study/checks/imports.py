"""What a notebook may import: the standard library, course_lib, and the packages the project declares."""

from __future__ import annotations

import ast
import importlib.metadata
import re
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

from course_lib.study.checks.complaint import Complaint
from course_lib.study.checks.page import Cell, Page

# Packages that are imported under another name than they are installed under.
IMPORT_NAMES = {
    "course_lib": ("course_lib",),
    "ipykernel": ("ipykernel", "IPython"),
    "markdown_it_py": ("markdown_it",),
    "pillow": ("PIL",),
    "pyyaml": ("yaml",),
    "scikit_learn": ("sklearn",),
}


def check_imports(page: Page, allowed: frozenset[str]) -> list[Complaint]:
    """Complain about imports of anything but ``allowed``, about code that is no Python, and about no use of course_lib.

    Args:
        page: The notebook.
        allowed: Top-level names, from ``allowed_imports``.
    """
    complaints = []
    imported: set[str] = set()
    for cell in page.code:
        try:
            names = list(_imported(cell))
        except SyntaxError as error:
            complaints.append(page.complaint(f"the code is no Python: {error.msg}", "Correct it.", cell=cell))
            continue
        imported |= set(names)
        for name in sorted(set(names) - allowed):
            cure = "Use course_lib, or declare the package under the extra 'learn' in pyproject.toml."
            complaints.append(page.complaint(f"the code imports {name}, which is not declared", cure, cell=cell))
    if "course_lib" not in imported:
        complaints.append(page.complaint("it imports nothing from course_lib", "Use the library for what it has."))
    return complaints


def allowed_imports(root: Path) -> frozenset[str]:
    """Return the top-level names that a notebook may import.

    The declared packages are read from ``pyproject.toml`` in a checkout, and from the installed package's metadata
    where there is none (the course inside a wheel).
    """
    names = set(sys.stdlib_module_names) | {"course_lib"}
    for package in _declared(root):
        names.update(IMPORT_NAMES.get(package, (package,)))
    return frozenset(names)


def _declared(root: Path) -> Iterator[str]:
    pyproject = root / "pyproject.toml"
    if pyproject.is_file():
        project = tomllib.loads(pyproject.read_text(encoding="utf-8"))["project"]
        requirements = [*project["dependencies"], *project["optional-dependencies"]["learn"]]
    else:
        every = importlib.metadata.requires("course-lib") or []
        requirements = [line for line in every if "extra ==" not in line or re.search(r"extra == ['\"]learn", line)]
    for requirement in requirements:
        name = re.match(r"[\w.-]+", requirement)
        if name:
            yield re.sub(r"[-.]+", "_", name.group()).lower()


def _imported(cell: Cell) -> Iterator[str]:
    for node in ast.walk(cell.tree()):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield "." * node.level or (node.module or "").partition(".")[0]
