"""python_text: what a Python installation says of itself, without importing any of it."""

import sys

import pytest

from course_lib.data import python_text
from course_lib.data.python_sources import docstrings, is_table, library_folder, modules, source_text, topics

STORY = '"""A module."""\n\ndef f():\n    """A function."""\n    return 1\n'


def write(folder, name, text, encoding="utf-8"):
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode(encoding))


@pytest.fixture
def library(tmp_path):
    """A small standard library: topics, modules, and what must stay outside."""
    folder = tmp_path / "lib"
    longer = "The longer one\n**************\n\n" + "It says much. " * 9
    found = {"long": longer + "\n\nAs a part:\n\nShort and sweet.\n", "part": "Part\n****\n\nShort and sweet.\n"}
    write(folder, "pydoc_data/topics.py", f"# made\ntopics = {found!r}\n")
    for number in range(40):
        write(folder, f"m{number}.py", f"number = {number}\n" + STORY)
    write(folder, "pack/__init__.py", "import os\n")
    write(folder, "pack/deep/leaf.py", STORY)
    write(folder, "empty.py", "\n")
    write(folder, "twin.py", STORY)
    write(folder, "table.py", "names = {\n" + "    'a': 1,\n" * 9 + "}\n")
    for name in ("test/a.py", "idlelib/a.py", "site-packages/a.py", "encodings/a.py", "pack/tests/a.py", "x-y/a.py"):
        write(folder, name, "left_out = True\n")
    write(folder, "_sysconfigdata__linux.py", "left_out = True\n")
    return folder


def both(kind, library):
    return [row for split in ("train", "validation") for row in python_text(kind, split=split, library=library)]


class TestSmallLibrary:
    def test_code_is_the_modules_and_nothing_else(self, library):
        rows = both("code", library)
        leaf = ("pack.deep.leaf", "twin")  # the same text under two names is kept once where both are on one side
        names = {row["source"] for row in rows}
        assert names - set(leaf) == {"pack", *(f"m{number}" for number in range(40))}
        assert names & set(leaf)
        assert {row["text"] for row in rows if row["source"] == "m3"} == {"number = 3\n" + STORY}

    def test_a_topic_inside_another_is_left_out(self, library):
        assert [row["source"] for row in both("docs", library)] == ["help:long"]

    def test_docstrings_stand_under_their_names(self, library):
        (row,) = (row for row in both("docstrings", library) if row["source"] == "m3")
        assert row == {"text": "m3.f\nA function.\n", "kind": "docstrings", "source": "m3"}

    def test_all_is_docs_and_code(self, library):
        for split in ("train", "validation"):
            everything = python_text("all", split=split, library=library)
            parts = [row for kind in ("docs", "code") for row in python_text(kind, split=split, library=library)]
            assert sorted(map(str, everything)) == sorted(map(str, parts))

    def test_encodings_are_those_the_files_declare(self, library):
        write(library, "latin.py", "# -*- coding: latin-1 -*-\nname = 'Käse'\n", "latin-1")
        write(library, "bom.py", "name = 'Käse'\r\n", "utf-8-sig")
        texts = {row["source"]: row["text"] for row in both("code", library)}
        assert texts["latin"] == "# -*- coding: latin-1 -*-\nname = 'Käse'\n"
        assert texts["bom"] == "name = 'Käse'\n"

    def test_a_file_that_cannot_be_decoded_is_left_out_and_told(self, library):
        write(library, "broken.py", "name = 'Käse'\n", "latin-1")
        with pytest.warns(UserWarning, match=r"left out .*broken\.py, which cannot be decoded"):
            rows = both("code", library)
        assert "broken" not in {row["source"] for row in rows}

    def test_docstrings_of_source_that_cannot_be_parsed_are_left_out_and_told(self, library):
        write(library, "older.py", "print 'hello'\n")
        with pytest.warns(UserWarning, match="left out the docstrings of older, which cannot be parsed"):
            rows = both("docstrings", library)
        assert "older" not in {row["source"] for row in rows}
        assert "older" in {row["source"] for row in both("code", library)}

    def test_docstrings_with_a_lone_surrogate_are_left_out_and_told(self, library):
        write(library, "half.py", '"A half: \\ud800."\nimport os\nimport sys\n')
        with pytest.warns(UserWarning, match="left out the docstrings of half, .*surrogates not allowed"):
            rows = both("docstrings", library)
        assert "half" not in {row["source"] for row in rows}
        assert "half" in {row["source"] for row in both("code", library)}

    @pytest.mark.parametrize(
        ("damaged", "message"),
        [
            ("topics = {'a': 'cut", "which cannot be parsed: unterminated string"),
            ("topics = {'a': open('b')}\n", "which cannot be parsed: malformed"),
            ("topics = {[]: 'a'}\n", "which cannot be parsed: unhashable"),
            ("topics = {'a': 3}\n", "expected texts, found 3"),
            ("topics = {'a': '\\ud800'}\n", "surrogates not allowed"),
            ("number = 3\n", "it assigns no dictionary"),
        ],
    )
    def test_damaged_topics_are_left_out_and_told(self, library, damaged, message):
        write(library, "pydoc_data/topics.py", damaged)
        with pytest.warns(UserWarning, match=rf"left out the topics in .*topics\.py, .*{message}"):
            assert topics(library) == {}
        with pytest.warns(UserWarning, match="left out the topics"), pytest.raises(ValueError, match="holds no docs"):
            python_text("docs", library=library)

    def test_without_topics_all_is_the_code_and_says_so(self, library):
        (library / "pydoc_data" / "topics.py").unlink()
        with pytest.warns(UserWarning, match="holds no docs; the rest is returned"):
            rows = python_text("all", library=library)
        assert set(rows["kind"]) == {"code"}
        with pytest.raises(ValueError, match=r"holds no docs: expected pydoc_data/topics\.py .* from_files"):
            python_text("docs", library=library)

    def test_without_sources_all_is_the_docs_and_says_so(self, library):
        for path in library.rglob("*.py"):
            if path.parent.name != "pydoc_data":
                path.unlink()
        with pytest.warns(UserWarning, match="holds no code"):
            assert {row["kind"] for row in both("all", library)} == {"docs"}
        with pytest.raises(ValueError, match="holds no docstrings"):
            python_text("docstrings", library=library)

    def test_without_anything_it_says_what_to_do(self, tmp_path):
        with pytest.raises(ValueError, match=r"holds no docs and no code.*Take a full installation of Python"):
            python_text(library=tmp_path)

    @pytest.mark.parametrize("max_bytes", [1, 10, 400, 1000])
    def test_a_limit_cuts_the_same_rows_short(self, library, max_bytes):
        whole = "".join(python_text("code", library=library)["text"])
        part = python_text("code", library=library, max_bytes=max_bytes)
        assert "".join(part["text"]) == whole[:max_bytes]
        assert all(part["text"])

    def test_a_limit_never_cuts_a_character(self, tmp_path):
        for number in range(9):
            write(tmp_path, f"m{number}.py", f"# {number} ééé\n")
        for max_bytes in (2, 5, 6, 7, 8, 29):
            text = "".join(python_text("code", library=tmp_path, max_bytes=max_bytes)["text"])
            assert max_bytes - 1 <= len(text.encode()) <= max_bytes

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"kind": "prose"}, "kind must be one of all, docs, docstrings, code, got 'prose'"),
            ({"split": "test"}, "split must be 'train' or 'validation', got 'test'"),
            ({"max_bytes": 0}, "max_bytes must be at least 1, or None for all there is, got 0"),
        ],
    )
    def test_bad_arguments_are_named(self, library, options, message):
        with pytest.raises(ValueError, match=message):
            python_text(library=library, **options)


