"""Webhook endpoints (registered receivers) and the secrets that sign what is sent: an endpoint's own, and the
project's for the URLs that jobs name.

Secrets are `whsec_` and 32 random bytes in padded base64, as Standard Webhooks has them. After a rotation the
old one may sign beside the new one for a day.
"""

import base64
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, get_args

from psycopg import AsyncConnection
from psycopg.rows import class_row

from store.ids import new_endpoint_id
from store.paging import fetch_page

KEEP_OLD_SECRET_SECONDS = 24 * 3600

# In the order in which they are shown. `store/events.py` makes them of a job's view and its end.
EventType = Literal[
    "batch.completed",
    "batch.failed",
    "batch.expired",
    "batch.cancelled",
    "response.completed",
    "response.failed",
    "response.cancelled",
    "response.incomplete",
    "job.completed",
    "job.failed",
    "job.cancelled",
    "job.expired",
]
EVENT_TYPES: tuple[EventType, ...] = get_args(EventType)


@dataclass(frozen=True, kw_only=True)
class SigningSecret:
    """What signs. An old secret is given only while it counts."""

    secret: str
    old_secret: str | None
    old_secret_until: datetime | None

    @property
    def secrets(self) -> list[str]:
        """Those that sign now, the newest first."""
        return [self.secret, *([self.old_secret] if self.old_secret else [])]


@dataclass(frozen=True, kw_only=True)
class ProjectSecret(SigningSecret):
    """What signs events for the URLs that a project's jobs name."""


@dataclass(frozen=True, kw_only=True)
class EndpointRow(SigningSecret):
    """A registered receiver. `failing_since`: every attempt has failed since then."""

    id: str
    project_id: int
    name: str
    url: str
    event_types: list[str]
    enabled: bool
    disabled_reason: str | None
    failing_since: datetime | None
    created_at: datetime
    updated_at: datetime


# An old secret that no longer counts is not read.
_OLD = """
CASE WHEN old_secret_until > now() THEN old_secret END AS old_secret,
CASE WHEN old_secret_until > now() THEN old_secret_until END AS old_secret_until
"""
_ENDPOINT = f"""
id, project_id, name, url, event_types, secret, {_OLD}, enabled, disabled_reason, failing_since, created_at,
updated_at
"""
_INSERT = f"""
INSERT INTO webhook_endpoint (id, project_id, name, url, event_types, secret)
VALUES (%(id)s, %(project)s, %(name)s, %(url)s, %(event_types)s, %(secret)s)
RETURNING {_ENDPOINT}
"""
_PAGE = f"""
SELECT {_ENDPOINT} FROM webhook_endpoint
WHERE project_id = %(project)s AND (%(after)s::text IS NULL OR (created_at, id) < (
          SELECT created_at, id FROM webhook_endpoint WHERE id = %(after)s AND project_id = %(project)s))
ORDER BY created_at DESC, id DESC LIMIT %(rows)s
"""
_END_DELIVERIES = "UPDATE delivery SET state = 'disabled', ended_at = now(), lease_until = NULL, token = NULL"
# Nothing changes where nothing is new, not even `updated_at`. What is pending for an endpoint that its owner
# disables is pending no longer.
_UPDATE = f"""
WITH wanted AS (
    SELECT id, coalesce(%(name)s, name) AS name, coalesce(%(url)s, url) AS url,
           coalesce(%(event_types)s::text[], event_types) AS event_types,
           coalesce(%(enabled)s, enabled) AS enabled
    FROM webhook_endpoint WHERE id = %(id)s AND project_id = %(project)s
), changed AS (
    UPDATE webhook_endpoint AS had
    SET name = wanted.name, url = wanted.url, event_types = wanted.event_types, enabled = wanted.enabled,
        disabled_reason = CASE WHEN wanted.enabled THEN NULL
                               ELSE coalesce(had.disabled_reason, 'disabled by its owner') END,
        failing_since = CASE WHEN wanted.enabled AND NOT had.enabled THEN NULL ELSE had.failing_since END,
        updated_at = now()
    FROM wanted
    WHERE had.id = wanted.id AND (had.name, had.url, had.event_types, had.enabled)
          IS DISTINCT FROM (wanted.name, wanted.url, wanted.event_types, wanted.enabled)
)
{_END_DELIVERIES} FROM wanted
WHERE NOT wanted.enabled AND delivery.endpoint_id = wanted.id AND delivery.state = 'pending'
"""
_DISABLE = f"""
WITH disabled AS (
    UPDATE webhook_endpoint SET enabled = false, disabled_reason = %(reason)s, updated_at = now()
    WHERE id = %(id)s AND enabled RETURNING id
)
{_END_DELIVERIES} FROM disabled WHERE delivery.endpoint_id = disabled.id AND delivery.state = 'pending'
"""
_ROTATE = f"""
UPDATE webhook_endpoint
SET secret = %(secret)s, old_secret = CASE WHEN %(keep)s::float8 > 0 THEN secret END,
    old_secret_until = now() + make_interval(secs => %(keep)s::float8), updated_at = now()
WHERE id = %(id)s AND project_id = %(project)s
RETURNING {_ENDPOINT}
"""
_PROJECT_SECRET = f"SELECT webhook_secret AS secret, {_OLD} FROM project WHERE id = %(project)s"
_MAKE_PROJECT_SECRET = """
UPDATE project SET webhook_secret = %(secret)s WHERE id = %(project)s AND webhook_secret IS NULL
"""
_ROTATE_PROJECT = """
UPDATE project
SET webhook_secret = %(secret)s, old_secret = CASE WHEN %(keep)s::float8 > 0 THEN webhook_secret END,
    old_secret_until = now() + make_interval(secs => %(keep)s::float8)
WHERE id = %(project)s
"""


