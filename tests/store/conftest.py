"""What the tests of the store work with: connections to a database of their own, and jobs in it."""

import asyncio
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg
import pytest

from store import calls
from store.attachments import NewAttachment
from store.db import connect
from store.ids import new_suffix
from store.items import NewItem
from store.jobs import NewJob

Connect = Callable[[], psycopg.Connection[Any]]
Await = Callable[..., Any]


@pytest.fixture
def open_connection(database_url: str) -> Iterator[Connect]:
    """Opens further connections to this test's database, closed at its end."""
    opened: list[psycopg.Connection[Any]] = []

    def open_one() -> psycopg.Connection[Any]:
        opened.append(connect(database_url, name="test"))
        return opened[-1]

    yield open_one
    for conn in opened:
        conn.close()


@pytest.fixture
def conn(open_connection: Connect) -> psycopg.Connection[Any]:
    return open_connection()


@pytest.fixture
def overtake(open_connection: Connect) -> Callable[..., Any]:
    """Runs `late(conn)` so that it has begun, and waits for a row, when what `first(conn)` did is committed;
    what `late` gives."""

    def run(first: Callable[..., Any], late: Callable[..., Any]) -> Any:
        ahead, behind, watcher = (open_connection() for _ in range(3))
        with ThreadPoolExecutor(1) as pool:
            with ahead.transaction():
                first(ahead)
                ending = pool.submit(late, behind)
                is_blocked = "SELECT FROM unnest(pg_blocking_pids(%s))"
                until = time.monotonic() + 60
                while watcher.execute(is_blocked, (behind.info.backend_pid,)).rowcount == 0:
                    assert not ending.done()
                    assert time.monotonic() < until
            return ending.result(60)

    return run


@pytest.fixture
def wait_for(database_url: str) -> Iterator[Await]:
    """Runs an asynchronous function of the store: `wait_for(jobs.find, suffix, 1)`."""
    with asyncio.Runner() as runner:
        conn = runner.run(psycopg.AsyncConnection.connect(database_url, autocommit=True))
        yield lambda function, *args, **named: runner.run(function(conn, *args, **named))
        runner.run(conn.close())


@pytest.fixture
def new_job(wait_for: Await) -> Callable[..., int]:
    """Puts a job of `items` small items in, with an attachment of the first one perhaps, and whatever else
    NewJob takes: its id."""

    def put(items: int | list[NewItem] = 1, *, attachment: NewAttachment | None = None, **fields: Any) -> int:
        if isinstance(items, int):
            items = [NewItem(custom_id=f"item-{n}", body=b"body %d" % n) for n in range(items)]
        values = {
            "suffix": new_suffix(),
            "view": "batch",
            "project_id": 1,
            "key_id": 1,
            "endpoint": "/v1/embeddings",
            "family": "echo",
            "model": "echo",
            "lane": "bulk",
        }
        job = NewJob(**(values | fields))
        job_id: int = wait_for(calls.insert_call, job, items, attachment=attachment)
        return job_id

    return put


@pytest.fixture
def new_key(conn: psycopg.Connection[Any]) -> Callable[..., int]:
    """Makes an API key of a weight: its id."""

    def make(weight: float = 1.0) -> int:
        row = conn.execute(
            "INSERT INTO api_key (project_id, name, weight) VALUES (1, 'test', %s) RETURNING id", (weight,)
        ).fetchone()
        assert row is not None
        return int(row[0])

    return make


# What a slot of one core asks for, over both lanes of the family `echo`.
SLOT: dict[str, Any] = {
    "slot_id": 1,
    "families": ["echo"],
    "lanes": ["interactive", "bulk"],
    "cores": 1,
    "lease_seconds": 30.0,
    "only_model": None,
}


@pytest.fixture
def take(conn: psycopg.Connection[Any]) -> Callable[..., Any]:
    """Claims as a slot of one core would, over both lanes of the family `echo`."""
    from store import chunks

    def claim(**asked: Any) -> chunks.Claim | None:
        values = SLOT | {"sizes": {}, "default_size": 2, "seconds": {}, "loaded": None}
        return chunks.claim(asked.pop("conn", conn), **(values | asked))

    return claim


@pytest.fixture
def take_over(conn: psycopg.Connection[Any]) -> Callable[..., Any]:
    """Takes a lost chunk over, as such a slot would."""
    from store import leases
    from store.chunks import Claim

    def reclaim(**asked: Any) -> Claim | None:
        return leases.reclaim(asked.pop("conn", conn), **(SLOT | asked))

    return reclaim
