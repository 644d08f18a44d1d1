"""A database connection that may be lost: reopened on demand, with a pause between tries."""

import time

import psycopg

from store import db
from store.errors import DatabaseUnavailable

RETRY_SECONDS = 0.5


class Connection:
    """One synchronous connection of a controller or dispatcher. Not for use by two threads at once."""

    def __init__(self, url: str, name: str) -> None:
        self._url = url
        self._name = name
        self._conn: psycopg.Connection | None = None
        self.retry_at = 0.0  # on the monotonic clock

    @property
    def away(self) -> bool:
        """True while the last failure is so young that another try is not due."""
        return time.monotonic() < self.retry_at

    def get(self) -> psycopg.Connection:
        """The open connection. Raises DatabaseUnavailable."""
        if self._conn is None or self._conn.closed:
            self._conn = db.connect(self._url, name=self._name)
        return self._conn

    def lost(self, error: DatabaseUnavailable) -> None:
        """Note a failure: the connection is dropped, the next try is due in half a second."""
        self.close()
        self.retry_at = time.monotonic() + RETRY_SECONDS

    def close(self) -> None:
        if self._conn is not None:
            self._conn.close()
            self._conn = None
