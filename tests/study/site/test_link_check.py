"""The check of a built site's links: what it finds, and what it leaves alone."""

import pytest

from course_lib.study.site.link_check import broken_links


@pytest.fixture
def site(tmp_path):
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "b.html").write_text('<h1 id="top">B</h1><a href="../a.html#here">a</a>')
    (tmp_path / "style.css").write_text("")

    def make(body):
        (tmp_path / "a.html").write_text(f'<p id="here">A</p>{body}')
        return list(broken_links(tmp_path))

    return make


@pytest.mark.parametrize(
    "body",
    [
        '<a href="sub/b.html">b</a>',
        '<a href="sub/b.html#top">b</a>',
        '<a href="#here">up</a>',
        '<a href="https://example.org/paper">elsewhere, by a click</a>',
        '<a href="mailto:someone@example.org">mail</a>',
        '<link rel="stylesheet" href="style.css?v=1">',
        '<link rel="canonical" href="https://example.org/">',
        '<img src="data:image/png;base64,AAAA" alt="">',
    ],
)
def test_sound_links_are_let_pass(site, body):
    assert site(body) == []


@pytest.mark.parametrize(
    ("body", "fault"),
    [
        ('<a href="c.html">c</a>', "a.html links to c.html, which is not there"),
        (
            '<a href="sub/b.html#x">b</a>',
            "a.html links to sub/b.html#x, which names a place that the page does not have",
        ),
        ('<a href="#x">x</a>', "a.html links to #x, which names a place that the page does not have"),
        ('<script src="x.js"></script>', "a.html loads x.js, which is not there"),
        ('<script src="https://example.org/x.js"></script>', "a.html loads https://example.org/x.js from elsewhere"),
        ('<img src="//example.org/x.png">', "a.html loads //example.org/x.png from elsewhere"),
        (
            '<link rel="preconnect" href="https://example.org">',
            "a.html loads https://example.org from elsewhere",
        ),
    ],
)
def test_broken_links_and_foreign_loads_are_named(site, body, fault):
    assert site(body) == [fault]


def test_templates_among_static_files_are_no_pages(site, tmp_path):
    (tmp_path / "_static").mkdir()
    (tmp_path / "_static" / "t.html").write_text('<a href="nowhere.html">x</a>')
    assert site("") == []
