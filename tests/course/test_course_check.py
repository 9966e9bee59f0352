"""The whole course, checked by its own rules: what `course check` says must be nothing but notes."""

from pathlib import Path

from course_lib.study.checks import run_checks

ROOT = Path(__file__).parents[2]


def test_the_course_has_nothing_to_mend():
    errors = [str(complaint) for complaint in run_checks(ROOT) if complaint.level == "error"]
    assert not errors, "\n".join([f"{len(errors)} complaints", *errors[:25]])
