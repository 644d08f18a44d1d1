"""Telling poison items from a broken model: the circuit breaker of one model in one slot.

Two strikes end an item, if the model has computed another one since the first: then the item is at fault.
Until one is computed it may be the model, so the item is *condemned* only: put aside, while others are
tried. A model that condemns or fails `PAUSE_AFTER` different items in a row is itself at fault.
"""

from enum import Enum

STRIKES = 2
PAUSE_AFTER = 4

Item = tuple[int, int]  # a job, and the number of a part of it


class Verdict(Enum):
    """What becomes of a part that got a strike."""

    RETRY = "retry"  # alone
    CONDEMN = "condemn"  # put aside until another has been computed
    FAIL = "fail"


class Breaker:
    """Parts go by their key in `Holding`; the row of those that ended engines outlives them."""

    def __init__(self) -> None:
        self._struck: set[int] = set()  # once, and nothing was computed since
        self._suspects: set[int] = set()  # once, and something was
        self._row: set[Item] = set()

    def struck(self, key: int, item: Item, strikes: int) -> Verdict:
        """A part has `strikes` now, the newest for an engine's end just now."""
        if strikes < STRIKES:
            self._struck.add(key)
            return Verdict.RETRY
        self._row.add(item)
        return Verdict.FAIL if key in self._suspects else Verdict.CONDEMN

    def succeeded(self) -> None:
        """The model has computed a part: it works, and the row is broken."""
        if self._struck or self._row:
            self._suspects |= self._struck
            self._struck.clear()
            self._row.clear()

    @property
    def row(self) -> int:
        """Different items that ended an engine twice, since one was computed."""
        return len(self._row)

    @property
    def tripped(self) -> bool:
        return self.row >= PAUSE_AFTER

    def reset(self) -> None:
        """The model is paused, and nothing of it is held any more."""
        self._struck.clear()
        self._suspects.clear()
        self._row.clear()
