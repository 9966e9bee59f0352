"""Builds the website: sources first, then Sphinx, then a check of every link in what came out."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from course_lib.study.site.link_check import broken_links
from course_lib.study.site.sources import load_course, write_sources

PACKAGES = {
    "sphinx": "sphinx",
    "myst_nb": "myst-nb",
    "sphinx_book_theme": "sphinx-book-theme",
    "sphinx-mathjax-offline": "sphinx-mathjax-offline",
}


@dataclass(frozen=True, slots=True)
class Site:
    """A built website: its first page, how many pages were written, and what is wrong with its links."""

    index: Path
    num_pages: int
    broken: tuple[str, ...]


def build_site(root: Path, out: Path, *, only: Collection[str] = (), parts: Collection[str] = ()) -> Site:
    """Build the website of a course.

    Args:
        root: The course folder: a checkout, which has ``docs/``.
        out: Where to; ``out/html/index.html`` is the first page. A second build there does only what is new.
        only: Numbers of notebooks, for a quick look at a part of the course; all, if left out.
        parts: Parts of the library to document; all, if left out.

    Raises:
        FileNotFoundError: If this course has no ``docs/``, as in an installed package.
        ModuleNotFoundError: If a package that builds the website is missing.
        ValueError: If Sphinx complains; its words stand above.
    """
    if not (root / "docs" / "conf.py").is_file():
        raise FileNotFoundError(f"{root} has no docs/: the website is built from a clone of the repository.")
    missing = [name for module, name in PACKAGES.items() if importlib.util.find_spec(module) is None]
    if missing:
        raise ValueError(f"to build the website needs {', '.join(missing)}: pip install -e '.[learn,site]'.")
    source, html = out / "source", out / "html"
    num_pages, num_removed = write_sources(load_course(root, only), source, parts)
    if num_removed:  # Sphinx leaves the pages of an earlier build where they are
        shutil.rmtree(html, ignore_errors=True)
        shutil.rmtree(out / "doctrees", ignore_errors=True)
    command = [sys.executable, "-m", "sphinx", "-b", "html", "-W", "--keep-going", "-q", "-d", str(out / "doctrees")]
    environment = {**os.environ, "COURSE_ROOT": str(root), "PYTHONPATH": str(root), "COURSE_SCALE": "cpu"}
    done = subprocess.run([*command, str(source), str(html)], env=environment, stdin=subprocess.DEVNULL)
    if done.returncode != 0:
        raise ValueError("Sphinx was not content: what it said stands above.")
    return Site(html / "index.html", num_pages, tuple(broken_links(html)))
