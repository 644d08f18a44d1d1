"""A slot's process: a Celery worker (threads pool, concurrency 1) around one controller.

The controller holds no native code, so a thread is enough isolation, and Celery goes on answering control
commands while a drain runs. What crashes is the engine, a child process.
"""

import os
import signal
import socket
import threading
import warnings
from collections.abc import Sequence
from typing import Any

import structlog
from celery import Celery, signals
from celery.exceptions import SecurityWarning

from configs.settings import Settings
from store import db, paces, slots
from tasks.app import make_app
from tasks.controller import Controller
from tasks.drain import Drain, drain
from tasks.keeper import keep, wait_for
from tasks.nudge import Nudge
from tasks.slots import boot_id, parse_families

log = structlog.get_logger(__name__)


def take_slot(settings: Settings, families: Sequence[str], cores: Sequence[int] | None) -> slots.SlotLease:
    """Lease the core set, or with None one free core. Raises slots.CoresTaken."""
    assert settings.database_url is not None
    with db.connect(settings.database_url, name="batchyard slot") as conn:
        return slots.register(
            conn,
            boot_id=boot_id(),
            host=socket.gethostname(),
            pid=os.getpid(),
            families=families,
            cores=None if cores is None else list(cores),
            available=sorted(os.sched_getaffinity(0)),
            lease_seconds=settings.lease_seconds,
        )


def run(settings: Settings, families: str, cores: Sequence[int] | None) -> int:
    """Be a slot until told to stop; returns the exit code. Raises CoresTaken, DatabaseUnavailable."""
    served = list(parse_families(families))
    slot = take_slot(settings, served, cores)
    structlog.contextvars.bind_contextvars(slot=slot.slot_id)
    log.info("slot.started", cores=slot.cores, families=served)
    controller = Controller(settings, slot, served)
    controller.pace.learn(paces.load(controller.conn.get()))
    nudge = Nudge()

    def wake(family: str) -> None:
        try:
            drain(controller)
        finally:
            nudge()

    app = make_app(settings, wake)
    nudge.install(app)
    controller.app = app
    receivers = _connect_signals(controller)
    keepers = keep(controller)
    try:
        return _serve(app, controller)
    finally:
        _leave(controller, keepers)
        del receivers


def _serve(app: Celery, controller: Controller) -> int:
    # As root Celery warns of pickle, which no part of this service accepts.
    warnings.filterwarnings("ignore", category=SecurityWarning)
    worker = app.Worker(
        pool="threads",
        concurrency=1,
        queues=controller.families,
        hostname=f"slot{controller.slot.slot_id}@{socket.gethostname()}",
        quiet=True,
        without_gossip=True,
        without_mingle=True,
        without_heartbeat=True,
        optimization="fair",
    )
    worker.start()
    return int(worker.exitcode or 0)


def _connect_signals(controller: Controller) -> list[Any]:
    """Celery's shutdown reaches a running drain at once. Celery keeps weak references: hold the result."""

    def on_shutting_down(**_: Any) -> None:
        controller.stop()

    def on_ready(**_: Any) -> None:
        # Celery's own SIGQUIT handler asks the pool to kill a job, which threads cannot. Leases make
        # leaving without a word safe, and the engines end with their parent.
        signal.signal(signal.SIGQUIT, lambda *_: os._exit(1))

    def on_logging(**_: Any) -> None:
        """Being connected is enough: Celery then leaves logging as it is."""

    signals.worker_shutting_down.connect(on_shutting_down)
    signals.worker_ready.connect(on_ready)
    signals.setup_logging.connect(on_logging)
    return [on_shutting_down, on_ready, on_logging]


def _leave(controller: Controller, keepers: list[threading.Thread]) -> None:
    """Finish what is in flight, hand back the rest, give up the cores."""
    controller.stop()
    with controller.lock:  # a drain that still runs ends by itself now
        if controller.in_hand():
            Drain(controller).finish()
        controller.close()
    wait_for(keepers)
    try:
        assert controller.settings.database_url is not None
        with db.connect(controller.settings.database_url, name="batchyard slot") as conn:
            slots.leave(conn, controller.slot.slot_id)
    except Exception as error:
        log.warning("slot.not_left", error=str(error))
    log.info("slot.stopped")
