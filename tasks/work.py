"""One model at work in a slot: its engine (or the launch of it) and the parts that are held for it."""

import signal
import time
from collections.abc import Sequence

import structlog

from backends.engine import Engine
from backends.errors import EngineDied, LoadFailed
from backends.types import Delta, Done, Event, Failed, Lane, Progress, Started, encode_result
from configs.error_codes import status_of
from configs.models import ModelSpec
from configs.settings import Settings
from tasks.holding import HeldChunk, Holding
from tasks.launch import Launch
from tasks.pace import Pace

log = structlog.get_logger(__name__)

STRIKE_SIGNALS = frozenset(
    {signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS, signal.SIGILL, signal.SIGFPE}
)  # a native library's own fault; SIGKILL is an operator or the kernel's memory killer
DEATHS_IN_A_ROW = 5  # without one result between them: the model, not its parts


class Work:
    """An engine and what it computes. Not thread-safe: one drain at a time."""

    def __init__(self, spec: ModelSpec, settings: Settings, cores: Sequence[int], pace: Pace) -> None:
        self.spec = spec
        self.holding = Holding()
        self.engine: Engine | None = None
        self.used_at = time.monotonic()
        self._settings, self._cores, self._pace = settings, cores, pace
        self._launch: Launch | None = None
        self._deaths = 0
        self._heard_at = self._mark = time.monotonic()

    @property
    def idle(self) -> bool:
        return not self.holding

    @property
    def note(self) -> str | None:
        """Why its parts wait, while an engine is not there yet."""
        return None if self._launch is None else self._launch.note

    def room(self) -> int:
        """Parts that the engine has asked for and that nothing held here will fill."""
        wanted = 1 if self.engine is None else self.engine.room
        waiting = len(self.holding.waiting[Lane.BULK]) + len(self.holding.suspects)
        return wanted - waiting if self.engine is not None or self.idle else 0

    def fileno(self) -> int | None:
        if self.engine is not None:
            return self.engine.fileno()
        return None if self._launch is None else self._launch.fileno()

    @property
    def pidfd(self) -> int | None:
        return None if self.engine is None else self.engine.pidfd

    def ensure_engine(self) -> None:
        """Go on with launching, if there is anything to compute. Raises LoadFailed."""
        if self.engine is not None or self.idle:
            return
        if self._launch is None:
            self._launch = Launch(self.spec, self._settings, self._cores)
        self.engine = self._launch.step()
        if self.engine is not None:
            self._launch = None
            self._heard_at = self._mark = time.monotonic()

    def feed(self) -> None:
        """Hand over what the engine has room for: suspects alone, interactive parts always."""
        engine, holding = self.engine, self.holding
        if engine is None or self.idle:
            return
        self.used_at = time.monotonic()
        if not (engine.held or engine.in_flight):
            self._heard_at = self._mark = self.used_at
            if suspects := holding.take_suspect():
                engine.feed(suspects)
                return
        if holding.suspects:
            return  # a suspect is due as soon as the engine is empty, or it is in there now
        parts = holding.take(Lane.INTERACTIVE, len(holding.waiting[Lane.INTERACTIVE]))
        parts += holding.take(Lane.BULK, engine.room)
        if parts:
            engine.feed(parts)

    def receive(self) -> list[HeldChunk]:
        """Take the engine's events; returns chunks that got results. Raises EngineDied."""
        if self.engine is None:
            return []
        touched: dict[int, HeldChunk] = {}
        done = 0
        for event in self.engine.receive():
            self._heard_at = time.monotonic()
            chunk = self._apply(event)
            if chunk is not None:
                done += 1
                touched[chunk.claim.chunk_id] = chunk
        if done:
            now, self._deaths = time.monotonic(), 0
            self._pace.measured(self.spec.name, done, now - self._mark)
            self._mark = now
        return list(touched.values())

    def _apply(self, event: Event) -> HeldChunk | None:
        match event:
            case Done():
                return self.holding.finish(
                    event.key, status=200, units=event.units, data=event.data, more=event.more
                )
            case Failed() if event.error.code == "cancelled":
                return None  # let go, or handed back: not a result
            case Failed():
                status = status_of(event.error.code)
                data = encode_result(event.error)
                return self.holding.finish(event.key, status=status, units=0, data=data)
            case Started() | Progress() | Delta():
                return None

    def stalled(self) -> bool:
        """A native call has been silent for longer than allowed."""
        engine = self.engine
        if engine is None or not engine.in_flight:
            return False
        return time.monotonic() - self._heard_at > self._settings.stall_seconds

    def died(self, error: EngineDied, *, hung: bool = False) -> dict[int, str]:
        """The engine is gone. Everything that it had waits again; returns the parts that get a strike,
        by key, with the reason. Raises LoadFailed when it keeps dying without a result."""
        self.engine = None
        self._deaths += 1
        strike = hung or error.signal in STRIKE_SIGNALS
        log.warning(
            "engine.died",
            model=self.spec.name,
            signal=error.signal,
            hung=hung,
            in_flight=len(error.in_flight),
            error=error.message,
        )
        if self._deaths > DEATHS_IN_A_ROW and not strike:
            raise LoadFailed(f"its engine ended {self._deaths} times in a row: {error.message}",
                             code="model_load_failed")  # fmt: skip
        self.holding.requeue(error.in_flight, suspect=strike)
        reason = "engine_timeout" if hung else signal_name(error.signal)
        return dict.fromkeys(error.in_flight & self.holding.parts.keys(), reason) if strike else {}

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


def signal_name(number: int | None) -> str:
    try:
        return signal.Signals(number or 0).name
    except ValueError:
        return f"signal {number}"
