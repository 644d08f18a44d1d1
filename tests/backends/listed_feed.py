"""A feed of parts that a test lists, and what a backend answered."""

import json
from collections.abc import Callable, Sequence

import numpy as np

from backends.base import Backend
from backends.types import Done, Event, Failed, Lane, Part, decode_result

ENDPOINT = "/v1/embeddings"


def part(key: int, *, lane: Lane = Lane.BULK, endpoint: str = ENDPOINT, **fields: object) -> Part:
    return Part(key, endpoint, json.dumps({"model": "m", **fields}).encode(), lane)


class ListedFeed:
    """Gives its parts as asked; closed once they are gone. `on_take` may add or cancel meanwhile."""

    def __init__(self, parts: Sequence[Part], on_take: Callable[["ListedFeed"], None] | None = None) -> None:
        self.parts = list(parts)
        self.gone: set[int] = set()
        self.asked: list[int] = []
        self._on_take = on_take

    def take(self, n: int, *, wait: float | None = 0.0) -> list[Part]:
        self.asked.append(n)
        if self._on_take:
            self._on_take(self)
        urgent = [part for part in self.parts if part.lane is Lane.INTERACTIVE]
        bulk = [part for part in self.parts if part.lane is Lane.BULK][:n]
        taken = [*urgent, *bulk]
        self.parts = [part for part in self.parts if part not in taken]
        return taken

    def cancelled(self) -> frozenset[int]:
        return frozenset(self.gone)

    @property
    def closed(self) -> bool:
        return not self.parts


def run(backend: Backend, parts: Sequence[Part]) -> list[Event]:
    return list(backend.run(ListedFeed(parts)))


def answers(events: Sequence[Event]) -> dict[int, Done | Failed]:
    """Answer of each part; a second answer of one is an error."""
    found: dict[int, Done | Failed] = {}
    for event in events:
        if isinstance(event, Done | Failed):
            assert event.key not in found
            found[event.key] = event
    return found


def vectors(answer: Done | Failed) -> np.ndarray:
    """Float32 (inputs, dimensions) of a part that is done."""
    assert isinstance(answer, Done), answer
    result = decode_result(answer.data)
    return np.frombuffer(result.vectors, dtype="<f4").reshape(-1, result.dimensions)


def codes(events: Sequence[Event]) -> dict[int, str]:
    return {event.key: event.error.code for event in events if isinstance(event, Failed)}
