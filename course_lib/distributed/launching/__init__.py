"""Worker processes from a notebook or a script, and the process group of programs under torchrun."""

from course_lib.distributed.launching.failures import WorkerFailed, WorkersTimedOut
from course_lib.distributed.launching.group import device, process_group
from course_lib.distributed.launching.launcher import Results, launch

__all__ = ["Results", "WorkerFailed", "WorkersTimedOut", "device", "launch", "process_group"]
