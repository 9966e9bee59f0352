"""Read a tale back: its attributes exactly, or what is wrong with it and where."""

from __future__ import annotations

import math
from dataclasses import dataclass

from .account import Account
from .derivation import Derivation
from .grammar import Grammar, whole_grammar
from .reading import Reader, sentences_of, whole_reader
from .tale import Tale, tale_of


class NotATale(ValueError):
    """A text that the grammar cannot have made.

    Args:
        problem: What is wrong.
        sentence: Number of the sentence where it shows, from 1; None if it is the tale as a whole.
    """

    def __init__(self, problem: str, sentence: int | None = None) -> None:
        super().__init__(problem if sentence is None else f"sentence {sentence}: {problem}")
        self.problem = problem
        self.sentence = sentence


@dataclass(frozen=True, slots=True)
class Grade:
    """How much of a text is a tale.

    Args:
        num_right: Sentences that can be read and agree with what was said before.
        num_sentences: All sentences.
        tale: The tale, if the whole is right.
        problems: What is wrong, in order; empty if there is a tale.
    """

    num_right: int
    num_sentences: int
    tale: Tale | None
    problems: tuple[NotATale, ...]

    @property
    def share(self) -> float:
        """The share of sentences that are right, from 0 to 1."""
        return self.num_right / self.num_sentences


def parse(text: str) -> Tale:
    """Read a tale back.

    Raises:
        NotATale: If no derivation of the grammar makes ``text``: names the first sentence that is at fault, and why.

    Example:
        >>> from course_lib.data.tales import tales
        >>> tale = tales(1, seed=0)[0]
        >>> parse(tale.text) == tale
        True
        >>> parse("Mara lived.")
        Traceback (most recent call last):
        course_lib.data.tales.parse.NotATale: sentence 1: no tale has a sentence like 'Mara lived.'
    """
    graded = grade(text)
    if graded.tale is None:
        raise graded.problems[0]
    return graded.tale


def log_prob(text: str) -> float:
    """Return the exact log probability of a text in nats: minus infinity if it is no tale.

    Example:
        >>> log_prob("Once upon a time.")
        -inf
    """
    tale = grade(text).tale
    return -math.inf if tale is None else tale.log_prob


def grade(text: str) -> Grade:
    """Read any text as a tale, and count how much of it is right; never raises.

    A sentence is right if some frame makes it, if it agrees with everything said before (names, pronouns, the wish,
    the place and what is found there), and if its kind may come after the last right one. A text all of whose
    sentences are right is still no tale if it stops too early or leaves out what a tale needs.

    Returns:
        ``share`` is 1 for a tale and 0 for a text without any right sentence, such as an empty one.

    Example:
        >>> from course_lib.data.tales import tales
        >>> text = tales(1, seed=0)[0].text
        >>> grade(text).share, grade("Nonsense. " + text).share < 1
        (1.0, True)
    """
    return grade_with(whole_grammar(), whole_reader(), text)


def grade_with(grammar: Grammar, reader: Reader, text: str) -> Grade:
    """Grade a text by any grammar of this kind."""
    sentences = sentences_of(text)
    account = Account(grammar)
    problems: list[NotATale] = []
    for number, sentence in enumerate(sentences, 1):
        reading = next(reader.readings(sentence), None)
        if reading is None:
            problem: str | None = f"no tale has a sentence like {sentence!r}"
        else:
            problem = account.hear(reading, reader, number)
        if problem is not None:
            problems.append(NotATale(problem, number))
    num_right = len(sentences) - len(problems)
    if not problems:
        ended = account.close()
        if isinstance(ended, Derivation):
            return Grade(num_right, len(sentences), tale_of(grammar, ended), ())
        problems.append(NotATale(ended))
    return Grade(num_right, len(sentences), None, tuple(problems))
