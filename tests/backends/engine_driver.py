"""Drives an engine in tests as a controller does: one poll loop, feeding what the engine has room for."""

import itertools
import json
import os
import select
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil

from backends.engine import Engine
from backends.types import Done, EmbeddingResult, Event, Failed, Lane, Part, Result, Started, decode_result
from configs.models import ModelSpec

PATIENCE_SECONDS = 60.0  # the machine may be busy; nothing that works comes near it
ENDPOINT = "/v1/embeddings"
ROOT = Path(__file__).resolve().parents[2]


def one_core() -> list[int]:
    return sorted(os.sched_getaffinity(0))[:1]


def part(key: int, *, lane: Lane = Lane.BULK, body: bytes | None = None, **fields: Any) -> Part:
    """A part whose body is `body`, or the JSON of `fields`."""
    return Part(key, ENDPOINT, json.dumps(fields).encode() if body is None else body, lane)


class Driver:
    """An engine and all that it has said. `answers` maps a key to its Done or Failed."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.events: list[Event] = []
        self.answers: dict[int, Done | Failed] = {}
        self.order: list[int] = []  # keys as they were answered
        self.started: list[int] = []
        self._keys = itertools.count(1_000_000)  # far from those that tests choose

    def new_key(self) -> int:
        return next(self._keys)

    def wait(self, until: Callable[[], bool], seconds: float = PATIENCE_SECONDS) -> None:
        """Receive events until `until()`. Raises what the engine raises, AssertionError after `seconds`.

        Sleeps until the engine's descriptor is readable and not a moment less, as a controller would: an
        engine that forgets to wake its controller fails here.
        """
        poll = select.poll()
        poll.register(self.engine.fileno(), select.POLLIN)
        deadline = time.monotonic() + seconds
        while not until():
            left = deadline - time.monotonic()
            assert left > 0, f"nothing after {seconds} s; log: {self.engine.log_tail}"
            poll.poll(left * 1000)
            self.receive()

    def receive(self) -> None:
        for event in self.engine.receive():
            self.events.append(event)
            if isinstance(event, Started):
                self.started += event.keys
            elif isinstance(event, Done | Failed):
                assert event.key not in self.answers, f"part {event.key} was answered twice"
                self.answers[event.key] = event
                self.order.append(event.key)

    def ready(self) -> None:
        self.wait(lambda: self.engine.state == "ready")

    def compute(self, parts: Sequence[Part]) -> list[Done | Failed]:
        """Feed the parts as the engine asks for them; their answers, in order of `parts`."""
        left = list(parts)
        keys = {part.key for part in parts}

        def all_answered() -> bool:
            self.feed_room(left)
            return keys <= self.answers.keys()

        self.wait(all_answered)
        return [self.answers[part.key] for part in parts]

    def feed_room(self, left: list[Part]) -> None:
        """Move as many of `left` into the engine as it has asked for."""
        if room := self.engine.room:
            self.engine.feed(left[:room])
            del left[:room]

    def embed(self, **fields: Any) -> EmbeddingResult:
        """One request, which must succeed."""
        (answer,) = self.compute([part(self.new_key(), **fields)])
        return result(answer)

    def fail(self, body: bytes | None = None, **fields: Any) -> Failed:
        """One request, which must fail."""
        (answer,) = self.compute([part(self.new_key(), body=body, **fields)])
        assert isinstance(answer, Failed), answer
        return answer


def result(answer: Done | Failed) -> Result:
    assert isinstance(answer, Done), answer
    return decode_result(answer.data)


@contextmanager
def driving(
    spec: ModelSpec, runtime: str, folder: Path, *, kind: type[Engine] = Engine, nice: int = 0
) -> Iterator[Driver]:
    """A driver over a new engine on one core, which is ended afterwards."""
    engine = kind(spec, runtime, folder, one_core(), nice=nice)
    try:
        yield Driver(engine)
    finally:
        engine.kill()


def assert_dies_with_its_parent(script: str, *arguments: str, within_seconds: float = 1.0) -> None:
    """Run a parent that starts an engine and prints its pid to standard error (the log has the other
    one), kill it with -9, and see the engine go."""
    command = [sys.executable, "-c", script, *arguments]
    with subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stderr is not None
        child = psutil.Process(int(parent.stderr.readline()))
        assert child.is_running()
        parent.kill()
    began = time.monotonic()
    while child.is_running() and child.status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() - began < within_seconds
        time.sleep(0.005)
