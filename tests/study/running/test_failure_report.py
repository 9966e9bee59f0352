"""The report of a failing cell: what is shown first, and that it never outgrows one screen."""

from course_lib.study.running.failure_report import MAX_LINES, failure_report


def test_a_short_failure_is_shown_whole():
    report = failure_report("n.ipynb, In [2]", "x = 1\n\nx / 0\n", "ZeroDivisionError: no", "\x1b[31mline 2\x1b[0m\n")
    assert report.splitlines() == [
        "n.ipynb, In [2] failed: ZeroDivisionError: no",
        "    x = 1",
        "    x / 0",
        "",
        "line 2",
    ]


def test_a_long_failure_keeps_the_first_of_the_code_and_the_last_of_the_traceback():
    source = "\n".join(f"line_{k}()" for k in range(25))
    details = "\n".join(f"frame {k} {'x' * 300}" for k in range(200)) + "\nValueError: the end"
    lines = failure_report("n.ipynb", source, "ValueError: the end\nand more", details).splitlines()
    assert len(lines) == MAX_LINES
    assert lines[0] == "n.ipynb failed: ValueError: the end"
    assert lines[1] == "    line_0()"
    assert "    ... 19 more lines" in lines
    assert lines[-1] == "ValueError: the end"
    assert max(map(len, lines)) <= 150
