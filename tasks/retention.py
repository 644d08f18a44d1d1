"""Retention: files and uploads past their expiry go, rows first, then bytes."""

import psycopg
import structlog

from store import files, uploads
from store.blobs import Blobs

log = structlog.get_logger(__name__)


class Retention:
    """Prunes for the dispatcher."""

    def __init__(self, blobs: Blobs) -> None:
        self._blobs = blobs

    def prune(self, conn: psycopg.Connection) -> bool:
        """Delete what has expired. Always False: the tick is its pace. Raises DatabaseUnavailable."""
        names = files.expired(conn) + uploads.expired(conn)
        for name in names:
            self._blobs.delete(name)
        swept = self._blobs.sweep()
        if names or swept:
            log.info("blobs.pruned", expired=len(names), abandoned=swept)
        return False
