"""The dispatcher: it moves what no caller and no slot moves.

Any number may run; one leads, by an advisory lock that Postgres frees with its connection. It validates
input files, settles jobs, opens and closes windows, repeats lost wake-ups, tries paused models, says why jobs
wait and prunes what is past its time, each in a loop of its own, so that reading a million lines delays no
wake-up.
"""

import signal
import threading
from collections.abc import Callable

import psycopg
import structlog
from redis.exceptions import RedisError

from configs.settings import Settings
from configs.spec_files import load_catalogue
from store import leadership
from store.blobs import open_blobs
from store.errors import DatabaseUnavailable
from tasks.app import make_app
from tasks.connection import Connection
from tasks.finalization import Finalizer
from tasks.retention import Retention
from tasks.signals import DISPATCH, Signals, connect
from tasks.trials import Trials
from tasks.validation import Validator
from tasks.wakeups import Explanations, WakeUps
from tasks.windows import Windows

log = structlog.get_logger(__name__)

TICK_SECONDS = 0.5
TRIALS_SECONDS = 1.0
WINDOWS_SECONDS = 1.0
EXPLAIN_SECONDS = 5.0
RETENTION_SECONDS = 60.0

Step = Callable[[psycopg.Connection], bool]


class Loop(threading.Thread):
    """Repeats one step while its process leads: at once after a turn that found something, else after
    `interval` seconds or a poke."""

    def __init__(self, name: str, conn: Connection, step: Step, *, leads: threading.Event,
                 stopping: threading.Event, interval: float) -> None:  # fmt: skip
        super().__init__(name=name, daemon=True)
        self._conn, self._step, self._interval = conn, step, interval
        self._leads, self._stopping = leads, stopping
        self.poked = threading.Event()

    def run(self) -> None:
        while not self._stopping.is_set():
            self.poked.clear()
            found = self._leads.is_set() and not self._conn.away and self._turn()
            if not found:
                self.poked.wait(self._interval)
        self._conn.close()

    def _turn(self) -> bool:
        try:
            return self._step(self._conn.get())
        except DatabaseUnavailable as error:
            self._conn.lost(error)
        except Exception:  # one bad job must not stop the loop
            log.exception("dispatcher.step_failed", step=self.name)
        return False


class Dispatcher:
    """One dispatcher process."""

    def __init__(self, settings: Settings) -> None:
        if settings.database_url is None or settings.redis_url is None:
            raise ValueError("a dispatcher needs BATCHYARD_DATABASE_URL and BATCHYARD_REDIS_URL")
        self._url = settings.database_url
        self._leads, self._stopping = threading.Event(), threading.Event()
        self._conn = Connection(self._url, "batchyard dispatcher")
        self._redis = connect(settings.redis_url)
        signals, blobs = Signals(self._redis), open_blobs(settings)
        wake = self._loop("wake", WakeUps(make_app(settings), signals).repeat)
        validator = Validator(settings, signals, blobs, load_catalogue(settings), queued=wake.poked.set)
        self._loops = [
            self._loop("validate", validator.step),
            self._loop("settle", Finalizer(signals).step),
            wake,
            self._loop("try", Trials(signals).step, interval=TRIALS_SECONDS),
            self._loop("open and close", Windows().step, interval=WINDOWS_SECONDS),
            self._loop("explain", Explanations().step, interval=EXPLAIN_SECONDS),
            self._loop("retain", Retention(settings, blobs).prune, interval=RETENTION_SECONDS),
        ]

    def _loop(self, name: str, step: Step, *, interval: float = TICK_SECONDS) -> Loop:
        conn = Connection(self._url, f"batchyard dispatcher {name}")
        return Loop(name, conn, step, leads=self._leads, stopping=self._stopping, interval=interval)

    @property
    def leads(self) -> bool:
        return self._leads.is_set()

    def stop(self, *_: object) -> None:
        """Also a signal handler."""
        self._stopping.set()
        for loop in self._loops:
            loop.poked.set()

    def run(self) -> None:
        """Lead when nobody else does, until stopped."""
        threading.Thread(target=self._listen, name="dispatch-pokes", daemon=True).start()
        for loop in self._loops:
            loop.start()
        while not self._stopping.is_set():
            self._lead()
            self._stopping.wait(TICK_SECONDS)
        for loop in self._loops:
            loop.join(timeout=5)
        self._conn.close()

    def _lead(self) -> None:
        """Take the lock, or see that we still have it: it goes with the connection."""
        try:
            conn = self._conn.get()
            if self._leads.is_set():
                leadership.keep(conn)
            elif leadership.take(conn):
                log.info("dispatcher.leads")
                self._leads.set()
        except DatabaseUnavailable as error:
            log.warning("database.lost", error=str(error))
            self._conn.lost(error)
            self._leads.clear()

    def _listen(self) -> None:
        """Turn pokes into turns at once; without Redis the tick is enough."""
        while not self._stopping.is_set():
            try:
                with self._redis.pubsub() as pubsub:  # type: ignore[no-untyped-call]
                    pubsub.subscribe(DISPATCH)
                    while not self._stopping.is_set():
                        if pubsub.get_message(timeout=1.0) is not None:
                            self._poke()
            except (RedisError, OSError):
                self._stopping.wait(TICK_SECONDS)

    def _poke(self) -> None:
        for loop in self._loops[:2]:
            loop.poked.set()


def run(settings: Settings) -> int:
    """Be a dispatcher until SIGTERM or SIGINT; returns the exit code."""
    dispatcher = Dispatcher(settings)
    signal.signal(signal.SIGTERM, dispatcher.stop)
    signal.signal(signal.SIGINT, dispatcher.stop)
    log.info("dispatcher.started")
    dispatcher.run()
    log.info("dispatcher.stopped")
    return 0
