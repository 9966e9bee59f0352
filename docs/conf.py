"""Sphinx's settings for the course's website; `course site` writes the pages beside a copy of this file and runs it."""

import json
from importlib.metadata import distribution
from pathlib import Path

from sphinx.domains.std import StandardDomain

from course_lib.study.memory.scheduling import settings as schedule_settings

project = "How AI models are trained"
author = "The How AI models are trained authors"
copyright = "the authors. Prose CC BY 4.0, code Apache-2.0"
html_title = project
html_favicon = "_static/favicon.svg"
language = "en"

extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["originals"]

# Pages
myst_enable_extensions = ["amsmath", "attrs_inline", "colon_fence", "dollarmath"]
myst_heading_anchors = 4
myst_dmath_double_inline = True
nb_execution_mode = "off"  # outputs are stored; `make test` is what runs the notebooks
nb_merge_streams = True

# Reference
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented_params"
autodoc_member_order = "bysource"
autodoc_preserve_defaults = True
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_ivar = True
napoleon_custom_sections = ["Shape", ("Reference", "notes_style")]

# Look
html_theme = "sphinx_book_theme"
html_theme_options = {
    "navbar_start": [],
    "navbar_persistent": [],
    "navbar_end": [],
    "use_download_button": False,
    "use_source_button": False,
    "use_edit_page_button": False,
    "show_navbar_depth": 1,
    "show_toc_level": 2,
    "search_bar_text": "Search the course",
    "navigation_with_keys": False,
    "pygments_light_style": "a11y-high-contrast-light",
    "pygments_dark_style": "a11y-high-contrast-dark",
}
html_context = {"default_mode": "auto"}
html_static_path = ["_static"]
html_extra_path = ["extra"]
html_css_files = ["course.css"]
html_js_files = [
    (f"course-{name}.js", {"defer": "defer"}) for name in ("schedule", "progress", "page", "quiz", "cards", "map")
]
html_show_sourcelink = False
html_copy_source = False

# Maths: one file of MathJax, with its letters as curves, so that nothing is loaded from elsewhere, not even fonts.
mathjax_path = "mathjax.js"
myst_update_mathjax = False
mathjax3_config = {
    "tex": {"inlineMath": [["$", "$"], ["\\(", "\\)"]], "processEscapes": True},
    "options": {
        "enableMenu": False,
        "ignoreHtmlClass": "tex2jax_ignore|mathjax_ignore|bd-article-container",
        "processHtmlClass": "tex2jax_process|mathjax_process|math",
    },
}
_MATHJAX = "sphinx-mathjax-offline/static/mathjax/tex-svg-full.js"  # in the package of that name; MathJax 3.2.2


def with_maths(app, pagename, templatename, context, doctree):
    """Load MathJax where maths comes in raw HTML, too: on pages with questions, cards or definitions."""
    if "tex2jax_process" in context.get("body", ""):
        context["has_maths_elements"] = True


def copy_mathjax(app):
    """Put the one file of MathJax among the static files."""
    source = Path(str(distribution("sphinx-mathjax-offline").locate_file(_MATHJAX)))
    (Path(app.srcdir) / "_static" / "mathjax.js").write_bytes(source.read_bytes())


def setup(app):
    """Tell Sphinx of the above, and the scripts of the scheduler's numbers."""
    app.add_js_file(None, body=f"window.courseSettings = {json.dumps({'fsrs': schedule_settings()})};")
    StandardDomain.object_types["term"].attrs["searchprio"] = 0  # so that the search finds terms of the glossary
    app.connect("builder-inited", copy_mathjax)
    app.connect("html-page-context", with_maths, priority=400)
