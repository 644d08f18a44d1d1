"""Recording: results and lease renewal in one statement, fenced; and a sign of life for what only waits.

Rows leave memory after their commit, never before: while the database is away they are kept, and a
chunk that was taken over meanwhile is found fenced and dropped.
"""

import time
from collections.abc import Callable

import structlog

from backends.errors import LoadFailed
from backends.transcription import ENDPOINTS
from backends.types import Lane
from configs.settings import Settings
from store import leases, lifecycle, records, watch
from store.states import JobState
from tasks.connection import Connection
from tasks.holding import HeldChunk, Holding
from tasks.signals import Answered, Signals
from tasks.streams import EventWriter
from tasks.under_way import TELL_SECONDS, UnderWay

log = structlog.get_logger(__name__)

Cancel = Callable[[set[int]], None]  # tells the engine about parts that are not wanted any more

GROUP_SECONDS = 1.0
GROUP_ROWS = 256
GOES_ON = frozenset({"running", "finalizing", "completed"})  # states of a job whose records are wanted


class Recorder:
    """Writes for one slot. Every method may raise DatabaseUnavailable, and may then be called again."""

    def __init__(self, settings: Settings, conn: Connection, signals: Signals) -> None:
        self._lease = settings.lease_seconds
        self._conn = conn
        self._signals = signals
        self._events = EventWriter(signals)
        self._under_way = UnderWay(signals)

    def record_due(self, holding: Holding, cancel: Cancel, *, all_rows: bool = False) -> None:
        """Record what is due (with `all_rows`: whatever there is), renew the leases of the rest."""
        now = time.monotonic()
        answers: list[Answered] = []
        try:
            for chunk in list(holding.chunks.values()):
                self._tell(chunk)
                if now - chunk.told_at >= TELL_SECONDS:
                    self._tell_under_way(chunk, now)
                if self._is_due(chunk, now) or (all_rows and chunk.rows):
                    answers += self._record(holding, chunk, cancel)
        finally:  # after the records: a Redis that hangs must not hold them up
            for answered in answers:
                self._signals.answered(answered)
            self._events.flush()
        self._renew(holding, cancel, now)

    def drop_unwanted(self, holding: Holding, cancel: Cancel) -> None:
        """Let go of the chunks of jobs that were cancelled or have ended otherwise."""
        if holding:
            for job_id in watch.unwanted(self._conn.get(), holding.jobs()):
                for chunk in holding.of_job(job_id):  # what is finished is void where the job has ended
                    self.hand_back(holding, chunk, cancel)

    def hand_back(self, holding: Holding, chunk: HeldChunk, cancel: Cancel) -> None:
        """Record what is finished of a chunk and release the rest: another slot may claim it at once."""
        answers = self._record(holding, chunk, cancel) if chunk.rows else []
        if chunk.claim.chunk_id in holding.chunks:
            self._release(holding, [chunk], cancel)
        for answered in answers:
            self._signals.answered(answered)

    def release(self, holding: Holding, cancel: Cancel) -> None:
        """Hand everything unfinished back: other slots may claim it at once."""
        self._release(holding, list(holding.chunks.values()), cancel)

    def fail_jobs(self, holding: Holding, error: LoadFailed, cancel: Cancel) -> None:
        """The model cannot be loaded: its jobs that we hold fail with the reason."""
        for job_id in holding.jobs():
            lifecycle.fail(self._conn.get(), job_id, error.code, error.message)
            self._release(holding, holding.of_job(job_id), cancel)
            self._signals.answered(Answered(job_id))
            self._events.state(job_id, JobState.FAILED)

    def _is_due(self, chunk: HeldChunk, now: float) -> bool:
        """Whether rows should be recorded now: the chunk is complete, somebody waits, other slots could help
        with what was added, or it is time."""
        if not chunk.open or chunk.more:
            return True
        if not chunk.rows:
            return False
        waited = chunk.lane is Lane.INTERACTIVE
        return waited or len(chunk.rows) >= GROUP_ROWS or now - chunk.leased_at >= GROUP_SECONDS

    def _record(self, holding: Holding, chunk: HeldChunk, cancel: Cancel) -> list[Answered]:
        """Record the chunk's rows; what there is to tell those who wait."""
        rows, more, complete, cpu_ms = chunk.rows, chunk.more, not chunk.open, round(chunk.cpu_ms)
        recorded = records.record(
            self._conn.get(), chunk.claim.ref, rows,
            lease_seconds=self._lease, chunk_done=complete, more=more, cpu_ms=cpu_ms,
        )  # fmt: skip
        chunk.rows, chunk.more, chunk.leased_at = [], [], time.monotonic()
        chunk.cpu_ms -= cpu_ms
        if not recorded.fenced and chunk.claim.followed:
            self._events.recorded(chunk.claim.job_id, [row.n for row in rows])
        if more and not recorded.fenced:
            self._signals.poke(chunk.claim.family)  # us too
        if chunk.told_units:  # at once, as the database counts it from now on
            self._tell_under_way(chunk, chunk.leased_at)
        if recorded.fenced:
            self._lose(holding, chunk, cancel)
        elif complete:
            holding.drop(chunk)
        elif recorded.state not in GOES_ON:
            self._release(holding, [chunk], cancel)
        return self._answers(chunk, rows, recorded) if recorded.job_finished else []

    def _answers(
        self, chunk: HeldChunk, rows: list[records.PartResult], recorded: records.Recorded
    ) -> list[Answered]:
        job_id = chunk.claim.job_id
        log.info("job.recorded", job=chunk.claim.suffix, state=recorded.state)
        if chunk.claim.followed:
            self._events.state(job_id, recorded.state)
        if recorded.state == "finalizing":
            self._signals.poke_dispatcher()
            return []
        if recorded.parts == len(rows) == 1:
            return [Answered(job_id, rows[0].status, rows[0].data)]
        return [Answered(job_id)]

    def _tell(self, chunk: HeldChunk) -> None:
        """Pass on what has been heard: before the record of its part, which ends it."""
        if chunk.news:
            self._events.heard(chunk.claim.job_id, chunk.news)
            chunk.news = []

    def _tell_under_way(self, chunk: HeldChunk, now: float) -> None:
        """Say how far recordings are. Other work is in parts that are quickly done."""
        chunk.told_at = now
        if chunk.claim.endpoint in ENDPOINTS:
            units = round(1000 * sum(chunk.under_way.values()))  # milliseconds, of seconds
            if units or chunk.told_units:
                self._under_way.told(chunk.claim.job_id, chunk.claim.chunk_id, units)
            chunk.told_units = units

    def _renew(self, holding: Holding, cancel: Cancel, now: float) -> None:
        stale = [c for c in holding.chunks.values() if now - c.leased_at >= self._lease / 3]
        if not stale:
            return
        ours = leases.renew(self._conn.get(), [c.claim.ref for c in stale], self._lease)
        for chunk in stale:
            chunk.leased_at = now
            if chunk.claim.chunk_id not in ours:
                self._lose(holding, chunk, cancel)

    def _lose(self, holding: Holding, chunk: HeldChunk, cancel: Cancel) -> None:
        """Another slot has taken the chunk over, or its job was closed: what we have of it is void."""
        log.warning("chunk.fenced", chunk=chunk.claim.chunk_id, job=chunk.claim.suffix)
        cancel(holding.drop(chunk))

    def _release(self, holding: Holding, released: list[HeldChunk], cancel: Cancel) -> None:
        if released:
            leases.release(self._conn.get(), [chunk.claim.ref for chunk in released])
        for chunk in released:
            cancel(holding.drop(chunk))
            chunk.under_way.clear()
            self._tell_under_way(chunk, time.monotonic())
