"""The child processes of `up`, each started again when it ends, ever more slowly while it keeps ending."""

import signal
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from subprocess import Popen

import structlog

from store.embedded.child import start_child

log = structlog.get_logger(__name__)


class Backoff:
    """How long to wait before the next start: doubling, and from the first pause again after a good while."""

    FIRST_SECONDS, MOST_SECONDS, GOOD_SECONDS = 0.5, 30.0, 60.0

    def __init__(self) -> None:
        self.failures = 0  # in a row
        self.due_at = 0.0  # when the next start may be, on the monotonic clock
        self._started_at = 0.0

    def started(self) -> None:
        self._started_at = time.monotonic()

    def failed(self) -> float:
        """Note a failure; returns the pause that it earns, in seconds."""
        now = time.monotonic()
        if now - self._started_at > self.GOOD_SECONDS:
            self.failures = 0
        pause = min(self.MOST_SECONDS, self.FIRST_SECONDS * 2.0 ** min(self.failures, 10))
        self.failures += 1
        self.due_at = now + pause
        return pause


@dataclass(frozen=True, kw_only=True)
class ChildSpec:
    """A process to keep running, and the file descriptors that it inherits."""

    name: str
    argv: tuple[str, ...]
    pass_fds: tuple[int, ...] = ()


class Child:
    """One such process. What it prints, on both streams, goes to our stderr."""

    def __init__(self, spec: ChildSpec, env: Mapping[str, str]) -> None:
        self.name = spec.name
        self.backoff = Backoff()
        self._spec = spec
        self._env = env
        self._process: Popen[bytes] | None = None

    @property
    def pid(self) -> int | None:
        """None while it is not running."""
        return self._process.pid if self._process else None

    def start(self) -> None:
        """From the main thread only: the kernel ends a child with the thread that started it."""
        argv, fds = self._spec.argv, self._spec.pass_fds
        self._process = start_child(argv, output=sys.stderr.fileno(), env=self._env, pass_fds=fds)
        self.backoff.started()
        log.debug("child.started", child=self.name, pid=self._process.pid)

    def reap(self) -> int | None:
        """The return code (negative: the signal) if it has ended since the last look."""
        if self._process is None or (code := self._process.poll()) is None:
            return None
        self._process = None
        ending = f"exit code {code}" if code >= 0 else signal.Signals(-code).name
        log.error("child.died", child=self.name, ending=ending, restart_seconds=self.backoff.failed())
        return code

    def send(self, number: signal.Signals) -> None:
        if self._process:
            self._process.send_signal(number)

    @property
    def ended(self) -> bool:
        return self._process is None or self._process.poll() is not None

    def wait(self) -> None:
        if self._process:
            self._process.wait()
            self._process = None
