"""Results of a job, read item by item and put together from their parts.

Read in pages by item number, not through a cursor: a slow reader holds no transaction open, and results
are never changed, so pages agree with each other.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import groupby
from operator import itemgetter
from typing import Any, Self

from psycopg import AsyncConnection, Connection

from store.db import map_errors

UNFINISHED = 0  # the `status` of an item that has no result (yet)
# Parts per page: bounds what a reader holds (a part's result may be some 400 kB).
PAGE_PARTS = 128


@dataclass(kw_only=True)
class ItemResult:
    """An item with its result. `status` is 200, an error's HTTP status, or `UNFINISHED`.

    `parts` holds the encoded results of all its parts in order; of an error, just that one. `body` is the
    request body of its first part.
    """

    n: int
    custom_id: str
    body: bytes
    status: int = UNFINISHED
    parts: list[bytes] = field(default_factory=list)
    units: int = 0

    @classmethod
    def single(cls, status: int, data: bytes) -> Self:
        """The result of a job's only item of one part, as a signal carries it, without its request."""
        return cls(n=0, custom_id="", body=b"", status=status, parts=[data])


# A page ends before the item that would take it past PAGE_PARTS parts; it has at least one item.
# Of items with one part, those that are not asked for stay in the database.
# Results are looked up one by one (LIMIT 1 keeps the planner from joining): for a page, which is short, a
# join reads all results of the job whenever the table's statistics are old, as they are after a large job.
_PAGE = """
WITH next AS (
    SELECT n, custom_id, body, parts, sum(parts) OVER (ORDER BY n) - parts AS before
    FROM (
        SELECT item.n, custom_id, body, parts
        FROM item
        LEFT JOIN LATERAL (
            SELECT status FROM result WHERE job_id = %(job)s AND result.n = item.n LIMIT 1
        ) AS first ON true
        WHERE item.job_id = %(job)s AND item.n > %(after)s
          AND (%(errors)s::bool IS NULL OR parts > 1 OR status IS NULL
               OR (status <> 200) = %(errors)s::bool)
          AND (%(unfinished)s OR parts > 1 OR status IS NOT NULL)
        ORDER BY item.n LIMIT %(size)s
    ) AS item
)
SELECT next.n, custom_id, CASE WHEN part.position = 0 THEN body END, parts, status, units, data
FROM next
CROSS JOIN LATERAL (
    SELECT 0 AS position, next.n
    UNION ALL
    SELECT position, n FROM item_part WHERE next.parts > 1 AND job_id = %(job)s AND item_n = next.n
) AS part
LEFT JOIN LATERAL (
    SELECT status, units, data FROM result WHERE job_id = %(job)s AND result.n = part.n LIMIT 1
) AS recorded ON true
WHERE before < %(size)s
ORDER BY next.n, part.position
"""

Row = tuple[int, str, bytes | None, int, int | None, int | None, bytes | None]


def iter_results(
    conn: Connection[Any],
    job_id: int,
    *,
    after: int = -1,
    errors: bool | None = None,
    unfinished: bool = False,
) -> Iterator[ItemResult]:
    """The job's items with a result, from item `after` + 1 on, by number.

    `errors` picks: None both, True errors alone, False successes alone. `unfinished` adds the items
    without a result (status `UNFINISHED`, no parts); they count as errors. An item with a failed part is
    an error even while others of its parts are missing.
    """
    values = {"job": job_id, "errors": errors, "unfinished": unfinished and errors is not False}
    while True:
        with map_errors(), conn.cursor(binary=True) as cursor:
            rows = cursor.execute(_PAGE, values | {"after": after, "size": PAGE_PARTS}).fetchall()
        if not rows:
            return
        after = rows[-1][0]
        for result in _assemble(rows):
            if _is_wanted(result, errors, unfinished):
                yield result


@map_errors()
def one(conn: Connection[Any], job_id: int, n: int) -> ItemResult | None:
    """The item of this number, also without a result (`UNFINISHED`); None where there is none."""
    values = {"job": job_id, "errors": None, "unfinished": True, "after": n - 1, "size": 1}
    with conn.cursor(binary=True) as cursor:
        rows = cursor.execute(_PAGE, values).fetchall()
    item = next(_assemble(rows), None)
    return item if item is not None and item.n == n else None


async def answer(conn: AsyncConnection[Any], job_id: int) -> list[ItemResult]:
    """All items of an awaited call, by number, those without a result too (`UNFINISHED`)."""
    results: list[ItemResult] = []
    values = {"job": job_id, "errors": None, "unfinished": True, "size": PAGE_PARTS}
    while True:
        after = results[-1].n if results else -1
        async with conn.cursor(binary=True) as cursor:
            await cursor.execute(_PAGE, values | {"after": after})
            rows = await cursor.fetchall()
        if not rows:
            return results
        results.extend(_assemble(rows))


def _is_wanted(result: ItemResult, errors: bool | None, unfinished: bool) -> bool:
    if result.status == UNFINISHED and not unfinished:
        return False
    return errors is None or errors == (result.status != 200)


def _assemble(rows: Iterable[Row]) -> Iterator[ItemResult]:
    """Folds rows, one a part, into items. The rows of an item stand together, by position."""
    for _, parts in groupby(rows, key=itemgetter(0)):
        yield _item(list(parts))


def _item(rows: list[Row]) -> ItemResult:
    n, custom_id, body, parts = rows[0][:4]
    recorded = [(status, data) for *_, status, _, data in rows if status is not None and data is not None]
    item = ItemResult(n=n, custom_id=custom_id, body=body or b"", units=sum(row[5] or 0 for row in rows))
    failed = [row for row in recorded if row[0] != 200]
    if failed:
        item.status, item.parts = failed[0][0], [failed[0][1]]
    elif len(recorded) == parts:
        item.status, item.parts = 200, [data for _, data in recorded]
    return item
