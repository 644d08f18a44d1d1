"""Items as a caller sees them: each with its state, which is derived, and what became of it."""

from collections.abc import AsyncIterator, Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from psycopg import AsyncConnection
from psycopg.rows import class_row

from store.counts import LEFT_OVER, LIVE
from store.jobs import JobRow
from store.states import ItemState, JobState


@dataclass(kw_only=True)
class ItemRow:
    """An item of a job. `attempts`: how often a part of it has been claimed, at most; `strikes` counts its
    engines' crashes and hangs, `strike_reason` is that of the last. `error` is an encoded error."""

    n: int
    custom_id: str
    state: ItemState
    attempts: int
    strikes: int
    strike_reason: str | None
    units: int
    error: bytes | None

    def __post_init__(self) -> None:
        self.state = ItemState(self.state)


# First the states; then what only items need that are in one of those asked for. All is looked up item by
# item and part by part, as in `store/results.py`.
_PAGE = f"""
WITH {LIVE}, page AS (
    SELECT item.n, custom_id, parts, derived.state, units, failed
    FROM unnest(%(numbers)b::int[]) AS wanted (n)
    CROSS JOIN LATERAL (
        SELECT n, custom_id, parts FROM item WHERE job_id = %(job)s AND item.n = wanted.n LIMIT 1
    ) AS item
    CROSS JOIN LATERAL (
        SELECT count(status) AS done, coalesce(sum(units), 0) AS units,
               min(part.n) FILTER (WHERE status <> 200) AS failed,
               bool_or(status IS NULL AND EXISTS (
                   SELECT FROM live WHERE job_id = %(job)s AND part.n >= lo AND part.n < hi)) AS held
        FROM (
            SELECT item.n
            UNION ALL
            SELECT n FROM item_part WHERE item.parts > 1 AND job_id = %(job)s AND item_n = item.n
        ) AS part
        LEFT JOIN LATERAL (
            SELECT status, units FROM result WHERE job_id = %(job)s AND result.n = part.n LIMIT 1
        ) AS recorded ON true
    ) AS recorded
    CROSS JOIN LATERAL (
        SELECT CASE WHEN failed IS NOT NULL THEN 'errored' WHEN done = parts THEN 'succeeded'
                    WHEN %(left_over)s::text IS NOT NULL THEN %(left_over)s
                    WHEN held OR done > 0 THEN 'running' ELSE 'pending' END AS state
    ) AS derived
    WHERE derived.state = ANY (%(states)s)
    ORDER BY item.n LIMIT %(rows)s
)
SELECT page.n, custom_id, state, attempts, strikes, strike_reason, units,
       (SELECT data FROM result WHERE job_id = %(job)s AND result.n = failed) AS error
FROM page CROSS JOIN LATERAL (
    SELECT coalesce(max(epoch), 0) AS attempts, coalesce(sum(count), 0) AS strikes,
           (array_agg(reason ORDER BY struck_at DESC) FILTER (WHERE reason IS NOT NULL))[1] AS strike_reason
    FROM (
        SELECT page.n
        UNION ALL
        SELECT n FROM item_part WHERE parts > 1 AND job_id = %(job)s AND item_n = page.n
    ) AS part
    LEFT JOIN LATERAL (
        SELECT epoch, hi FROM chunk WHERE job_id = %(job)s AND lo <= part.n ORDER BY lo DESC LIMIT 1
    ) AS claimed ON part.n < claimed.hi
    LEFT JOIN LATERAL (
        SELECT count, reason, struck_at FROM strike WHERE job_id = %(job)s AND strike.n = part.n LIMIT 1
    ) AS struck ON true
) AS history
ORDER BY page.n
"""
_ERRORED = """
SELECT DISTINCT coalesce((SELECT item_n FROM item_part WHERE job_id = %(job)s AND item_part.n = result.n),
                         result.n) AS n
FROM result WHERE job_id = %(job)s AND status <> 200 ORDER BY n
"""
_NUMBER = "SELECT n FROM item WHERE job_id = %s AND custom_id = %s"

AT_ONCE = 2000  # items whose states are derived per statement, while a page is sought


async def page(
    conn: AsyncConnection[Any],
    job: JobRow,
    *,
    after: int = -1,
    limit: int,
    states: Collection[ItemState] = tuple(ItemState),
) -> tuple[list[ItemRow], bool]:
    """Up to `limit` items from number `after` + 1 on, in these states, and whether there are more.

    Seeking a state that few items have goes through all items of the job (some 10 µs each), but for errors,
    which have an index.
    """
    wanted = _possible(job).intersection(states)
    rows: list[ItemRow] = []
    if wanted:
        async for numbers in _numbers(conn, job, wanted, after, limit + 1):
            rows += await _rows(conn, job, numbers, wanted, limit + 1 - len(rows))
            if len(rows) > limit:
                break
    return rows[:limit], len(rows) > limit


async def find(conn: AsyncConnection[Any], job: JobRow, custom_id: str) -> ItemRow | None:
    """The item of this custom_id."""
    found = await (await conn.execute(_NUMBER, (job.id, custom_id))).fetchone()
    rows = await _rows(conn, job, [found[0]], ItemState, 1) if found is not None else []
    return rows[0] if rows else None


def _possible(job: JobRow) -> set[ItemState]:
    """The states that items of such a job can be in."""
    recorded = {ItemState.SUCCEEDED, ItemState.ERRORED}
    if job.state in LEFT_OVER:
        return recorded | {LEFT_OVER[job.state]}
    return recorded if job.ended_at is not None else recorded | {ItemState.PENDING, ItemState.RUNNING}


async def _numbers(
    conn: AsyncConnection[Any], job: JobRow, wanted: Collection[ItemState], after: int, first: int
) -> AsyncIterator[list[int]]:
    """Numbers of items that may be in a state that is wanted, in order: `first` of them, then more."""
    if wanted == {ItemState.ERRORED} and job.state != JobState.FAILED:
        rows = await (await conn.execute(_ERRORED, {"job": job.id})).fetchall()
        errored = [n for (n,) in rows if n > after]
        for start in range(0, len(errored), first):
            yield errored[start : start + first]
        return
    start, size = after + 1, first
    while start < job.items:
        yield list(range(start, min(start + size, job.items)))
        start, size = start + size, AT_ONCE


async def _rows(
    conn: AsyncConnection[Any],
    job: JobRow,
    numbers: Sequence[int],
    states: Iterable[ItemState],
    most: int,
) -> list[ItemRow]:
    values = {
        "job": job.id,
        "left_over": LEFT_OVER.get(job.state),
        "numbers": list(numbers),
        "states": [str(state) for state in states],
        "rows": most,
    }
    async with conn.cursor(row_factory=class_row(ItemRow), binary=True) as cursor:
        await cursor.execute(_PAGE, values)
        return await cursor.fetchall()
