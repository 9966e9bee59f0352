"""The record of a run in a file: written a row at a time, read back, and shown in TensorBoard."""

from course_lib.loops.log.logged_run import LoggedRun, read_log
from course_lib.loops.log.run_log import RunLog
from course_lib.loops.log.tensorboard import TensorBoardMirror, write_tensorboard

__all__ = ["LoggedRun", "RunLog", "TensorBoardMirror", "read_log", "write_tensorboard"]
