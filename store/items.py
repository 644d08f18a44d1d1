"""Items and their parts, as they are handed in and as a slot loads them for computing."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from psycopg import Connection
from psycopg.rows import class_row

from store.db import map_errors


@dataclass(frozen=True, kw_only=True)
class NewItem:
    """One request. `body` is what its first part computes; `more_bodies` are its further parts, in order."""

    custom_id: str
    body: bytes
    more_bodies: tuple[bytes, ...] = ()


@dataclass(frozen=True, kw_only=True)
class ClaimedPart:
    """A part that has no result yet. `strikes` counts engines that crashed or hung on it."""

    n: int
    body: bytes
    strikes: int


# Result and strike are looked up part by part (scalar subqueries are not turned into joins), so that the
# cost is the chunk's, whatever the planner believes about tables that have just grown.
_LOAD = """
SELECT part.n, part.body,
       coalesce((SELECT count FROM strike WHERE job_id = %(job)s AND strike.n = part.n), 0) AS strikes
FROM (
    SELECT n, body FROM item WHERE job_id = %(job)s AND n >= %(lo)s AND n < %(hi)s
    UNION ALL
    SELECT n, body FROM item_part WHERE job_id = %(job)s AND n >= %(lo)s AND n < %(hi)s
) AS part
WHERE (SELECT result.n FROM result WHERE job_id = %(job)s AND result.n = part.n) IS NULL
ORDER BY part.n
"""


@map_errors()
def load_parts(conn: Connection[Any], job_id: int, lo: int, hi: int) -> list[ClaimedPart]:
    """The parts `lo` ≤ n < `hi` that are not recorded yet, by number."""
    with conn.cursor(row_factory=class_row(ClaimedPart), binary=True) as cursor:
        return cursor.execute(_LOAD, {"job": job_id, "lo": lo, "hi": hi}).fetchall()


def as_columns(items: Sequence[NewItem]) -> dict[str, list[Any]]:
    """The columns of `item` and `item_part` for a new job's items; their numbers: `store/schema/jobs.py`."""
    columns: dict[str, list[Any]] = {name: [] for name in (*_ITEM_COLUMNS, *_PART_COLUMNS)}
    part_n = len(items)
    for n, item in enumerate(items):
        row = (n, item.custom_id, item.body, 1 + len(item.more_bodies))
        for name, value in zip(_ITEM_COLUMNS, row, strict=True):
            columns[name].append(value)
        for position, body in enumerate(item.more_bodies, 1):
            for name, value in zip(_PART_COLUMNS, (part_n, n, position, body), strict=True):
                columns[name].append(value)
            part_n += 1
    return columns


_ITEM_COLUMNS = ("item_n", "custom_id", "body", "item_parts")
_PART_COLUMNS = ("part_n", "part_item_n", "part_position", "part_body")
