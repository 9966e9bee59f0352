"""Reading Markdown for the checks: headings, bold terms, list items, links, images."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from functools import cache, lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from markdown_it import MarkdownIt
    from markdown_it.token import Token


@lru_cache(maxsize=8192)  # every check reads every cell
def tokens(source: str) -> tuple[Token, ...]:
    """Parse Markdown with tables and ``$maths$``."""
    return tuple(_parser().parse(source))


def headings(source: str) -> list[tuple[int, str, int, int]]:
    r"""Return each heading as (level, text, its first line, the line after it), lines counted from 0.

    Example:
        >>> headings("## Two *words*\n\ntext\n\n### Three\n")
        [(2, 'Two words', 0, 1), (3, 'Three', 4, 5)]
    """
    found = []
    for token, inline in itertools.pairwise(tokens(source)):
        if token.type == "heading_open" and token.map:
            first, after = token.map
            found.append((int(token.tag[1]), _plain(inline), first, after))
    return found


def bold_terms(source: str) -> list[str]:
    """Return each text set in bold.

    Example:
        >>> bold_terms("A **logit** is an unnormalised log-probability; **two `words`** more.")
        ['logit', 'two words']
    """
    found = []
    for token in tokens(source):
        depth, parts = 0, list[str]()
        for child in token.children or []:
            depth += {"strong_open": 1, "strong_close": -1}.get(child.type, 0)
            if depth and child.type != "strong_open":
                parts.append(" " if child.type == "softbreak" else child.content)
            elif parts and not depth:
                found.append("".join(parts))
                parts = []
    return found


def list_items(source: str) -> list[str]:
    r"""Return the text of each item of the outermost lists.

    Example:
        >>> list_items("Lead.\n\n- one\n- two\n  lines\n")
        ['one', 'two lines']
    """
    items: list[list[str]] = []
    depth = 0
    for token in tokens(source):
        depth += {"list_item_open": 1, "list_item_close": -1}.get(token.type, 0)
        if token.type == "list_item_open" and depth == 1:
            items.append([])
        elif token.type == "inline" and depth:
            items[-1].append(token.content.replace("\n", " "))
    return [" ".join(parts) for parts in items]


def tables(source: str) -> list[str]:
    """Return the text of each table, a line for each row."""
    found: list[str] = []
    inside = False
    for token in tokens(source):
        if token.type == "table_open":
            inside = True
            found.append("")
        elif token.type == "table_close":
            inside = False
        elif inside and token.type == "tr_close":
            found[-1] += "\n"
        elif inside and token.type == "inline":
            found[-1] += f"{token.content} | "
    return found


def links(source: str) -> list[str]:
    """Return the target of every link.

    Example:
        >>> links("See [one](01_one.ipynb#The-gap) and `[no](link)`.")
        ['01_one.ipynb#The-gap']
    """
    return [str(token.attrs.get("href", "")) for token in _inline(source, "link_open")]


def images(source: str) -> list[tuple[str, str]]:
    """Return every image as (target, alternative text)."""
    return [(str(token.attrs.get("src", "")), token.content) for token in _inline(source, "image")]


def _inline(source: str, kind: str) -> Iterator[Token]:
    for token in tokens(source):
        yield from (child for child in token.children or [] if child.type == kind)


def _plain(inline: Token) -> str:
    return "".join(child.content for child in inline.children or [])


@cache
def _parser() -> MarkdownIt:
    from markdown_it import MarkdownIt
    from mdit_py_plugins.dollarmath import dollarmath_plugin

    return MarkdownIt("commonmark").enable("table").use(dollarmath_plugin, allow_space=False, double_inline=True)
