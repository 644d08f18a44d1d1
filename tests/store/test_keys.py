"""API keys: found by their secret while they are valid."""

import re
from collections.abc import Callable
from typing import Any

import psycopg

from store import keys
from store.keys import NewKey


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


def test_the_hint_of_a_secret_is_its_end_if_enough_of_it_stays_unsaid(
    conn: psycopg.Connection[Any], wait_for: Callable[..., Any]
) -> None:
    for secret in ("short-1234", "long-enough-to-hint-5678"):
        wait_for(keys.ensure, secret, secret)
    rows = conn.execute("SELECT name, hint FROM api_key WHERE hash IS NOT NULL ORDER BY id").fetchall()
    assert rows == [("short-1234", None), ("long-enough-to-hint-5678", "5678")]


def test_a_project_is_made_with_its_first_key(
    conn: psycopg.Connection[Any], wait_for: Callable[..., Any]
) -> None:
    for name, project in (("a", "search"), ("b", "search"), ("c", "default")):
        made = wait_for(keys.create, NewKey(name=name, project=project, scopes=["read"]), keys.new_secret())
        assert (made.name, made.project) == (name, project)
        assert wait_for(keys.find, made.public_id) == made
    assert conn.execute("SELECT name FROM project ORDER BY id").fetchall() == [("default",), ("search",)]


def test_secrets_are_of_one_form_and_all_different() -> None:
    made = {keys.new_secret() for _ in range(1_000)}
    assert len(made) == 1_000
    assert all(re.fullmatch("by_[A-Za-z0-9]{40}", secret) for secret in made)
