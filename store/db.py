"""Connections to Postgres: psycopg 3, autocommit, the same session settings everywhere.

Every statement is its own transaction unless a function opens one (`with conn.transaction()`). Only
this folder commits.

Errors that mean "not now" become `DatabaseUnavailable` in `map_errors`: it decorates every synchronous
function of the store, and `borrow` applies it to whatever the asynchronous ones do.
"""

import select
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import psycopg
from psycopg import AsyncConnection, Connection
from psycopg_pool import AsyncConnectionPool

from store.errors import DatabaseUnavailable, NotMigrated

Pool = AsyncConnectionPool[AsyncConnection[tuple[Any, ...]]]

# jit costs more than it saves on short statements. Statements are prepared at their first use and planned
# once, for any values: planning a claim anew took 1.4 of its 1.6 ms. A plan that is kept must not stem from
# the time when the tables were empty, hence no sequential scans where there is an index.
SESSION_SETTINGS = """
SET jit = off; SET TimeZone = 'UTC'; SET plan_cache_mode = force_generic_plan; SET enable_seqscan = off
"""
CONNECT_TIMEOUT_SECONDS = 5


@contextmanager
def map_errors() -> Iterator[None]:
    """Turns what psycopg raises when Postgres is away (or gives up) into `DatabaseUnavailable`.

    `OperationalError` covers refused and lost connections, shutdowns, deadlocks, cancelled statements,
    full disks and an exhausted pool; `InterfaceError` is what a connection raises that is already closed.
    A table that is missing is one that `batchyard migrate` has yet to make: `NotMigrated`.
    """
    try:
        yield
    except psycopg.errors.UndefinedTable as error:
        raise NotMigrated from error
    except (psycopg.OperationalError, psycopg.InterfaceError) as error:
        raise DatabaseUnavailable(str(error).strip()) from error


def connect(url: str, *, name: str) -> Connection[tuple[Any, ...]]:
    """One connection, with `name` shown in pg_stat_activity. Raises `DatabaseUnavailable`."""
    with map_errors():
        conn = Connection.connect(url, **_options(name))
        conn.execute(SESSION_SETTINGS, prepare=False)
    return conn


def open_pool(url: str, *, name: str, size: int = 8) -> Pool:
    """A pool of at most `size` connections, not opened yet: `await pool.open()` does that."""
    return AsyncConnectionPool(
        url,
        kwargs=_options(name),
        min_size=min(2, size),
        max_size=size,
        open=False,
        configure=_configure,
        check=_check,
        timeout=CONNECT_TIMEOUT_SECONDS,
        name=name,
    )


@map_errors()
def ping(conn: Connection[Any]) -> None:
    """Asks whether the connection still works. Raises `DatabaseUnavailable`."""
    conn.execute("SELECT 1")


@asynccontextmanager
async def borrow(pool: Pool) -> AsyncIterator[AsyncConnection[tuple[Any, ...]]]:
    """A connection of the pool for the block. Raises `DatabaseUnavailable`, also for what fails inside."""
    with map_errors():
        async with pool.connection() as conn:
            yield conn


def _options(name: str) -> dict[str, Any]:
    return {
        "autocommit": True,
        "application_name": name,
        "prepare_threshold": 0,
        "connect_timeout": CONNECT_TIMEOUT_SECONDS,
        # A server whose host vanished is noticed within a lease, not after the kernel's quarter of an hour.
        "keepalives_idle": 5,
        "keepalives_interval": 5,
        "keepalives_count": 3,
        "tcp_user_timeout": 15_000,
    }


async def _configure(conn: AsyncConnection[tuple[Any, ...]]) -> None:
    await conn.execute(SESSION_SETTINGS, prepare=False)


async def _check(conn: AsyncConnection[tuple[Any, ...]]) -> None:
    """Refuses a pooled connection that the server has closed.

    An idle connection has nothing to read; one that has was either closed or got a notice. Only then is
    the question worth a round trip.
    """
    poll = select.poll()
    poll.register(conn.fileno(), select.POLLIN)
    if poll.poll(0):
        await AsyncConnectionPool.check_connection(conn)