def new_secret() -> str:
    return "whsec_" + base64.b64encode(secrets.token_bytes(32)).decode()


async def insert(
    conn: AsyncConnection[Any], project_id: int, *, name: str, url: str, event_types: Sequence[str]
) -> EndpointRow:
    """A new endpoint, enabled, with a secret of its own."""
    values = {"id": new_endpoint_id(), "project": project_id, "name": name, "url": url}
    row = await _one(conn, _INSERT, values | {"event_types": list(event_types), "secret": new_secret()})
    assert row is not None
    return row


async def find(conn: AsyncConnection[Any], endpoint_id: str, project_id: int) -> EndpointRow | None:
    """The endpoint, if it is this project's."""
    statement = f"SELECT {_ENDPOINT} FROM webhook_endpoint WHERE id = %(id)s AND project_id = %(project)s"
    return await _one(conn, statement, {"id": endpoint_id, "project": project_id})


async def page(
    conn: AsyncConnection[Any], project_id: int, *, after: str | None, limit: int
) -> tuple[list[EndpointRow], bool]:
    """Up to `limit` endpoints, newest first, after the endpoint `after`, and whether there are more."""
    return await fetch_page(conn, EndpointRow, _PAGE, {"project": project_id, "after": after}, limit)


async def update(
    conn: AsyncConnection[Any],
    endpoint_id: str,
    project_id: int,
    *,
    name: str | None = None,
    url: str | None = None,
    event_types: Sequence[str] | None = None,
    enabled: bool | None = None,
) -> EndpointRow | None:
    """Changes what is given; None where there is no such endpoint of this project."""
    values = {"id": endpoint_id, "project": project_id, "name": name, "url": url, "enabled": enabled}
    await conn.execute(_UPDATE, values | {"event_types": list(event_types) if event_types else None})
    return await find(conn, endpoint_id, project_id)


async def disable(conn: AsyncConnection[Any], endpoint_id: str, reason: str) -> None:
    """Send nothing more to the endpoint; `reason` is a sentence for its owner."""
    await conn.execute(_DISABLE, {"id": endpoint_id, "reason": reason})


async def delete(conn: AsyncConnection[Any], endpoint_id: str, project_id: int) -> bool:
    """Deletes the endpoint and its deliveries; False where there is none of this project."""
    statement = "DELETE FROM webhook_endpoint WHERE id = %s AND project_id = %s"
    return (await conn.execute(statement, (endpoint_id, project_id))).rowcount > 0


async def rotate(
    conn: AsyncConnection[Any], endpoint_id: str, project_id: int, *, keep_old: bool
) -> EndpointRow | None:
    """A new secret; the old one signs beside it for 24 hours if it is kept. None where there is none."""
    keep = KEEP_OLD_SECRET_SECONDS if keep_old else 0
    values = {"id": endpoint_id, "project": project_id, "secret": new_secret(), "keep": keep}
    return await _one(conn, _ROTATE, values)


async def project_secret(conn: AsyncConnection[Any], project_id: int) -> ProjectSecret:
    """The project's secret, made now if it has none."""
    values = {"project": project_id, "secret": new_secret()}
    await conn.execute(_MAKE_PROJECT_SECRET, values)
    async with conn.cursor(row_factory=class_row(ProjectSecret)) as cursor:
        await cursor.execute(_PROJECT_SECRET, values)
        row = await cursor.fetchone()
    assert row is not None
    return row


async def rotate_project_secret(
    conn: AsyncConnection[Any], project_id: int, *, keep_old: bool
) -> ProjectSecret:
    """A new secret for the project; the old one signs beside it for 24 hours if it is kept."""
    keep = KEEP_OLD_SECRET_SECONDS if keep_old else 0
    await conn.execute(_ROTATE_PROJECT, {"project": project_id, "secret": new_secret(), "keep": keep})
    return await project_secret(conn, project_id)


async def _one(conn: AsyncConnection[Any], statement: str, values: dict[str, Any]) -> EndpointRow | None:
    async with conn.cursor(row_factory=class_row(EndpointRow)) as cursor:
        await cursor.execute(statement, values)
        return await cursor.fetchone()
