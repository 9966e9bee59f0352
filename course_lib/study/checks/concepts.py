"""Each concept is taught in its home notebook: defined in bold under a heading, used in code, carded and quizzed."""

from __future__ import annotations

import re
from collections.abc import Iterator

from course_lib.study.checks import markdown
from course_lib.study.checks.complaint import Complaint
from course_lib.study.checks.page import Cell, Heading, Page
from course_lib.study.material.schema import Concept, Deck, Quiz

_SMALL_WORDS = {"a", "an", "and", "as", "for", "from", "in", "of", "on", "or", "the", "to", "vs", "with"}


def check_concepts(page: Page, concepts: list[Concept], deck: Deck | None, quiz: Quiz | None) -> list[Complaint]:
    """Complain about concepts at home in this notebook that it does not teach, card or quiz.

    Args:
        page: The notebook.
        concepts: Those with this notebook as their home.
        deck: Its cards; None, if they cannot be read, is complained about elsewhere.
        quiz: Its questions, likewise.
    """
    carded = None if deck is None else {name for card in deck.cards for name in card.concepts}
    quizzed = None if quiz is None else {name for question in quiz.questions for name in question.concepts}
    complaints: list[Complaint] = []
    for concept in concepts:
        complaints += _taught(page, concept)
        for kind, folder, covered in (("card", "flashcards", carded), ("question", "quizzes", quizzed)):
            if covered is not None and concept.id not in covered:
                cure = f"Add one to {folder}/{page.path.stem}.yaml."
                complaints.append(page.complaint(f"the concept {concept.id!r} has no {kind}", cure))
    return complaints


def defining_cell(page: Page, concept: Concept) -> Cell | None:
    """Return the first Markdown cell that has the concept's name in bold; case and a plural's ending do not matter."""
    wanted = _words(concept.name)
    for cell in page.prose:
        for term in markdown.bold_terms(cell.source):
            if _contains(_words(term), wanted):
                return cell
    return None


def section_of(page: Page, cell: Cell) -> Heading | None:
    """Return the heading, below the title, of the section that a cell stands in."""
    above = [heading for heading in page.headings if heading.level > 1 and heading.position <= cell.position]
    return above[-1] if above else None


def _taught(page: Page, concept: Concept) -> Iterator[Complaint]:
    cell = defining_cell(page, concept)
    if cell is None:
        cure = f'Define it at its first use, in bold: "**{concept.name}**".'
        yield page.complaint(f"the concept {concept.id!r} is not defined", cure)
        return
    heading = section_of(page, cell)
    if heading is None:
        what = f"the concept {concept.id!r} is defined before the first heading, where no link leads"
        yield page.complaint(what, "Define it under a heading of the second level or below.", cell=cell)
    elif not _used_in_code(page, concept, heading):
        what = f"the concept {concept.id!r} is not used in code"
        yield page.complaint(what, "Show it at work in the section that defines it.", cell=cell)


def _used_in_code(page: Page, concept: Concept, heading: Heading) -> bool:
    """Code stands in the section of the definition (at its second level), or names the concept anywhere."""
    start = next(h for h in reversed(page.headings[: page.headings.index(heading) + 1]) if h.level <= 2)
    last, _ = page.extent(start) if start.level == 2 else page.extent(heading)
    if any(start.position < cell.position <= last for cell in page.code):
        return True
    wanted = [word for word in _words(concept.name) if word not in _SMALL_WORDS]
    return any(set(wanted) <= set(_words(cell.source)) for cell in page.code)


def _words(text: str) -> list[str]:
    """Return the words of a text in lower case, singular as far as an ending tells.

    Example:
        >>> _words("Train/validation/test splits (of data)")
        ['train', 'validation', 'test', 'split', 'of', 'data']
        >>> _words("loss, losses, analogies")
        ['loss', 'loss', 'analogy']
    """
    return [_singular(word) for word in re.findall(r"[^\W_]+", text.lower())]


def _singular(word: str) -> str:
    if word.endswith("ies") and len(word) > 4:
        return word[:-3] + "y"
    if word.endswith(("sses", "xes", "ches", "shes")):
        return word[:-2]
    if word.endswith("s") and not word.endswith(("ss", "us", "is")) and len(word) > 3:
        return word[:-1]
    return word


def _contains(words: list[str], wanted: list[str]) -> bool:
    return any(words[start : start + len(wanted)] == wanted for start in range(len(words) - len(wanted) + 1))
