"""The engine's books: which parts its backend has, and whether each is answered exactly once."""

import sys
from collections.abc import Iterable

from backends.types import Done, ErrorInfo, Event, Failed, Part, Started

CANCELLED = ErrorInfo("cancelled", "the part was cancelled")


class Books:
    """Parts between `hand out` and their answer, in the order in which they were handed out.

    The controller hears one Done or Failed for every part, whatever the backend does: a cancelled part is
    answered here, an answer too many is dropped, one that is missing is made up.
    """

    def __init__(self) -> None:
        self._open: dict[int, Part] = {}
        self._started: set[int] = set()
        self._cancelled: set[int] = set()
        self.cancelled: frozenset[int] = frozenset()

    def __len__(self) -> int:
        return len(self._open)

    def hand_out(self, parts: Iterable[Part]) -> None:
        self._open.update((part.key, part) for part in parts)

    def cancel(self, keys: Iterable[int]) -> list[Event]:
        """Answer those of `keys` that the backend has; it may drop them, or answer for nothing."""
        known = [key for key in keys if key in self._open]
        for key in known:
            self._forget(key)
        self._set_cancelled(self._cancelled.union(known))
        return [Failed(key, CANCELLED) for key in known]

    def check(self, event: Event) -> Event | None:
        """The event as the controller may hear it, None if it may not. Breaches of the contract are
        logged (standard error is the engine's log)."""
        if isinstance(event, Started):
            known = [key for key in event.keys if self._is_open(key, event)]
            self._started.update(known)
            return Started(known) if known else None
        if not self._is_open(event.key, event):
            return None
        if isinstance(event, Done | Failed):
            self._forget(event.key)
        return event

    def give_up(self, error: ErrorInfo) -> tuple[list[Event], list[Part]]:
        """The backend has let go of everything. Returns the failures to tell, and the parts to try again:
        those that were not in flight, if others were and are the ones to suspect."""
        suspects = self._started or set(self._open)
        failures: list[Event] = [Failed(key, error) for key in self._open if key in suspects]
        again = [part for key, part in self._open.items() if key not in suspects]
        self._open.clear()
        self._started.clear()
        self._set_cancelled(set())
        return failures, again

    def _is_open(self, key: int, event: Event) -> bool:
        if key in self._open:
            return True
        if key not in self._cancelled:
            sys.stderr.write(f"{type(event).__name__} of part {key}, which the backend does not have\n")
        elif isinstance(event, Done | Failed):
            self._set_cancelled(self._cancelled - {key})
        return False

    def _forget(self, key: int) -> None:
        del self._open[key]
        self._started.discard(key)

    def _set_cancelled(self, keys: set[int]) -> None:
        self._cancelled = keys
        self.cancelled = frozenset(keys)
