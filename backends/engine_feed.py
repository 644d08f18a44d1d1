"""The engine's end of the pipe: what a backend takes its parts from, and where its events go."""

import math
import select
import socket
import sys
import time
from collections import deque

from backends.engine_books import CANCELLED, Books
from backends.pipe import (
    Cancel,
    Close,
    Closed,
    FromEngine,
    Give,
    Happened,
    Inbox,
    Load,
    Open,
    Outbox,
    Want,
    to_engine,
)
from backends.types import Done, ErrorInfo, Event, Failed, Lane, Part

MOST_EVENTS = 64  # answers that travel in one frame
MOST_EVENT_BYTES = 1 << 18  # results that make a frame of their own
MOST_WAITING_BYTES = 8 << 20  # results that pile up here while the controller is busy


class PipeFeed:
    """A `Feed` by credits: `take` asks for what it lacks and reads what has arrived, so that a native
    call never waits for the controller. The only code in an engine that reads or writes its pipe.
    """

    def __init__(self, stream: socket.socket) -> None:
        self._stream = stream
        self._inbox = Inbox(stream)
        self._outbox = Outbox(stream)
        self._waiting: dict[Lane, deque[Part]] = {lane: deque() for lane in Lane}
        self._books = Books()
        self._events: list[Event] = []  # not sent yet
        self._event_bytes = 0
        self._credit = 0  # bulk parts asked for that have not come yet
        self._closing: int | None = None  # the number of the Close that holds
        self._load: Load | None = None

    # --- for the backend: the contract of backends/base.py

    def take(self, n: int, *, wait: float | None = 0.0) -> list[Part]:
        self._send_events()
        self._listen()
        self._ask(n)
        if wait != 0 and not self._has_for(n):
            self._wait_for(n, wait)
        parts = self._pick(n)
        self._books.hand_out(parts)
        return parts

    def cancelled(self) -> frozenset[int]:
        return self._books.cancelled

    @property
    def closed(self) -> bool:
        return self._closing is not None and not any(self._waiting.values())

    # --- for the engine's own loop

    def report(self, event: Event) -> None:
        """Pass an event on. Answers wait for company until the backend comes back for more parts; anything
        else must be known before the next native call."""
        checked = self._books.check(event)
        if checked is None:
            return
        self._events.append(checked)
        if isinstance(checked, Done):
            self._event_bytes += len(checked.data)
        full = len(self._events) >= MOST_EVENTS or self._event_bytes >= MOST_EVENT_BYTES
        if full or not isinstance(checked, Done | Failed):
            self._send_events()

    def give_up(self, error: ErrorInfo) -> int:
        """The backend's run is over: fail what it had in flight, take the rest back. Returns how many
        parts it had."""
        count = len(self._books)
        failures, again = self._books.give_up(error)
        self._events += failures
        for part in reversed(again):
            self._waiting[part.lane].appendleft(part)
        self._send_events()
        return count

    def wait_for_load(self) -> Load | None:
        """The first message; None if the controller has gone before it sent one."""
        while self._load is None and self._wait(None):
            pass
        return self._load

    def rest(self) -> bool:
        """Where the feed is closed, say so and wait until it is opened (at once if it is open). False:
        the controller is done with this engine."""
        said: int | None = None
        while self.closed:
            if self._closing is not None and said != self._closing:
                said = self._closing
                self.send(Closed(said))
            if not self._wait(None):
                return False
        return True

    def send(self, message: FromEngine) -> None:
        """Send, or keep what the pipe does not take. Waits only when too much has piled up."""
        self._outbox.push(message)
        self._flush()
        self._flush_until(MOST_WAITING_BYTES)

    def flush(self) -> None:
        """Wait until everything is sent."""
        self._flush_until(0)

    # --- inside

    def _flush(self) -> None:
        try:
            self._outbox.flush()
        except OSError:
            sys.exit(0)  # the controller is gone: nobody waits for what we hold

    def _flush_until(self, size: int) -> None:
        poll = select.poll()
        poll.register(self._stream, select.POLLOUT)
        while self._outbox.size > size:
            poll.poll()
            self._flush()

    def _send_events(self) -> None:
        if self._events:
            self.send(Happened(self._events))
            self._events = []
            self._event_bytes = 0

    def _ask(self, n: int) -> None:
        lack = n - len(self._waiting[Lane.BULK]) - self._credit
        if lack > 0 and self._closing is None:
            self._credit += lack
            self.send(Want(lack))

    def _has_for(self, n: int) -> bool:
        return bool(self._waiting[Lane.INTERACTIVE]) or (n > 0 and bool(self._waiting[Lane.BULK]))

    def _pick(self, n: int) -> list[Part]:
        """All interactive parts that wait, then bulk ones up to `n` parts in all."""
        interactive, bulk = self._waiting[Lane.INTERACTIVE], self._waiting[Lane.BULK]
        parts = list(interactive)
        interactive.clear()
        while bulk and len(parts) < n:
            parts.append(bulk.popleft())
        return parts

    def _wait_for(self, n: int, wait: float | None) -> None:
        until = None if wait is None else time.monotonic() + wait
        while not self._has_for(n) and not self.closed:
            left = None if until is None else until - time.monotonic()
            if left is not None and left <= 0:
                return
            if not self._wait(left):
                sys.exit(0)  # the controller is gone in the middle of a run
            self._ask(n)

    def _wait(self, seconds: float | None) -> bool:
        """Wait for something to come, sending meanwhile. False: the controller has closed the pipe."""
        events = select.POLLIN | (select.POLLOUT if self._outbox.size else 0)
        poll = select.poll()
        poll.register(self._stream, events)
        poll.poll(None if seconds is None else math.ceil(seconds * 1000))
        self._flush()
        self._listen()
        return not self._inbox.ended

    def _listen(self) -> None:
        for body in self._inbox.read():
            message = to_engine.decode(body)
            if isinstance(message, Give):
                self._store(message.parts)
            elif isinstance(message, Cancel):
                self._cancel(set(message.keys))
            elif isinstance(message, Close):
                self._closing = message.number
            elif isinstance(message, Open):
                self._closing = None
            else:
                self._load = message

    def _store(self, parts: list[Part]) -> None:
        for part in parts:
            self._waiting[part.lane].append(part)
            self._credit -= part.lane is Lane.BULK

    def _cancel(self, keys: set[int]) -> None:
        self._events += self._books.cancel(keys)
        for lane, parts in self._waiting.items():
            dropped = [part for part in parts if part.key in keys]
            if dropped:
                self._waiting[lane] = deque(part for part in parts if part.key not in keys)
                self._events += [Failed(part.key, CANCELLED) for part in dropped]
        self._send_events()
