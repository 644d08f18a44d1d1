"""Results of parts as they come: in order, without gaps, up to an error."""

import asyncio
from collections.abc import Callable

import psycopg
import pytest

from store import part_results
from tests.tasks.slot import submit_in_parts


@pytest.fixture
def found(database_url: str) -> Callable[..., list[bytes]]:
    """Records these parts of a new job, and reads from one on."""

    def record_and_read(first: int, *recorded: tuple[int, int]) -> list[bytes]:
        job_id = submit_in_parts(database_url, 6)
        with psycopg.connect(database_url, autocommit=True) as conn:
            for n, status in recorded:
                values = (job_id, n, status, b"%d" % n)
                conn.execute("INSERT INTO result (job_id, n, status, data) VALUES (%s, %s, %s, %s)", values)

        async def read() -> list[bytes]:
            async with await psycopg.AsyncConnection.connect(database_url) as conn:
                return await part_results.from_part(conn, job_id, first)

        return asyncio.run(read())

    return record_and_read


def test_parts_come_as_far_as_there_is_no_gap(found: Callable[..., list[bytes]]) -> None:
    assert found(1, (0, 200), (1, 200), (2, 200), (4, 200)) == [b"1", b"2"]
    assert found(0, (1, 200)) == []


def test_an_error_ends_them(found: Callable[..., list[bytes]]) -> None:
    assert found(0, (0, 200), (1, 500), (2, 200)) == [b"0"]
