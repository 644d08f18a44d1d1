"""The keeper of a slot: a thread that renews the slot's lease, and drains when no wake-up can arrive.

Redis may be away, or the wake-up that a drain sends itself may have gone to another slot: the parts in
hand must not wait for it.
"""

import contextlib
import threading
import time

import structlog

from store import slots
from store.errors import DatabaseUnavailable
from tasks.connection import Connection
from tasks.controller import Controller
from tasks.drain import drain

log = structlog.get_logger(__name__)

TICK_SECONDS = 1.0
PEERS_SECONDS = 5.0


class Keeper(threading.Thread):
    """Lives as long as its worker process."""

    def __init__(self, controller: Controller) -> None:
        super().__init__(name="keeper", daemon=True)
        self._controller = controller
        settings = controller.settings
        assert settings.database_url is not None
        self._conn = Connection(settings.database_url, f"batchyard slot {controller.slot.slot_id} keeper")
        self._renew_at = 0.0

    def run(self) -> None:
        while not self._controller.stopping.wait(TICK_SECONDS):
            self._renew()
            if self._needed():
                drain(self._controller)
        self._conn.close()

    def _renew(self) -> None:
        lease = self._controller.settings.lease_seconds
        if time.monotonic() < self._renew_at or self._conn.away:
            return
        try:
            conn = self._conn.get()
            slots.renew(conn, self._controller.slot.slot_id, lease, self._loaded())
            self._controller.peers = max(1, slots.count(conn, self._controller.families[0]))
            self._renew_at = time.monotonic() + min(PEERS_SECONDS, lease / 3)
        except DatabaseUnavailable as error:
            self._conn.lost(error)

    def _loaded(self) -> tuple[str | None, str | None]:
        """Model and runtime of the engine that was used last."""
        with contextlib.suppress(RuntimeError):  # a drain may change the table of works meanwhile
            ready = [w for w in self._controller.works.values() if w.engine is not None]
            if ready:
                work = max(ready, key=lambda w: w.used_at)
                return work.spec.name, work.engine.runtime if work.engine is not None else None
        return None, None

    def _needed(self) -> bool:
        """Nobody drains, although there are parts in hand or Redis cannot deliver a wake-up."""
        controller = self._controller
        if controller.lock.locked():
            return False
        return controller.in_hand() or not controller.signals.reachable()
