"""The Markdown of cards and questions: what is refused in it, and how it becomes HTML that carries no script."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from html import escape
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from markdown_it import MarkdownIt
    from markdown_it.token import Token

_SCRIPT_LINK = re.compile(r"\b(?:javascript|vbscript)\s*:", re.IGNORECASE)
_TAG_IN_MATHS = re.compile(r"</?[a-zA-Z!][^<>]*>")


def faults(text: str) -> list[str]:
    """Say what a Markdown text may not hold: raw HTML, script links, images, a dollar sign without its partner.

    Returns:
        One sentence per fault, each with its cure; empty for a good text.

    Example:
        >>> faults("the loss $L$ of `<pad>`")
        []
        >>> faults("a <b>bold</b> word")[0]
        'raw HTML <b>: use Markdown, or put it in backticks to show it as it stands'
    """
    found = []
    if _SCRIPT_LINK.search(text):
        found.append("a script link (javascript:): remove it")
    for token in _flat(_parser(html=True).parse(text)):
        if token.type in ("html_inline", "html_block"):
            first = token.content.strip().splitlines()[0]
            found.append(f"raw HTML {first[:40]}: use Markdown, or put it in backticks to show it as it stands")
        elif token.type == "image":
            found.append("an image: cards and questions are text, which works offline and in a terminal; describe it")
        elif token.type.startswith("math") and _TAG_IN_MATHS.search(token.content):
            found.append(f"raw HTML inside maths ({token.content.strip()[:40]}): write a space after <, as in $a < b$")
        elif token.type == "text" and "$" in token.content:
            found.append(r"a dollar sign without its partner: write maths as $...$, and the currency as \$")
    return list(dict.fromkeys(found))


def to_html(text: str) -> str:
    r"""Render Markdown with maths as HTML; maths stays ``$...$`` for MathJax, and raw HTML is shown, not obeyed.

    Example:
        >>> to_html("so $a_i < b$ is *small*")
        '<p>so $a_i &lt; b$ is <em>small</em></p>'
        >>> to_html("<script>alert(1)</script>")
        '<p>&lt;script&gt;alert(1)&lt;/script&gt;</p>'
    """
    return str(_parser(html=False).render(text)).strip()


def to_inline_html(text: str) -> str:
    """Render a one-paragraph text without the paragraph around it; longer texts as ``to_html`` does.

    Example:
        >>> to_inline_html("at most `n` rows")
        'at most <code>n</code> rows'
    """
    html = to_html(text)
    inner = html.removeprefix("<p>").removesuffix("</p>")
    return inner if html.startswith("<p>") and html.endswith("</p>") and "<p>" not in inner else html


def _flat(tokens: list[Token]) -> Iterator[Token]:
    for token in tokens:
        yield token
        yield from _flat(token.children or [])


@cache
def _parser(*, html: bool) -> MarkdownIt:
    from markdown_it import MarkdownIt
    from mdit_py_plugins.dollarmath import dollarmath_plugin

    parser = MarkdownIt("commonmark", {"html": html}).enable("table")
    parser.use(dollarmath_plugin, allow_space=False, double_inline=True)
    parser.disable("text_join")  # keeps an escaped \$ apart from the $ that opens maths
    rules: dict[str, Any] = parser.renderer.rules  # type: ignore[attr-defined]
    rules["text_special"] = lambda tokens, index, options, env: _escaped_character(tokens[index].content)
    rules["math_inline"] = lambda tokens, index, options, env: f"${escape(tokens[index].content)}$"
    for display in ("math_inline_double", "math_block"):
        rules[display] = lambda tokens, index, options, env: f"$${escape(tokens[index].content.strip())}$$\n"
    return parser


def _escaped_character(character: str) -> str:
    return "<span>$</span>" if character == "$" else escape(character)  # alone in its element it opens no maths
