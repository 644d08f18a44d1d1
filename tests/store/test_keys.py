"""API keys: found by their secret while they are valid."""

from collections.abc import Callable
from typing import Any

import psycopg

from store import keys


def test_a_key_is_found_by_its_secret_until_it_is_revoked(
    conn: psycopg.Connection[Any], wait_for: Callable[..., Any]
) -> None:
    assert wait_for(keys.any_key) is False  # `anonymous` has no secret
    wait_for(keys.ensure, "a secret, ünïcode", "mine")
    assert wait_for(keys.any_key) is True
    key = wait_for(keys.find_by_secret, "a secret, ünïcode")
    assert (key.name, key.project_id, key.scopes) == ("mine", 1, ["submit", "read", "admin"])
    assert wait_for(keys.find_by_secret, "another") is None

    conn.execute("UPDATE api_key SET revoked_at = now() WHERE name = 'mine'")
    assert wait_for(keys.find_by_secret, "a secret, ünïcode") is None
    wait_for(keys.ensure, "a secret, ünïcode", "again")
    assert wait_for(keys.find_by_secret, "a secret, ünïcode") is None
    assert wait_for(keys.any_key) is False


def test_a_key_that_exists_is_not_made_again(
    conn: psycopg.Connection[Any], wait_for: Callable[..., Any]
) -> None:
    for _ in range(2):
        wait_for(keys.ensure, "secret", "mine")
    assert conn.execute("SELECT count(*) FROM api_key").fetchone() == (2,)


def test_the_secret_itself_is_nowhere(conn: psycopg.Connection[Any], wait_for: Callable[..., Any]) -> None:
    wait_for(keys.ensure, "very-secret", "mine")
    row = conn.execute("SELECT api_key::text FROM api_key WHERE name = 'mine'").fetchone()
    assert row is not None
    assert b"very-secret".hex() not in row[0]
    assert "very-secret" not in row[0]


def test_any_string_that_a_header_may_hold_can_be_looked_up(wait_for: Callable[..., Any]) -> None:
    for secret in ("", "\0", "\udcff", "x" * 10_000):
        assert wait_for(keys.find_by_secret, secret) is None
