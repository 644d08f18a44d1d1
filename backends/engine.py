"""The parent's handle of an engine: a child process that holds one model, fed and heard over a pipe.

Holds no native code and never waits, but in `stop`. Made for one thread with a poll loop: register
`fileno()`, call `receive()` when it is readable.
"""

import sys
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, ClassVar, Literal

import msgspec
import structlog

from backends.confinement import set_nice
from backends.engine_process import CRASHES, EngineProcess
from backends.errors import BackendError, EngineDied, LoadFailed
from backends.pipe import (
    BadFrame,
    Broken,
    Cancel,
    Close,
    Closed,
    FromEngine,
    Happened,
    Inbox,
    Load,
    Open,
    Outbox,
    Ready,
    ToEngine,
    Want,
    from_engine,
    in_groups,
)
from backends.types import Done, Event, Failed, Lane, Part, Started
from configs.models import ModelSpec

State = Literal["starting", "ready", "draining", "dead"]

log = structlog.get_logger(__name__)


class Engine:
    """One engine, from its start to its end.

    `state` is starting until the model is loaded, ready, draining between `close_feed` and the end of
    the backend's run, dead at last. `fileno()` and `pidfd` are closed when it is dead (by `kill` or
    `stop`, or once `receive` has raised). `info` is what the backend says of its model.
    """

    # -P: a stray module in the current folder must not become part of an engine.
    command: ClassVar[tuple[str, ...]] = (sys.executable, "-P", "-m", "backends.engine_child")

    def __init__(
        self, spec: ModelSpec, runtime: str, folder: Path, cores: Sequence[int], *, nice: int = 19
    ) -> None:
        self.model = spec.name
        self.runtime = runtime
        self.state: State = "starting"
        self.info: dict[str, Any] = {}
        self._held: set[int] = set()
        self._in_flight: set[int] = set()
        self._room = 0
        self._open = True
        self._closes = 0  # numbers the Close messages, so that a late answer to an old one is known
        self._broken: LoadFailed | None = None
        self._end: BackendError | None = None
        self._stopping = False
        threads = max(1, len(cores))
        self._process = EngineProcess(self.command, threads=threads, model=self.model, runtime=runtime)
        self.pid = self._process.pid
        self.pidfd = self._process.pidfd
        self._inbox = Inbox(self._process.stream)
        self._outbox = Outbox(self._process.stream)
        json = spec.model_dump_json().encode()
        self._send(Load(spec=json, runtime=runtime, folder=str(folder), cores=list(cores), nice=nice))

    # --- what a poll loop needs to know

    def fileno(self) -> int:
        """Readable when there is something to `receive`, a full pipe takes more, or the child has ended."""
        return self._process.fileno()

    @property
    def in_flight(self) -> frozenset[int]:
        """Keys of parts that were started and are not answered."""
        return frozenset(self._in_flight)

    @property
    def held(self) -> frozenset[int]:
        """Keys of parts that were handed over and not started."""
        return frozenset(self._held)

    @property
    def room(self) -> int:
        """Bulk parts that the engine has asked for and not got."""
        return max(0, self._room) if self.state == "ready" and self._open else 0

    @property
    def cpu_seconds(self) -> float:
        """Seconds of a core that it has computed so far; 0 once it has ended."""
        return self._process.cpu_seconds

    @property
    def log_tail(self) -> list[str]:
        """The last lines that the child wrote to its standard output and error."""
        return list(self._process.log.tail)

    # --- towards the engine

    def feed(self, parts: Sequence[Part]) -> None:
        """Hand parts over. Interactive ones may exceed `room`. A key is never used twice. What the pipe
        does not take is kept, and sent by `receive`. Opens a closed feed."""
        if self._end is not None:
            raise self._end.with_traceback(None)
        if not parts:
            return
        if known := [part.key for part in parts if part.key in self._held or part.key in self._in_flight]:
            raise ValueError(f"parts {known} were handed over before")
        self.reopen_feed()
        self._held.update(part.key for part in parts)
        self._room -= sum(part.lane is Lane.BULK for part in parts)
        for group in in_groups(parts):
            self._send(group)

    def cancel(self, keys: Iterable[int]) -> None:
        """Parts that are not wanted any more. Each is answered all the same: Failed (cancelled) as soon
        as the engine looks up from its native call, or its result if that was faster."""
        known = [key for key in keys if key in self._held or key in self._in_flight]
        if known:
            self._send(Cancel(known))

    def close_feed(self) -> None:
        """No more parts for now: the backend's run returns when those it has are answered."""
        if self._open and self.state != "dead":
            self._open = False
            self._closes += 1
            self._send(Close(self._closes))
            self.state = "draining" if self.state == "ready" else self.state

    def reopen_feed(self) -> None:
        """The backend runs again, or goes on if it has not noticed."""
        if not self._open and self.state != "dead":
            self._open = True
            self._send(Open())
            self.state = "ready" if self.state == "draining" else self.state

    def set_nice(self, nice: int) -> None:
        """Change the niceness of all its threads. Less than it has needs a right that ordinary accounts
        lack (RLIMIT_NICE); it stays as it is then."""
        if not set_nice(self.pid, nice):
            log.info("engine.nice_refused", model=self.model, nice=nice)

    # --- from the engine

    def receive(self) -> list[Event]:
        """What has happened, without waiting. Raises `LoadFailed` when the model cannot be loaded, and
        `EngineDied` when the child has ended and its last events were given; both at every further call."""
        if self._end is None:
            ended = self._process.ended  # asked before reading: nothing can follow what is read then
            events = self._read()
            self._process.log.read()
            self._process.watch(writable=self._outbox.size > 0)
            if events or not (ended or self._inbox.ended):
                return events
            self._bury()
        assert self._end is not None
        raise self._end.with_traceback(None)  # it may be raised many times

    # --- its end

    def kill(self) -> None:
        """End it now. `in_flight` and `held` still tell what it had."""
        if self._end is None:
            self.state = "dead"
            self._process.kill()
            self._process.reap()
            self._process.close()
            self._end = self._death()

    def stop(self, timeout: float) -> None:
        """End it politely, so that the backend can close its model; by force after `timeout` seconds.
        Drain it first: what it still has is cancelled, and its events are lost."""
        until = time.monotonic() + timeout
        self._stopping = True
        self.cancel(self._held | self._in_flight)
        self.close_feed()
        with suppress(BackendError):
            while self.state != "ready" and time.monotonic() < until:
                self._process.wait(until - time.monotonic())
                self.receive()
            self._process.hang_up()
            while time.monotonic() < until:
                self._process.wait(until - time.monotonic())
                self.receive()
        self.kill()

    # --- inside

    def _send(self, message: ToEngine) -> None:
        if self.state == "dead":
            return
        self._outbox.push(message)
        self._flush()
        self._process.watch(writable=self._outbox.size > 0)

    def _flush(self) -> None:
        # A child that is gone shows when its pipe is read; what it said before counts.
        with suppress(OSError):
            self._outbox.flush()

    def _read(self) -> list[Event]:
        events: list[Event] = []
        self._flush()
        try:
            for body in self._inbox.read():
                self._apply(from_engine.decode(body), events)
        except (BadFrame, msgspec.DecodeError) as error:
            log.error("engine.bad_frame", model=self.model, runtime=self.runtime, error=str(error))
            self._cut_off()
        return events

    def _apply(self, message: FromEngine, events: list[Event]) -> None:
        if isinstance(message, Happened):
            events += message.events
            for event in message.events:
                self._note(event)
        elif isinstance(message, Want):
            self._room += message.room
        elif isinstance(message, Ready):
            self.info = message.info
            self.state = "ready" if self._open else "draining"
        elif isinstance(message, Closed):
            if message.number == self._closes and not self._open:
                self.state = "ready"
        elif isinstance(message, Broken):
            self._broken = LoadFailed(message.error.message, code=message.error.code)
            self._cut_off()

    def _note(self, event: Event) -> None:
        if isinstance(event, Started):
            started = self._held.intersection(event.keys)
            self._held -= started
            self._in_flight |= started
        elif isinstance(event, Done | Failed):
            self._held.discard(event.key)
            self._in_flight.discard(event.key)

    def _cut_off(self) -> None:
        """Nothing that it may still say counts."""
        self._process.kill()
        self._inbox.ended = True

    def _bury(self) -> None:
        """The child has ended, or talks nonsense: collect it and find the reason."""
        self._process.reap()
        self._process.close()
        starting = self.state == "starting"
        self.state = "dead"
        self._end = self._broken or (self._failed_start() if starting else self._death())
        (log.info if self._stopping else log.error)(
            "engine.ended",
            model=self.model,
            runtime=self.runtime,
            end=self._process.end,
            error=self._end.message,
            tail=self.log_tail,
        )

    def _death(self) -> EngineDied:
        message = f"the engine of model '{self.model}' ({self.runtime}) {self._process.end}"
        return EngineDied(message, signal=self._process.signal_number, in_flight=self.in_flight)

    def _failed_start(self) -> LoadFailed:
        what = f"runtime '{self.runtime}' {self._process.end} while loading model '{self.model}'"
        if self._process.signal_number in CRASHES:
            hint = "its native library does not fit this CPU, or the model's files are damaged"
            return LoadFailed(f"{what}: {hint}; see: batchyard doctor", code="bad_native_build")
        hint = "; is there enough memory?" if self._process.signal_number else "; the worker's log says more"
        killed = self._process.signal_number is not None
        return LoadFailed(what + hint, code="model_load_failed", transient=killed)
