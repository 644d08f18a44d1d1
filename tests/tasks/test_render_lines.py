"""Output and error files of a job in the database: each item in one of them, whatever became of the job."""

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from backends.types import EmbeddingResult, ErrorInfo, encode_result
from store import calls, jobs
from store.db import connect
from store.ids import new_suffix
from store.items import NewItem
from store.jobs import JobRow
from store.states import JobState
from tasks.render import render_lines, render_results

VECTOR = encode_result(EmbeddingResult(tokens=1, dimensions=1, vectors=b"\0\0\x80\x3f"))
ERROR = encode_result(ErrorInfo("empty_input", "empty", "input"))


@pytest.fixture
def conn(database_url: str) -> Iterator[psycopg.Connection[Any]]:
    with connect(database_url, name="test") as conn:
        yield conn


@pytest.fixture
def job(conn: psycopg.Connection[Any], database_url: str) -> JobRow:
    """A job of four items, a to d: the first has a result, the second an error, the others nothing."""
    row = asyncio.run(_insert(database_url))
    conn.execute("INSERT INTO result VALUES (%s, 0, 200, 1, %s), (%s, 1, 400, 0, %s)",
                 (row.id, VECTOR, row.id, ERROR))  # fmt: skip
    return row


async def _insert(url: str) -> JobRow:
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as conn:
        new = jobs.NewJob(
            suffix=new_suffix(), view="batch", project_id=1, key_id=1, endpoint="/v1/embeddings",
            family="echo", model="echo", lane="bulk",
        )  # fmt: skip
        items = [NewItem(custom_id=name, body=b'{"input": "x"}') for name in "abcd"]
        row = await jobs.load(conn, await calls.insert_call(conn, new, items))
        assert row is not None
        return row


def rows(lines: Iterator[bytes]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in lines]


def test_results_and_errors_go_to_different_files(conn: psycopg.Connection[Any], job: JobRow) -> None:
    job.state = JobState.COMPLETED
    assert [row["custom_id"] for row in rows(render_lines(conn, job, which="output"))] == ["a"]
    assert [row["custom_id"] for row in rows(render_lines(conn, job, which="error"))] == ["b"]


@pytest.mark.parametrize(
    ("state", "code"),
    [
        (JobState.EXPIRED, "batch_expired"),
        (JobState.CANCELLED, "batch_cancelled"),
        (JobState.CANCELLING, "batch_cancelled"),
    ],
)
def test_items_that_never_ran_are_in_the_error_file(
    conn: psycopg.Connection[Any], job: JobRow, state: JobState, code: str
) -> None:
    job.state = state
    assert [row["custom_id"] for row in rows(render_lines(conn, job, which="output"))] == ["a"]
    ran, *never_ran = rows(render_lines(conn, job, which="error"))
    assert (ran["custom_id"], ran["error"]) == ("b", None)
    assert [row["custom_id"] for row in never_ran] == ["c", "d"]
    assert all(row["response"] is None and row["error"]["code"] == code for row in never_ran)


def test_two_readings_give_the_same_bytes(conn: psycopg.Connection[Any], job: JobRow) -> None:
    job.state = JobState.EXPIRED
    first, second = (b"".join(render_lines(conn, job, which="error")) for _ in range(2))
    assert first == second


def test_results_so_far_leave_out_what_has_not_run(conn: psycopg.Connection[Any], job: JobRow) -> None:
    assert [row["custom_id"] for row in rows(render_results(conn, job))] == ["a", "b"]
    assert [row["custom_id"] for row in rows(render_results(conn, job, after=0))] == ["b"]
    assert rows(render_results(conn, job, after=1)) == []
