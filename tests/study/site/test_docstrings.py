"""Every docstring of the reference is sound reStructuredText, as the website's build demands; told in seconds."""

import inspect
import io

import pytest

from course_lib.study.site.reference import entries, parts

napoleon = pytest.importorskip("sphinx.ext.napoleon", reason="docstrings are not checked: sphinx is missing")
core = pytest.importorskip("docutils.core")


@pytest.fixture(scope="module", autouse=True)
def roles():
    """Sphinx's roles mean nothing to docutils alone: they are let pass."""
    from docutils import nodes
    from docutils.parsers.rst import roles

    def role(name, rawtext, text, lineno, inliner, options=None, content=None):
        return [nodes.literal(rawtext, text)], []

    for name in ("func", "class", "meth", "mod", "attr", "data", "exc", "obj"):
        roles.register_local_role(name, role)


def documented(part):
    """Each docstring that the reference of one part shows, by what it belongs to."""
    found = {}
    for entry in entries(part):
        if entry.directive == "py:data":
            continue
        found[entry.full_name] = entry.target
        module = inspect.getmodule(entry.target)
        found[f"module {module.__name__}"] = module
        if inspect.isclass(entry.target):
            for name, member in vars(entry.target).items():
                if not name.startswith("_") and (inspect.isroutine(member) or isinstance(member, property)):
                    found[f"{entry.full_name}.{name}"] = member
    return {name: text for name, target in found.items() if (text := inspect.getdoc(target))}


def faults(text):
    """What docutils complains of in a docstring in Google's form."""
    config = napoleon.Config(napoleon_custom_sections=["Shape", ("Reference", "notes_style")], napoleon_use_ivar=True)
    rst = str(napoleon.GoogleDocstring(text, config))
    said = io.StringIO()
    settings = {"report_level": 2, "halt_level": 5, "warning_stream": said, "file_insertion_enabled": False}
    core.publish_doctree(rst, settings_overrides=settings)
    lines = [line for line in said.getvalue().splitlines() if line.startswith("<string>:")]
    return [line for line in lines if "Unknown directive" not in line]


@pytest.mark.parametrize("part", parts())
def test_docstrings_are_sound(part):
    complaints = {name: faults(text) for name, text in documented(part).items()}
    assert {name: found for name, found in complaints.items() if found} == {}


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("The length |G|^2 of it.", "Inline substitution_reference start-string"),
        ("The length |theta| of it.", 'Undefined substitution referenced: "theta"'),
        ("Stars *here.", "Inline emphasis start-string"),
        ("- a list\nleft open", "Bullet list ends without a blank line"),
    ],
)
def test_faults_are_found(text, fault):
    assert any(fault in found for found in faults(text))
