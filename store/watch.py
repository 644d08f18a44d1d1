"""What those who hold or wait for jobs ask again and again: which have ended, which are not wanted,
which are to wait."""

from collections.abc import Sequence
from typing import Any

from psycopg import AsyncConnection, Connection

from store.db import map_errors

_ENDED = "SELECT id FROM job WHERE id = ANY (%s) AND ended_at IS NOT NULL"
# A job that is not there any more has been deleted, which is as good as cancelled.
_UNWANTED = """
SELECT held.id FROM unnest(%s::bigint[]) AS held (id) LEFT JOIN job USING (id)
WHERE job.state IS NULL OR job.state NOT IN ('running', 'finalizing')
"""
_HELD_BACK = "SELECT id FROM job WHERE id = ANY (%s) AND state = 'running' AND NOT ready"
_SET_NOTE = "UPDATE job SET note = %s WHERE id = ANY (%s) AND ended_at IS NULL"


async def ended(conn: AsyncConnection[Any], job_ids: Sequence[int]) -> list[int]:
    """Those of the jobs that have ended."""
    cursor = await conn.execute(_ENDED, (list(job_ids),))
    return [row[0] for row in await cursor.fetchall()]


@map_errors()
def unwanted(conn: Connection[Any], job_ids: Sequence[int]) -> list[int]:
    """Those of the jobs whose parts need not be computed any more."""
    return [row[0] for row in conn.execute(_UNWANTED, (list(job_ids),)).fetchall()]


@map_errors()
def held_back(conn: Connection[Any], job_ids: Sequence[int]) -> list[int]:
    """Those of the running jobs that must not be computed now: their window has closed, or their model is
    paused."""
    return [row[0] for row in conn.execute(_HELD_BACK, (list(job_ids),)).fetchall()]


@map_errors()
def set_note(conn: Connection[Any], job_ids: Sequence[int], note: str | None) -> None:
    """Say why jobs wait, in a sentence, or that they do not."""
    conn.execute(_SET_NOTE, (note, list(job_ids)))
