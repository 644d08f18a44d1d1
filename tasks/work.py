"""One model at work in a slot: its engine (or the launch of it) and the parts that are held for it."""

import signal
import time
from collections.abc import Sequence

import structlog

from backends.engine import Engine
from backends.errors import EngineDied, LoadFailed
from backends.types import Done, Event, Failed, Lane, encode_result
from configs.error_codes import status_of
from configs.models import ModelSpec
from configs.settings import Settings
from tasks.holding import Holding
from tasks.launch import Launch
from tasks.pace import Pace

log = structlog.get_logger(__name__)

SILENT_DEATHS = 5  # without a result between them, nor a part in flight: the model's fault, not its parts'
LAUNCH_TRIES = 3  # for reasons that may pass
PAUSE_SECONDS = 5.0  # before the second try; then three times as long, each time


class Work:
    """An engine and what it computes. Not thread-safe: one drain at a time."""

    def __init__(self, spec: ModelSpec, settings: Settings, cores: Sequence[int], pace: Pace) -> None:
        self.spec = spec
        self.holding = Holding()
        self.engine: Engine | None = None
        self.used_at = time.monotonic()
        self.note: str | None = None  # why its parts wait, while there is no engine
        self._settings, self._cores, self._pace = settings, cores, pace
        self._launch: Launch | None = None
        self._launch_at = 0.0
        self._launch_failures = 0
        self._deaths = self._silent_deaths = 0  # in a row, without a result between them
        self._alone = False  # a suspect is in the engine
        self._heard_at = self._measured_at = time.monotonic()

    @property
    def idle(self) -> bool:
        return not self.holding

    @property
    def launching(self) -> bool:
        return self._launch is not None

    def room(self) -> int:
        """Bulk parts that the engine has asked for and that nothing held here will fill."""
        if self.engine is None:
            return int(self.idle)
        return self.engine.room - len(self.holding.waiting[Lane.BULK]) - len(self.holding.suspects)

    def fileno(self) -> int | None:
        """Readable when the engine, or the one that is being launched, has something to say."""
        if self.engine is not None:
            return self.engine.fileno()
        return None if self._launch is None else self._launch.fileno()

    def ensure_engine(self) -> None:
        """Go on with launching, if there is anything to compute. Raises LoadFailed when it is in vain."""
        if self.engine is not None or (self.idle and self._launch is None):
            return
        if time.monotonic() < self._launch_at:
            return
        try:
            if self._launch is None:
                self._launch = Launch(self.spec, self._settings, self._cores)
            self.engine = self._launch.step()
            self.note = self._launch.note
        except LoadFailed as error:
            self._launch = None
            self._try_later(error)
        if self.engine is not None:
            self._launch, self.note, self._launch_failures = None, None, 0
            self.excuse()

    def _try_later(self, error: LoadFailed) -> None:
        """Wait for another try where that may help, else raise."""
        self._launch_failures += 1
        if not error.transient or self._launch_failures >= LAUNCH_TRIES:
            self._launch_failures = 0
            self.note = None
            raise error
        pause = PAUSE_SECONDS * 3 ** (self._launch_failures - 1)
        self._launch_at = time.monotonic() + pause
        self.note = f"model '{self.spec.name}' is tried again in {pause:.0f} s: {error.message}"
        log.warning("engine.retry", model=self.spec.name, seconds=pause, error=error.message)

    def feed(self) -> None:
        """Hand over what the engine has room for: interactive parts always, suspects alone."""
        engine, holding = self.engine, self.holding
        if engine is None or self.idle:
            return
        self.used_at = time.monotonic()
        if not (engine.held or engine.in_flight):
            self._alone = False
            self.excuse()
        elif self._alone:
            return
        parts = holding.take(Lane.INTERACTIVE, len(holding.waiting[Lane.INTERACTIVE]))
        if not parts and not (engine.held or engine.in_flight):
            parts = holding.take_suspect()
            self._alone = bool(parts)
        if not holding.suspects and not self._alone:  # else the engine must run empty first
            parts += holding.take(Lane.BULK, engine.room)
        engine.feed(parts)

    def receive(self) -> None:
        """Take the engine's events. Raises EngineDied."""
        if self.engine is None:
            return
        done = 0
        for event in self.engine.receive():
            self._heard_at = time.monotonic()
            done += self._apply(event)
        if done:
            now = time.monotonic()
            self._deaths = self._silent_deaths = 0
            self._pace.measured(self.spec.name, done, now - self._measured_at)
            self._measured_at = now

    def _apply(self, event: Event) -> bool:
        """Keep the result that `event` may bring; True if it did."""
        if isinstance(event, Done):
            kept = self.holding.finish(
                event.key, status=200, units=event.units, data=event.data, more=event.more
            )
            return kept is not None
        if isinstance(event, Failed) and event.error.code != "cancelled":  # let go is no result
            status, data = status_of(event.error.code), encode_result(event.error)
            return self.holding.finish(event.key, status=status, units=0, data=data) is not None
        return False

    def stalled(self) -> bool:
        """A native call has been silent for longer than allowed."""
        engine = self.engine
        if engine is None or not engine.in_flight:
            return False
        return time.monotonic() - self._heard_at > self._settings.stall_seconds

    def excuse(self) -> None:
        """The engine could not be heard until now: it was not there, or this process was stopped."""
        self._heard_at = self._measured_at = time.monotonic()

    def died(self, error: EngineDied, *, hung: bool = False) -> dict[int, str]:
        """The engine is gone. Everything that it had waits again; returns the parts that get a strike, by
        key, with the reason. Raises LoadFailed when it keeps dying before a part is in flight.

        An end by its own fault (any but SIGKILL) strikes what was in flight, and a part that ran alone.
        Before anything was in flight, all that it held are suspects. A second end in a row makes suspects
        of what was in flight, whatever the reason: alone, it can harm no other.
        """
        engine, self.engine = self.engine, None
        held = engine.held if engine is not None else frozenset[int]()
        at_fault = hung or error.signal != signal.SIGKILL
        self._deaths += 1
        self._silent_deaths += at_fault and not error.in_flight
        reason = "engine_timeout" if hung else end_of(error.signal)
        log.warning("engine.died", model=self.spec.name, end=reason, in_flight=len(error.in_flight))
        if self._silent_deaths > SILENT_DEATHS:
            self._silent_deaths = 0
            raise LoadFailed(f"its engine keeps ending by itself: {error.message}", code="model_load_failed")
        struck = error.in_flight or (held if self._alone else frozenset())
        self.holding.requeue((error.in_flight or held) if at_fault or self._deaths > 1 else ())
        if self._deaths > 1:
            self._launch_at = time.monotonic() + min(30.0, 0.1 * 2**self._deaths)
        return dict.fromkeys(struck & self.holding.parts.keys(), reason) if at_fault else {}

    def cancel(self, keys: set[int]) -> None:
        if self.engine is not None and keys:
            self.engine.cancel(keys)

    def shut(self) -> None:
        """End the engine, whatever it does."""
        if self._launch is not None:
            self._launch.abandon()
            self._launch = None
        if self.engine is not None:
            self.engine.kill()
            self.engine = None


def end_of(number: int | None) -> str:
    """The name of the signal that ended an engine."""
    if number is None:
        return "it ended by itself"
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
