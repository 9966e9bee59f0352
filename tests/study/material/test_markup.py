"""The Markdown of cards: what is refused, and that no markup of an author reaches the page as HTML."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from course_lib.study.material.markup import faults, to_html, to_inline_html


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a <b>bold</b> word", "raw HTML <b>"),
        ("<div>\nblock\n</div>", "raw HTML <div>"),
        ("<script>alert(1)</script>", "raw HTML <script>"),
        ("<!-- hidden -->", "raw HTML <!-- hidden -->"),
        ('<img src=x onerror="alert(1)">', "raw HTML <img"),
        ("[click](javascript:alert(1))", "script link"),
        ("[click](JavaScript :alert(1))", "script link"),
        (r"$\href{javascript:alert(1)}{x}$", "script link"),
        ("![plot](plot.png)", "an image"),
        ("$a <b>c</b>$", "raw HTML inside maths"),
        ("it costs $5", "dollar sign without its partner"),
    ],
)
def test_faults_are_named(text, message):
    assert any(message in fault for fault in faults(text)), faults(text)


@pytest.mark.parametrize(
    "text",
    [
        "a `<b>` in code",
        "```html\n<script>alert(1)</script>\n```",
        "$a < b$ and 1 < 2 > 0",
        r"$p(x_t \mid x_{<t})$",
        r"\$5 and $x$",
        "<https://example.org> and [a](https://example.org)",
        "| a | b |\n| --- | --- |\n| $x$ | 2 |",
    ],
)
def test_good_text_has_no_faults(text):
    assert faults(text) == []


def test_maths_is_left_for_mathjax():  # Markdown would make emphasis of the underscores and eat the backslashes
    assert to_html(r"$a_i * b_i * \{c\}$") == r"<p>$a_i * b_i * \{c\}$</p>"
    assert to_html("$$\n\\frac{a}{b}\n$$") == r"$$\frac{a}{b}$$"
    assert to_html("$x<y$") == "<p>$x&lt;y$</p>"


def test_a_currency_dollar_opens_no_maths():
    assert to_html(r"\$5 and \$6") == "<p><span>$</span>5 and <span>$</span>6</p>"


def test_an_escaped_bracket_stays_escaped():
    assert to_html(r"\<b\>") == "<p>&lt;b&gt;</p>"


def test_inline_html_keeps_several_paragraphs_apart():
    assert to_inline_html("one\n\ntwo") == "<p>one</p>\n<p>two</p>"


_DANGEROUS = st.sampled_from(
    ["<script>", "</script>", "<img onerror=x>", "$", "$$", "`", "\\", "[a](javascript:x)", "\n"]
)


@given(st.lists(_DANGEROUS | st.text(max_size=3), max_size=8).map("".join))
@settings(deadline=None, derandomize=True)
def test_no_text_renders_as_script(text):
    html = to_html(text)
    assert "<script" not in html
    assert "<img onerror" not in html
    assert 'href="javascript' not in html
