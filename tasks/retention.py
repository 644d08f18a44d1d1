"""Retention: what is past its time goes. Jobs with all that hangs on them; files and uploads, rows first,
then bytes."""

import psycopg
import structlog

from configs.settings import Settings
from store import files, lifecycle, uploads
from store.blobs import Blobs
from store.ids import View

log = structlog.get_logger(__name__)

HOUR_SECONDS = 3600.0
DAY_SECONDS = 24 * HOUR_SECONDS


class Retention:
    """Prunes for the dispatcher. A view whose jobs are kept for 0 seconds keeps them for ever."""

    def __init__(self, settings: Settings, blobs: Blobs) -> None:
        self._blobs = blobs
        jobs_seconds = settings.keep_jobs_days * DAY_SECONDS
        self._keep_seconds: dict[View, float] = {
            "job": jobs_seconds,
            "batch": jobs_seconds,
            "call": settings.keep_calls_hours * HOUR_SECONDS,
        }

    def prune(self, conn: psycopg.Connection) -> bool:
        """Delete what is past its time; True if jobs were among it, as more may be. Raises
        DatabaseUnavailable."""
        if self._prune_jobs(conn):
            return True
        self._prune_files(conn)
        return False

    def _prune_jobs(self, conn: psycopg.Connection) -> bool:
        kept = [(view, seconds) for view, seconds in self._keep_seconds.items() if seconds]
        deleted = {view: lifecycle.delete_ended(conn, view, seconds) for view, seconds in kept}
        if any(deleted.values()):
            log.info("jobs.pruned", **deleted)
        return any(deleted.values())

    def _prune_files(self, conn: psycopg.Connection) -> None:
        names = files.expired(conn) + uploads.expired(conn)
        for name in names:
            self._blobs.delete(name)
        swept = self._blobs.sweep()
        if names or swept:
            log.info("blobs.pruned", expired=len(names), abandoned=swept)
