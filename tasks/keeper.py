"""What keeps a slot besides its drains: a thread that renews its lease, and one that drains in Celery's
stead where no wake-up can arrive."""

import os
import signal
import socket
import threading
import time

import structlog

from store import paces, slots
from store.errors import DatabaseUnavailable
from tasks.connection import Connection
from tasks.controller import Controller
from tasks.drain import drain

log = structlog.get_logger(__name__)

TICK_SECONDS = 1.0
RENEW_SECONDS = 5.0  # at the most; a third of the lease if that is less


class LeaseKeeper(threading.Thread):
    """Renews the slot's lease, counts the slots beside it, and passes on how fast models are.

    A slot that was removed, having been silent for too long, may share its cores with another: it ends
    itself, as SIGTERM would, and whoever watches it starts a new one.
    """

    def __init__(self, controller: Controller) -> None:
        super().__init__(name="lease-keeper", daemon=True)
        self._controller = controller
        url = controller.settings.database_url or ""
        self._conn = Connection(url, f"batchyard slot {controller.slot.slot_id} lease")

    def run(self) -> None:
        structlog.contextvars.bind_contextvars(slot=self._controller.slot.slot_id)
        pause = min(RENEW_SECONDS, self._controller.settings.lease_seconds / 3)
        while not self._controller.stopping.wait(pause if not self._conn.away else TICK_SECONDS):
            try:
                self._renew()
            except DatabaseUnavailable as error:
                self._conn.lost(error)
            except Exception:  # the lease must be tried for as long as the process lives
                log.exception("slot.not_renewed")
        self._conn.close()

    def _renew(self) -> None:
        c, conn = self._controller, self._conn.get()
        if not slots.renew(conn, c.slot.slot_id, c.settings.lease_seconds, c.status()):
            log.error("slot.removed")
            os.kill(os.getpid(), signal.SIGTERM)
            c.stopping.wait()
            return
        c.peers = max(1, slots.count(conn, c.families[0]))
        c.neighbours = max(1, slots.count_on(conn, socket.gethostname()))
        paces.save(conn, c.pace.take_fresh())


class StandIn(threading.Thread):
    """Drains when parts are in hand and no drain runs, or when Redis is away.

    The wake-up that a drain sends itself may be lost, or taken by another slot.
    """

    def __init__(self, controller: Controller) -> None:
        super().__init__(name="stand-in", daemon=True)
        self._controller = controller

    def run(self) -> None:
        structlog.contextvars.bind_contextvars(slot=self._controller.slot.slot_id)
        while not self._controller.stopping.wait(TICK_SECONDS):
            if self._is_needed():
                drain(self._controller)

    def _is_needed(self) -> bool:
        controller = self._controller
        if controller.lock.locked():
            return False
        return controller.in_hand() or not controller.signals.reachable()


def keep(controller: Controller) -> list[threading.Thread]:
    """Start both; they end when the controller is stopping."""
    threads: list[threading.Thread] = [LeaseKeeper(controller), StandIn(controller)]
    for thread in threads:
        thread.start()
    return threads


def wait_for(threads: list[threading.Thread], seconds: float = 2.0) -> None:
    until = time.monotonic() + seconds
    for thread in threads:
        thread.join(max(0.0, until - time.monotonic()))
