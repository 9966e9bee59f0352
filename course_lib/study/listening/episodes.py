"""The scripts in ``episodes/``: a title, then paragraphs of plain prose that a voice can read as they stand."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from course_lib.content import course_root

NUM_WORDS = range(300, 501)
LONGEST_SENTENCE = 35  # words: what a listener can hold, who cannot look back
WORDS_A_MINUTE = 150
AUDIO_SUFFIXES = (".mp3", ".m4a", ".ogg", ".opus", ".wav")

# What a voice spells out or swallows: marks of Markdown, maths and code. Names with an underscore are such marks, too.
_UNSPEAKABLE = re.compile(r"[*_`$#<>=+|~^\\{}\[\]@&/]|https?:")


@dataclass(frozen=True, slots=True)
class Episode:
    """One script: what it is called, and its paragraphs."""

    title: str
    paragraphs: tuple[str, ...]

    @property
    def num_words(self) -> int:
        """How long it is, the title left out."""
        return sum(len(paragraph.split()) for paragraph in self.paragraphs)

    @property
    def minutes(self) -> int:
        """How long it takes to hear, rounded up."""
        return -(-self.num_words // WORDS_A_MINUTE)

    @property
    def text(self) -> str:
        """What is read aloud."""
        return "\n\n".join([f"{self.title}.", *self.paragraphs])


def parse_episode(text: str) -> Episode:
    r"""Return a script: its first line is ``# `` and the title, and blank lines part its paragraphs.

    Raises:
        ValueError: If it has no title or no paragraph.

    Example:
        >>> parse_episode("# A start\n\nOne.\nTwo.\n\nThree.").paragraphs
        ('One. Two.', 'Three.')
    """
    head, *blocks = [" ".join(block.split()) for block in re.split(r"\n\s*\n", text.strip())]
    if not head.startswith("# ") or not blocks:
        raise ValueError("a script begins with '# ' and its title, then come paragraphs, blank lines between them.")
    return Episode(head.removeprefix("# "), tuple(blocks))


def load_episode(number: str, root: Path | None = None) -> Episode:
    """Return the script of one notebook.

    Raises:
        FileNotFoundError: If there is none yet; names those there are.
        ValueError: If it is not in the form of a script.
    """
    paths = _paths(root or course_root())
    if number not in paths:
        known = ", ".join(paths) or "none yet"
        raise FileNotFoundError(f"notebook {number} has no episode to listen to. There are: {known}.")
    try:
        return parse_episode(paths[number].read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"episodes/{paths[number].name}: {error}") from error


def load_episodes(root: Path | None = None) -> dict[str, Episode]:
    """Return every script by its notebook's number; raises as ``load_episode``."""
    root = root or course_root()
    return {number: load_episode(number, root) for number in _paths(root)}


def audio_path(root: Path, stem: str) -> Path | None:
    """Return the recording of an episode, which lies beside its script, or ``None``."""
    paths = (root / "episodes" / f"{stem}{suffix}" for suffix in AUDIO_SUFFIXES)
    return next((path for path in paths if path.is_file()), None)


def faults(episode: Episode) -> list[str]:
    """Say what keeps a script from being heard well; empty for a good one.

    Example:
        >>> faults(Episode("A start", ("The loss `L` falls. " * 100,)))
        ['what a voice cannot say: ` in "The loss `L` falls."']
    """
    found = []
    if episode.num_words not in NUM_WORDS:
        found.append(f"{episode.num_words} words: write {NUM_WORDS.start} to {NUM_WORDS.stop - 1}")
    sentences = [s for paragraph in episode.paragraphs for s in re.split(r"(?<=[.?!])\s+", paragraph) if s]
    for sentence in dict.fromkeys([episode.title, *sentences]):
        mark = _UNSPEAKABLE.search(sentence)
        if mark:
            found.append(f'what a voice cannot say: {mark[0]} in "{sentence[:60]}"')
        if len(sentence.split()) > LONGEST_SENTENCE:
            words = len(sentence.split())
            found.append(f'a sentence of {words} words, more than {LONGEST_SENTENCE}: "{sentence[:60]}"')
    return found


def _paths(root: Path) -> dict[str, Path]:
    return {path.name[:2]: path for path in sorted((root / "episodes").glob("[0-9][0-9]_*.md"))}
