"""Results with those of retries merged in, and where reading in order has to stop."""

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest

from store import calls, jobs
from store.db import connect
from store.ids import new_suffix
from store.items import NewItem
from store.jobs import JobRow, NewJob
from tasks.merging import Outcome, outcomes


@pytest.fixture
def conn(database_url: str) -> Iterator[psycopg.Connection[Any]]:
    with connect(database_url, name="test") as conn:
        yield conn


@pytest.fixture
def make(conn: psycopg.Connection[Any], database_url: str) -> Callable[..., JobRow]:
    """A job of items with these names, of which some have a status by now; ended, unless it is `open`."""

    async def insert(names: str, retry_of: int | None) -> int:
        new = NewJob(
            suffix=new_suffix(), view="job", project_id=1, key_id=1, endpoint="/v1/embeddings", family="echo",
            model="echo", lane="bulk", retry_of=retry_of,
        )  # fmt: skip
        async with await psycopg.AsyncConnection.connect(database_url, autocommit=True) as own:
            return await calls.insert_call(own, new, [NewItem(custom_id=name, body=b"{}") for name in names])

    async def load(job_id: int) -> JobRow | None:
        async with await psycopg.AsyncConnection.connect(database_url, autocommit=True) as own:
            return await jobs.load(own, job_id)

    def job(
        names: str, statuses: dict[str, int], *, of: JobRow | None = None, is_open: bool = False
    ) -> JobRow:
        job_id = asyncio.run(insert(names, of.id if of else None))
        for name, status in statuses.items():
            data = f"{len(names)}{name}{status}".encode()
            conn.execute("INSERT INTO result VALUES (%s, %s, %s, 0, %s)",
                         (job_id, names.index(name), status, data))  # fmt: skip
        if not is_open:
            conn.execute("UPDATE job SET state = 'expired', ended_at = now() WHERE id = %s", (job_id,))
        row = asyncio.run(load(job_id))
        assert row is not None
        return row

    return job


def seen(found: Iterator[Outcome]) -> list[tuple[int, str, int, bool]]:
    return [(one.item.n, one.item.custom_id, one.item.status, one.is_open) for one in found]


def test_the_latest_success_counts_under_the_first_number(
    conn: psycopg.Connection[Any], make: Callable[..., JobRow]
) -> None:
    first = make("abcde", {"a": 200, "b": 400, "c": 500})
    second = make("bcde", {"b": 200, "c": 400, "d": 400}, of=first)
    third = make("cd", {"c": 200, "d": 500}, of=second)
    found = list(outcomes(conn, first, after=None, include_retries=True))
    assert seen(iter(found)) == [
        (0, "a", 200, False), (1, "b", 200, False), (2, "c", 200, False), (3, "d", 500, False),
        (4, "e", 0, False),
    ]  # fmt: skip
    assert [one.request_id for one in found] == [
        None, f"req_{second.suffix}_0", f"req_{third.suffix}_0", f"req_{third.suffix}_1", None,
    ]  # fmt: skip
    assert [one.item.n for one in outcomes(conn, first, after=2, include_retries=True)] == [3, 4]


def test_an_error_of_the_first_job_stays_where_no_retry_succeeded(
    conn: psycopg.Connection[Any], make: Callable[..., JobRow]
) -> None:
    first = make("a", {"a": 400})
    make("a", {"a": 500}, of=first)
    (found,) = outcomes(conn, first, after=None, include_retries=True)
    assert (found.item.status, found.request_id) == (400, None)


def test_what_may_still_change_is_open(conn: psycopg.Connection[Any], make: Callable[..., JobRow]) -> None:
    first = make("abc", {"a": 400, "b": 200})
    make("ac", {}, of=first, is_open=True)
    assert seen(outcomes(conn, first, after=-1, include_retries=True)) == [
        (0, "a", 400, True), (1, "b", 200, False), (2, "c", 0, True),
    ]  # fmt: skip
    assert seen(outcomes(conn, first, after=-1, include_retries=False)) == [
        (0, "a", 400, False), (1, "b", 200, False), (2, "c", 0, False),
    ]  # fmt: skip
    running = make("ab", {"b": 200}, is_open=True)
    assert seen(outcomes(conn, running, after=-1, include_retries=False)) == [
        (0, "a", 0, True), (1, "b", 200, False),
    ]  # fmt: skip
    assert seen(outcomes(conn, running, after=None, include_retries=False)) == [(1, "b", 200, False)]
