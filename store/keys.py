"""API keys. Only a hash of a secret is kept; the secrets are long and random, so SHA-256 is enough."""

import hashlib
from dataclasses import dataclass
from typing import Any

from psycopg import AsyncConnection
from psycopg.rows import class_row


@dataclass(frozen=True, kw_only=True)
class KeyRow:
    """A key that may be used: whose it is, and what it may do."""

    id: int
    project_id: int
    name: str
    scopes: list[str]
    priority_cap: int
    requests_per_minute: int | None
    max_queued_items: int | None


_FIND = """
SELECT id, project_id, name, scopes, priority_cap, requests_per_minute, max_queued_items
FROM api_key WHERE hash = %s AND revoked_at IS NULL
"""
_ENSURE = """
INSERT INTO api_key (project_id, name, hash) SELECT id, %s, %s FROM project WHERE name = 'default'
ON CONFLICT (hash) DO NOTHING
"""


def hash_key(secret: str) -> bytes:
    """What is stored of a secret: its SHA-256, 32 bytes."""
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).digest()


async def find_by_secret(conn: AsyncConnection[Any], secret: str) -> KeyRow | None:
    """The key of this secret, unless it is revoked."""
    async with conn.cursor(row_factory=class_row(KeyRow)) as cursor:
        await cursor.execute(_FIND, (hash_key(secret),))
        return await cursor.fetchone()


async def any_key(conn: AsyncConnection[Any]) -> bool:
    """Whether there is a key that somebody could use. `anonymous` has no secret and does not count."""
    statement = "SELECT EXISTS (SELECT FROM api_key WHERE hash IS NOT NULL AND revoked_at IS NULL)"
    row = await (await conn.execute(statement)).fetchone()
    return row is not None and bool(row[0])


async def ensure(conn: AsyncConnection[Any], secret: str, name: str) -> None:
    """Makes sure that a key of this secret exists, in the default project. A revoked one stays revoked."""
    await conn.execute(_ENSURE, (name, hash_key(secret)))
