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
from store.states import JobState
from tasks.render import Which, render_lines
from tasks.signals import Answered, Signals
from tasks.streams import EventWriter

log = structlog.get_logger(__name__)

ASIDE_SECONDS = 60.0
COMES_TO = {JobState.FINALIZING: JobState.COMPLETED}  # others are given as they will be

End = Callable[[psycopg.Connection, int, OutputFile | None, OutputFile | None], bool]


class Finalizer:
    """Ends jobs, one at a turn or a few that ended early.

    A job whose results cannot be rendered is set aside for a while: it must not hold up the others.
    """

    def __init__(self, signals: Signals) -> None:
        self._signals = signals
        self._events = EventWriter(signals)
        self._aside: dict[int, float] = {}

    def step(self, conn: psycopg.Connection) -> bool:
        """Settle what is due; True if something has ended. Raises DatabaseUnavailable."""
        self._aside = {job_id: until for job_id, until in self._aside.items() if until > time.monotonic()}
        lifecycle.release_due(conn)
        expired = lifecycle.expire_due(conn, skip=self._aside)
        cancelled = lifecycle.settle_cancelling(conn, skip=self._aside)
        ended = [self._try_to_end(conn, job, lifecycle.expire) for job in expired]
        ended += [self._try_to_end(conn, job, lifecycle.finish_cancelled) for job in cancelled]
        return self._complete_one(conn) or any(ended)

    def _complete_one(self, conn: psycopg.Connection) -> bool:
        """Complete the oldest job that can be; each that cannot is set aside, so this ends."""
        while (job := lifecycle.next_finalizing(conn, skip=self._aside)) is not None:
            if self._try_to_end(conn, job, lifecycle.complete):
                return True
        return False

    def _try_to_end(self, conn: psycopg.Connection, job: JobRow, end: End) -> bool:
        """Whether it has ended. If it cannot be rendered, it is set aside."""
        try:
            output, error = measure(conn, job, "output"), measure(conn, job, "error")
            if end(conn, job.id, output, error):
                log.info("job.ended", job=job.suffix, done=job.done, failed=job.failed)
                self._signals.answered(Answered(job.id))
                self._signals.poke_deliverers()
                self._events.state(job.id, COMES_TO.get(job.state, job.state))
                return True
        except DatabaseUnavailable:
            raise
        except Exception:
            log.exception("job.not_settled", job=job.suffix)
            self._aside[job.id] = time.monotonic() + ASIDE_SECONDS
        return False


def measure(conn: psycopg.Connection, job: JobRow, which: Which) -> OutputFile | None:
    """The output or error file of a job; None where it would be empty (a file exists only with lines)."""
    size = sum(len(line) for line in render_lines(conn, job, which=which))
    return OutputFile(filename=f"{job.public_id}_{which}.jsonl", size_bytes=size) if size else None
