"""Recording: results and lease renewal in one statement, fenced; and a sign of life for what only waits.

Rows leave memory after their commit, never before: while the database is away they are kept, and a
chunk that was taken over meanwhile is found fenced and dropped.
"""

import time
from collections.abc import Callable

import structlog

from backends.errors import LoadFailed
from configs.settings import Settings
from store import chunks, lifecycle, records, watch
from tasks.connection import Connection
from tasks.holding import HeldChunk, Holding
from tasks.signals import Answered, Signals

log = structlog.get_logger(__name__)

Cancel = Callable[[set[int]], None]  # tells the engine about parts that are not wanted any more

GROUP_SECONDS = 1.0
GROUP_ROWS = 256


class Recorder:
    """Writes for one slot."""

    def __init__(self, settings: Settings, conn: Connection, signals: Signals) -> None:
        self._lease = settings.lease_seconds
        self._conn = conn
        self._signals = signals

    def due(self, chunk: HeldChunk, now: float) -> bool:
        """Whether the chunk's rows should be recorded now: it is complete, somebody waits, or it is time."""
        if not chunk.open:
            return True
        if not chunk.rows:
            return False
        waited = chunk.lane == "interactive"
        return waited or len(chunk.rows) >= GROUP_ROWS or now - chunk.touched_at >= GROUP_SECONDS

    def record_due(self, holding: Holding, cancel: Cancel, *, all_rows: bool = False) -> None:
        """Record what is due (with `all_rows`: whatever there is), renew the leases of the rest.

        Raises DatabaseUnavailable; what was not recorded is kept.
        """
        now = time.monotonic()
        for chunk in list(holding.chunks.values()):
            if self.due(chunk, now) or (all_rows and chunk.rows):
                self._record(holding, chunk, cancel)
        self._renew(holding, cancel, now)

    def _record(self, holding: Holding, chunk: HeldChunk, cancel: Cancel) -> None:
        claim, rows, complete = chunk.claim, chunk.rows, not chunk.open
        recorded = records.record(
            self._conn.get(), claim.ref, rows, lease_seconds=self._lease, chunk_done=complete, more=chunk.more
        )
        chunk.rows, chunk.more, chunk.touched_at = [], [], time.monotonic()
        if recorded.fenced or recorded.state not in ("running", "finalizing", "completed"):
            log.info("chunk.dropped", chunk=claim.chunk_id, job=claim.suffix, state=recorded.state)
            cancel(holding.drop(chunk))
        elif complete:
            holding.drop(chunk)
        if recorded.job_finished:
            self._announce(chunk, rows, recorded.state)

    def _announce(self, chunk: HeldChunk, rows: list[records.PartResult], state: str) -> None:
        claim = chunk.claim
        log.info("job.recorded", job=claim.suffix, state=state)
        if state == "finalizing":
            self._signals.poke_dispatcher()
        elif (claim.lo, claim.hi) == (0, 1) and len(rows) == 1:
            self._signals.answered(Answered(claim.job_id, rows[0].status, rows[0].data))
        else:
            self._signals.answered(Answered(claim.job_id))

    def _renew(self, holding: Holding, cancel: Cancel, now: float) -> None:
        stale = [c for c in holding.chunks.values() if now - c.touched_at >= self._lease / 3]
        if not stale:
            return
        ours = chunks.renew(self._conn.get(), [c.claim.ref for c in stale], self._lease)
        for chunk in stale:
            chunk.touched_at = now
            if chunk.claim.chunk_id not in ours:
                log.warning("chunk.fenced", chunk=chunk.claim.chunk_id, job=chunk.claim.suffix)
                cancel(holding.drop(chunk))

    def drop_ended(self, holding: Holding, cancel: Cancel) -> None:
        """Let go of the chunks of jobs that were cancelled or have ended otherwise."""
        if not holding:
            return
        for job_id in watch.unwanted(self._conn.get(), sorted(holding.jobs())):
            for chunk in holding.of_job(job_id):
                cancel(holding.drop(chunk))
                chunks.release(self._conn.get(), [chunk.claim.ref])

    def release(self, holding: Holding) -> None:
        """Hand everything unfinished back: other slots may claim it at once."""
        if not holding:
            return
        held = list(holding.chunks.values())
        chunks.release(self._conn.get(), [chunk.claim.ref for chunk in held])
        for chunk in held:
            holding.drop(chunk)

    def fail_jobs(self, holding: Holding, error: LoadFailed) -> None:
        """The model cannot be loaded: its jobs that we hold fail with the reason."""
        for job_id in sorted(holding.jobs()):
            lifecycle.fail(self._conn.get(), job_id, error.code, error.message)
            self._signals.answered(Answered(job_id))
            for chunk in holding.of_job(job_id):
                holding.drop(chunk)
