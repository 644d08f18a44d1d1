"""The contract of a backend: load, run(feed) → events, close. The same for all families."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol, Self

from backends.types import Event, Part
from configs.models import ModelSpec


class Feed(Protocol):
    """Where a backend takes its parts from. It never gives a part twice."""

    def take(self, n: int, *, wait: float | None = 0.0) -> list[Part]:
        """Up to `n` parts, interactive ones first.

        Waits up to `wait` seconds (None: without bound) for the first one; returns an empty list when
        none came or the feed is closed. `n` is the room for bulk parts; an interactive part may come
        on top of it. Call it between native calls: it is what lets somebody who waits get in.
        """

    def cancelled(self) -> frozenset[int]:
        """Keys of parts that were handed out and are not wanted any more."""

    @property
    def closed(self) -> bool:
        """True when nothing will come any more: finish what is in hand and return."""


class Backend(ABC):
    """One model, loaded, on the cores that the process is pinned to.

    Lives in an engine process of its own. A native call holds at most about a second of compute
    (0.2 s for embeddings), so that `feed.take` is called often enough.
    """

    @classmethod
    @abstractmethod
    def load(cls, spec: ModelSpec, folder: Path, threads: int) -> Self:
        """Load the model whose files lie in `folder`.

        Raises `LoadFailed` with what to do about it. Ends with the runtime's self-test, so that a
        native build that is bad on this CPU shows here and not on an item.
        """

    @abstractmethod
    def run(self, feed: Feed) -> Iterator[Event]:
        """Compute parts until the feed is closed. Every part taken gets exactly one Done or Failed,
        except cancelled ones, which may get none. May be called again after it returned."""

    @abstractmethod
    def close(self) -> None:
        """Free what was loaded. The object is of no use afterwards."""

    @property
    def info(self) -> dict[str, Any]:
        """What operators may want to know of the loaded model (precision, dimensions, max_tokens): plain
        msgpack values. Sent once, when the engine is ready."""
        return {}
