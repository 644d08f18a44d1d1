"""API keys and their projects. Only a hash of a secret is kept; the secrets are long and random, so SHA-256
is enough."""

import hashlib
import secrets
import string
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from psycopg import AsyncConnection
from psycopg.rows import class_row

from store.paging import fetch_page

SECRET_PREFIX = "by_"
SECRET_CHARACTERS = 40  # of 62: 238 random bits
HINT_CHARACTERS = 4
SHORTEST_HINTED = 20  # of a shorter secret, which somebody chose, four characters would give too much away


@dataclass(frozen=True, kw_only=True)
class KeyRow:
    """A key that may be used: whose it is, and what it may do. A limit that is None is none."""

    id: int
    project_id: int
    name: str
    scopes: list[str]
    priority_cap: int
    requests_per_minute: int | None
    max_queued_items: int | None


@dataclass(frozen=True, kw_only=True)
class NewKey:
    """A key to be made; so is its project, if none has that name."""

    name: str
    project: str
    scopes: Sequence[str]
    priority_cap: int = 100
    weight: float = 1.0
    requests_per_minute: int | None = None
    max_queued_items: int | None = None


@dataclass(frozen=True, kw_only=True)
class KeyEntry:
    """A key as it is listed: `hint` is the end of its secret, `project` a name."""

    public_id: str
    project: str
    name: str
    hint: str | None
    scopes: list[str]
    priority_cap: int
    weight: float
    requests_per_minute: int | None
    max_queued_items: int | None
    created_at: datetime
    revoked_at: datetime | None


_FIND = """
SELECT id, project_id, name, scopes, priority_cap, requests_per_minute, max_queued_items
FROM api_key WHERE hash = %s AND revoked_at IS NULL
"""
_ENSURE = """
INSERT INTO api_key (project_id, name, hash, hint) SELECT id, %s, %s, %s FROM project WHERE name = 'default'
ON CONFLICT (hash) DO NOTHING
"""
_ENTRY = """
    public_id, project.name AS project, key.name, hint, scopes, priority_cap, weight, requests_per_minute,
    max_queued_items, key.created_at, revoked_at
"""
# A project that is there already is only touched, so that its row comes back.
_CREATE = f"""
WITH project AS (
    INSERT INTO project (name) VALUES (%(project)s) ON CONFLICT (name) DO UPDATE SET name = excluded.name
    RETURNING id, name
), key AS (
    INSERT INTO api_key (project_id, name, hash, hint, scopes, priority_cap, weight, requests_per_minute,
                         max_queued_items)
    SELECT id, %(name)s, %(hash)s, %(hint)s, %(scopes)s, %(priority_cap)s, %(weight)s,
           %(requests_per_minute)s, %(max_queued_items)s
    FROM project RETURNING *
)
SELECT {_ENTRY} FROM key CROSS JOIN project
"""
# `anonymous` has no secret, and is no key that anybody was given.
_FIND_ENTRY = f"""
SELECT {_ENTRY} FROM api_key AS key JOIN project ON project.id = project_id
WHERE hash IS NOT NULL AND public_id = %(public_id)s
"""
_PAGE = f"""
SELECT {_ENTRY} FROM api_key AS key JOIN project ON project.id = project_id
WHERE hash IS NOT NULL AND (%(after)s::text IS NULL
                            OR key.id < (SELECT id FROM api_key WHERE public_id = %(after)s))
ORDER BY key.id DESC LIMIT %(rows)s
"""
_REVOKE = """
UPDATE api_key SET revoked_at = now() WHERE public_id = %s AND hash IS NOT NULL AND revoked_at IS NULL
"""


def new_secret() -> str:
    """`by_` and 40 letters and digits."""
    alphabet = string.ascii_letters + string.digits
    return SECRET_PREFIX + "".join(secrets.choice(alphabet) for _ in range(SECRET_CHARACTERS))


def hash_key(secret: str) -> bytes:
    """What is stored of a secret: its SHA-256, 32 bytes."""
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).digest()


async def find_by_secret(conn: AsyncConnection[Any], secret: str) -> KeyRow | None:
    """The key of this secret, unless it is revoked."""
    async with conn.cursor(row_factory=class_row(KeyRow)) as cursor:
        await cursor.execute(_FIND, (hash_key(secret),))
        return await cursor.fetchone()


async def any_key(conn: AsyncConnection[Any], scope: str | None = None) -> bool:
    """Whether there is a key (with this scope, if one is given) that somebody could use. `anonymous` has no
    secret and does not count."""
    statement = """SELECT EXISTS (SELECT FROM api_key WHERE hash IS NOT NULL AND revoked_at IS NULL
                                  AND (%(scope)s::text IS NULL OR %(scope)s = ANY (scopes)))"""
    row = await (await conn.execute(statement, {"scope": scope})).fetchone()
    return row is not None and bool(row[0])


async def ensure(conn: AsyncConnection[Any], secret: str, name: str) -> None:
    """Makes sure that a key of this secret exists, in the default project. A revoked one stays revoked."""
    await conn.execute(_ENSURE, (name, hash_key(secret), _hint(secret)))


async def create(conn: AsyncConnection[Any], key: NewKey, secret: str) -> KeyEntry:
    """Makes a key of a new secret, and its project if there is none of that name."""
    values = vars(key) | {"scopes": list(key.scopes), "hash": hash_key(secret), "hint": _hint(secret)}
    async with conn.cursor(row_factory=class_row(KeyEntry)) as cursor:
        await cursor.execute(_CREATE, values)
        row = await cursor.fetchone()
    assert row is not None
    return row


async def find(conn: AsyncConnection[Any], public_id: str) -> KeyEntry | None:
    """The key of a public id, of whatever project, also a revoked one."""
    async with conn.cursor(row_factory=class_row(KeyEntry)) as cursor:
        await cursor.execute(_FIND_ENTRY, {"public_id": public_id})
        return await cursor.fetchone()


async def page(conn: AsyncConnection[Any], after: str | None, limit: int) -> tuple[list[KeyEntry], bool]:
    """Up to `limit` keys of all projects, the newest first, after the one of public id `after`; and whether
    there are more."""
    return await fetch_page(conn, KeyEntry, _PAGE, {"after": after}, limit)


async def revoke(conn: AsyncConnection[Any], public_id: str) -> None:
    """Ends a key for good. Its jobs go on; a revoked one stays as it is."""
    await conn.execute(_REVOKE, (public_id,))


def _hint(secret: str) -> str | None:
    return secret[-HINT_CHARACTERS:] if len(secret) >= SHORTEST_HINTED and secret.isascii() else None
