"""How the whole stands, for who operates it: what waits, what runs, what is held back and why, what is
missing. Counts over all projects; the cost is that of the open jobs (0.2 s for 100,000)."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from psycopg import AsyncConnection
from psycopg.rows import class_row

from store.deliveries import AT_WORK
from store.leadership import LEADS


@dataclass(frozen=True, kw_only=True)
class LaneRow:
    """One lane of a family. Waiting: a slot may claim it now. Held: paused, before its window or its time.

    `items_running` have a part that is claimed and not recorded yet. `oldest_seconds` is the age of the
    oldest job that waits for its first claim.
    """

    family: str
    lane: str
    items_waiting: int
    items_running: int
    items_held: int
    jobs_waiting: int
    jobs_running: int
    held_paused: int
    held_window: int
    held_not_before: int
    oldest_seconds: float | None


@dataclass(frozen=True, kw_only=True)
class PauseRow:
    """A model that is paused, since when, when the next of its jobs is tried, and how many wait."""

    model: str
    reason: str
    paused_at: datetime
    probe_at: datetime | None
    probes: int
    jobs: int


@dataclass(frozen=True, kw_only=True)
class Standing:
    """What must be there for work to be done: live slots, a dispatcher that leads, models that may run, and
    a deliverer where deliveries are due (`undelivered` by that alone)."""

    slots: int
    dispatcher: bool
    undelivered: bool
    paused: list[str]


_LANES = """
WITH open AS (
    SELECT family, lane, state, created_at, held,
           greatest(items - next_part + next_added, 0) AS untouched, next_part - done AS claimed, items
    FROM job JOIN job_progress ON job_id = id CROSS JOIN LATERAL (
        SELECT CASE
            WHEN EXISTS (SELECT FROM model_pause WHERE model_pause.model = job.model) THEN 'paused'
            WHEN NOT window_open THEN 'window'
            WHEN not_before > now() THEN 'not_before' END AS held
    ) AS why
    WHERE state IN ('queued', 'running') AND ended_at IS NULL
)
SELECT family, lane,
       coalesce(sum(untouched) FILTER (WHERE held IS NULL), 0)::bigint AS items_waiting,
       coalesce(sum(greatest(least(items - untouched, claimed), 0)), 0)::bigint AS items_running,
       coalesce(sum(untouched) FILTER (WHERE held IS NOT NULL), 0)::bigint AS items_held,
       count(*) FILTER (WHERE held IS NULL AND state = 'queued') AS jobs_waiting,
       count(*) FILTER (WHERE held IS NULL AND state = 'running') AS jobs_running,
       count(*) FILTER (WHERE held = 'paused') AS held_paused,
       count(*) FILTER (WHERE held = 'window') AS held_window,
       count(*) FILTER (WHERE held = 'not_before') AS held_not_before,
       extract(epoch FROM now() - min(created_at) FILTER (WHERE held IS NULL AND state = 'queued'))::float8
           AS oldest_seconds
FROM open GROUP BY family, lane ORDER BY family, lane
"""
_SLOTS = """
SELECT family, count(*) FROM slot CROSS JOIN unnest(families) AS family
WHERE lease_until >= now() GROUP BY family ORDER BY family
"""
_PAUSES = """
SELECT model_pause.model, reason, paused_at, probe_at, probes,
       (SELECT count(*) FROM job
        WHERE state IN ('queued', 'running') AND ended_at IS NULL AND job.model = model_pause.model) AS jobs
FROM model_pause ORDER BY model_pause.model
"""
_BETWEEN = """
SELECT count(*) FILTER (WHERE state = 'validating'), count(*) FILTER (WHERE state = 'finalizing')
FROM job WHERE state IN ('validating', 'finalizing') AND ended_at IS NULL
"""
_STANDING = f"""
SELECT (SELECT count(*) FROM slot WHERE lease_until >= now()) AS slots,
       EXISTS ({LEADS}) AS dispatcher,
       NOT {AT_WORK} AND EXISTS (SELECT FROM delivery WHERE state = 'pending' AND next_at < now())
           AS undelivered,
       ARRAY (SELECT model FROM model_pause ORDER BY model) AS paused
"""
_OWNED = "SELECT suffix FROM job WHERE project_id = %s AND suffix = ANY (%s)"


async def lanes(conn: AsyncConnection[Any]) -> list[LaneRow]:
    """The lanes that have open jobs, by family."""
    async with conn.cursor(row_factory=class_row(LaneRow)) as cursor:
        await cursor.execute(_LANES)
        return await cursor.fetchall()


async def slots_by_family(conn: AsyncConnection[Any]) -> dict[str, int]:
    """How many live slots serve each family; one slot may serve several."""
    return dict(await (await conn.execute(_SLOTS)).fetchall())


async def pauses(conn: AsyncConnection[Any]) -> list[PauseRow]:
    """The paused models, by name."""
    async with conn.cursor(row_factory=class_row(PauseRow)) as cursor:
        await cursor.execute(_PAUSES)
        return await cursor.fetchall()


async def between(conn: AsyncConnection[Any]) -> tuple[int, int]:
    """How many jobs are validating, and how many finalizing: they wait for the dispatcher, not for a slot."""
    row = await (await conn.execute(_BETWEEN)).fetchone()
    return (row[0], row[1]) if row is not None else (0, 0)


async def standing(conn: AsyncConnection[Any]) -> Standing:
    """What is there and what is not. Raises `NotMigrated` on an empty database (inside `db.borrow`)."""
    async with conn.cursor(row_factory=class_row(Standing)) as cursor:
        await cursor.execute(_STANDING)
        row = await cursor.fetchone()
    assert row is not None
    return row


async def owned(conn: AsyncConnection[Any], project_id: int, suffixes: list[str]) -> set[str]:
    """Those of the suffixes that are of jobs of a project."""
    return {row[0] for row in await (await conn.execute(_OWNED, (project_id, suffixes))).fetchall()}
