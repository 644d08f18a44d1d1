"""`batchyard up`, step by step: slot plan, home, address, Postgres and Redis, schema, models, every process.

What can be refused is refused before anything is made. A step that may take longer than two seconds says so
in the log.
"""

import http.client
import os
import socket
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import asdict
from functools import partial

import msgspec
import psutil
import structlog

from backends.errors import BackendError
from backends.registry import runtimes_of
from backends.weights.cache import best_runtime, missing_files, model_folder
from backends.weights.pull import PullProgress, pull
from configs.models import ModelSpec
from configs.settings import Settings
from configs.spec_files import load_catalogue
from store import db, migrate, slots
from store.embedded.services import EmbeddedServices, Urls
from tasks.address import listen, url_of
from tasks.children import ChildSpec
from tasks.refusals import ArgumentRefused
from tasks.signal_watch import SignalWatch, Stopped
from tasks.slots import SlotPlan, boot_id, check_memory, plan
from tasks.supervisor import Supervisor

log = structlog.get_logger(__name__)

# -P: packages in the caller's working folder must not stand in for ours.
BATCHYARD = (sys.executable, "-P", "-m", "cli.main")
EXTRA_STOP_SECONDS = 2.0  # for a child to leave after its parts in flight have had theirs
MEMORY_SHARE = 0.8  # of what is free, for engines
PROBE_SECONDS = 1.0
PULL_LOG_SECONDS = 2.0


def up(settings: Settings, models: Sequence[str], announce: Callable[[str], None]) -> None:
    """Run the whole service until a request to stop; `announce` gets its URL once calls are answered.

    Raises `StartRefused`, `StoreError` or `BackendError` when it cannot start like this.
    """
    specs = choose_models(settings, models)
    plans = plan_slots(settings, specs)
    services = EmbeddedServices(
        settings.home, database_url=settings.database_url, redis_url=settings.redis_url
    )
    with SignalWatch() as watch, ExitStack() as stack, suppress(Stopped):
        stack.callback(services.stop)
        with watch.interrupting():
            services.hold()
            listener = stack.enter_context(listen(settings))
            settings = _completed(settings, services.start(), listener)
            _make_ready(settings, specs if models else [])
        supervisor = Supervisor(
            child_specs(plans, listener),
            env={**os.environ, **environment_of(settings), "BATCHYARD_PART_OF_UP": "1"},
            services=services,
            watch=watch,
            ready=partial(answers, settings, len(plans)),
            announce=lambda: announce(url_of(settings)),
            tidy=partial(free_dead_slots, settings),
            stop_seconds=settings.stop_seconds + EXTRA_STOP_SECONDS,
        )
        supervisor.run()
    log.info("service.stopped")


def _completed(settings: Settings, urls: Urls, listener: socket.socket) -> Settings:
    """The settings that every child gets: what was left open is known by now."""
    port = listener.getsockname()[1]
    return settings.model_copy(update={**urls._asdict(), "home": settings.home.resolve(), "port": port})


def _make_ready(settings: Settings, specs: Sequence[ModelSpec]) -> None:
    """Everything that must be done before the first child; `specs` are to be at hand then."""
    assert settings.database_url is not None
    migrate.upgrade(settings.database_url)
    free_dead_slots(settings)
    for spec in specs:
        pull(spec, settings, runtimes=[best_runtime(spec)], progress=PullLog())


def choose_models(settings: Settings, names: Sequence[str]) -> list[ModelSpec]:
    """The models to plan for: those of these names, or all that have been pulled. Raises `ArgumentRefused`,
    and `BackendError` for one that no runtime here can load."""
    catalogue = load_catalogue(settings)
    for broken in catalogue.broken:
        log.warning("spec.broken", where=str(broken))
    if not names:
        return [spec for spec in catalogue.specs.values() if _is_pulled(settings, spec)]
    specs = []
    for name in names:
        spec = catalogue.find(name)
        if spec is None:
            known = ", ".join(sorted(catalogue.specs)) or "none"
            raise ArgumentRefused(f"there is no model '{name}'; known are {known}")
        best_runtime(spec)
        specs.append(spec)
    return specs


def plan_slots(settings: Settings, specs: Sequence[ModelSpec]) -> list[SlotPlan]:
    """The slots of this host by the settings. Raises `StartRefused`."""
    plans = plan(settings.slots, sorted(os.sched_getaffinity(0)), specs, families=settings.families)
    free_mb = int(psutil.virtual_memory().available * MEMORY_SHARE) // 1024**2
    check_memory(plans, specs, settings.memory_mb or free_mb)
    return plans


def child_specs(plans: Sequence[SlotPlan], listener: socket.socket) -> list[ChildSpec]:
    """API, dispatcher, deliverer, and a worker per slot."""
    fd = listener.fileno()
    return [
        ChildSpec(name="api", argv=(*BATCHYARD, "api", "--fd", str(fd)), pass_fds=(fd,)),
        ChildSpec(name="dispatcher", argv=(*BATCHYARD, "dispatch")),
        ChildSpec(name="deliverer", argv=(*BATCHYARD, "deliver")),
        *(
            ChildSpec(name=f"slot {number}", argv=(*BATCHYARD, "worker", *_worker_options(slot)))
            for number, slot in enumerate(plans, start=1)
        ),
    ]


def environment_of(settings: Settings) -> dict[str, str]:
    """The variables that make a child read the same settings."""
    return {f"BATCHYARD_{name.upper()}": str(value) for name, value in settings if value is not None}


def answers(settings: Settings, slot_count: int) -> bool:
    """Whether the service answers calls: GET /ready says so, and that every slot has reported."""
    connection = http.client.HTTPConnection(url_of(settings).removeprefix("http://"), timeout=PROBE_SECONDS)
    try:
        connection.request("GET", "/ready")
        response = connection.getresponse()
        return response.status == 200 and msgspec.json.decode(response.read())["workers"] >= slot_count
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def free_dead_slots(settings: Settings) -> None:
    """Free cores and chunks of this host's dead slots, without waiting for their leases to run out."""
    assert settings.database_url is not None
    with db.connect(settings.database_url, name="batchyard up") as connection:
        slots.free_dead(connection, boot_id())


def _worker_options(slot: SlotPlan) -> tuple[str, ...]:
    return "--cores", ",".join(map(str, slot.cores)), "--families", ",".join(slot.families)


def _is_pulled(settings: Settings, spec: ModelSpec) -> bool:
    folder = model_folder(settings, spec)
    try:
        return any(not missing_files(spec, folder, name) for name in runtimes_of(spec.family, spec.runtime))
    except BackendError:  # an unknown family or runtime: its jobs will say so
        return False


class PullLog:
    """Says how far a pull has come, every two seconds."""

    def __init__(self) -> None:
        self._due = 0.0

    def __call__(self, progress: PullProgress) -> None:
        now = time.monotonic()
        if now < self._due:
            return
        self._due = now + PULL_LOG_SECONDS
        log.info("model.pulling", **asdict(progress))
