"""Saving a run so that it can be killed at any moment, and going on from what was saved."""

from course_lib.loops.checkpoints.checkpoint_files import CheckpointError
from course_lib.loops.checkpoints.checkpoints import Checkpoints

__all__ = ["CheckpointError", "Checkpoints"]
