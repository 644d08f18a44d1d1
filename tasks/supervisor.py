"""Keeps the processes of a service running until somebody asks to stop, then ends them in order."""

import signal
import time
from collections.abc import Callable, Mapping, Sequence

import structlog

from store.embedded.errors import ServiceError
from store.embedded.services import EmbeddedServices
from store.errors import StoreError
from tasks.children import Backoff, Child, ChildSpec
from tasks.refusals import StartRefused
from tasks.signal_watch import SignalWatch

log = structlog.get_logger(__name__)

REFUSALS = (2, 5)  # exit codes of a child that will not start like this, however often it is tried
GIVE_UP_FAILURES = 4  # of one child in a row, while the service has not been ready once
READY_LOOK_SECONDS = 0.05
IDLE_LOOK_SECONDS = 5.0  # a look for no reason: a signal or the end of a child wakes the loop at once
STOP_LOOK_SECONDS = 0.1


class Supervisor:
    """Keeps `children` running with the environment `env`, and `services` too. Lives in the main thread.

    `ready` is asked until it says yes; then `announce` is called, once. `tidy` is called after deaths: what
    a dead slot held must not wait for its leases to run out.
    """

    def __init__(
        self,
        children: Sequence[ChildSpec],
        *,
        env: Mapping[str, str],
        services: EmbeddedServices,
        watch: SignalWatch,
        ready: Callable[[], bool],
        announce: Callable[[], None],
        tidy: Callable[[], None],
        stop_seconds: float,
    ) -> None:
        self._children = [Child(spec, env) for spec in children]
        self._services = services
        self._services_backoff = Backoff()
        self._watch = watch
        self._ready = ready
        self._announce = announce
        self._tidy = tidy
        self._stop_seconds = stop_seconds
        self._announced = False

    def run(self) -> None:
        """Until a request to stop (which may leave as `Stopped`). Nothing is left running then.

        Raises `StartRefused` when a child does not come up the first time.
        """
        try:
            while not self._watch.stops:
                self._start_due()
                if not self._announced and self._all_run() and self._ready():
                    self._announced = True
                    self._announce()
                self._watch.wait(self._pause())
                self._look_after_children()
                self._look_after_services()
        finally:
            self._end_children()

    def _all_run(self) -> bool:
        return all(child.pid for child in self._children)

    def _start_due(self) -> None:
        for child in self._children:
            if child.pid is None and child.backoff.due_at <= time.monotonic():
                child.start()

    def _pause(self) -> float:
        """Seconds until there is something to do that no signal announces."""
        if not self._announced:
            return READY_LOOK_SECONDS
        due = [child.backoff.due_at for child in self._children if child.pid is None]
        if self._services_backoff.failures:
            due.append(self._services_backoff.due_at)
        return min([IDLE_LOOK_SECONDS, *(at - time.monotonic() for at in due)])

    def _look_after_children(self) -> None:
        endings = [(child, code) for child in self._children if (code := child.reap()) is not None]
        if not endings or self._watch.stops:
            return
        if not self._announced:
            for child, code in endings:
                _check_start(child, code)
        try:
            self._tidy()
        except StoreError as error:  # the next death, or the leases, will do
            log.warning("supervisor.not_tidied", error=str(error))

    def _look_after_services(self) -> None:
        """Bring back Postgres and Redis. The children ride it out: they try again until both are back."""
        if self._watch.stops or self._services_backoff.due_at > time.monotonic():
            return
        try:
            with self._watch.interrupting():
                if self._services.revive():
                    self._services_backoff = Backoff()
        except ServiceError as error:
            self._services_backoff.failed()
            log.error("service.start_failed", error=str(error))

    def _end_children(self) -> None:
        """Ask all at once, give them their time, kill what is left. Another request to stop cuts it short."""
        requests = self._watch.stops
        deadline = time.monotonic() + self._stop_seconds
        for child in self._children:
            child.send(signal.SIGTERM)
        while not all(child.ended for child in self._children):
            if time.monotonic() > deadline or self._watch.stops > requests:
                log.warning(
                    "child.killed", children=[child.name for child in self._children if not child.ended]
                )
                break
            self._watch.wait(STOP_LOOK_SECONDS)
        for child in self._children:
            child.send(signal.SIGKILL)
            child.wait()


def _check_start(child: Child, code: int) -> None:
    """Raises `StartRefused` when it is of no use to start this child again."""
    if code in REFUSALS:
        raise StartRefused(f"{child.name} refuses to start; its own message stands above")
    if child.backoff.failures >= GIVE_UP_FAILURES:
        times = f"{child.backoff.failures} times"
        raise StartRefused(f"{child.name} has ended {times} while starting; its log stands above")
