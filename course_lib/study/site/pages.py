"""The website's smaller pages: front page, review, practice, episodes, and the index of the reference."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from html import escape
from pathlib import Path

from course_lib.study.listening.episodes import Episode, audio_path
from course_lib.study.material.schema import Deck, Glossary, Plan, Quiz
from course_lib.study.site.notebook_pages import raw_html
from course_lib.study.site.panels import review_panel, standing_panel
from course_lib.study.teaching.syllabus import Entry

_WELCOME = """# How AI models are trained

A course in notebooks that takes you from *what is a loss?* to language models, RLHF, diffusion, scaling laws and
training on many GPUs. This site shows every notebook as it ran, with quizzes and cards to answer here; it works offline
too. To change and run the code, clone the repository and type `make lab`.

**Every day:** [review](review.md) the cards that are due. **Looking something up:** the [glossary](glossary.md), the
[concept map](concept-map.md), the [library's reference](reference/index.md), or the search above.

"""

_REVIEW = """# Review

What you are about to forget comes first, then some new cards, notebooks mixed. Rate each honestly: the rating decides
when it returns. Progress stays in this browser; export it to keep a copy or to go on in a terminal
(`course progress import`).

"""


def index(plan: Plan, entries: Sequence[Entry], stems: Mapping[str, str], *, listen: bool) -> str:
    """Return the front page: the course part by part, and the order of all pages."""
    by_number = {entry.number: entry for entry in entries}
    blocks, trees = [_WELCOME], []
    for part, name in plan.parts.items():
        numbers = [notebook.number for notebook in plan.notebooks if notebook.part == part]
        blocks.append(f"## {part}. {name}\n\n" + "\n".join(_line(by_number[n], stems) for n in numbers) + "\n\n")
        written = [f"notebooks/{stems[number]}" for number in numbers if number in stems]
        if written:
            trees.append(_toctree(f"{part}. {name}", written))
    trees.append(_toctree("Practise", ["review", *(["listen"] if listen else [])]))
    trees.append(_toctree("Look up", ["concept-map", "glossary", "results", "reference/index"]))
    return "".join(blocks) + "\n".join(trees)


def review(
    decks: Mapping[str, Deck], quizzes: Mapping[str, Quiz], titles: Mapping[str, str], glossary: Glossary
) -> str:
    """Return the page of spaced repetition over all decks, with the learner's progress and a list of all practice."""
    num_cards = sum(len(deck.cards) for deck in decks.values())
    num_questions = sum(len(quiz.questions) for quiz in quizzes.values())
    rows = [
        f"- [{number} {titles[number]}](practice/{number}.md): {len(quizzes[number].questions)} questions, "
        f"{len(deck.cards)} cards"
        for number, deck in decks.items()
    ]
    panels = [raw_html(review_panel(decks, titles, glossary)), "## Your progress"]
    panels += [raw_html(standing_panel(num_cards, num_questions)), "## Quizzes and cards by notebook"]
    tree = _toctree("", [f"practice/{number}" for number in decks])
    return _REVIEW + "\n\n".join(panels) + "\n\n" + "\n".join(rows) + "\n\n" + tree


def practice(number: str, title: str, stem: str, quiz: str, cards: str) -> str:
    """Return the page with one notebook's quiz and cards."""
    lead = f"From notebook [{number} {title}](../notebooks/{stem}.ipynb). Progress stays in this browser."
    return f"# Practise {number}: {title}\n\n{lead}\n\n## Quiz\n\n{raw_html(quiz)}\n\n## Cards\n\n{raw_html(cards)}\n"


def notebook_intro(path: Path, episode: Episode | None, audio: Path | None) -> str:
    """Return what stands below a notebook's title: where to run it, practise it and listen to it."""
    number = path.name[:2]
    parts = [f"{{download}}`Download this notebook <../originals/{path.name}>`", f"[practise](../practice/{number}.md)"]
    if episode is not None:
        parts.append(f"[listen](../listen.md#episode-{number}) ({episode.minutes} minutes)")
    text = " · ".join(parts)
    return f"{text}\n\n{raw_html(_player(audio, '../'))}" if audio else text


def listen(episodes: Mapping[str, Episode], titles: Mapping[str, str], stems: Mapping[str, str], root: Path) -> str:
    """Return the page of episodes: for each its text, and a player where there is a recording."""
    blocks = [
        "# Listen\n\nEach episode tells one notebook for the ear: the question, the idea, what came out. "
        "`course listen 00` reads one aloud with your computer's own voice.\n"
    ]
    for number, episode in episodes.items():
        head = f"(episode-{number})=\n## {number} {titles[number]}"
        audio = audio_path(root, stems[number])
        link = f"[The notebook](notebooks/{stems[number]}.ipynb) · {episode.minutes} minutes"
        player = [raw_html(_player(audio, ""))] if audio else []
        blocks.append("\n\n".join([head, link, *player, *episode.paragraphs]))
    return "\n\n".join(blocks) + "\n"


def reference_index(parts: Collection[str]) -> str:
    """Return the first page of the library's reference."""
    lead = (
        "# The library\n\n`course_lib` is what the notebooks import, to take into projects of your own. "
        "Each object stands under the shortest name that it can be imported by.\n\n"
    )
    return lead + _toctree("", list(parts), hidden=False)


def _line(entry: Entry, stems: Mapping[str, str]) -> str:
    name = f"{entry.number} {entry.title}"
    if entry.number not in stems:
        return f"- {name} *(planned)*: {entry.outcome}"
    link = f"**[{name}](notebooks/{stems[entry.number]}.ipynb)**, {entry.reading_minutes} min"
    return f"- {link}, [quiz and cards](practice/{entry.number}.md): {entry.outcome}"


def _toctree(caption: str, documents: Sequence[str], *, hidden: bool = True) -> str:
    options = ([":hidden:"] if hidden else []) + ([f":caption: {caption}"] if caption else []) + [":maxdepth: 1"]
    return "\n".join(["```{toctree}", *options, "", *documents, "```", ""])


def _player(audio: Path, to_root: str) -> str:
    source = f"{to_root}audio/{escape(audio.name)}"
    return f'<div class="course-episode"><audio controls preload="none" src="{source}"></audio></div>'
