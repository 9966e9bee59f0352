"""What a launch says when a rank fails, dies or does not come to an end."""

from __future__ import annotations

import signal
from collections.abc import Mapping, Sequence

from course_lib.distributed.launching.rank_folder import RankFolder

_LAST_LINES = 30


class WorkerFailed(RuntimeError):
    """A rank raised an exception or died; the other ranks were ended.

    Attributes:
        rank: The rank that failed first.
        traceback: Its traceback as text; empty if it died.
    """

    def __init__(self, message: str, rank: int, traceback: str = "") -> None:
        super().__init__(message)
        self.rank = rank
        self.traceback = traceback


class WorkersTimedOut(TimeoutError):
    """Ranks had not returned when the time was over; they were ended.

    Attributes:
        ranks: The ranks that had not returned.
    """

    def __init__(self, message: str, ranks: Sequence[int]) -> None:
        super().__init__(message)
        self.ranks = list(ranks)


def failure(folders: Sequence[RankFolder], ended: Mapping[int, int | None]) -> WorkerFailed:
    """Return the error for ranks of which one failed, naming the cause among those that fell with it.

    A rank that died comes before ranks that raised: their error is mostly that it could not be reached.

    Args:
        folders: One a rank.
        ended: The exit codes of ranks that ended by themselves: minus the signal's number where one ended it, None
            where it is not known.
    """
    died = [folder for folder in folders if folder.rank in ended and folder.state() != "raised"]
    raised = sorted((folder for folder in folders if folder.state() == "raised"), key=RankFolder.error)
    cause = (died or raised)[0]
    me = f"Rank {cause.rank} of {len(folders)}"
    others = _others([folder for folder in folders if folder is not cause])
    if died:
        last = _last_lines(cause)
        return WorkerFailed(f"{me} {_death(ended[cause.rank])}{last}{others}", cause.rank)
    _, summary, traceback = cause.error()
    return WorkerFailed(f"{me} raised {summary.splitlines()[0]}\n\n{traceback.rstrip()}{others}", cause.rank, traceback)


def time_out(folders: Sequence[RankFolder], seconds: float) -> WorkersTimedOut:
    """Return the error for ranks that did not come to an end, telling where each of them was."""
    late = [folder for folder in folders if folder.state() != "returned"]
    names = ", ".join(str(folder.rank) for folder in late)
    places = "\n".join(f"Rank {folder.rank} was here:\n{folder.place()}" for folder in late)
    done = [str(folder.rank) for folder in folders if folder not in late]
    returned = f" (rank {', '.join(done)} had)" if done else ""
    return WorkersTimedOut(
        f"After {seconds:g} s rank {names} had not returned{returned}. A collective waits until every rank of its "
        f"group has called it; if the work just takes longer, give launch a larger timeout.\n\n{places}",
        [folder.rank for folder in late],
    )


def _death(exit_code: int | None) -> str:
    if exit_code is None:
        return "ended at its start."
    if exit_code >= 0:
        return f"ended without returning, with exit code {exit_code}."
    name = signal.Signals(-exit_code).name
    return f"was killed by {name}" + (" (kill -9, or the system ran out of memory)." if name == "SIGKILL" else ".")


def _last_lines(folder: RankFolder) -> str:
    if not folder.stderr.exists():
        return ""
    lines = folder.stderr.read_text(encoding="utf-8", errors="replace").splitlines()[-_LAST_LINES:]
    return "\n\nThe last lines of its errors:\n" + "\n".join(lines) if lines else ""


def _others(folders: Sequence[RankFolder]) -> str:
    """One line for each other rank: what came of it meanwhile."""
    lines = []
    for folder in folders:
        state = folder.state()
        if state == "raised":
            lines.append(f"Rank {folder.rank} then raised {folder.error()[1].splitlines()[0]}")
        elif state == "returned":
            lines.append(f"Rank {folder.rank} had returned.")
        else:
            lines.append(f"Rank {folder.rank} was ended.")
    return "\n\n" + "\n".join(lines) if lines else ""
