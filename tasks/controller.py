"""What a slot keeps between drains: its connections, its engines with their parts, the pace of models.

An engine outlives a drain and goes on computing what it holds while Celery passes from one wake-up to
the next, so that handing over costs no compute.
"""

import os
import threading
from collections.abc import Sequence

import structlog
from celery import Celery

from backends.errors import LoadFailed
from configs.models import ModelSpec
from configs.settings import Settings
from configs.spec_files import Catalogue, load_catalogue
from store.blobs import open_blobs
from store.errors import DatabaseUnavailable
from store.slots import SlotLease, SlotStatus
from tasks.app import send_wake_up
from tasks.arrivals import Arrivals
from tasks.connection import Connection
from tasks.lane_clock import LaneClock
from tasks.memory import MemoryBudget
from tasks.meter import Meter
from tasks.pace import Pace
from tasks.pokes import PokeListener
from tasks.recorder import Recorder
from tasks.signals import Signals, connect
from tasks.work import Work

log = structlog.get_logger(__name__)


class Controller:
    """The state of one slot. Drains take turns on it under `lock`."""

    def __init__(self, settings: Settings, slot: SlotLease, families: Sequence[str]) -> None:
        if settings.database_url is None or settings.redis_url is None:
            raise ValueError("a worker needs BATCHYARD_DATABASE_URL and BATCHYARD_REDIS_URL")
        self.settings = settings
        self.slot = slot
        self.families = list(families)
        self.conn = Connection(settings.database_url, f"batchyard slot {slot.slot_id}")
        redis = connect(settings.redis_url)
        self.signals = Signals(redis)
        self.listener = PokeListener(redis, self.families)
        self.recorder = Recorder(settings, self.conn, self.signals)
        self.blobs = open_blobs(settings)
        self.arrivals = Arrivals(settings, self.blobs)
        self.pace = Pace()
        self.lanes = LaneClock(settings.bulk_share)
        self.meter = Meter()
        self.working_on: str | None = None  # an item in flight, `job_…:number`
        self.memory_mb: int | None = None  # of all engines
        self.memory = MemoryBudget(settings)
        self.works: dict[str, Work] = {}
        self.catalogue: Catalogue = load_catalogue(settings)
        # The keeper counts, this one included: live slots that serve what we serve, and on this host.
        self.peers = self.neighbours = 1
        self.lock = threading.Lock()
        self.app: Celery | None = None
        self.stopping = threading.Event()
        self.stop_fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)

    def stop(self) -> None:
        """From a signal handler: stop feeding, finish what is in flight, hand back the rest."""
        self.stopping.set()
        os.eventfd_write(self.stop_fd, 1)

    def spec_of(self, model: str) -> ModelSpec:
        """Raises LoadFailed when the spec has gone since the job was submitted."""
        spec = self.catalogue.find(model)
        if spec is None:
            self.catalogue.refresh()
            spec = self.catalogue.find(model)
        if spec is None:
            raise LoadFailed(f"model '{model}' has no spec any more", code="model_not_found")
        return spec

    def work_for(self, model: str) -> Work:
        """The work of `model`, which its spec names so (an alias is resolved). Raises LoadFailed."""
        spec = self.spec_of(model)
        if spec.name not in self.works:
            for work in self.memory.make_room(self.works.values(), spec, self.neighbours):
                del self.works[work.spec.name]
            self.works[spec.name] = Work(spec, self.settings, self.slot.cores, self.pace, self.lanes)
        return self.works[spec.name]

    def loaded(self) -> str | None:
        """The model whose engine was used last."""
        return self.last_used[0]

    def status(self) -> SlotStatus:
        """What this slot is doing. May be asked from another thread."""
        model, runtime = self.last_used
        loaded = sorted(model for model, work in list(self.works.items()) if work.engine is not None)
        return SlotStatus(
            model=model,
            runtime=runtime,
            loaded=loaded,
            working_on=self.working_on,
            rate=round(self.meter.rate(), 3),
            memory_mb=self.memory_mb,
        )

    @property
    def last_used(self) -> tuple[str | None, str | None]:
        """Model and runtime of the engine that was used last. May be asked from another thread."""
        works = [(work, work.engine) for work in list(self.works.values())]
        ready = [(work.used_at, engine) for work, engine in works if engine is not None]
        if not ready:
            return None, None
        engine = max(ready, key=lambda pair: pair[0])[1]
        return engine.model, engine.runtime

    def in_hand(self) -> bool:
        """Whether engines have something to do, or do what nobody wants any more."""
        return any(not work.idle or len(work.let_go) for work in self.works.values())

    def wake_later(self) -> None:
        """Send the wake-up that carries on from a drain whose time is up. Lost with Redis: see `StandIn`. Not
        tried where that hangs: it would hold the drain up for ten seconds."""
        if self.app is not None and self.signals.reachable():
            try:
                send_wake_up(self.app, self.families[0])
            except Exception as error:
                log.warning("wake_up.not_sent", error=str(error))

    def reset(self) -> None:
        """After an error of ours: end all engines, hand back what is held, and begin anew."""
        for work in self.works.values():
            work.shut()
            try:
                self.recorder.release(work.holding, work.cancel)
            except DatabaseUnavailable as error:
                self.conn.lost(error)  # the leases will run out
        self.works.clear()

    def close(self) -> None:
        """End all engines, hand back what is held, and leave Postgres and Redis."""
        self.reset()
        self.arrivals.close()
        self.listener.close()
        self.conn.close()
