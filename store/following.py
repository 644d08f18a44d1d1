"""What those who follow a job ask again and again: how it stands, which items have ended, and whose the parts
are of which something was heard."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from psycopg import AsyncConnection
from psycopg.rows import class_row

from store import jobs
from store.counts import Counts, counts
from store.states import FINAL_JOB_STATES, ItemState, JobState


@dataclass(frozen=True, kw_only=True)
class Look:
    """How a job stands. `under_way`: units of unfinished parts, which the database does not know."""

    suffix: str
    endpoint: str
    state: JobState
    counts: Counts
    units: int
    foreseen: int
    under_way: int = 0

    @property
    def ended(self) -> bool:
        return self.state in FINAL_JOB_STATES


@dataclass(frozen=True, kw_only=True)
class PartItem:
    """The item that a part belongs to."""

    part: int
    n: int
    custom_id: str


@dataclass(frozen=True, kw_only=True)
class EndedItem:
    n: int
    custom_id: str
    state: ItemState


# Parts are looked up one by one, as in `store/results.py`. An item has ended with all its parts, or with
# one that failed.
_ENDED_ITEMS = """
WITH touched AS (
    SELECT DISTINCT coalesce(
        (SELECT item_n FROM item_part WHERE job_id = %(job)s AND item_part.n = recorded.n), recorded.n) AS n
    FROM unnest(%(parts)s::int[]) AS recorded (n)
)
SELECT item.n, custom_id, CASE WHEN failed > 0 THEN 'errored' ELSE 'succeeded' END AS state
FROM touched JOIN item ON item.job_id = %(job)s AND item.n = touched.n
CROSS JOIN LATERAL (
    SELECT count(status) AS done, count(*) FILTER (WHERE status <> 200) AS failed
    FROM (
        SELECT item.n
        UNION ALL
        SELECT n FROM item_part WHERE item.parts > 1 AND job_id = %(job)s AND item_n = item.n
    ) AS part
    LEFT JOIN LATERAL (
        SELECT status FROM result WHERE job_id = %(job)s AND result.n = part.n LIMIT 1
    ) AS recorded ON true
) AS counted
WHERE failed > 0 OR done = item.parts
ORDER BY item.n
"""
_ITEMS_OF_PARTS = """
SELECT heard.n AS part, item.n, custom_id FROM unnest(%(parts)s::int[]) AS heard (n)
JOIN item ON item.job_id = %(job)s AND item.n = coalesce(
    (SELECT item_n FROM item_part WHERE job_id = %(job)s AND item_part.n = heard.n), heard.n)
"""


async def look(conn: AsyncConnection[Any], job_id: int) -> Look | None:
    """How the job stands; None where it has been deleted."""
    job = await jobs.load(conn, job_id)
    if job is None:
        return None
    [counted] = await counts(conn, [job])
    return Look(
        suffix=job.suffix,
        endpoint=job.endpoint,
        state=job.state,
        counts=counted,
        units=job.units,
        foreseen=job.foreseen,
    )


async def ended_items(conn: AsyncConnection[Any], job_id: int, parts: Sequence[int]) -> list[EndedItem]:
    """Those items that have ended of which one of these parts is one, by number."""
    async with conn.cursor(row_factory=class_row(EndedItem)) as cursor:
        await cursor.execute(_ENDED_ITEMS, {"job": job_id, "parts": list(parts)})
        return await cursor.fetchall()


async def items_of(conn: AsyncConnection[Any], job_id: int, parts: Sequence[int]) -> list[PartItem]:
    """The item of each of these parts."""
    async with conn.cursor(row_factory=class_row(PartItem)) as cursor:
        await cursor.execute(_ITEMS_OF_PARTS, {"job": job_id, "parts": list(parts)})
        return await cursor.fetchall()
