"""The rows that wait for a native call, and which go next: interactive ones, then bulk ones in windows.

Bulk rows are sorted by length within a window and a window is finished before the next begins, so that
no row waits for ever. Of the interactive parts the one with the fewest rows left goes first. For a while
after one, bulk rows go in short batches, since who has asked often asks again.
"""

from collections.abc import Collection
from math import inf
from time import monotonic

from backends.bert.memo import key_of
from backends.bert.packing import Batch, Budget, Row
from backends.bert.work import Work

WINDOW_ROWS = 512
# A first guess at the rows of a part, until some have been seen: a part may hold one row or hundreds.
FIRST_GUESS_ROWS = 32.0
# So long after an interactive part the next one is expected.
EXPECTED_SECONDS = 2.0


class Desk:
    """Works by the key of their part, and their rows. `short` is what a bulk batch may hold while somebody
    is expected to ask."""

    def __init__(self, budget: Budget, short: Budget) -> None:
        self._budget, self._short = budget, short
        self._expected_until = -inf
        self._works: dict[int, Work] = {}
        self._urgent: dict[int, list[Row]] = {}  # of each interactive part, sorted
        self._window: list[Row] = []  # sorted
        self._ahead: list[Row] = []
        self._rows_per_part = FIRST_GUESS_ROWS

    @property
    def busy(self) -> bool:
        return bool(self._works)

    @property
    def room(self) -> int:
        """How many more bulk parts fill the window, going by the rows of those before."""
        free = WINDOW_ROWS - len(self._window) - len(self._ahead)
        return max(0, -int(-free // self._rows_per_part))

    def add(self, work: Work, waiting: Collection[int]) -> None:
        """Put the rows `waiting` (indices) of `work` in line."""
        self._works[work.key] = work
        ids = work.prepared.rows
        rows = [Row(len(ids[at]), key_of(ids[at]), at, work) for at in waiting]
        if work.interactive:
            self._expected_until = monotonic() + EXPECTED_SECONDS
            self._urgent[work.key] = sorted(rows, key=_by_length)
        else:
            self._ahead += rows
            self._rows_per_part += (len(work.prepared.rows) - self._rows_per_part) / 8

    def next_batch(self) -> Batch:
        """The rows of the next native call, removed from the line; empty when none waits."""
        batch = Batch(self._budget)
        for key in sorted(self._urgent, key=lambda key: len(self._urgent[key])):
            batch.fill(self._urgent[key])
            if self._urgent[key]:
                return batch
            del self._urgent[key]
        return batch if batch.rows else self._next_bulk_batch()

    def _next_bulk_batch(self) -> Batch:
        if not self._window:
            self._window, self._ahead = sorted(self._ahead, key=_by_length), []
        batch = Batch(self._short if monotonic() < self._expected_until else self._budget)
        batch.fill(self._window)
        return batch

    def end(self, work: Work) -> None:
        """Forget a part that has its answer, with whatever rows it has left."""
        work.ended = True
        self._works.pop(work.key, None)
        self._urgent.pop(work.key, None)
        if work.missing and not work.interactive:
            self._window = [row for row in self._window if row.work is not work]
            self._ahead = [row for row in self._ahead if row.work is not work]

    def drop(self, keys: Collection[int]) -> None:
        """Forget parts that are not wanted any more."""
        for key in [key for key in keys if key in self._works]:
            self.end(self._works[key])


def _by_length(row: Row) -> tuple[int, bytes]:
    return row.length, row.key
