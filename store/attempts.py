"""Attempts of deliveries: claiming those that are due, recording how it went.

A deliverer leases what it attempts, fenced by a token. At most two deliveries of one receiver are leased at a
time: only the two that are due longest may be, whoever asks. So a receiver that is slow, however much waits
for it, delays no other. The clock is the database's.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from psycopg import AsyncConnection
from psycopg.rows import class_row

from store.ids import new_token
from store.states import DeliveryState

MOST_PER_RECEIVER = 2


@dataclass(frozen=True, kw_only=True)
class Claimed:
    """A delivery to attempt. `tries` counts the attempts before; `secrets` sign it, and are empty where the
    project has none yet. `enabled`: its endpoint still takes events."""

    id: int
    token: int
    project_id: int
    endpoint_id: str | None
    receiver: str
    url: str
    tries: int
    event_id: str
    type: str
    payload: str
    secrets: list[str]
    enabled: bool


@dataclass(frozen=True, kw_only=True)
class Attempted:
    """How an attempt went, and what follows: the state, and when it is still pending, the pause."""

    state: DeliveryState
    delay_seconds: float
    status_code: int | None
    latency_ms: int
    error: str | None


_FREE = "(lease_until IS NULL OR lease_until < now())"
# One step of the recursion per receiver that waits for anything: an index probe each.
_CLAIM = f"""
WITH RECURSIVE waiting AS (
    (SELECT receiver FROM delivery WHERE state = 'pending' ORDER BY receiver LIMIT 1)
    UNION ALL
    SELECT (SELECT delivery.receiver FROM delivery
            WHERE state = 'pending' AND delivery.receiver > waiting.receiver
            ORDER BY delivery.receiver LIMIT 1)
    FROM waiting WHERE waiting.receiver IS NOT NULL
), due AS (
    SELECT first.id FROM waiting CROSS JOIN LATERAL (
        SELECT id, next_at, lease_until FROM delivery
        WHERE state = 'pending' AND delivery.receiver = waiting.receiver AND next_at <= now()
        ORDER BY next_at, id LIMIT {MOST_PER_RECEIVER}
    ) AS first
    WHERE waiting.receiver <> ALL (%(quiet)s::text[]) AND {_FREE}
    ORDER BY next_at LIMIT %(room)s
), free AS (
    SELECT id FROM delivery WHERE id IN (SELECT id FROM due) AND state = 'pending' AND {_FREE}
    FOR UPDATE SKIP LOCKED
), claimed AS (
    UPDATE delivery
    SET lease_until = now() + make_interval(secs => %(lease)s::float8), token = %(token)s
    FROM free WHERE delivery.id = free.id
    RETURNING delivery.*
)
SELECT claimed.id, claimed.token, claimed.project_id, claimed.endpoint_id, claimed.receiver, claimed.tries,
       coalesce(endpoint.url, claimed.url) AS url, event.id AS event_id, event.type, event.payload,
       array_remove(CASE WHEN endpoint.id IS NULL
           THEN ARRAY[project.webhook_secret,
                      CASE WHEN project.old_secret_until > now() THEN project.old_secret END]
           ELSE ARRAY[endpoint.secret,
                      CASE WHEN endpoint.old_secret_until > now() THEN endpoint.old_secret END]
       END, NULL) AS secrets,
       coalesce(endpoint.enabled, true) AS enabled
FROM claimed
JOIN webhook_event AS event ON event.id = claimed.event_id
JOIN project ON project.id = claimed.project_id
LEFT JOIN webhook_endpoint AS endpoint ON endpoint.id = claimed.endpoint_id
"""
# The endpoint's row is written only when its health changes: attempts at one endpoint do not queue for it.
_RECORD = """
WITH recorded AS (
    UPDATE delivery
    SET state = %(state)s, tries = tries + 1, lease_until = NULL, token = NULL,
        next_at = now() + make_interval(secs => %(delay)s::float8),
        status_code = %(status)s, latency_ms = %(latency)s, error = %(error)s,
        ended_at = CASE WHEN %(state)s <> 'pending' THEN now() END
    WHERE id = %(id)s AND token = %(token)s AND state = 'pending'
    RETURNING id, endpoint_id
), attempt AS (
    INSERT INTO delivery_attempt (delivery_id, status_code, latency_ms, error)
    SELECT id, %(status)s, %(latency)s, %(error)s FROM recorded
), health AS (
    UPDATE webhook_endpoint SET failing_since = CASE WHEN %(failed)s THEN now() END
    FROM recorded
    WHERE webhook_endpoint.id = recorded.endpoint_id AND (failing_since IS NULL) = %(failed)s
)
SELECT coalesce(extract(epoch FROM now() - failing_since)::float8, 0.0) AS failing_seconds
FROM recorded LEFT JOIN webhook_endpoint ON webhook_endpoint.id = recorded.endpoint_id
"""
_RELEASE = """
UPDATE delivery SET lease_until = NULL, token = NULL WHERE id = ANY (%s) AND token = ANY (%s)
"""
_CLOSE = """
UPDATE delivery SET state = 'disabled', ended_at = now(), lease_until = NULL, token = NULL
WHERE id = %s AND token = %s AND state = 'pending'
"""


async def claim(
    conn: AsyncConnection[Any], *, room: int, lease_seconds: float, quiet: Sequence[str] = ()
) -> list[Claimed]:
    """Leases up to `room` deliveries that are due, none of the receivers in `quiet`."""
    values = {"room": room, "lease": lease_seconds, "quiet": list(quiet), "token": new_token()}
    async with conn.cursor(row_factory=class_row(Claimed)) as cursor:
        await cursor.execute(_CLAIM, values)
        return await cursor.fetchall()


async def record(conn: AsyncConnection[Any], claimed: Claimed, attempted: Attempted) -> float | None:
    """Writes down an attempt, if the delivery is still its holder's; else returns None.

    Returns for how many seconds every attempt at the delivery's endpoint had failed before this one.
    """
    values = {
        "id": claimed.id,
        "token": claimed.token,
        "state": attempted.state.value,
        "delay": attempted.delay_seconds,
        "status": attempted.status_code,
        "latency": attempted.latency_ms,
        "error": attempted.error,
        "failed": attempted.state is not DeliveryState.DELIVERED,
    }
    row = await (await conn.execute(_RECORD, values)).fetchone()
    return None if row is None else float(row[0])


async def close(conn: AsyncConnection[Any], claimed: Claimed) -> None:
    """Ends a delivery that an endpoint no longer takes, without an attempt."""
    await conn.execute(_CLOSE, (claimed.id, claimed.token))


async def release(conn: AsyncConnection[Any], claimed: Sequence[Claimed]) -> None:
    """Gives back what was not attempted to its end: others may attempt it at once."""
    await conn.execute(_RELEASE, ([held.id for held in claimed], [held.token for held in claimed]))
