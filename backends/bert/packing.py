"""Which rows enter one native call together.

Small batches win on a CPU: about 1,000 tokens per call are as fast as any number, and somebody who waits
gets in sooner. Rows of like length waste little padding (3 to 5 %).
"""

from dataclasses import dataclass, field
from typing import NamedTuple

from backends.bert.work import Work


class Row(NamedTuple):
    """One row of ids that waits for its vector. Sorts by length, equal rows side by side."""

    length: int
    key: bytes
    at: int
    work: Work

    @property
    def ids(self) -> list[int]:
        return self.work.prepared.rows[self.at]


@dataclass(frozen=True, kw_only=True)
class Budget:
    """What one native call may hold. `padded`: every row costs as much as the longest of the batch;
    otherwise rows are packed end to end and cost their own length."""

    max_tokens: int
    max_rows: int
    padded: bool


@dataclass
class Batch:
    """Rows of one native call. `ids` has each different row once, `rows` all that want its vector."""

    budget: Budget
    rows: list[Row] = field(default_factory=list)
    ids: dict[bytes, list[int]] = field(default_factory=dict)
    _longest: int = 0
    _tokens: int = 0

    def admit(self, row: Row) -> bool:
        """Take `row` if it fits. The first always does: a row never has more tokens than the context."""
        if row.key not in self.ids:
            if self.ids and not self._fits(row.length):
                return False
            self.ids[row.key] = row.ids
            self._longest = max(self._longest, row.length)
            self._tokens += row.length
        self.rows.append(row)
        return True

    def fill(self, rows: list[Row]) -> None:
        """Move rows here from the end of `rows`, as many as fit."""
        while rows and self.admit(rows[-1]):
            rows.pop()

    def _fits(self, length: int) -> bool:
        count = len(self.ids) + 1
        cost = count * max(self._longest, length) if self.budget.padded else self._tokens + length
        return count <= self.budget.max_rows and cost <= self.budget.max_tokens
