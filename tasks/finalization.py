"""Settling jobs: what has all its results, was cancelled, or is past its deadline gets its files and ends.

Output and error files are rendered on every read; here they are rendered once to count their bytes.
"""

from collections.abc import Callable

import psycopg
import structlog

from store import lifecycle
from store.files import OutputFile
from store.jobs import JobRow
from tasks.render import Which, render_lines
from tasks.signals import Answered, Signals

log = structlog.get_logger(__name__)

End = Callable[[psycopg.Connection, int, OutputFile | None, OutputFile | None], bool]


class Finalizer:
    """Ends jobs, one at a turn or a few that ended early."""

    def __init__(self, signals: Signals) -> None:
        self._signals = signals

    def step(self, conn: psycopg.Connection) -> bool:
        """Settle what is due; True if there was something. Raises DatabaseUnavailable."""
        lifecycle.release_due(conn)
        expired, cancelled = lifecycle.expire_due(conn), lifecycle.settle_cancelling(conn)
        for job in expired:
            self._end(conn, job, lifecycle.expire)
        for job in cancelled:
            self._end(conn, job, lifecycle.finish_cancelled)
        finished = lifecycle.next_finalizing(conn)
        if finished is not None:
            self._end(conn, finished, lifecycle.complete)
        return bool(expired or cancelled or finished)

    def _end(self, conn: psycopg.Connection, job: JobRow, end: End) -> None:
        output, error = measure(conn, job, "output"), measure(conn, job, "error")
        if end(conn, job.id, output, error):
            log.info("job.ended", job=job.suffix, done=job.done, failed=job.failed)
            self._signals.answered(Answered(job.id))


def measure(conn: psycopg.Connection, job: JobRow, which: Which) -> OutputFile | None:
    """The output or error file of a job; None where it would be empty (a file exists only with lines)."""
    size = sum(len(line) for line in render_lines(conn, job, which=which))
    return OutputFile(filename=f"{job.public_id}_{which}.jsonl", size_bytes=size) if size else None
