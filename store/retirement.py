"""Jobs that a caller deletes. What they used is kept (`store/usage.py`); what retention deletes is
`store/lifecycle.py`."""

from typing import Any

from psycopg import AsyncConnection

from store.usage import ROLLED_UP, roll_up

_DELETE = f"""
WITH gone AS (
    DELETE FROM job WHERE id = %(job)s AND project_id = %(project)s AND ended_at IS NOT NULL
    RETURNING {ROLLED_UP}
), {roll_up("gone")}
SELECT FROM gone
"""


async def delete_job(conn: AsyncConnection[Any], job_id: int, project_id: int) -> bool:
    """Deletes a job of this project with all that hangs on it, output files too; its input file stays.

    False where it has not ended, or is not there.
    """
    return (await conn.execute(_DELETE, {"job": job_id, "project": project_id})).rowcount == 1