@pytest.fixture(scope="module")
def code():
    return {split: python_text("code", split=split) for split in ("train", "validation")}


class TestThisPython:
    def test_twice_gives_the_same_rows(self, code):
        assert python_text("code", split="validation").to_list() == code["validation"].to_list()

    def test_validation_is_about_a_tenth_of_each_kind(self, code):
        docs = {split: python_text("docs", split=split) for split in ("train", "validation")}
        for parts in (code, docs):
            sizes = {split: sum(len(text) for text in part["text"]) for split, part in parts.items()}
            assert 0.06 < sizes["validation"] / sum(sizes.values()) < 0.14

    def test_whole_packages_are_apart_and_no_text_is_on_both_sides(self, code):
        packages = {split: {name.partition(".")[0] for name in part["source"]} for split, part in code.items()}
        assert not packages["train"] & packages["validation"]
        assert "json" in packages["train"] | packages["validation"]
        texts = {split: set(part["text"]) for split, part in code.items()}
        assert not texts["train"] & texts["validation"]
        assert len(texts["train"]) == len(code["train"])

    def test_a_module_and_its_docstrings_are_on_one_side(self, code):
        prose = python_text("docstrings", split="validation", max_bytes=200_000)
        assert set(prose["source"]) <= set(code["validation"]["source"])
        assert set(prose["kind"]) == {"docstrings"}

    def test_docstrings_are_those_that_python_finds(self):
        import json.decoder

        found = docstrings("json.decoder", source_text(modules(library_folder())["json.decoder"]))
        assert f"json.decoder.JSONDecoder.decode\n{json.decoder.JSONDecoder.decode.__doc__.splitlines()[0]}" in found

    def test_topics_are_what_help_prints(self):
        from pydoc_data.topics import topics as printed

        found = topics(library_folder())
        assert {name: printed[name].strip() + "\n" for name in found} == found
        bodies = [text.partition("\n\n")[2].strip() for text in found.values()]
        everything = "\0".join(found.values())
        assert all(everything.count(body) == 1 for body in bodies if body)

    def test_nothing_is_imported(self, library):
        write(library, "m1.py", '"""Ends Python when imported."""\nraise SystemExit\n')
        assert "m1" in {row["source"] for row in both("docstrings", library)}
        assert "m1" not in sys.modules

    def test_it_names_its_licence(self, code):
        assert code["train"].info.license == "PSF-2.0"
        assert code["train"].column_names == ["text", "kind", "source"]


def test_nested_definitions_are_found_wherever_python_allows_them():
    text = '''
if True:
    class A:
        """A."""
        async def f(self):
            """F."""
            with open("x") as file:
                def g(): "G."
else:
    try:
        def h(): "H."
    except ValueError:
        def i(): "I."
match 1:
    case 1:
        def j(): "J."
'''
    names = [line for line in docstrings("m", text).splitlines() if line.startswith("m.")]
    assert names == ["m.A", "m.A.f", "m.A.f.g", "m.h", "m.i", "m.j"]


@pytest.mark.parametrize(("lines", "answer"), [((2, 1), True), ((1, 1), False), ((0, 0), False)])
def test_a_table_has_more_entries_than_statements(lines, answer):
    entries, statements = lines
    assert is_table("  ('a', 1),\n" * entries + "\nx = 'a'\n" * statements) is answer
