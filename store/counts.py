"""How many items of a job are in which state. Counted from what is recorded and who holds what.

Of a job whose items have one part each (nearly all), the counters of `job_progress` say it, and only what
slots hold just now is looked up; others have their results counted.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

from psycopg import AsyncConnection

from store.jobs import JobRow
from store.states import ItemState, JobState

# What becomes of an item that has no result when its job ends in this state.
LEFT_OVER = {
    JobState.CANCELLED: ItemState.CANCELLED,
    JobState.EXPIRED: ItemState.EXPIRED,
    JobState.FAILED: ItemState.ERRORED,
}


@dataclass(frozen=True, kw_only=True)
class Counts:
    """Items of a job by state; they add up to `total`."""

    total: int
    pending: int = 0
    running: int = 0
    succeeded: int = 0
    errored: int = 0
    cancelled: int = 0
    expired: int = 0

    @classmethod
    def of(cls, job: JobRow, *, succeeded: int, errored: int, running: int) -> Self:
        """The counts of `job`, of which so many items have a result, an error, or are in work."""
        counted = {"succeeded": succeeded, "errored": errored}
        left = job.items - succeeded - errored
        end = LEFT_OVER.get(job.state)
        if end is None:
            counted["running"] = max(min(running, left), 0)
            counted["pending"] = left - counted["running"]
        else:
            counted[end] = counted.get(end, 0) + left
        return cls(total=job.items, **counted)


# Live chunks are few, whatever a job's size: they are found by their lease, not by their job.
LIVE = """
live AS MATERIALIZED (
    SELECT job_id, lo, hi FROM chunk WHERE state = 'running' AND lease_until >= now()
)"""
_COUNT_RUNNING = f"""
WITH {LIVE}
SELECT job_id, sum(hi - lo - (SELECT count(*) FROM result
                              WHERE result.job_id = live.job_id AND result.n >= lo AND result.n < hi))
FROM live WHERE job_id = ANY (%(jobs)s) GROUP BY job_id
"""
# Items with several parts are complete with all of them, and failed with one; those of which a part is held
# or recorded are in work.
_COUNT_ITEMS = f"""
WITH {LIVE}, part AS (
    SELECT n, status FROM result WHERE job_id = %(job)s
    UNION ALL
    SELECT n, NULL FROM live CROSS JOIN LATERAL generate_series(lo, hi - 1) AS n
    WHERE job_id = %(job)s
      AND NOT EXISTS (SELECT FROM result WHERE result.job_id = %(job)s AND result.n = n.n)
), touched AS (
    SELECT coalesce(item_part.item_n, part.n) AS n, count(status) AS done,
           count(*) FILTER (WHERE status <> 200) AS failed
    FROM part LEFT JOIN item_part ON item_part.job_id = %(job)s AND item_part.n = part.n GROUP BY 1
)
SELECT count(*) FILTER (WHERE failed = 0 AND done = parts), count(*) FILTER (WHERE failed > 0),
       count(*) FILTER (WHERE failed = 0 AND done < parts)
FROM touched JOIN item ON item.job_id = %(job)s AND item.n = touched.n
"""


async def counts(conn: AsyncConnection[Any], jobs: Sequence[JobRow]) -> list[Counts]:
    """The counts of each of `jobs`."""
    in_work = [job.id for job in jobs if job.ended_at is None]
    rows = await (await conn.execute(_COUNT_RUNNING, {"jobs": in_work})).fetchall() if in_work else []
    running = {job_id: int(parts) for job_id, parts in rows}
    return [await _counts_of(conn, job, running.get(job.id, 0)) for job in jobs]


async def _counts_of(conn: AsyncConnection[Any], job: JobRow, running: int) -> Counts:
    if job.parts == job.items:
        return Counts.of(job, succeeded=job.done - job.failed, errored=job.failed, running=running)
    row = await (await conn.execute(_COUNT_ITEMS, {"job": job.id})).fetchone()
    assert row is not None
    return Counts.of(job, succeeded=row[0], errored=row[1], running=row[2])
