"""Retention: what is past its time goes. Jobs with all that hangs on them; files and uploads, rows first,
then bytes; events of webhooks with their deliveries."""

from collections import Counter
from dataclasses import dataclass, field

import psycopg
import structlog

from configs.settings import Settings
from store import attachments, deliveries, files, leftovers, lifecycle, uploads
from store.blobs import Blobs
from store.ids import View

log = structlog.get_logger(__name__)

HOUR_SECONDS = 3600.0
DAY_SECONDS = 24 * HOUR_SECONDS


@dataclass(kw_only=True)
class Pruning:
    """What was deleted, or would be: jobs by view, blobs of files and uploads with their bytes, events."""

    jobs: Counter[str] = field(default_factory=Counter)
    files: int = 0
    bytes: int = 0
    events: int = 0


class Retention:
    """Prunes for the dispatcher and for who asks. What is kept for 0 seconds is kept for ever."""

    def __init__(self, settings: Settings, blobs: Blobs) -> None:
        self._blobs = blobs
        jobs_seconds = settings.keep_jobs_days * DAY_SECONDS
        keep: dict[View, float] = {
            "job": jobs_seconds,
            "batch": jobs_seconds,
            "response": jobs_seconds,
            "call": settings.keep_calls_hours * HOUR_SECONDS,
        }
        self._keep_seconds = {view: seconds for view, seconds in keep.items() if seconds}
        self._keep_events_seconds = settings.keep_events_days * DAY_SECONDS

    def prune(self, conn: psycopg.Connection) -> bool:
        """Delete what is past its time, some at a time; True if more may be. Raises DatabaseUnavailable."""
        return self._turn(conn, Pruning())

    def prune_all(self, conn: psycopg.Connection) -> Pruning:
        """Delete all that is past its time. Raises DatabaseUnavailable."""
        pruned = Pruning()
        while self._turn(conn, pruned):
            pass
        return pruned

    def preview(self, conn: psycopg.Connection) -> Pruning:
        """What `prune_all` would delete now. Raises DatabaseUnavailable."""
        jobs = {view: leftovers.count_ended(conn, view, kept) for view, kept in self._keep_seconds.items()}
        blobs, size = leftovers.count_blobs(conn)
        kept = self._keep_events_seconds
        events = leftovers.count_events(conn, kept) if kept else 0
        return Pruning(jobs=Counter(jobs), files=blobs, bytes=size, events=events)

    def _turn(self, conn: psycopg.Connection, pruned: Pruning) -> bool:
        """Jobs first: where they go by the thousand, the rest can wait."""
        found = self._prune_jobs(conn, pruned) or self._prune_blobs(conn, pruned)
        return found or self._prune_events(conn, pruned)

    def _prune_jobs(self, conn: psycopg.Connection, pruned: Pruning) -> bool:
        jobs = {view: lifecycle.delete_ended(conn, view, kept) for view, kept in self._keep_seconds.items()}
        pruned.jobs.update(jobs)
        if any(jobs.values()):
            log.info("jobs.pruned", **jobs)
        return any(jobs.values())

    def _prune_blobs(self, conn: psycopg.Connection, pruned: Pruning) -> bool:
        files_before, bytes_before = pruned.files, pruned.bytes
        for expired in (files.expired, uploads.expired, attachments.expired):
            for name in expired(conn):  # whose rows are gone: before anything else is asked, which may fail
                pruned.bytes += self._blobs.delete(name)
                pruned.files += 1
        count, size, swept = pruned.files - files_before, pruned.bytes - bytes_before, self._blobs.sweep()
        if count or swept:
            log.info("blobs.pruned", expired=count, bytes=size, abandoned=swept)
        return count > 0

    def _prune_events(self, conn: psycopg.Connection, pruned: Pruning) -> bool:
        kept = self._keep_events_seconds
        deleted = deliveries.delete_old(conn, kept) if kept else 0
        pruned.events += deleted
        if deleted:
            log.info("webhook_events.pruned", events=deleted)
        return deleted > 0
