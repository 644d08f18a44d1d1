"""Settling jobs: what has all its results, was cancelled, or is past its deadline gets its files and ends.

Output and error files are rendered on every read; here they are rendered once to count their bytes.
"""

import time
from collections.abc import Callable

import psycopg
import structlog

from store import lifecycle
from store.errors import DatabaseUnavailable
from store.files import OutputFile
from store.jobs import JobRow
from tasks.render import Which, render_lines
from tasks.signals import Answered, Signals

log = structlog.get_logger(__name__)

ASIDE_SECONDS = 60.0

End = Callable[[psycopg.Connection, int, OutputFile | None, OutputFile | None], bool]


class Finalizer:
    """Ends jobs, one at a turn or a few that ended early.

    A job whose results cannot be rendered is set aside for a while: it must not hold up the others.
    """

    def __init__(self, signals: Signals) -> None:
        self._signals = signals
        self._aside: dict[int, float] = {}

    def step(self, conn: psycopg.Connection) -> bool:
        """Settle what is due; True if there was something. Raises DatabaseUnavailable."""
        lifecycle.release_due(conn)
        expired, cancelled = lifecycle.expire_due(conn), lifecycle.settle_cancelling(conn)
        for job in expired:
            self._try_to_end(conn, job, lifecycle.expire)
        for job in cancelled:
            self._try_to_end(conn, job, lifecycle.finish_cancelled)
        self._aside = {job_id: until for job_id, until in self._aside.items() if until > time.monotonic()}
        finished = lifecycle.next_finalizing(conn, skip=self._aside)
        if finished is not None:
            self._try_to_end(conn, finished, lifecycle.complete)
        return bool(expired or cancelled or finished)

    def _try_to_end(self, conn: psycopg.Connection, job: JobRow, end: End) -> None:
        try:
            output, error = measure(conn, job, "output"), measure(conn, job, "error")
            if end(conn, job.id, output, error):
                log.info("job.ended", job=job.suffix, done=job.done, failed=job.failed)
                self._signals.answered(Answered(job.id))
        except DatabaseUnavailable:
            raise
        except Exception:
            log.exception("job.not_settled", job=job.suffix)
            self._aside[job.id] = time.monotonic() + ASIDE_SECONDS


def measure(conn: psycopg.Connection, job: JobRow, which: Which) -> OutputFile | None:
    """The output or error file of a job; None where it would be empty (a file exists only with lines)."""
    size = sum(len(line) for line in render_lines(conn, job, which=which))
    return OutputFile(filename=f"{job.public_id}_{which}.jsonl", size_bytes=size) if size else None
