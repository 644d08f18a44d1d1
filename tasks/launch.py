"""Bringing an engine up: the model's files first, then its runtimes by rank until one loads.

Nothing here blocks: a drain calls `step` between other things, so that leases are kept while a model
is pulled for minutes.
"""

import threading
import time
from collections.abc import Sequence

import structlog

from backends.engine import Engine
from backends.errors import BackendError, EngineDied, LoadFailed
from backends.registry import family_of, runtimes_of
from backends.weights.cache import missing_files, model_folder, runnable_runtimes
from backends.weights.pull import PullProgress, pull
from configs.models import ModelSpec
from configs.settings import Settings

log = structlog.get_logger(__name__)

LOAD_SECONDS = 600.0  # a load that takes longer hangs


def usable_runtimes(spec: ModelSpec) -> list[str]:
    """Runtimes of `spec` that are installed and have files, best first. Raises LoadFailed when none is."""
    usable = runnable_runtimes(spec)
    if not usable:
        family = family_of(spec.family)
        ways = "; or ".join(
            f"{name}: {family.runtimes[name].extra}" for name in runtimes_of(spec.family, spec.runtime)
        )
        raise LoadFailed(
            f"no library for family '{spec.family}' is installed. Install one: {ways}", code="binding_missing"
        )
    return usable


class Puller(threading.Thread):
    """Pulls a model's files beside the drain. `note` says how far it is, `error` why it stopped."""

    def __init__(self, spec: ModelSpec, settings: Settings, runtimes: Sequence[str]) -> None:
        super().__init__(name=f"pull-{spec.name}", daemon=True)
        self._spec, self._settings, self._runtimes = spec, settings, runtimes
        self.note = f"waiting for the files of model '{spec.name}'"
        self.error: BackendError | None = None

    def run(self) -> None:
        try:
            pull(self._spec, self._settings, runtimes=self._runtimes, progress=self._tell)
        except BackendError as error:
            self.error = error
        except Exception as error:
            log.exception("model.pull_failed", model=self._spec.name)
            self.error = LoadFailed(f"pulling '{self._spec.name}' failed: {error}", code="model_not_ready")

    def _tell(self, progress: PullProgress) -> None:
        share = ""
        if progress.total_bytes:
            share = f" {100 * progress.done_bytes // progress.total_bytes} %"
        self.note = f"model '{self._spec.name}': {progress.phase} {progress.path}{share}".strip()


class Launch:
    """One attempt to get an engine for `spec` on `cores`."""

    def __init__(self, spec: ModelSpec, settings: Settings, cores: Sequence[int]) -> None:
        self.spec = spec
        self.note: str | None = None
        self._settings = settings
        self._cores = cores
        self._folder = model_folder(settings, spec)
        self._runtimes = usable_runtimes(spec)
        self._puller: Puller | None = None
        self._engine: Engine | None = None
        self._started_at = 0.0
        self._first_error: LoadFailed | None = None
        self._choose_files()

    def _choose_files(self) -> None:
        """Keep the runtimes whose files are there; where none has, pull those of the best."""
        complete = [r for r in self._runtimes if not missing_files(self.spec, self._folder, r)]
        if complete:
            self._runtimes = complete
            return
        best = self._runtimes[0]
        if self._settings.pull == "never":
            raise LoadFailed(
                f"model '{self.spec.name}' is not pulled; run: batchyard models pull {self.spec.name}",
                code="model_not_ready",
            )
        self._runtimes = [best]
        self._puller = Puller(self.spec, self._settings, [best])
        self._puller.start()

    def step(self) -> Engine | None:
        """The engine once it is ready, None while it is not. Raises LoadFailed when no way is left."""
        if self._puller is not None:
            if self._puller.is_alive():
                self.note = self._puller.note
                return None
            if self._puller.error is not None:
                error = self._puller.error
                # A source that cannot be reached now may be later; offline it stays so.
                raise LoadFailed(error.message, code=error.code, transient=not self._settings.offline)
            self._puller = None
        self.note = None
        return self._step_engine()

    def _step_engine(self) -> Engine | None:
        if self._engine is None:
            runtime = self._runtimes[0]
            log.info("engine.starting", model=self.spec.name, runtime=runtime, cores=list(self._cores))
            nice = self._settings.engine_nice
            try:
                self._engine = Engine(self.spec, runtime, self._folder, self._cores, nice=nice)
            except OSError as error:  # no memory, processes or file handles left
                message = f"an engine cannot be started: {error.strerror}"
                raise LoadFailed(message, code="model_load_failed", transient=True) from error
            self._started_at = time.monotonic()
            return None
        try:
            self._engine.receive()
            if time.monotonic() - self._started_at > LOAD_SECONDS:
                raise LoadFailed(f"not loaded after {LOAD_SECONDS:.0f} s", code="model_load_failed")
        except LoadFailed as error:
            self._try_next(error)
        except EngineDied as error:
            self._try_next(LoadFailed(error.message, code="bad_native_build"))
        if self._engine is not None and self._engine.state == "ready":
            log.info("engine.ready", model=self.spec.name, runtime=self._engine.runtime, **self._engine.info)
            return self._engine
        return None

    def _try_next(self, error: LoadFailed) -> None:
        """Fall back to the next runtime. Raises the first one's error when there is none."""
        assert self._engine is not None
        log.warning(
            "engine.load_failed", model=self.spec.name, runtime=self._engine.runtime, error=error.message
        )
        self._engine.kill()
        self._engine = None
        self._first_error = self._first_error or error
        self._runtimes = self._runtimes[1:]
        if not self._runtimes:
            raise self._first_error

    def fileno(self) -> int | None:
        """Readable when the starting engine has something to say."""
        return None if self._engine is None else self._engine.fileno()

    def abandon(self) -> None:
        if self._engine is not None:
            self._engine.kill()
