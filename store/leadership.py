"""One leader among the dispatchers of a database, by an advisory lock that ends with its connection."""

from typing import Any

from psycopg import Connection

from store.db import map_errors, ping

LOCK = 0x62617463  # a constant of ours; Postgres scopes it to the database

# Gives a row while any connection to this database leads.
LEADS = f"""
SELECT FROM pg_locks JOIN pg_database ON pg_database.oid = database
WHERE locktype = 'advisory' AND datname = current_database() AND granted
  AND (classid::bigint << 32) + objid::bigint = {LOCK}
"""


@map_errors()
def take(conn: Connection[Any]) -> bool:
    """Become the leader if there is none. Also true for the leader itself, once for each call."""
    row = conn.execute("SELECT pg_try_advisory_lock(%s)", (LOCK,)).fetchone()
    return row is not None and bool(row[0])


def keep(conn: Connection[Any]) -> None:
    """Raises `DatabaseUnavailable` when the connection, and the lock with it, is gone."""
    ping(conn)


@map_errors()
def exists(conn: Connection[Any]) -> bool:
    """Whether any connection to this database leads."""
    return conn.execute(LEADS).rowcount > 0
