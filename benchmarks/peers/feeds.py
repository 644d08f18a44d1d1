"""Feeds of parts that are at hand, for bare engines."""

from collections import deque
from collections.abc import Sequence


class ListFeed:
    """A feed that is closed when its list is empty."""

    def __init__(self, parts: Sequence[object]) -> None:
        self._parts = deque(parts)

    def take(self, n: int, *, wait: float | None = 0.0) -> list[object]:
        return [self._parts.popleft() for _ in range(min(n, len(self._parts)))]

    def cancelled(self) -> frozenset[int]:
        return frozenset()

    @property
    def closed(self) -> bool:
        return not self._parts


class GrowingFeed(ListFeed):
    """A feed of recordings, to which their further parts are added as they are found. Closed when all have
    their answer."""

    def __init__(self, parts: Sequence[object]) -> None:
        super().__init__(parts)
        self.left = len(parts)

    def add(self, parts: Sequence[object]) -> None:
        self._parts.extend(parts)
        self.left += len(parts)

    @property
    def closed(self) -> bool:
        return not self.left
