"""Retries: a new job of what an ended one left undone, and its results beside those of the first."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from psycopg import AsyncConnection, Connection

from store.db import map_errors
from store.jobs import JobRow


@dataclass(frozen=True, kw_only=True)
class Retry:
    """How the new job differs from the one it repeats. `deadline_seconds` counts from now on."""

    suffix: str
    key_id: int
    family: str
    model: str
    cores: int
    priority: int
    deadline_seconds: float | None


# Whole items are repeated, with the parts that submitting cut; parts that computing added are cut again.
# Their forms are shared with the first job; what was fetched is fetched again.
# The first job is locked against being deleted meanwhile. Items get new numbers, custom_ids stay.
_INSERT = """
WITH first AS (
    SELECT * FROM job WHERE id = %(job)s AND ended_at IS NOT NULL FOR KEY SHARE
), outcome AS (
    SELECT coalesce(item_part.item_n, result.n) AS n, count(*) FILTER (WHERE status = 200) AS succeeded
    FROM first JOIN result ON result.job_id = first.id
    LEFT JOIN item_part ON item_part.job_id = result.job_id AND item_part.n = result.n GROUP BY 1
), again AS MATERIALIZED (
    SELECT item.n AS old, (row_number() OVER (ORDER BY item.n) - 1)::int AS n, custom_id, body
    FROM first JOIN item ON item.job_id = first.id LEFT JOIN outcome ON outcome.n = item.n
    WHERE coalesce(succeeded, 0) < item.parts
), part AS MATERIALIZED (
    SELECT again.n AS item_n, position, item_part.body,
           ((SELECT count(*) FROM again) + row_number() OVER (ORDER BY again.n, position) - 1)::int AS n
    FROM first JOIN item_part ON item_part.job_id = first.id AND NOT item_part.added
    JOIN again ON again.old = item_part.item_n
), size AS (
    SELECT (SELECT count(*) FROM again)::int AS items, (SELECT count(*) FROM part)::int AS more
), job AS (
    INSERT INTO job (suffix, view, project_id, key_id, endpoint, family, model, cores, lane, priority,
                     expected_seconds, streamed, completion_window, deadline, run_window, timezone,
                     window_open, output_expires_seconds, meta, retry_of, webhook_url, state, ready, items,
                     parts, note)
    SELECT %(suffix)s, CASE view WHEN 'batch' THEN 'batch' ELSE 'job' END, project_id, %(key_id)s, endpoint,
           %(family)s, %(model)s, %(cores)s, lane, %(priority)s, expected_seconds, streamed,
           completion_window, now() + make_interval(secs => %(deadline_seconds)s::float8),
           run_window, timezone, run_window IS NULL, output_expires_seconds, meta, id, webhook_url, 'queued',
           run_window IS NULL AND NOT EXISTS (SELECT FROM model_pause WHERE model_pause.model = %(model)s),
           size.items, size.items + size.more,
           'waits for its window ' || run_window || ' (' || timezone || ')'
    FROM first CROSS JOIN size WHERE size.items > 0
    RETURNING id
), progress AS (
    INSERT INTO job_progress (job_id) SELECT id FROM job
), items AS (
    INSERT INTO item (job_id, n, custom_id, body, parts)
    SELECT job.id, again.n, custom_id, body,
           1 + (SELECT count(*) FROM part WHERE part.item_n = again.n)
    FROM job CROSS JOIN again
), parts AS (
    INSERT INTO item_part (job_id, n, item_n, position, body)
    SELECT job.id, part.n, item_n, position, body FROM job CROSS JOIN part
), attachments AS (
    INSERT INTO attachment (job_id, item_n, blob, name, size_bytes)
    SELECT job.id, again.n, blob, name, size_bytes
    FROM job CROSS JOIN first CROSS JOIN again
    JOIN attachment ON attachment.job_id = first.id AND attachment.item_n = again.old AND NOT fetched
)
SELECT id FROM job
"""
# Retries of retries too, the latest first.
_RETRIES = """
WITH RECURSIVE again AS (
    SELECT id, suffix, ended_at FROM job WHERE retry_of = %(job)s
    UNION ALL
    SELECT job.id, job.suffix, job.ended_at FROM again JOIN job ON job.retry_of = again.id
)
SELECT id, suffix, ended_at IS NULL FROM again ORDER BY id DESC
"""
_FIND_ITEMS = """
SELECT wanted.custom_id, item.job_id, item.n
FROM unnest(%(custom_ids)s::text[]) AS wanted (custom_id) CROSS JOIN unnest(%(jobs)s::bigint[]) AS again (id)
CROSS JOIN LATERAL (
    SELECT job_id, n FROM item WHERE job_id = again.id AND custom_id = wanted.custom_id LIMIT 1
) AS item
ORDER BY item.job_id DESC
"""


class RetryJob(NamedTuple):
    """A retry, as whoever merges results needs it."""

    id: int
    suffix: str
    is_open: bool


async def insert(conn: AsyncConnection[Any], job: JobRow, retry: Retry) -> int | None:
    """Makes the job that repeats what `job`, which has ended, left undone: its id.

    None where nothing is left to repeat, or the job has been deleted meanwhile.
    """
    row = await (await conn.execute(_INSERT, vars(retry) | {"job": job.id})).fetchone()
    return row[0] if row is not None else None


@map_errors()
def retries_of(conn: Connection[Any], job_id: int) -> list[RetryJob]:
    """All retries of a job, and theirs, the latest first."""
    return [RetryJob(*row) for row in conn.execute(_RETRIES, {"job": job_id}).fetchall()]


@map_errors()
def find_items(
    conn: Connection[Any], retries: Sequence[RetryJob], custom_ids: Collection[str]
) -> dict[str, list[tuple[int, int]]]:
    """(job, number) of the items of these custom_ids in `retries`, the latest first."""
    values = {"jobs": [retry.id for retry in retries], "custom_ids": list(custom_ids)}
    found: dict[str, list[tuple[int, int]]] = {}
    for custom_id, job_id, n in conn.execute(_FIND_ITEMS, values).fetchall():
        found.setdefault(custom_id, []).append((job_id, n))
    return found
