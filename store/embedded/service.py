"""What the embedded servers share: a child process, its log file, and how it starts and ends."""

import os
import signal
import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from io import FileIO
from pathlib import Path
from subprocess import Popen
from typing import ClassVar

import structlog

from store.embedded.account import Account
from store.embedded.child import end_child, start_child
from store.embedded.errors import ServiceFailed

log = structlog.get_logger(__name__)

LOG_BYTES = 10_000_000  # a longer log is set aside at the next start, one old one is kept
LOOK_SECONDS = 0.01
SPEAK_SECONDS = 2.0  # a start that takes longer says that it goes on
# Nothing of our own environment reaches a server: PGDATA and its like would.
ENVIRONMENT = {"LC_ALL": "C", "PATH": os.defpath, "TZ": "UTC"}


class Service(ABC):
    """One server. `start` returns when it answers; the process ends with ours."""

    name: ClassVar[str]
    start_seconds: ClassVar[float]
    death_signal: ClassVar[signal.Signals]
    stop_steps: ClassVar[Sequence[tuple[signal.Signals, float]]]

    def __init__(self, log_file: Path, account: Account | None) -> None:
        self.account = account
        self._log_file = log_file
        self._child: Popen[bytes] | None = None

    @abstractmethod
    def start(self) -> None:
        """Start the server and wait until it answers. Raises `ServiceFailed` with its last log lines."""

    @abstractmethod
    def _answers(self) -> bool:
        """Whether the child takes connections by now."""

    @property
    @abstractmethod
    def url(self) -> str:
        """Where it answers, in the form of the settings."""

    @property
    def pid(self) -> int | None:
        return self._child.pid if self._child else None

    @property
    def alive(self) -> bool:
        return self._child is not None and self._child.poll() is None

    def stop(self) -> None:
        """End the server cleanly if it can be, at any rate."""
        if self._child:
            end_child(self._child, *self.stop_steps)
            self._child = None

    def _spawn(self, argv: Sequence[str], cwd: Path) -> None:
        with _open_log(self._log_file) as output:
            self._child = start_child(
                argv,
                output=output,
                account=self.account,
                death_signal=self.death_signal,
                env=ENVIRONMENT,
                cwd=cwd,
            )

    def _wait(self) -> bool:
        """True once it answers, False when it has ended. Raises when it does neither in time."""
        began = time.monotonic()
        spoken = False
        while self.alive:
            if self._answers():
                return True
            waited = time.monotonic() - began
            if waited > self.start_seconds:
                self.stop()
                raise self._failure(f"does not answer after {self.start_seconds:.0f} s")
            if waited > SPEAK_SECONDS and not spoken:
                spoken = True
                log.info("service.starting", service=self.name, log=str(self._log_file))
            time.sleep(LOOK_SECONDS)
        return False

    def _failure(self, what: str) -> ServiceFailed:
        return ServiceFailed(f"{self.name} {what}. The end of {self._log_file}:\n{self._log_tail()}")

    def _log_tail(self, lines: int = 12) -> str:
        try:
            text = self._log_file.read_bytes()[-20_000:].decode(errors="replace")
        except FileNotFoundError:
            return "(no log)"
        return "\n".join("  " + line for line in text.splitlines()[-lines:])


def _open_log(path: Path) -> FileIO:
    if path.exists() and path.stat().st_size > LOG_BYTES:
        path.replace(path.with_suffix(".old.log"))
    return path.open("ab", buffering=0)
