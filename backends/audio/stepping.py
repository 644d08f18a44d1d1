"""Work on a recording in steps of a given time, so that an engine can look at its feed in between."""

import time
from abc import ABC, abstractmethod
from collections.abc import Iterator

from backends.audio.errors import media_errors


class Stepwise(ABC):
    """Work that stands still between calls of `step`."""

    _work: Iterator[None] | None = None
    _ended = False

    def step(self, seconds: float = 0.2) -> bool:
        """Work for about `seconds`. True when all is done; raises `InvalidBody` (what is wrong with the
        recording) or `PartFailed` (the file cannot be had)."""
        if self._ended:
            return True
        if self._work is None:
            self._work = self._stretches()
        until = time.monotonic() + seconds
        with media_errors():
            for _ in self._work:
                if time.monotonic() >= until:
                    return False
        self._ended = True
        return True

    @abstractmethod
    def _stretches(self) -> Iterator[None]:
        """The work, pausing after each little stretch of it."""
