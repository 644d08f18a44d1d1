"""Connections: settings of a session, and errors that say 'not now'."""

import asyncio
from collections.abc import Callable
from typing import Any

import psycopg
import pytest

from store import db, ids
from store.errors import DatabaseUnavailable, NotMigrated

Conn = psycopg.Connection[Any]
NOWHERE = "postgresql:///nothing?host=/nonexistent"


def kill(conn: Conn, pid: int) -> None:
    """Ends another session, and waits until it is gone."""
    conn.execute("SELECT pg_terminate_backend(%s, 5000)", (pid,))


def test_a_session_has_our_settings(conn: Conn) -> None:
    assert conn.execute("SHOW jit").fetchone() == ("off",)
    assert conn.execute("SHOW timezone").fetchone() == ("UTC",)
    assert conn.execute("SHOW application_name").fetchone() == ("test",)


def test_a_database_that_is_not_there_is_unavailable() -> None:
    with pytest.raises(DatabaseUnavailable):
        db.connect(NOWHERE, name="test")


def test_a_connection_that_the_server_ended_is_unavailable_at_once_and_afterwards(
    conn: Conn, open_connection: Callable[[], Conn]
) -> None:
    victim = open_connection()
    db.ping(victim)
    kill(conn, victim.info.backend_pid)
    for _ in range(2):
        with pytest.raises(DatabaseUnavailable):
            db.ping(victim)


def test_errors_of_ours_are_not_mistaken_for_an_unavailable_database(conn: Conn) -> None:
    with pytest.raises(psycopg.errors.UndefinedColumn), db.map_errors():
        conn.execute("SELECT nothing FROM job")


def test_a_database_without_our_tables_says_what_makes_them(conn: Conn) -> None:
    with pytest.raises(NotMigrated, match="run: batchyard migrate"), db.map_errors():
        conn.execute("SELECT * FROM nowhere")
    with pytest.raises(DatabaseUnavailable), db.map_errors():
        conn.execute("SELECT * FROM nowhere")


def test_a_pool_replaces_connections_that_the_server_ended(conn: Conn, database_url: str) -> None:
    async def use() -> list[Any]:
        pool = db.open_pool(database_url, name="pool", size=1)
        await pool.open()
        try:
            async with db.borrow(pool) as first:
                pid = first.info.backend_pid
            kill(conn, pid)
            async with db.borrow(pool) as second:
                row = await (await second.execute("SHOW jit")).fetchone()
            return [pid != second.info.backend_pid, row]
        finally:
            await pool.close()

    assert asyncio.run(use()) == [True, ("off",)]


def test_what_fails_inside_a_borrowed_connection_is_unavailable(conn: Conn, database_url: str) -> None:
    async def use() -> None:
        pool = db.open_pool(database_url, name="pool", size=1)
        await pool.open()
        try:
            async with db.borrow(pool) as borrowed:
                kill(conn, borrowed.info.backend_pid)
                await borrowed.execute("SELECT 1")
        finally:
            await pool.close()

    with pytest.raises(DatabaseUnavailable):
        asyncio.run(use())


def test_ids_name_their_view_and_are_read_back() -> None:
    suffix = ids.new_suffix()
    assert len(suffix) == 24
    assert suffix != ids.new_suffix()
    assert ids.public_id("batch", suffix) == f"batch_{suffix}"
    assert ids.suffix_of("batch", f"batch_{suffix}") == suffix
    for wrong in ("", "batch_", f"job_{suffix}", "batch_a b", "batch_é", suffix):
        assert ids.suffix_of("batch", wrong) is None
    assert ids.new_file_id().startswith("file-")
    assert 0 <= ids.new_token() < 2**63
