"""Launching a model's engine again and again, with pauses where that may help."""

import time
from collections.abc import Sequence

import structlog

from backends.engine import Engine
from backends.errors import LoadFailed
from configs.models import ModelSpec
from configs.settings import Settings
from tasks.launch import Launch

log = structlog.get_logger(__name__)

LAUNCH_TRIES = 3  # for reasons that may pass
PAUSE_SECONDS = 5.0  # before the second try; then three times as long, each time


class Launcher:
    """Brings engines of one model up. Nothing here blocks."""

    def __init__(self, spec: ModelSpec, settings: Settings, cores: Sequence[int]) -> None:
        self.note: str | None = None  # what it waits for
        self._spec, self._settings, self._cores = spec, settings, cores
        self._launch: Launch | None = None
        self._not_before = 0.0
        self._failures = 0

    @property
    def busy(self) -> bool:
        return self._launch is not None

    def fileno(self) -> int | None:
        """Readable when the engine that is being launched has something to say."""
        return None if self._launch is None else self._launch.fileno()

    def wait(self, seconds: float) -> None:
        """Begin no launch for a while."""
        self._not_before = time.monotonic() + seconds

    def step(self) -> Engine | None:
        """Go on; the engine once it is ready. Raises LoadFailed when it is in vain."""
        if time.monotonic() < self._not_before:
            return None
        engine = None
        try:
            if self._launch is None:
                self._launch = Launch(self._spec, self._settings, self._cores)
            engine = self._launch.step()
            self.note = self._launch.note
        except LoadFailed as error:
            self._launch = None
            self._try_later(error)
        if engine is not None:
            self._launch, self.note, self._failures = None, None, 0
        return engine

    def abandon(self) -> None:
        if self._launch is not None:
            self._launch.abandon()
            self._launch = None

    def _try_later(self, error: LoadFailed) -> None:
        """Wait for another try where that may help, else raise."""
        self._failures += 1
        if not error.transient or self._failures >= LAUNCH_TRIES:
            self._failures, self.note = 0, None
            raise error
        pause = PAUSE_SECONDS * 3 ** (self._failures - 1)
        self.wait(pause)
        self.note = f"model '{self._spec.name}' is tried again in {pause:.0f} s: {error.message}"
        log.warning("engine.retry", model=self._spec.name, seconds=pause, error=error.message)
