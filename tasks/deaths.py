"""How the engines of one model ended, and how long to wait after it."""

import signal
import time
from dataclasses import dataclass

SILENT_DEATHS = 5  # without a result between them, nor a part in flight: the model's fault, not its parts'
MOST_PAUSE_SECONDS = 30.0


@dataclass(frozen=True, kw_only=True)
class Death:
    """How an engine ended: in words, whether by its own fault, and the parts to blame, by key."""

    end: str
    at_fault: bool
    struck: frozenset[int]


class Deaths:
    """Ends in a row, without a result between them. `suspects_at`: until then suspects wait, on the monotonic
    clock, and others go on."""

    def __init__(self) -> None:
        self.in_a_row = 0
        self.suspects_at = 0.0
        self._silent = 0  # by the engine's own fault, and nothing was in flight
        self._lone = 0  # for an unknown reason with a suspect alone, without a result of one

    def count(self, *, silent: bool) -> bool:
        """One more. False when an engine that ends before it has begun anything will not do otherwise."""
        self.in_a_row += 1
        self._silent += silent
        if self._silent <= SILENT_DEATHS:
            return True
        self._silent = 0
        return False

    def computed(self, *, alone: bool) -> None:
        """A part has a result; `alone`: it had no company."""
        self.in_a_row = self._silent = 0
        if alone:
            self._lone = 0

    def pause_seconds(self) -> float:
        """How long to wait before the next launch, when nobody was to blame."""
        return min(MOST_PAUSE_SECONDS, 0.1 * 2**self.in_a_row) if self.in_a_row > 1 else 0.0

    def defer_suspects(self) -> None:
        """The engine has ended on a suspect, for a reason that is not known: it is tried again later, and
        later each time."""
        self._lone += 1
        self.suspects_at = time.monotonic() + min(MOST_PAUSE_SECONDS, 0.2 * 2**self._lone)


def end_of(number: int | None) -> str:
    """The name of the signal that ended an engine."""
    if number is None:
        return "it ended by itself"
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
