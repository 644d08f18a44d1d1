"""Where a job stands: how many are claimed before it, how much work that is, how often it was claimed.

Jobs of one family and lane wait in one queue. Before a job are those of higher priority, and the older ones
of its own. Reading stops at `MOST_AHEAD` jobs: whoever is further back is told nothing rather than made to
wait for an answer that is worth little.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from psycopg import AsyncConnection

from store.jobs import JobRow

MOST_AHEAD = 10_000

# Walks the index of ready jobs from key to key, like a claim.
_CALLER = """
caller (key_id) AS (
    SELECT (SELECT min(key_id) FROM job
            WHERE ready AND next_part < parts AND family = %(family)s AND lane = %(lane)s)
    UNION ALL
    SELECT (SELECT min(key_id) FROM job
            WHERE ready AND next_part < parts AND family = %(family)s AND lane = %(lane)s
              AND key_id > caller.key_id)
    FROM caller WHERE key_id IS NOT NULL
)"""
_OF_CALLER = """
    SELECT id, key_id, model, parts - next_part AS parts, priority FROM job
    WHERE ready AND next_part < parts AND family = %(family)s AND lane = %(lane)s
      AND key_id = caller.key_id AND priority"""
# Two ranges of the index for each caller: an OR of both would be a filter over all its jobs.
_POSITION = f"""
WITH RECURSIVE {_CALLER}
SELECT count(*) FROM (
    SELECT FROM caller CROSS JOIN LATERAL (
        ({_OF_CALLER} > %(priority)s LIMIT %(most)s)
        UNION ALL
        ({_OF_CALLER} = %(priority)s AND id < %(job)s LIMIT %(most)s)
    ) AS ahead
    WHERE caller.key_id IS NOT NULL LIMIT %(most)s
) AS counted
"""
_ANY_ID = "9223372036854775807"  # beyond every id
# Those of other callers count whatever their age: callers of one priority take turns.
_WORK = f"""
WITH RECURSIVE {_CALLER}, ahead AS MATERIALIZED (
    SELECT first.* FROM caller CROSS JOIN LATERAL (
        ({_OF_CALLER} > %(priority)s LIMIT %(most)s)
        UNION ALL
        ({_OF_CALLER} = %(priority)s
         AND id < CASE WHEN caller.key_id = %(key)s THEN %(job)s ELSE {_ANY_ID} END LIMIT %(most)s)
    ) AS first
    WHERE caller.key_id IS NOT NULL LIMIT %(most)s
)
SELECT CASE WHEN priority = %(priority)s THEN key_id END, sum(parts * seconds), count(*),
       bool_or(seconds IS NULL)
FROM ahead LEFT JOIN model_pace USING (model) GROUP BY 1
"""
_PACE = """
SELECT (SELECT seconds FROM model_pace WHERE model = %(model)s), count(*) FROM slot
WHERE lease_until >= now() AND %(family)s = ANY (families)
  AND (SELECT count(*) FROM slot_core WHERE slot_id = slot.id) >= %(cores)s
"""
_STANDING = """
SELECT id, (SELECT suffix FROM job AS first WHERE first.id = job.retry_of),
       ARRAY (SELECT suffix FROM job AS again WHERE again.retry_of = job.id ORDER BY again.id),
       coalesce((SELECT max(epoch) FROM chunk WHERE job_id = job.id AND epoch > 1), least(next_part, 1))
FROM job WHERE id = ANY (%(jobs)s)
"""


@dataclass(frozen=True, kw_only=True)
class Standing:
    """`retry_of` and `retries` are suffixes. `attempts`: claims of the chunk that was claimed most often."""

    retry_of: str | None
    retries: tuple[str, ...]
    attempts: int


@dataclass(frozen=True, kw_only=True)
class Work:
    """What waits before and beside a job, in seconds of compute of one slot, as far as models are measured.

    `first`: of jobs with a higher priority; `own`: of the caller's own older ones of the same priority;
    `others`: of each other caller, at the same priority. `pace`: seconds per part of the job's own model.
    `slots` counts the live slots that could take the job.
    """

    first: float
    own: float
    others: tuple[float, ...]
    pace: float
    slots: int


UNKNOWN = Standing(retry_of=None, retries=(), attempts=0)  # of a job that is being deleted


async def standings(conn: AsyncConnection[Any], jobs: Sequence[JobRow]) -> dict[int, Standing]:
    """What is to be said of each job besides its row, by id."""
    rows = await (await conn.execute(_STANDING, {"jobs": [job.id for job in jobs]})).fetchall()
    return {
        job_id: Standing(retry_of=retry_of, retries=tuple(retries), attempts=attempts)
        for job_id, retry_of, retries, attempts in rows
    }


async def position(conn: AsyncConnection[Any], job: JobRow, *, most: int = MOST_AHEAD) -> int | None:
    """1 for a job that is next; None where it does not wait in a queue, or behind `most` jobs and more."""
    if job.state != "queued" or not job.ready:
        return None
    values = _queue_of(job) | {"priority": job.priority, "job": job.id, "most": most}
    row = await (await conn.execute(_POSITION, values)).fetchone()
    assert row is not None
    return row[0] + 1 if row[0] < most else None


async def work_ahead(conn: AsyncConnection[Any], job: JobRow, *, most: int = MOST_AHEAD) -> Work | None:
    """None where it cannot be told: no slot, a model that nobody has measured, or `most` jobs and more."""
    paces = {"model": job.model, "family": job.family, "cores": job.cores}
    row = await (await conn.execute(_PACE, paces)).fetchone()
    if row is None or row[0] is None or row[1] == 0:
        return None
    values = _queue_of(job) | {"priority": job.priority, "job": job.id, "key": job.key_id, "most": most}
    rows = await (await conn.execute(_WORK, values)).fetchall()
    if any(unmeasured for *_, unmeasured in rows) or sum(count for _, _, count, _ in rows) >= most:
        return None
    seconds = {key_id: float(total) for key_id, total, _, _ in rows}
    first, own = seconds.pop(None, 0.0), seconds.pop(job.key_id, 0.0)
    return Work(first=first, own=own, others=tuple(seconds.values()), pace=row[0], slots=row[1])


def _queue_of(job: JobRow) -> dict[str, str]:
    return {"family": job.family, "lane": job.lane}
