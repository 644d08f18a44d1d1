"""What API keys have used: summed over the jobs that are there, and kept of those that have been deleted.

A job counts on the day (UTC) of its submission. Whoever deletes jobs adds what they used to the table
`usage` in the same statement (`roll_up`), so that a sum is the same before and after.

`units` are what an endpoint's work is measured in (`backends/types.py`): tokens, of audio milliseconds, of
images pictures.
"""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import date
from typing import Any, Literal

from psycopg import AsyncConnection
from psycopg.rows import class_row

Dimension = Literal["key", "day", "endpoint"]

# Items of several parts have a result with all of them, and an error with one. Only where some of a job's
# items may have neither, or several errors, do its results have to be read (`counted`, an array of both
# numbers): nearly never.
_COUNTED = """
CASE WHEN {job}.parts <> {job}.items AND {job}.items > 1 AND (done < {job}.parts OR failed > 0) THEN (
    SELECT ARRAY[count(*) FILTER (WHERE recorded.failed > 0 OR recorded.done = item.parts),
                 count(*) FILTER (WHERE recorded.failed > 0)]
    FROM (
        SELECT coalesce(item_part.item_n, result.n) AS n,
               count(*) AS done, count(*) FILTER (WHERE status <> 200) AS failed
        FROM result LEFT JOIN item_part USING (job_id, n) WHERE result.job_id = {job}.id GROUP BY 1
    ) AS recorded
    JOIN item ON item.job_id = {job}.id AND item.n = recorded.n
) END"""
_USED = f"""
SELECT key_id, day, endpoint, units, cpu_ms,
       CASE WHEN parts = items THEN done
            WHEN items = 1 THEN (failed > 0 OR done = parts)::int
            ELSE coalesce(counted[1], items) END AS items,
       CASE WHEN parts = items THEN failed
            WHEN items = 1 THEN (failed > 0)::int
            ELSE coalesce(counted[2], 0) END AS errors
FROM (
    SELECT key_id, (created_at AT TIME ZONE 'UTC')::date AS day, endpoint, items, parts, done, failed, units,
           cpu_ms, {_COUNTED} AS counted
    FROM {{job}} JOIN job_progress ON job_progress.job_id = {{job}}.id {{where}}
) AS one"""

# The columns of jobs that `roll_up` needs, for the RETURNING of a DELETE.
ROLLED_UP = "id, key_id, endpoint, items, parts, created_at"


def roll_up(gone: str) -> str:
    """A CTE `rolled_up` that keeps what the jobs used that the CTE `gone` deletes, returning `ROLLED_UP`."""
    return f"""
rolled_up AS (
    INSERT INTO usage (key_id, day, endpoint, items, errors, units, cpu_ms)
    SELECT key_id, day, endpoint, sum(items), sum(errors), sum(units), sum(cpu_ms)
    FROM ({_USED.format(job=gone, where="")}) AS used
    GROUP BY key_id, day, endpoint ORDER BY key_id, day, endpoint
    ON CONFLICT (key_id, day, endpoint) DO UPDATE SET
        items = usage.items + excluded.items, errors = usage.errors + excluded.errors,
        units = usage.units + excluded.units, cpu_ms = usage.cpu_ms + excluded.cpu_ms
)"""


@dataclass(frozen=True, kw_only=True)
class UsageRow:
    """What was used, of a key, day or endpoint where the sum is by these. `items` have a result or an error,
    `errors` among them."""

    key_id: str | None = None
    key_name: str | None = None
    project: str | None = None
    day: date | None = None
    endpoint: str | None = None
    items: int
    errors: int
    tokens: int
    audio_ms: int
    images: int
    cpu_ms: int


# What a row of the sum says of a dimension.
_COLUMNS: dict[Dimension, tuple[str, ...]] = {
    "key": ("public_id", "api_key.name", "project.name"),
    "day": ("day",),
    "endpoint": ("endpoint",),
}
_NAMES = {"public_id": "key_id", "api_key.name": "key_name", "project.name": "project"}
_SUMMED = """
WITH used AS (
    SELECT key_id, day, endpoint, sum(items) AS items, sum(errors) AS errors, sum(units) AS units,
           sum(cpu_ms) AS cpu_ms
    FROM (
        {used}
        UNION ALL
        SELECT key_id, day, endpoint, units, cpu_ms, items, errors FROM usage
        WHERE day BETWEEN %(start)s AND %(end)s
    ) AS one {of_key}
    GROUP BY key_id, day, endpoint
)
SELECT {named} coalesce(sum(items), 0)::bigint AS items, coalesce(sum(errors), 0)::bigint AS errors,
       coalesce(sum(units) FILTER (WHERE NOT starts_with(endpoint, '/v1/audio/')
                                   AND NOT starts_with(endpoint, '/v1/images/')), 0)::bigint AS tokens,
       coalesce(sum(units) FILTER (WHERE starts_with(endpoint, '/v1/audio/')), 0)::bigint AS audio_ms,
       coalesce(sum(units) FILTER (WHERE starts_with(endpoint, '/v1/images/')), 0)::bigint AS images,
       coalesce(sum(cpu_ms), 0)::bigint AS cpu_ms
FROM used JOIN api_key ON api_key.id = key_id JOIN project ON project.id = project_id
{of_project} {grouped}
"""
_KEY = "SELECT id FROM api_key WHERE public_id = %s AND (%s::bigint IS NULL OR project_id = %s)"


async def find_key(conn: AsyncConnection[Any], public_id: str, project_id: int | None) -> int | None:
    """The id of a key by its public one; revoked keys and `anonymous` are found too."""
    row = await (await conn.execute(_KEY, (public_id, project_id, project_id))).fetchone()
    return None if row is None else int(row[0])


async def summed(
    conn: AsyncConnection[Any],
    *,
    start: date,
    end: date,
    project_id: int | None,
    key_id: int | None,
    by: Collection[Dimension],
) -> list[UsageRow]:
    """Sums over the jobs submitted from the day `start` to the day `end`, both included, a row for each
    combination of the dimensions in `by`. None for `project_id` is every project, for `key_id` every key.

    Reads each job of the project: two seconds for a million.
    """
    conditions = ["WHERE created_at >= %(start)s::date AND created_at < %(end)s::date + 1"]
    if project_id is not None:
        conditions.append("project_id = %(project)s")
    columns = [column for dimension in _COLUMNS if dimension in by for column in _COLUMNS[dimension]]
    grouped = ", ".join(columns)
    statement = _SUMMED.format(
        used=_USED.format(job="job", where=" AND ".join(conditions)),
        of_key="" if key_id is None else "WHERE key_id = %(key)s",
        of_project="" if project_id is None else "WHERE project_id = %(project)s",
        named="".join(f"{column} AS {_NAMES.get(column, column)}, " for column in columns),
        grouped=f"GROUP BY {grouped} ORDER BY {grouped}" if columns else "",
    )
    values = {"start": start, "end": end, "project": project_id, "key": key_id}
    async with conn.cursor(row_factory=class_row(UsageRow)) as cursor:
        await cursor.execute(statement, values)
        return await cursor.fetchall()
