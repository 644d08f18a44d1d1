"""Keys: open on loopback until there is one, closed everywhere else."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import psycopg
import pytest

from api import auth
from api.auth import KeyMissing, Keys, is_loopback
from api.errors import ApiError
from store import keys
from store.db import borrow, open_pool
from store.keys import NewKey
from tasks.submit import Caller

SECRET = "sk-a-secret-of-some-length"


def with_keys(url: str, use: Callable[[Keys, Any], Awaitable[Any]], host: str = "127.0.0.1") -> Any:
    """Run `use(keys, pool)` with keys over the database at `url`."""

    async def run() -> Any:
        async with open_pool(url, name="test") as pool:
            return await use(Keys(pool, host=host), pool)

    return asyncio.run(run())


def test_without_a_key_anyone_on_loopback_may_call(database_url: str) -> None:
    async def use(door: Keys, pool: Any) -> None:
        await door.start(None)
        for header in (None, "", "Bearer ", "Bearer anything", "Basic dXNlcg=="):
            assert await door.caller(header) == Caller(project_id=1, key_id=1)

    with_keys(database_url, use)


def test_any_other_bind_refuses_to_start_without_a_key(database_url: str) -> None:
    for host in ("0.0.0.0", "::", "192.0.2.7", "example.com"):
        with pytest.raises(KeyMissing, match="BATCHYARD_API_KEY"):
            with_keys(database_url, lambda door, pool: door.start(None), host=host)


def test_the_bootstrap_key_opens_any_bind_and_is_then_the_only_way_in(database_url: str) -> None:
    async def use(door: Keys, pool: Any) -> None:
        await door.start(SECRET)
        await door.start(SECRET)  # a restart makes no second one
        assert (await door.caller(f"bearer  {SECRET} ")).key_id > 1
        for header in (None, "Bearer wrong", SECRET, f"Bearer {SECRET}x"):
            with pytest.raises(ApiError) as caught:
                await door.caller(header)
            assert caught.value.code == "invalid_api_key"
            assert SECRET not in caught.value.message

    with_keys(database_url, use, host="0.0.0.0")


def test_a_key_closes_loopback_too(database_url: str) -> None:
    async def use(door: Keys, pool: Any) -> None:
        await door.start(SECRET)
        with pytest.raises(ApiError):
            await door.caller(None)

    with_keys(database_url, use)


def test_a_revoked_key_stops_working_after_a_moment(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(auth, "REMEMBER_SECONDS", 0.0)

    async def use(door: Keys, pool: Any) -> None:
        await door.start(SECRET)
        await door.caller(f"Bearer {SECRET}")
        async with borrow(pool) as conn:
            await keys.ensure(conn, "another-secret", "another")
        with psycopg.connect(database_url, autocommit=True) as conn:
            conn.execute("UPDATE api_key SET revoked_at = now() WHERE name = 'bootstrap'")
        with pytest.raises(ApiError):
            await door.caller(f"Bearer {SECRET}")

    with_keys(database_url, use)


def test_a_key_made_elsewhere_counts_at_once_where_anybody_may_still_call(database_url: str) -> None:
    async def use(door: Keys, pool: Any) -> None:
        for header in (None, "Bearer any"):
            assert await door.caller(header) == Caller()
        async with borrow(pool) as conn:
            made = await keys.create(conn, NewKey(name="new", project="search", scopes=["read"]), SECRET)
        caller = await door.caller(f"Bearer {SECRET}")  # and is nobody else's for a moment
        assert caller.project_id > 1
        assert caller.scopes == {"read"}
        assert made.project == "search"

    with_keys(database_url, use)


def test_a_key_that_is_revoked_while_it_is_looked_up_is_not_remembered(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def use(door: Keys, pool: Any) -> None:
        await door.start(SECRET)
        find = keys.find_by_secret

        async def find_and_revoke(conn: Any, secret: str) -> Any:
            found = await find(conn, secret)
            await conn.execute("UPDATE api_key SET revoked_at = now()")
            door.forget()
            return found

        monkeypatch.setattr(keys, "find_by_secret", find_and_revoke)
        await door.caller(f"Bearer {SECRET}")
        monkeypatch.setattr(keys, "find_by_secret", find)
        async with borrow(pool) as conn:
            await keys.ensure(conn, "another-secret", "another")  # the door stays closed
        with pytest.raises(ApiError):
            await door.caller(f"Bearer {SECRET}")

    with_keys(database_url, use)


def test_a_caller_is_what_its_key_says(database_url: str) -> None:
    async def use(door: Keys, pool: Any) -> None:
        wanted = NewKey(
            name="new", project="default", scopes=["submit", "admin"], priority_cap=-5, weight=2,
            requests_per_minute=7, max_queued_items=8,
        )  # fmt: skip
        async with borrow(pool) as conn:
            await keys.create(conn, wanted, SECRET)
        assert await door.caller(f"Bearer {SECRET}") == Caller(
            key_id=2, scopes=frozenset({"submit", "admin"}), priority_cap=-5, requests_per_minute=7,
            max_queued_items=8,
        )  # fmt: skip

    with_keys(database_url, use)


def test_a_known_key_costs_no_second_query(database_url: str) -> None:
    async def use(door: Keys, pool: Any) -> None:
        await door.start(SECRET)
        first = await door.caller(f"Bearer {SECRET}")
        await pool.close()  # nothing can be asked any more
        assert await door.caller(f"Bearer {SECRET}") == first

    with_keys(database_url, use)


@pytest.mark.parametrize(
    ("host", "closed"),
    [
        ("127.0.0.1", True),
        ("127.9.9.9", True),
        ("::1", True),
        ("localhost", True),
        ("0.0.0.0", False),
        ("::", False),
        ("localhost.example.com", False),
    ],
)
def test_loopback_is_known(host: str, closed: bool) -> None:
    assert is_loopback(host) is closed
