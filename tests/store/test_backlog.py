"""What counts as queued: the items of open jobs that have no result."""

from collections.abc import Callable
from typing import Any

import psycopg
import pytest

from store.backlog import queued_items


@pytest.mark.parametrize(
    ("job", "done", "queued"),
    [
        ("items = 10, parts = 10, state = 'running'", 4, 6),
        ("items = 10, parts = 10, state = 'queued'", 0, 10),
        ("items = 10, parts = 0, state = 'validating'", 0, 10),
        ("items = 10, parts = 10, state = 'cancelling'", 4, 0),
        ("items = 10, parts = 10, state = 'completed', ended_at = now()", 10, 0),
        ("items = 10, parts = 10, state = 'expired', ended_at = now()", 4, 0),
        ("items = 1, parts = 200, state = 'running'", 199, 1),
        ("items = 4, parts = 8, state = 'running'", 3, 3),
        ("items = 4, parts = 8, state = 'finalizing'", 8, 0),
    ],
)
def test_items_of_open_jobs_without_a_result_are_counted(
    conn: psycopg.Connection[Any],
    wait_for: Callable[..., Any],
    new_job: Callable[..., int],
    job: str,
    done: int,
    queued: int,
) -> None:
    job_id = new_job(10)
    conn.execute(f"UPDATE job SET {job} WHERE id = %s", (job_id,))
    conn.execute("UPDATE job_progress SET done = %s WHERE job_id = %s", (done, job_id))
    assert wait_for(queued_items).get(1, 0) == queued


def test_each_key_has_its_own_number(
    wait_for: Callable[..., Any], new_job: Callable[..., int], new_key: Callable[..., int]
) -> None:
    other = new_key()
    new_job(3)
    new_job(4)
    new_job(5, key_id=other)
    assert wait_for(queued_items) == {1: 7, other: 5}
