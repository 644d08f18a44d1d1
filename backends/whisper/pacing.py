"""How many windows a native call may hold: as many as take about a second, as measured call by call.

Somebody who waits gets in between two calls. Measured is what was computed, in seconds of a core, since on a
busy machine the clock would make batches ever smaller, and that slower.
"""

CALL_SECONDS = 1.0
FIRST_WINDOWS = 4  # of a model that was not measured yet
# How much the last call counts: windows differ by a factor of two, and so do calls.
WEIGHT = 0.25


class Pace:
    """Of one kind of call, which takes `most` windows at most."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._per_window: float | None = None

    @property
    def windows(self) -> int:
        """Windows of the next call, one at least."""
        if self._per_window is None:
            return min(self._most, FIRST_WINDOWS)
        return max(1, min(self._most, int(CALL_SECONDS / self._per_window)))

    def took(self, windows: int, seconds: float) -> None:
        """A call has taken so many seconds."""
        each = max(seconds, 1e-6) / windows
        before = each if self._per_window is None else self._per_window
        self._per_window = before + (each - before) * WEIGHT
