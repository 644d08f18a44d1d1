"""Repeating lost wake-ups: as many as there are slots that could work and neither listen nor are called;
and saying of jobs that no slot could take why they wait."""

import psycopg
import structlog
from celery import Celery

from store import slots, waiting
from tasks.app import send_wake_up
from tasks.signals import Signals

log = structlog.get_logger(__name__)


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


def explain(conn: psycopg.Connection) -> bool:
    """Let jobs that no slot could take say so (their `note`). True if there may be more of them."""
    changed = waiting.explain(conn)
    if changed:
        log.info("job.notes_changed", jobs=changed)
    return changed == waiting.NOTES_AT_ONCE
