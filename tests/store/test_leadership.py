"""Leadership: one at a time, and nobody after the leader's connection is gone."""

from collections.abc import Callable
from typing import Any

import psycopg
import pytest

from store import leadership, migrate
from store.errors import DatabaseUnavailable

Conn = psycopg.Connection[Any]


def test_one_leads_until_its_connection_is_gone(conn: Conn, open_connection: Callable[[], Conn]) -> None:
    other = open_connection()
    assert not leadership.exists(other)
    assert leadership.take(conn)
    assert leadership.take(conn)
    assert not leadership.take(other)
    assert leadership.exists(other)
    leadership.keep(conn)

    other.execute("SELECT pg_terminate_backend(%s, 5000)", (conn.info.backend_pid,))
    with pytest.raises(DatabaseUnavailable):
        leadership.keep(conn)
    assert not leadership.exists(other)
    assert leadership.take(other)


def test_migrating_does_not_wait_for_the_leader(conn: Conn, database_url: str) -> None:
    assert leadership.take(conn)
    migrate.upgrade(database_url)
