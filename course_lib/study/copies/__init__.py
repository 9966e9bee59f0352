"""Learners' own copies of the notebooks, and how new versions come into them."""

from course_lib.study.copies.learners import (
    Update,
    copy_path,
    diff,
    my_folder,
    notebook_path,
    prepare,
    reset,
    update,
)

__all__ = ["Update", "copy_path", "diff", "my_folder", "notebook_path", "prepare", "reset", "update"]
