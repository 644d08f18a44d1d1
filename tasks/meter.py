"""How fast a slot is: parts per second over the last ten seconds."""

import threading
import time
from collections import deque

SPAN_SECONDS = 10.0


class Meter:
    """Counts parts as they are done. May be asked from another thread."""

    def __init__(self) -> None:
        self._counts: deque[tuple[float, int]] = deque()  # (when, how many)
        self._lock = threading.Lock()

    def add(self, parts: int) -> None:
        with self._lock:
            self._counts.append((time.monotonic(), parts))
            self._forget()

    def rate(self) -> float:
        """Parts per second."""
        with self._lock:
            self._forget()
            return sum(parts for _, parts in self._counts) / SPAN_SECONDS

    def _forget(self) -> None:
        since = time.monotonic() - SPAN_SECONDS
        while self._counts and self._counts[0][0] < since:
            self._counts.popleft()
