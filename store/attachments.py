"""Attachments: bytes that items are about and that are no uploaded files, each a blob with a row here.

The form of a single call is inserted with its job (`store/calls.py`) and copied to retries of it
(`store/retries.py`), which then share the blob; what a slot fetches from a URL is one item's.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from psycopg import Connection

from store.db import map_errors


@dataclass(frozen=True, kw_only=True)
class NewAttachment:
    """A blob that is complete; `name` is what the caller calls it."""

    blob: str
    name: str
    size_bytes: int


class NamedBlob(NamedTuple):
    blob: str
    name: str


# The job may have been deleted while its recording was fetched.
_INSERT = """
INSERT INTO attachment (job_id, item_n, blob, name, size_bytes, fetched)
SELECT job.id, %(item)s, %(blob)s, %(name)s, %(size_bytes)s::bigint, true
FROM (SELECT id FROM job WHERE id = %(job)s FOR KEY SHARE) AS job
"""
_FETCHED = """
SELECT DISTINCT ON (item_n) item_n, blob, name FROM attachment
WHERE job_id = %(job)s AND item_n = ANY (%(items)s) AND fetched ORDER BY item_n, id
"""

# What was fetched is needed until its item has all results: a retry fetches anew. A form can come only once:
# it is kept for a retry as long as one may be asked for. Of a call that was only awaited that is unlikely.
IS_PAST = """
(CASE WHEN attachment.job_id IS NULL THEN attachment.created_at < now() - interval '1 hour'
      WHEN attachment.fetched AND NOT EXISTS (
          SELECT FROM (
              SELECT attachment.item_n AS n
              UNION ALL
              SELECT n FROM item_part
              WHERE item_part.job_id = attachment.job_id AND item_part.item_n = attachment.item_n
          ) AS part
          WHERE NOT EXISTS (SELECT FROM result WHERE result.job_id = attachment.job_id AND result.n = part.n)
      ) THEN true
      ELSE EXISTS (
          SELECT FROM job JOIN job_progress ON job_progress.job_id = job.id
          WHERE job.id = attachment.job_id AND ended_at IS NOT NULL AND (
              fetched OR (state = 'completed' AND failed = 0)
              OR (view = 'call' AND NOT announced AND ended_at < now() - interval '1 hour')))
      END)"""
# One at a time, so that of two that delete the last rows of one blob one gives it. Rows are no obstacle.
_LOCK = "LOCK TABLE attachment IN SHARE UPDATE EXCLUSIVE MODE"
_SWEEP = f"""
WITH gone AS (
    DELETE FROM attachment WHERE id = ANY (ARRAY (
        SELECT id FROM attachment WHERE {IS_PAST} ORDER BY id LIMIT %s))
    RETURNING id, blob
)
SELECT DISTINCT blob FROM gone WHERE NOT EXISTS (
    SELECT FROM attachment AS other WHERE other.blob = gone.blob AND other.id <> ALL (SELECT id FROM gone))
"""
SWEEP_AT_ONCE = 1000


@map_errors()
def insert_fetched(conn: Connection[Any], job_id: int, item_n: int, attachment: NewAttachment) -> bool:
    """Keeps what was fetched for an item. False where its job is gone: the blob is the caller's to delete."""
    values = vars(attachment) | {"job": job_id, "item": item_n}
    return conn.execute(_INSERT, values).rowcount == 1


@map_errors()
def fetched(conn: Connection[Any], job_id: int, items: Sequence[int]) -> dict[int, NamedBlob]:
    """What has been fetched for these items of the job, by item number."""
    rows = conn.execute(_FETCHED, {"job": job_id, "items": list(items)}).fetchall()
    return {item_n: NamedBlob(blob, name) for item_n, blob, name in rows}


@map_errors()
def expired(conn: Connection[Any]) -> list[str]:
    """Deletes the rows of attachments that nothing needs any more: the blobs to delete next. Some at a
    time."""
    with conn.transaction():
        conn.execute(_LOCK)
        return [blob for (blob,) in conn.execute(_SWEEP, (SWEEP_AT_ONCE,)).fetchall()]
