"""Who calls: API keys.

While no key exists and the service binds loopback, whoever reaches it may call; any other bind refuses to
start without a key. Answers are remembered for a few seconds, so that an awaited call costs no query.
"""

import time
from ipaddress import ip_address
from typing import Any

from psycopg import AsyncConnection
from psycopg_pool import AsyncConnectionPool

from api.errors import ApiError
from store import keys
from store.db import borrow
from store.keys import KeyRow
from tasks.submit import Caller

REMEMBER_SECONDS = 5.0  # how long a revoked key may still pass, and how soon the first key closes the door
MOST_REMEMBERED = 1024

ANYONE = Caller()


class KeyMissing(RuntimeError):
    """The service would be open to other machines: it must not start."""

    def __init__(self, host: str) -> None:
        super().__init__(
            f"binding {host} opens the service to other machines, and no API key exists; "
            "set BATCHYARD_API_KEY, or bind 127.0.0.1 and make one with 'batchyard keys create'"
        )


class Keys:
    """Resolves Authorization headers to callers."""

    def __init__(self, pool: AsyncConnectionPool, *, host: str) -> None:
        self._pool = pool
        self._host = host
        self._remembered: dict[str, tuple[Caller, float]] = {}
        self._changes = 0

    async def start(self, bootstrap: str | None) -> None:
        """Make sure of the key `bootstrap`. Raises `KeyMissing` when the bind needs a key and none exists."""
        async with borrow(self._pool) as conn:
            if bootstrap is not None:
                await keys.ensure(conn, bootstrap, "bootstrap")
            elif not is_loopback(self._host) and not await keys.any_key(conn):
                raise KeyMissing(self._host)

    async def caller(self, authorization: str | None) -> Caller:
        """Raises `ApiError` (invalid_api_key), `DatabaseUnavailable`."""
        secret = _bearer(authorization)
        caller, until = self._remembered.get(secret, (ANYONE, 0.0))
        return caller if until > time.monotonic() else await self._look_up(secret)

    def forget(self) -> None:
        """Keys have changed: look all of them up anew. Other API processes take `REMEMBER_SECONDS`."""
        self._remembered.clear()
        self._changes += 1

    async def is_open(self, conn: AsyncConnection[Any]) -> bool:
        """Whether calls need no key. Raises `DatabaseUnavailable`."""
        return is_loopback(self._host) and not await keys.any_key(conn)

    async def _look_up(self, secret: str) -> Caller:
        changes = self._changes
        async with borrow(self._pool) as conn:
            key = await keys.find_by_secret(conn, secret) if secret else None
            if key is None and not await self.is_open(conn):
                raise ApiError("invalid_api_key", _refusal(secret), headers={"www-authenticate": "Bearer"})
        caller = ANYONE if key is None else _caller_of(key)
        if changes == self._changes:  # else it may have been revoked since it was read
            self._remember(secret, caller)
        return caller

    def _remember(self, secret: str, caller: Caller) -> None:
        if len(self._remembered) >= MOST_REMEMBERED:
            self._remembered.clear()
        self._remembered[secret] = (caller, time.monotonic() + REMEMBER_SECONDS)


def is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _caller_of(key: KeyRow) -> Caller:
    return Caller(
        project_id=key.project_id,
        key_id=key.id,
        scopes=frozenset(key.scopes),
        priority_cap=key.priority_cap,
        requests_per_minute=key.requests_per_minute,
        max_queued_items=key.max_queued_items,
    )


def _bearer(authorization: str | None) -> str:
    kind, _, secret = (authorization or "").partition(" ")
    return secret.strip() if kind.lower() == "bearer" else ""


def _refusal(secret: str) -> str:
    if not secret:
        return "No API key: send it in the header 'Authorization: Bearer KEY'."
    return f"Incorrect API key: {secret[:3]}…{secret[-2:] if len(secret) >= 12 else ''}."
