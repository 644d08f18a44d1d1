"""How much is queued: what back-pressure goes by (`api/limits.py`)."""

from typing import Any

from psycopg import AsyncConnection

# Open jobs are found by their index (ix_job_open), and each looks up its counters: joined, the planner may
# read the counters of all ended jobs too. An item of several parts counts until its last one is recorded; of
# a job with such items the share of its parts that is recorded stands for that of its items, rounded up.
# What is being cancelled will not run. A job that is being validated has the items that its file has lines.
_QUEUED_ITEMS = """
SELECT key_id, sum(CASE WHEN parts = items THEN items - progress.done
                        ELSE ceil(items * (1 - progress.done / greatest(parts, 1)::float8)) END)::bigint
FROM job CROSS JOIN LATERAL (SELECT done FROM job_progress WHERE job_id = job.id LIMIT 1) AS progress
WHERE ended_at IS NULL AND state <> 'cancelling'
GROUP BY key_id
"""


async def queued_items(conn: AsyncConnection[Any]) -> dict[int, int]:
    """Items of open jobs that have no result yet, by the id of the API key that submitted them."""
    return dict(await (await conn.execute(_QUEUED_ITEMS)).fetchall())
