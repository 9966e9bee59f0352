"""What the course's YAML files hold: cards, questions, concepts and the plan of notebooks."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    FiniteFloat,
    RootModel,
    StrictBool,
    field_validator,
    model_validator,
)

from course_lib.study.material import markup

Level = Literal["recall", "apply", "predict", "debug", "compute"]
Part = Literal["A", "B", "C", "D", "E", "F", "G"]

_SLUG = "[a-z0-9]+(?:-[a-z0-9]+)*"


def _plain(text: str) -> str:
    if not text.strip():
        raise ValueError("is empty; write it")
    return text


def _markdown(text: str) -> str:
    found = markup.faults(_plain(text))
    if found:
        raise ValueError("; ".join(found))
    return text


def _matching(pattern: str, example: str) -> AfterValidator:
    def check(text: str) -> str:
        if not re.fullmatch(pattern, text):
            raise ValueError(f"{text!r} must look like {example}; rename it")
        return text

    return AfterValidator(check)


def _without_repeats(items: tuple[Any, ...]) -> tuple[Any, ...]:
    repeated = sorted({str(item) for item in items if items.count(item) > 1})
    if repeated:
        raise ValueError(f"{', '.join(repeated)} is there more than once; keep one")
    return items


Plain = Annotated[str, AfterValidator(_plain)]
Markdown = Annotated[str, AfterValidator(_markdown)]
NotebookNumber = Annotated[str, _matching("[0-9]{2}", '"07" (two digits, in quotes)')]
ConceptId = Annotated[str, _matching(_SLUG, "gradient-descent")]
CardId = Annotated[str, _matching(f"[0-9]{{2}}-c-{_SLUG}", "00-c-train-test")]
QuestionId = Annotated[str, _matching(f"[0-9]{{2}}-q-{_SLUG}", "00-q-leak")]
ConceptIds = Annotated[tuple[ConceptId, ...], Field(min_length=1, max_length=3), AfterValidator(_without_repeats)]


class _Record(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Card(_Record):
    """A flashcard: two sides of Markdown, tied to one to three concepts."""

    id: CardId
    front: Markdown
    back: Markdown
    concepts: ConceptIds
    level: Level


class Deck(_Record):
    """All cards of one notebook; ``retired`` lists ids that are never used again."""

    notebook: NotebookNumber
    retired: tuple[CardId, ...] = ()
    cards: Annotated[tuple[Card, ...], Field(min_length=1)]


class Choice(_Record):
    """One choice of a question, with the reason why it is right or wrong."""

    text: Markdown
    right: StrictBool
    why: Markdown


class OutputChoice(_Record):
    """One choice of a predict-the-output question: what the code might print, shown as it stands."""

    text: Plain
    right: StrictBool
    why: Markdown


def _some_right(choices: tuple[Any, ...]) -> tuple[Any, ...]:
    if not any(choice.right for choice in choices):
        raise ValueError("no choice is right; mark at least one with 'right: true'")
    _without_repeats(tuple(choice.text.strip() for choice in choices))
    return choices


def _one_right(choices: tuple[Any, ...]) -> tuple[Any, ...]:
    count = sum(choice.right for choice in _some_right(choices))
    if count > 1:
        raise ValueError(f"{count} choices are right; leave one, or make the question 'kind: multiple'")
    return choices


_TwoOrMore = Field(min_length=2, max_length=8)


class _Question(_Record):
    id: QuestionId
    level: Level
    prompt: Markdown
    concepts: ConceptIds


class SingleQuestion(_Question):
    """Exactly one of the choices is right."""

    kind: Literal["single"]
    choices: Annotated[tuple[Choice, ...], _TwoOrMore, AfterValidator(_one_right)]


class MultipleQuestion(_Question):
    """Any number of the choices, at least one, is right; all of them and no other must be chosen."""

    kind: Literal["multiple"]
    choices: Annotated[tuple[Choice, ...], _TwoOrMore, AfterValidator(_some_right)]


class OutputQuestion(_Question):
    """What does ``code`` print? The right choice is its standard output, stripped."""

    kind: Literal["output"]
    code: Plain
    choices: Annotated[tuple[OutputChoice, ...], _TwoOrMore, AfterValidator(_one_right)]


class NumericQuestion(_Question):
    """A number, right within an absolute ``tolerance``; ``compute`` is Python that sets ``answer`` or ends in it."""

    kind: Literal["numeric"]
    answer: FiniteFloat
    tolerance: Annotated[FiniteFloat, Field(ge=0)]
    unit: str
    compute: Plain
    explain: Markdown


class OrderingQuestion(_Question):
    """Put ``items``, written here in the right order, into that order."""

    kind: Literal["ordering"]
    items: Annotated[tuple[Markdown, ...], _TwoOrMore, AfterValidator(_without_repeats)]
    explain: Markdown


ChoiceQuestion = SingleQuestion | MultipleQuestion | OutputQuestion
Question = Annotated[ChoiceQuestion | NumericQuestion | OrderingQuestion, Field(discriminator="kind")]


class Quiz(_Record):
    """All questions of one notebook; ``retired`` lists ids that are never used again."""

    notebook: NotebookNumber
    retired: tuple[QuestionId, ...] = ()
    questions: Annotated[tuple[Question, ...], Field(min_length=1)]


class Prerequisite(_Record):
    """A concept to know first; a ``black_box`` one is used before the notebook that opens it."""

    id: ConceptId
    black_box: StrictBool = False

    @model_validator(mode="before")
    @classmethod
    def _from_name(cls, value: Any) -> Any:
        return {"id": value} if isinstance(value, str) else value


class Concept(_Record):
    """One idea of the course: its name, a sentence that defines it, and the one notebook that teaches it.

    Args:
        library: What ``course_lib`` has of it, as ``optim.SGD``, where the code of its section does not tell.
    """

    id: ConceptId
    name: Plain
    definition: Markdown
    home: NotebookNumber
    prerequisites: tuple[Prerequisite, ...] = ()
    library: tuple[Annotated[str, _matching(r"[a-z_]+(?:\.\w+)+", "optim.SGD")], ...] = ()

    @field_validator("definition")
    @classmethod
    def _is_a_sentence(cls, text: str) -> str:
        if not text.rstrip().endswith("."):
            raise ValueError("is no sentence; end it with a full stop")
        return text


class Glossary(RootModel[tuple[Concept, ...]]):
    """Every concept of the course, in order of their home notebooks."""

    model_config = ConfigDict(frozen=True)

    @property
    def concepts(self) -> tuple[Concept, ...]:
        """The concepts, in the order of the file."""
        return self.root

    def by_id(self) -> dict[str, Concept]:
        """Return the concepts by their ids."""
        return {concept.id: concept for concept in self.root}


class PlannedNotebook(_Record):
    """One notebook of the course, written or not."""

    number: NotebookNumber
    slug: Annotated[str, _matching("[a-z0-9]+(?:_[a-z0-9]+)*", "scaling_laws")]
    title: Plain
    outcome: Plain
    part: Part
    spine: StrictBool


class Plan(_Record):
    """The course's notebooks, its parts, and the paths through it, each a list of numbers in reading order."""

    notebooks: Annotated[tuple[PlannedNotebook, ...], Field(min_length=1)]
    parts: dict[Part, Plain]
    paths: dict[str, tuple[NotebookNumber, ...]]
