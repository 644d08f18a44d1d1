"""A part in the backend's hands: which of its rows have their vector, and what is still missing."""

from dataclasses import dataclass, field
from time import monotonic

import numpy as np
import numpy.typing as npt

from backends.bert.prepare import Prepared

# A part of so many rows tells how far it is, at most once in so many seconds.
PROGRESS_ROWS = 64
PROGRESS_SECONDS = 0.5


@dataclass(eq=False, kw_only=True)
class Work:
    """One part. `vectors` is float32 (rows, hidden); `ended` once it has its answer or was cancelled."""

    key: int
    prepared: Prepared
    vectors: npt.NDArray[np.float32]
    interactive: bool
    missing: int
    started: bool = False
    ended: bool = False
    _told: float = field(default_factory=monotonic)

    @classmethod
    def of(cls, key: int, prepared: Prepared, hidden: int, *, interactive: bool) -> "Work":
        rows = len(prepared.rows)
        vectors = np.empty((rows, hidden), dtype=np.float32)
        return cls(key=key, prepared=prepared, vectors=vectors, interactive=interactive, missing=rows)

    def settle(self, index: int, vector: npt.NDArray[np.float32]) -> None:
        """Keep the vector of row `index`."""
        self.vectors[index] = vector
        self.missing -= 1

    def progress(self) -> float | None:
        """Rows done so far, when it is time to tell."""
        rows = len(self.prepared.rows)
        now = monotonic()
        if rows < PROGRESS_ROWS or not self.missing or now - self._told < PROGRESS_SECONDS:
            return None
        self._told = now
        return float(rows - self.missing)
