"""Deliveries as their owner sees them: lists, attempts, replay; and their retention.

What a deliverer does with them is `store/attempts.py`.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from psycopg import AsyncConnection, Connection
from psycopg.rows import class_row

from store.db import map_errors
from store.paging import fetch_page
from store.states import DeliveryState

DELIVERER = "batchyard deliverer"  # how its connections are named in pg_stat_activity
DELETE_AT_ONCE = 1000


@dataclass(frozen=True, kw_only=True)
class DeliveryRow:
    """One event for one receiver. `about` is the id that the event tells (`batch_…`); status, latency and
    error are those of the last attempt. `enabled`: its receiver takes events."""

    id: int
    event_id: str
    type: str
    about: str
    endpoint_id: str | None
    url: str
    enabled: bool
    state: DeliveryState
    tries: int
    next_at: datetime
    status_code: int | None
    latency_ms: int | None
    error: str | None
    created_at: datetime
    ended_at: datetime | None


@dataclass(frozen=True, kw_only=True)
class AttemptRow:
    """One attempt; `status_code` is None where no answer came."""

    status_code: int | None
    latency_ms: int
    error: str | None
    attempted_at: datetime


_DELIVERY = """
SELECT delivery.id, event_id, event.type, event.payload::json #>> '{data,id}' AS about, endpoint_id,
       coalesce(endpoint.url, delivery.url) AS url, coalesce(endpoint.enabled, true) AS enabled, state, tries,
       next_at, status_code, latency_ms, error, delivery.created_at, ended_at
FROM delivery
JOIN webhook_event AS event ON event.id = event_id
LEFT JOIN webhook_endpoint AS endpoint ON endpoint.id = endpoint_id
"""
_FILTERS = {
    "endpoint": "endpoint_id = %(endpoint)s",
    "state": "state = %(state)s",
    "job": "event.job_id = (SELECT id FROM job WHERE suffix = %(job)s AND project_id = %(project)s)",
    "after": "delivery.id < %(after)s",
}
_ATTEMPTS = """
SELECT status_code, latency_ms, error, attempted_at FROM delivery_attempt WHERE delivery_id = %s ORDER BY id
"""
_AGAIN = "SET state = 'pending', tries = 0, next_at = now(), ended_at = NULL"
_REPLAY = f"UPDATE delivery {_AGAIN} WHERE id = %s AND project_id = %s"
# Those that wait for another attempt have failed too. One that is being attempted may yet arrive.
_REPLAY_FAILED = f"""
UPDATE delivery {_AGAIN}
WHERE endpoint_id = %s AND (lease_until IS NULL OR lease_until < now())
  AND (state IN ('exhausted', 'disabled') OR state = 'pending' AND tries > 0)
"""
# Events that are past what retention keeps: %s seconds. One that is still to be delivered stays.
IS_PAST = """
(event.created_at < now() - make_interval(secs => %s::float8) AND NOT EXISTS (
    SELECT FROM delivery WHERE event_id = event.id AND state = 'pending'))"""
_DELETE_OLD = f"""
DELETE FROM webhook_event WHERE id IN (
    SELECT id FROM webhook_event AS event WHERE {IS_PAST}
    ORDER BY created_at LIMIT %s FOR UPDATE SKIP LOCKED)
"""
# Whether a deliverer is connected to this database.
AT_WORK = f"""
EXISTS (SELECT FROM pg_stat_activity
        WHERE datname = current_database() AND application_name = '{DELIVERER}')"""


async def page(
    conn: AsyncConnection[Any],
    project_id: int,
    *,
    endpoint_id: str | None = None,
    state: str | None = None,
    job_suffix: str | None = None,
    after: int | None = None,
    limit: int,
) -> tuple[list[DeliveryRow], bool]:
    """Up to `limit` deliveries, newest first, before the delivery `after`, and whether there are more.

    A filter that is None filters nothing.
    """
    values = {"endpoint": endpoint_id, "state": state, "job": job_suffix, "after": after}
    chosen = [_FILTERS[name] for name, value in values.items() if value is not None]
    conditions = " AND ".join(["delivery.project_id = %(project)s", *chosen])
    statement = f"{_DELIVERY} WHERE {conditions} ORDER BY delivery.id DESC LIMIT %(rows)s"
    return await fetch_page(conn, DeliveryRow, statement, {**values, "project": project_id}, limit)


async def find(conn: AsyncConnection[Any], delivery_id: int, project_id: int) -> DeliveryRow | None:
    """The delivery, if it is this project's."""
    statement = f"{_DELIVERY} WHERE delivery.id = %s AND delivery.project_id = %s"
    async with conn.cursor(row_factory=class_row(DeliveryRow)) as cursor:
        await cursor.execute(statement, (delivery_id, project_id))
        return await cursor.fetchone()


async def attempts_of(conn: AsyncConnection[Any], delivery_id: int) -> list[AttemptRow]:
    """Its attempts, the first one first, those before a replay too."""
    async with conn.cursor(row_factory=class_row(AttemptRow)) as cursor:
        await cursor.execute(_ATTEMPTS, (delivery_id,))
        return await cursor.fetchall()


async def replay(conn: AsyncConnection[Any], delivery_id: int, project_id: int) -> None:
    """Attempt it anew, now, whatever became of it: the same event under the same id."""
    await conn.execute(_REPLAY, (delivery_id, project_id))


async def replay_failed(conn: AsyncConnection[Any], endpoint_id: str) -> int:
    """Attempt anew what has failed at this endpoint; returns how many deliveries that is."""
    return (await conn.execute(_REPLAY_FAILED, (endpoint_id,))).rowcount


@map_errors()
def delete_old(conn: Connection[Any], seconds: float) -> int:
    """Deletes events that are older than `seconds` and not pending, with their deliveries; at most
    `DELETE_AT_ONCE`. Returns how many."""
    return conn.execute(_DELETE_OLD, (seconds, DELETE_AT_ONCE)).rowcount


@map_errors()
def deliverer_exists(conn: Connection[Any]) -> bool:
    """Whether a deliverer is connected to this database."""
    row = conn.execute(f"SELECT {AT_WORK}").fetchone()
    return row is not None and bool(row[0])
