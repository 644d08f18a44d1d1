"""Repeating lost wake-ups: as many as there are slots that could work and neither listen nor are called;
and saying of jobs that no slot could take why they wait."""

import time
from collections.abc import Callable

import psycopg
import structlog
from celery import Celery

from store import slots, waiting
from tasks.app import send_wake_up
from tasks.signals import Signals

log = structlog.get_logger(__name__)

# How long the looks for jobs that wait in vain rest, by the time that the last one took.
REST = 20.0
REST_AFTER_CHANGES = 2.0


class WakeUps:
    """Looks for families with work that waits, and wakes slots for them."""

    def __init__(self, app: Celery, signals: Signals) -> None:
        self._app, self._signals = app, signals

    def repeat(self, conn: psycopg.Connection) -> bool:
        """Poke or wake whoever could take waiting work. Always False: the tick is its pace."""
        for family in sorted({family for family, _ in waiting.waiting_families(conn)}):
            awake = self._signals.poke(family)
            backlog = self._signals.backlog(family)
            if backlog is None:
                continue  # Redis is away; the slots' keepers drain without it
            for _ in range(slots.count(conn, family) - awake - backlog):
                send_wake_up(self._app, family)
                log.debug("wake_up.repeated", family=family)
        return False


class Explanations:
    """Lets jobs that no slot could take say so (their `note`).

    A look reads every job that waits in vain or has such a note, a second for 400,000 of them: it rests the
    longer, the longer it took.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock, self._next_at = clock, 0.0

    def step(self, conn: psycopg.Connection) -> bool:
        """Explain some; True if there may be more of them. Raises DatabaseUnavailable."""
        begun = self._clock()
        if begun < self._next_at:
            return False
        changed = waiting.explain(conn)
        ended = self._clock()
        self._next_at = ended + (ended - begun) * (REST_AFTER_CHANGES if changed else REST)
        if changed:
            log.info("job.notes_changed", jobs=changed)
        return changed == waiting.NOTES_AT_ONCE
