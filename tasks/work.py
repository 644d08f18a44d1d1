"""One model at work in a slot: its engine (or the launch of it) and the parts that are held for it."""

import signal
import time
from collections import Counter
from collections.abc import Collection, Mapping, Sequence

import structlog

from backends.engine import Engine
from backends.errors import EngineDied, LoadFailed
from backends.types import Delta, Done, Event, Failed, Lane, Part, Progress, encode_result
from configs.error_codes import status_of
from configs.models import ModelSpec
from configs.settings import Settings
from store.chunks import Claim
from store.ids import public_id
from store.items import ClaimedPart
from tasks.attachments import Found, hears
from tasks.breaker import Breaker
from tasks.deaths import Death, Deaths, end_of
from tasks.holding import NO_SOURCES, HeldChunk, Holding
from tasks.lane_clock import LaneClock
from tasks.launcher import Launcher
from tasks.let_go import LetGo
from tasks.pace import Pace
from tasks.probation import Trial

log = structlog.get_logger(__name__)

ITEMS_SHOWN = 8  # in a line of the log
SUSPECTS_WAIT_SECONDS = 1.0  # for an engine that is empty by itself; then it is not fed until it is


class Work:
    """An engine and what it computes. Not thread-safe: one drain at a time."""

    def __init__(
        self, spec: ModelSpec, settings: Settings, cores: Sequence[int], pace: Pace, lanes: LaneClock
    ) -> None:
        self.spec = spec
        self.uneven = hears(spec)  # its parts take anything from nothing to seconds
        self.holding = Holding()
        self.engine: Engine | None = None
        self.used_at = time.monotonic()
        self.breaker = Breaker()
        self.trial: Trial | None = None  # its model is paused; this may end the pause
        self.computed = False  # a part, since this was last set back
        self.passed: Part | None = None  # the part that it computed last
        self.ready_mb = self.memory_mb = 0.0  # of the engine: when it was ready, and when last looked at
        self.too_large = False  # the engine, for its share of the memory
        self._settings, self._pace, self._lanes = settings, pace, lanes
        self._launcher = Launcher(spec, settings, cores)
        self.deaths = Deaths()
        self._alone = False  # the part in the engine must have no company
        self._suspects_since = 0.0  # that one may run and none does, on the monotonic clock
        self.let_go = LetGo()
        self._cpu_seconds = 0.0  # of the engine, that are accounted for
        self._heard_at = self._told_at = self._measured_at = time.monotonic()

    @property
    def idle(self) -> bool:
        return not self.holding

    @property
    def launching(self) -> bool:
        return self._launcher.busy

    @property
    def note(self) -> str | None:
        """Why its parts wait, while there is no engine."""
        return self._launcher.note

    def take_in(
        self,
        claim: Claim,
        parts: list[ClaimedPart],
        *,
        alone: bool,
        sources: Mapping[int, Found] = NO_SOURCES,
    ) -> None:
        """Hold a claimed chunk. `alone`: its parts have no company in the engine. `sources`: what they are
        about, by number."""
        self.holding.add(claim, parts, alone=alone, sources=sources)
        if claim.trial:
            self.trial = Trial()

    def room(self) -> int:
        """Bulk parts that the engine has asked for and that nothing held here will fill."""
        if self.engine is None:
            return int(self.idle)
        return self.engine.room - len(self.holding.waiting[Lane.BULK]) - len(self.holding.suspects)

    def fileno(self) -> int | None:
        """Readable when the engine, or the one that is being launched, has something to say."""
        return self._launcher.fileno() if self.engine is None else self.engine.fileno()

    def ensure_engine(self) -> None:
        """Go on with launching, if there is anything to compute. Raises LoadFailed when it is in vain."""
        if self.engine is not None or not (self.holding.parts or self.launching):
            return
        self.engine = self._launcher.step()
        if self.engine is not None:
            self._cpu_seconds = self.engine.cpu_seconds
            self.ready_mb = 0.0
            self.excuse()

    def feed(self) -> None:
        """Hand over what the engine has room for: interactive parts always, but in a turn of bulk; suspects
        alone."""
        engine, holding = self.engine, self.holding
        if engine is None:
            return
        if self.too_large:
            self._recycle(engine)
            return
        if self.idle:
            return
        self.used_at = time.monotonic()
        empty = not (engine.held or engine.in_flight)
        if empty:
            self._alone = False
            self.excuse()
        elif self._alone:
            return
        if self.trial is not None or holding.aside:  # who ends the engine must be known for sure
            parts = self._next_alone() if empty else []
        else:
            parts = self._next_in_company(engine, empty)
        engine.feed(parts)

    def _next_in_company(self, engine: Engine, empty: bool) -> list[Part]:
        """What to feed, each lane in its turn; a suspect alone, once the engine is empty."""
        holding, now = self.holding, time.monotonic()
        suspects = bool(holding.suspects) and now >= self.deaths.suspects_at
        if not suspects:
            self._suspects_since = now
        # Where somebody always waits, the engine would never be empty, and suspects wait for ever.
        holds_off = self._lanes.bulk_turn or now - self._suspects_since >= SUSPECTS_WAIT_SECONDS
        parts = [] if holds_off else holding.take(Lane.INTERACTIVE, len(holding.waiting[Lane.INTERACTIVE]))
        if not suspects:
            return parts + holding.take(Lane.BULK, engine.room)
        if not parts and empty:
            parts = holding.take_suspect()
            self._alone, self._suspects_since = bool(parts), now
        return parts

    def _next_alone(self) -> list[Part]:
        parts = self.holding.take_one() if self.trial is None else self.trial.next_parts(self.holding)
        self._alone = bool(parts)
        return parts

    def _recycle(self, engine: Engine) -> None:
        """Let the engine finish what is in flight, then end it: the next one begins small."""
        if engine.held:
            engine.cancel(engine.held)
        if engine.held or engine.in_flight:
            return
        log.info("engine.recycled", model=self.spec.name, memory_mb=round(self.memory_mb))
        engine.kill()
        self._forget_engine(suspects=())

    def receive(self) -> int:
        """Take the engine's events; how many parts were done. Raises EngineDied."""
        if self.engine is None:
            return 0
        done: list[HeldChunk] = []
        heard: Counter[Lane] = Counter()  # signs of compute, by lane
        for event in self.engine.receive():
            self._heard_at = time.monotonic()
            if isinstance(event, Done | Failed | Progress) and event.key in self.holding.parts:
                heard[self.holding.parts[event.key].part.lane] += 1
            chunk = self._apply(event)
            done += [] if chunk is None else [chunk]
        for lane, signs in heard.items():
            self._lanes.took(lane, (self._heard_at - self._told_at) * signs / heard.total())
        if heard:
            self._told_at = self._heard_at
        if done:
            now = time.monotonic()
            self.deaths.computed(alone=self._alone)
            self._pace.measured(self.spec.name, len(done), now - self._measured_at)
            self._measured_at = now
            self._account(self.engine.cpu_seconds, done)
        return len(done)

    def _account(self, cpu_seconds: float, done: list[HeldChunk]) -> None:
        """What the engine has computed since the last parts were done, these have cost."""
        each = 1000 * max(0.0, cpu_seconds - self._cpu_seconds) / len(done)
        self._cpu_seconds = cpu_seconds
        for chunk in done:
            chunk.cpu_ms += each

    def _apply(self, event: Event) -> HeldChunk | None:
        """Keep the result that `event` may bring; the chunk that got one."""
        if isinstance(event, Delta):
            self.holding.tell(event.key, event.data)
        if isinstance(event, Progress):
            self.holding.came(event)
        if isinstance(event, Done):
            held = self.holding.parts.get(event.key)
            self.passed = self.passed if held is None else held.part
            self.computed = True
            self.breaker.succeeded()
            return self.holding.done(event)
        if isinstance(event, Failed) and event.error.code != "cancelled":  # let go is no result
            status, data = status_of(event.error.code), encode_result(event.error)
            return self.holding.finish(event.key, status=status, units=0, data=data)
        return None

    def stalled(self) -> bool:
        """A native call has been silent for longer than allowed."""
        engine = self.engine
        if engine is None or not engine.in_flight:
            return False
        return time.monotonic() - self._heard_at > self._settings.stall_seconds

    def excuse(self) -> None:
        """The engine could not be heard until now: it was not there, or this process was stopped."""
        self._heard_at = self._told_at = self._measured_at = time.monotonic()
        self.let_go.restart()

    def died(self, error: EngineDied, *, hung: bool = False) -> Death:
        """The engine is gone. Everything that it had waits again. Raises LoadFailed when it keeps dying
        before a part is in flight.

        An end by its own fault (any but SIGKILL, and that too while it was too large) strikes what was in
        flight, and a part that ran alone. Before anything was in flight, all that it held are suspects. A
        second end in a row makes suspects of what was in flight, whatever the reason: alone, it can harm no
        other.
        """
        held = self.engine.held if self.engine is not None else frozenset[int]()
        at_fault = hung or error.signal != signal.SIGKILL or self.too_large
        end = "engine_timeout" if hung else end_of(error.signal)
        items = self.items(error.in_flight)
        log.warning("engine.died", model=self.spec.name, end=end, at_fault=at_fault, in_flight=items)
        if not self.deaths.count(silent=at_fault and not error.in_flight):
            self._forget_engine(suspects=())
            raise LoadFailed(f"its engine keeps ending by itself: {error.message}", code="model_load_failed")
        struck = error.in_flight or (held if self._alone else frozenset())
        self._forget_engine(
            suspects=(error.in_flight or held) if at_fault or self.deaths.in_a_row > 1 else ()
        )
        self._slow_down(known=at_fault and bool(error.in_flight))
        if self.trial is not None:
            self.trial.interrupted()
        return Death(
            end=end, at_fault=at_fault, struck=struck & self.holding.parts.keys() if at_fault else frozenset()
        )

    def _slow_down(self, *, known: bool) -> None:
        """Wait after an end for an unknown reason. It is known where somebody got a strike."""
        if known:
            return
        if self._alone and self.trial is None and not self.holding.aside:
            self.deaths.defer_suspects()
        else:
            self._launcher.wait(self.deaths.pause_seconds())

    def _forget_engine(self, suspects: Collection[int]) -> None:
        self.engine = None
        self.too_large = False
        self.let_go.keep(())
        self.holding.requeue(suspects)

    def items(self, keys: Collection[int]) -> list[str]:
        """The items of parts, the first few, as `job_…:number`."""
        held = [self.holding.parts[key] for key in sorted(keys) if key in self.holding.parts]
        return [f"{public_id('job', part.chunk.claim.suffix)}:{part.n}" for part in held[:ITEMS_SHOWN]]

    def cancel(self, keys: set[int]) -> None:
        """The engine need not compute these any more."""
        if self.engine is not None and keys:
            self.engine.cancel(keys)
            self.let_go.add(keys & self.engine.in_flight)

    def leave(self, chunk: HeldChunk) -> None:
        """Feed nothing more of a chunk; what is in flight of it goes on."""
        chunk.leaving = True
        if self.engine is not None:
            self.engine.cancel(chunk.open & self.engine.held)

    def left(self) -> list[HeldChunk]:
        """Chunks that leave and of which nothing is in flight any more."""
        in_flight = self.engine.in_flight if self.engine is not None else frozenset[int]()
        return [c for c in self.holding.chunks.values() if c.leaving and not (c.open & in_flight)]

    def end_unwanted(self) -> None:
        """End an engine whose call on parts that nobody wants will not end: no strike, nobody is suspect."""
        if self.engine is None:
            return
        self.let_go.keep(self.engine.in_flight)
        if self.let_go.due:
            log.info("engine.ended_for_cancel", model=self.spec.name, parts=len(self.let_go))
            self.engine.kill()
            self._forget_engine(suspects=())

    def shut(self) -> None:
        """End the engine, whatever it does."""
        self._launcher.abandon()
        if self.engine is not None:
            self.engine.kill()
            self.engine = None
