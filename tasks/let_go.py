"""Parts in flight that nobody wants any more: an engine that does not let go of them loses its life."""

import time
from collections.abc import Collection

LET_GO_SECONDS = 1.0  # most native calls end sooner; a model is loaded anew in a few


class LetGo:
    """Parts that were in flight when they were cancelled, and since when, on the monotonic clock."""

    def __init__(self) -> None:
        self._since: dict[int, float] = {}

    def __len__(self) -> int:
        return len(self._since)

    def add(self, keys: Collection[int]) -> None:
        now = time.monotonic()
        self._since = dict.fromkeys(keys, now) | self._since

    def keep(self, in_flight: Collection[int]) -> None:
        """Forget those that the engine has answered."""
        if self._since:
            self._since = {key: since for key, since in self._since.items() if key in in_flight}

    @property
    def due_at(self) -> float | None:
        """When the engine is to be ended."""
        return min(self._since.values()) + LET_GO_SECONDS if self._since else None

    @property
    def due(self) -> bool:
        return self.due_at is not None and time.monotonic() >= self.due_at

    def restart(self) -> None:
        """Count from now: the engine could not be heard."""
        self._since = dict.fromkeys(self._since, time.monotonic())
