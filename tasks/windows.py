"""Opening and closing jobs whose window has begun or ended."""

from collections.abc import Callable
from datetime import datetime

import psycopg
import structlog

from configs.windows import parse_window
from store import windows
from store.windows import WindowGroup

log = structlog.get_logger(__name__)

Clock = Callable[[psycopg.Connection], datetime]


class Windows:
    """A step of the dispatcher."""

    def __init__(self, clock: Clock = windows.clock) -> None:
        self._clock = clock
        self._unknown: set[WindowGroup] = set()

    def step(self, conn: psycopg.Connection) -> bool:
        """Open and close what is due; True if there may be more. Raises DatabaseUnavailable."""
        now = self._clock(conn)
        unfinished = [self._settle(conn, group, now) for group in windows.groups(conn)]
        return any(unfinished)

    def _settle(self, conn: psycopg.Connection, group: WindowGroup, now: datetime) -> bool:
        if self._is_open(group, now) == group.is_open:
            return False
        jobs = windows.flip(conn, group)
        if jobs:
            log.info("window.closed" if group.is_open else "window.opened", window=group.run_window,
                     timezone=group.timezone, jobs=jobs)  # fmt: skip
        return jobs == windows.JOBS_AT_ONCE

    def _is_open(self, group: WindowGroup, now: datetime) -> bool:
        """A window that was accepted elsewhere, by a newer tz database, may be unknown here: it stays as it
        is."""
        try:
            return parse_window(group.run_window, group.timezone).is_open(now)
        except ValueError as error:
            if group not in self._unknown:
                self._unknown.add(group)
                log.error(
                    "window.unknown", window=group.run_window, timezone=group.timezone, error=str(error)
                )
            return group.is_open
