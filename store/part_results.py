"""Results of the parts of a job of one item, as they come: for whoever reads a call while it is computed. Of
such a job parts are numbered by their position."""

from typing import Any

from psycopg import AsyncConnection

AT_ONCE = 32  # a part's result may be some 400 kB

_FROM = "SELECT n, status, data FROM result WHERE job_id = %s AND n >= %s ORDER BY n LIMIT %s"


async def from_part(conn: AsyncConnection[Any], job_id: int, first: int) -> list[bytes]:
    """The results of part `first` and of those that follow it without a gap; an error ends them."""
    found: list[bytes] = []
    async with conn.cursor(binary=True) as cursor:
        await cursor.execute(_FROM, (job_id, first, AT_ONCE))
        for n, status, data in await cursor.fetchall():
            if n != first + len(found) or status != 200:
                break
            found.append(data)
    return found
