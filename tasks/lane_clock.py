"""What each lane has had of a slot's time, and whether it is bulk's turn although somebody waits."""

import time
from collections import deque
from collections.abc import Callable

from backends.types import Lane

MEMORY_SECONDS = 60.0  # the share of bulk is kept over so long
SPAN_SECONDS = 1.0  # and is forgotten in steps
TURN_SECONDS = 0.25  # of bulk compute, and of interactive compute between two turns of bulk
# A turn in which bulk gets nothing done ends as well: what the engine was given before is still computed, or
# it hangs. Bulk has had that time too, or it would be given more and more of it; what it then does is free.
TURN_MOST_SECONDS = 3.0


class LaneClock:
    """Keeps `bulk_share` of a slot's time for bulk work.

    Only time in which both lanes had work counts against bulk: what nobody else wanted, nobody owes. While
    bulk is behind it gets turns of its own, short ones, so that whoever waits hardly notices.
    """

    def __init__(self, bulk_share: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._share, self._clock = bulk_share, clock
        self._spans: deque[tuple[float, dict[Lane, float]]] = deque()  # since when, and what each lane took
        self._sums = dict.fromkeys(Lane, 0.0)
        self._contended = False
        self._turn_until: float | None = None
        self._turn_left = self._interactive_since = 0.0
        self._had_before = 0.0  # by bulk, in turns, and nothing was heard of it

    @property
    def bulk_turn(self) -> bool:
        """Interactive parts are neither claimed nor fed now."""
        return self._turn_until is not None

    @property
    def behind(self) -> float:
        """Seconds that bulk lacks to its share of what both lanes took lately; negative: it had more."""
        return self._share * sum(self._sums.values()) - self._sums[Lane.BULK]

    def took(self, lane: Lane, seconds: float) -> None:
        """`seconds` of the slot's time went into parts of `lane`."""
        if lane is Lane.BULK:
            self._turn_left -= seconds
            known = min(seconds, self._had_before)
            self._had_before -= known
            seconds -= known
        elif self._contended:
            self._interactive_since += seconds
        else:
            return
        self._note(lane, seconds)

    def _note(self, lane: Lane, seconds: float) -> None:
        now = self._clock()
        if not self._spans or now - self._spans[-1][0] >= SPAN_SECONDS:
            self._spans.append((now, dict.fromkeys(Lane, 0.0)))
        self._spans[-1][1][lane] += seconds
        self._sums[lane] += seconds

    def update(self, *, bulk_waits: bool) -> None:
        """Begin or end a turn of bulk. `bulk_waits`: there is bulk work that could be computed now."""
        now = self._clock()
        while self._spans and self._spans[0][0] < now - MEMORY_SECONDS:
            for lane, seconds in self._spans.popleft()[1].items():
                self._sums[lane] -= seconds
        self._contended = bulk_waits
        due = bulk_waits and self.behind > 0
        if self._turn_until is None:
            if due and self._interactive_since >= TURN_SECONDS:
                self._turn_until, self._turn_left = now + TURN_MOST_SECONDS, TURN_SECONDS
        elif not due or self._turn_left <= 0 or now >= self._turn_until:
            if now >= self._turn_until and self._turn_left == TURN_SECONDS:
                self._had_before += TURN_MOST_SECONDS
                self._note(Lane.BULK, TURN_MOST_SECONDS)
            self._turn_until, self._interactive_since = None, 0.0
