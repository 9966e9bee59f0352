"""Writes the website's sources for Sphinx: notebooks, practice, glossary, map, reference, results, episodes."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from course_lib.content import notebook_paths
from course_lib.study.checks.page import Page
from course_lib.study.copies.notebook_cells import render_notebook
from course_lib.study.exercises import load_exercises
from course_lib.study.listening.episodes import Episode, audio_path, load_episodes
from course_lib.study.material.deck import load_deck, load_glossary, load_plan, load_quiz
from course_lib.study.material.schema import Deck, Glossary, Plan, Quiz
from course_lib.study.site import pages, reference
from course_lib.study.site.concept_pages import glossary_page, map_page
from course_lib.study.site.concept_places import places
from course_lib.study.site.notebook_pages import Extras, notebook_page
from course_lib.study.site.panels import deck_panel, quiz_panel
from course_lib.study.teaching.syllabus import all_entries

RECORD = "written.txt"  # what was written the last time, so that nothing else is ever removed


@dataclass(frozen=True, slots=True)
class Course:
    """What the website is made of; ``notebooks``, ``decks``, ``quizzes`` and ``episodes`` go by notebook number."""

    root: Path
    plan: Plan
    glossary: Glossary
    notebooks: dict[str, Path]
    decks: dict[str, Deck]
    quizzes: dict[str, Quiz]
    episodes: dict[str, Episode]

    @property
    def stems(self) -> dict[str, str]:
        """The notebooks on the site, such as ``{"05": "05_training_loop"}``."""
        return {number: path.stem for number, path in self.notebooks.items()}


def load_course(root: Path, only: Collection[str] = ()) -> Course:
    """Read the course, or the part of it that a quick build shows.

    Args:
        root: The course folder.
        only: Numbers of notebooks; all that are executed, if left out.

    Raises:
        ContentError: If the course's files have problems.
    """
    notebooks = {number: path for number, path in notebook_paths(root).items() if not only or number in only}
    notebooks = {number: path for number, path in notebooks.items() if _is_executed(path)}
    return Course(
        root=root,
        plan=load_plan(root),
        glossary=load_glossary(root),
        notebooks=notebooks,
        decks={number: load_deck(number, root) for number in notebooks},
        quizzes={number: load_quiz(number, root) for number in notebooks},
        episodes={number: episode for number, episode in load_episodes(root).items() if number in notebooks},
    )


def write_sources(course: Course, folder: Path, parts: Collection[str] = ()) -> tuple[int, int]:
    """Write every page's source, with the settings and static files of ``docs/``.

    A file that would not change is left alone, so that Sphinx builds only what is new; one that was written and is no
    longer made goes.

    Args:
        course: What to show.
        folder: Where to.
        parts: The parts of the library to document; all, if left out.

    Returns:
        How many pages there are, and how many files of an earlier writing were removed.
    """
    files = _pages(course, parts)
    num_pages = len(files)
    docs = course.root / "docs"
    files |= {f.relative_to(docs).as_posix(): f.read_bytes() for f in sorted(docs.rglob("*")) if _is_source(f)}
    files |= {f"originals/{path.name}": path.read_bytes() for path in course.notebooks.values()}
    for number, stem in course.stems.items():
        audio = audio_path(course.root, stem) if number in course.episodes else None
        if audio is not None:
            files[f"extra/audio/{audio.name}"] = audio.read_bytes()
    (folder / "extra").mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        _write(folder / name, content)
    record = folder / RECORD
    written_before = record.read_text(encoding="utf-8").splitlines() if record.is_file() else []
    gone = set(written_before) - set(files)
    for name in gone:
        (folder / name).unlink(missing_ok=True)
    _write(record, "\n".join(files).encode())
    return num_pages, len(gone)


def _pages(course: Course, parts: Collection[str]) -> dict[str, bytes]:
    titles = {entry.number: entry.title for entry in all_entries(course.root)}
    parts = parts or reference.parts()
    documented = {part: reference.entries(part) for part in parts}
    checked = {number: Page.read(path) for number, path in course.notebooks.items()}
    entries = [entry for found in documented.values() for entry in found]
    known = places(course.glossary, checked, course.decks, course.quizzes, entries)
    text = {
        "index.md": pages.index(course.plan, all_entries(course.root), course.stems, listen=bool(course.episodes)),
        "review.md": pages.review(course.decks, course.quizzes, titles, course.glossary),
        "glossary.md": glossary_page(known, course.stems),
        "concept-map.md": map_page(known, course.plan, course.stems),
        "results.md": (course.root / "RESULTS.md").read_text(encoding="utf-8"),
        "reference/index.md": pages.reference_index(parts),
        **{f"reference/{part}.rst": reference.page(part, found) for part, found in documented.items()},
    }
    if course.episodes:
        text["listen.md"] = pages.listen(course.episodes, titles, course.stems, course.root)
    notebooks: dict[str, bytes] = {}
    for number, path in course.notebooks.items():
        quiz = quiz_panel(course.quizzes[number], course.glossary)
        cards = deck_panel(course.decks[number], titles[number], course.glossary)
        text[f"practice/{number}.md"] = pages.practice(number, titles[number], path.stem, quiz, cards)
        exercises = course.root / "exercises" / f"{path.stem}.py"
        found = load_exercises(exercises) if exercises.is_file() else ()
        episode = course.episodes.get(number)
        intro = pages.notebook_intro(path, episode, audio_path(course.root, path.stem) if episode else None)
        extras = Extras(quiz, cards, {exercise.id: exercise for exercise in found}, intro)
        page = notebook_page(path, extras, set(course.stems.values()))
        notebooks[f"notebooks/{path.name}"] = render_notebook(page)
    return {name: content.encode() for name, content in text.items()} | notebooks


def _is_executed(path: Path) -> bool:
    """Tell a finished notebook from one that is being written: its code was run, and what came out is stored."""
    return any(cell.count is not None for cell in Page.read(path).code)


def _is_source(path: Path) -> bool:
    return path.is_file() and "__pycache__" not in path.parts


def _write(path: Path, content: bytes) -> None:
    if path.is_file() and path.read_bytes() == content:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
