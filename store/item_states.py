"""Items as a caller sees them: each with its state, which is derived, and what became of it."""

from dataclasses import dataclass
from typing import Any

from psycopg import AsyncConnection
from psycopg.rows import class_row

from store.counts import LEFT_OVER
from store.jobs import JobRow
from store.states import ItemState


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


# First the states, for as many items as it takes to fill the page; then what only the page's items need.
# Results and chunks are looked up part by part, as in `store/results.py`.
_PAGE = """
WITH live AS MATERIALIZED (
    SELECT job_id, lo, hi FROM chunk WHERE state = 'running' AND lease_until >= now()
), page AS (
    SELECT item.n, custom_id, parts, derived.state, units, failed
    FROM item
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
    WHERE item.job_id = %(job)s AND item.n > %(after)s
      AND (%(custom_id)s::text IS NULL OR custom_id = %(custom_id)s)
      AND (%(states)s::text[] IS NULL OR derived.state = ANY (%(states)s))
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
# One item by its custom_id, which has an index of its own.
_ONE = _PAGE.replace(
    "(%(custom_id)s::text IS NULL OR custom_id = %(custom_id)s)", "item.custom_id = %(custom_id)s"
)


async def page(
    conn: AsyncConnection[Any],
    job: JobRow,
    *,
    after: int = -1,
    limit: int,
    states: list[ItemState] | None = None,
) -> tuple[list[ItemRow], bool]:
    """Up to `limit` items from number `after` + 1 on, in these states, and whether there are more."""
    wanted = None if states is None else [str(state) for state in states]
    rows = await _rows(conn, _PAGE, job, after=after, states=wanted, custom_id=None, rows=limit + 1)
    return rows[:limit], len(rows) > limit


async def find(conn: AsyncConnection[Any], job: JobRow, custom_id: str) -> ItemRow | None:
    """The item of this custom_id."""
    rows = await _rows(conn, _ONE, job, after=-1, states=None, custom_id=custom_id, rows=1)
    return rows[0] if rows else None


async def _rows(conn: AsyncConnection[Any], statement: str, job: JobRow, **values: Any) -> list[ItemRow]:
    values |= {"job": job.id, "left_over": LEFT_OVER.get(job.state)}
    async with conn.cursor(row_factory=class_row(ItemRow), binary=True) as cursor:
        await cursor.execute(statement, values)
        return await cursor.fetchall()
