"""Single calls: jobs of one item, inserted in one statement, joined by who asks again, left by who has gone.

`job.waiters` counts who waits for a call, over all API processes. It is only kept right while the job is
open: who has been answered does not count down.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from psycopg import AsyncConnection
from psycopg.rows import class_row

from store.attachments import NewAttachment
from store.items import NewItem, as_columns
from store.jobs import NEW_JOB, NewJob, insert, job_values, request_cancel
from store.states import JobState

# One round trip. Whoever waits for the answer also waits for this commit, so it does not wait for the disk
# unless something was promised: a crash of Postgres may forget an awaited call, and the caller's
# connection is gone with it.
_INSERT_CALL = f"""
WITH {NEW_JOB}, items AS (
    INSERT INTO item (job_id, n, custom_id, body, parts)
    SELECT job.id, new.* FROM job CROSS JOIN
        unnest(%(item_n)b::int[], %(custom_id)s::text[], %(body)b::bytea[], %(item_parts)b::int[]) AS new
), parts AS (
    INSERT INTO item_part (job_id, n, item_n, position, body)
    SELECT job.id, new.* FROM job CROSS JOIN
        unnest(%(part_n)b::int[], %(part_item_n)b::int[], %(part_position)b::int[], %(part_body)b::bytea[])
        AS new
), attachment AS (
    INSERT INTO attachment (job_id, blob, name, size_bytes)
    SELECT job.id, %(blob)s, %(name)s, %(size_bytes)s::bigint FROM job WHERE %(blob)s::text IS NOT NULL
)
SELECT id, CASE WHEN %(lasting)s THEN '' ELSE set_config('synchronous_commit', 'off', true) END FROM job
"""

_FIRST = """
SELECT id, suffix, fingerprint, ended_at IS NOT NULL AS ended FROM job"""
_BY_KEY = f"{_FIRST} WHERE key_id = %(key_id)s AND idempotency_key = %(idempotency_key)s"
# By the index of what is in flight. A job that is being cancelled is none to wait for.
_IN_FLIGHT = f"""{_FIRST}
WHERE key_id = %(key_id)s AND fingerprint = %(fingerprint)s AND ended_at IS NULL
  AND state <> 'cancelling' AND announced = %(announced)s
ORDER BY id LIMIT 1
"""
_JOIN = "UPDATE job SET waiters = waiters + 1 WHERE id = %s AND ended_at IS NULL AND state <> 'cancelling'"
_LEAVE = """
UPDATE job SET waiters = waiters - 1 WHERE id = %s AND ended_at IS NULL AND waiters > 0
RETURNING CASE WHEN waiters = 0 AND NOT announced AND idempotency_key IS NULL THEN family END
"""


NOTHING_ATTACHED = {"blob": None, "name": None, "size_bytes": None}


@dataclass(frozen=True, kw_only=True)
class FirstJob:
    """The job of a request that is sent again."""

    id: int
    suffix: str
    fingerprint: bytes | None
    ended: bool


async def insert_call(
    conn: AsyncConnection[Any],
    job: NewJob,
    items: Sequence[NewItem],
    *,
    attachment: NewAttachment | None = None,
    lasting: bool = True,
) -> int:
    """A job whose items are at hand, queued at once: its id. One statement, one round trip.

    `attachment` is what its first item is about. `lasting`: committed to disk. Raises `KeyTaken` when a job
    of the same API key has its `idempotency_key`.
    """
    columns = as_columns(items)
    parts = len(items) + len(columns["part_n"])
    values = job_values(job, state=JobState.QUEUED, items=len(items), parts=parts)
    attached = NOTHING_ATTACHED if attachment is None else vars(attachment)
    return await insert(conn, _INSERT_CALL, values | columns | attached | {"lasting": lasting})


async def find_by_key(conn: AsyncConnection[Any], key_id: int, idempotency_key: str) -> FirstJob | None:
    """The job that the API key submitted under this idempotency key, in whatever state."""
    return await _find(conn, _BY_KEY, {"key_id": key_id, "idempotency_key": idempotency_key})


async def find_in_flight(
    conn: AsyncConnection[Any], key_id: int, fingerprint: bytes, *, announced: bool
) -> FirstJob | None:
    """The oldest open job of an identical request of the API key, `announced` as this one will be."""
    values = {"key_id": key_id, "fingerprint": fingerprint, "announced": announced}
    return await _find(conn, _IN_FLIGHT, values)


async def join(conn: AsyncConnection[Any], job_id: int) -> bool:
    """One more waits for the job. False where it has ended or is being cancelled: nobody waits for that."""
    return (await conn.execute(_JOIN, (job_id,))).rowcount == 1


async def leave(conn: AsyncConnection[Any], job_id: int) -> str | None:
    """One less waits for the job. With the last one a plain awaited call is cancelled: its family, then.

    A job whose end is announced, or that has an idempotency key, goes on: somebody will hear of it, or ask
    for it. Between the count and the cancel nobody can join, since the row stays locked.
    """
    async with conn.transaction():
        row = await (await conn.execute(_LEAVE, (job_id,))).fetchone()
        family: str | None = row[0] if row is not None else None
        if family is not None:
            await request_cancel(conn, job_id)
    return family


async def _find(conn: AsyncConnection[Any], statement: str, values: dict[str, Any]) -> FirstJob | None:
    async with conn.cursor(row_factory=class_row(FirstJob)) as cursor:
        await cursor.execute(statement, values)
        return await cursor.fetchone()
