"""Signals of `up` as something to wait for, so that its loop runs between signals and not inside handlers."""

import os
import select
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Self

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Stopped(BaseException):
    """Somebody asked us to stop while we were doing something that takes its time."""


class SignalWatch:
    """Notes requests to stop and ends of children. To be entered in the main thread."""

    def __init__(self) -> None:
        self.stops = 0  # how often we were asked to stop
        self._interrupting = False

    def __enter__(self) -> Self:
        self._reader, self._writer = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._old_fd = signal.set_wakeup_fd(self._writer, warn_on_full_buffer=False)
        self._old = {number: signal.signal(number, self._note) for number in (*STOP_SIGNALS, signal.SIGCHLD)}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._old.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(self._old_fd)
        os.close(self._reader)
        os.close(self._writer)

    def wait(self, seconds: float) -> None:
        """Return when a signal comes, or after `seconds`."""
        if select.select([self._reader], [], [], max(0.0, seconds))[0]:
            os.read(self._reader, 4096)

    @contextmanager
    def interrupting(self) -> Iterator[None]:
        """A request to stop raises `Stopped` inside this block, once, instead of being noted only."""
        if self.stops:
            raise Stopped
        self._interrupting = True
        try:
            yield
        finally:
            self._interrupting = False

    def _note(self, number: int, _frame: FrameType | None) -> None:
        if number in STOP_SIGNALS:
            self.stops += 1
            if self._interrupting:
                self._interrupting = False
                raise Stopped
