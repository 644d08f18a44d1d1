"""One page of a list: what every `page` of this folder ends with."""

from collections.abc import Mapping
from typing import Any, TypeVar

from psycopg import AsyncConnection
from psycopg.rows import class_row

Row = TypeVar("Row")


async def fetch_page(
    conn: AsyncConnection[Any], kind: type[Row], statement: str, values: Mapping[str, Any], limit: int
) -> tuple[list[Row], bool]:
    """Up to `limit` rows of a statement, as `kind`, and whether there are more.

    The statement ends with `LIMIT %(rows)s`, which is one more than `limit`.
    """
    async with conn.cursor(row_factory=class_row(kind)) as cursor:
        await cursor.execute(statement, {**values, "rows": limit + 1})
        rows = await cursor.fetchall()
    return rows[:limit], len(rows) > limit
