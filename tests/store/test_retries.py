"""Retries: whole items that failed or never ran, without the parts that computing had added."""

from collections.abc import Callable
from typing import Any

import psycopg
import pytest

from store import jobs, records, retries
from store.chunks import Claim
from store.items import NewItem
from store.jobs import JobRow
from store.records import Addition, PartResult
from store.retries import Retry

Conn = psycopg.Connection[Any]
WaitFor = Callable[..., Any]


@pytest.fixture
def retry(wait_for: WaitFor) -> Callable[..., JobRow | None]:
    """Retries a job as its key 1: the new job, if there is one."""

    def make(job_id: int, suffix: str = "again") -> JobRow | None:
        how = Retry(
            suffix=suffix, key_id=1, family="echo", model="echo", cores=1, priority=3, deadline_seconds=60
        )
        found = wait_for(retries.insert, wait_for(jobs.load, job_id), how)
        row: JobRow | None = wait_for(jobs.load, found) if found is not None else None
        return row

    return make


def end(conn: Conn, job_id: int) -> None:
    conn.execute(
        "UPDATE job SET state = 'completed', ready = false, ended_at = now() WHERE id = %s", (job_id,)
    )


def items_of(conn: Conn, job: JobRow | None) -> list[tuple[Any, ...]]:
    assert job is not None
    return conn.execute(
        "SELECT n, custom_id, body, parts FROM item WHERE job_id = %s ORDER BY n", (job.id,)
    ).fetchall()


def test_only_items_that_failed_or_never_ran_are_repeated(
    conn: Conn, new_job: Callable[..., int], take: Callable[..., Claim], retry: Callable[..., JobRow | None]
) -> None:
    first = new_job(
        5, view="batch", meta={"a": "b"}, webhook_url="https://x.test/", run_window="22:00-06:00",
        timezone="UTC", completion_window="1m",
    )  # fmt: skip
    conn.execute("UPDATE job SET ready = true WHERE id = %s", (first,))
    rows = [PartResult(n, status, 0, b"") for n, status in ((0, 200), (1, 400), (3, 200))]
    records.record(conn, take(default_size=5).ref, rows, lease_seconds=30, chunk_done=True)
    end(conn, first)
    job = retry(first)
    assert items_of(conn, job) == [
        (0, "item-1", b"body 1", 1), (1, "item-2", b"body 2", 1), (2, "item-4", b"body 4", 1),
    ]  # fmt: skip
    assert job is not None
    assert (job.items, job.parts, job.done, job.state, job.retry_of) == (3, 3, 0, "queued", first)
    assert (job.view, job.meta, job.webhook_url, job.priority) == ("batch", {"a": "b"}, "https://x.test/", 3)
    assert (job.run_window, job.window_open, job.ready, job.announced) == ("22:00-06:00", False, False, True)
    assert job.input_file_id is None
    assert job.deadline is not None
    assert (job.deadline - job.created_at).total_seconds() == 60


def test_large_items_are_repeated_whole_as_they_were_submitted(
    conn: Conn, new_job: Callable[..., int], take: Callable[..., Claim], retry: Callable[..., JobRow | None]
) -> None:
    """Parts: 0 to 2 first ones, 3 and 4 of `cut`, 5 of `grown`, which computing added."""
    first = new_job(
        [
            NewItem(custom_id="good", body=b"good"),
            NewItem(custom_id="cut", body=b"c0", more_bodies=(b"c1", b"c2")),
            NewItem(custom_id="grown", body=b"g0"),
        ]
    )
    claim = take(default_size=5)
    rows = [PartResult(n, status, 0, b"") for n, status in ((0, 200), (1, 200), (2, 200), (3, 500), (4, 200))]
    records.record(conn, claim.ref, rows, lease_seconds=30, chunk_done=True, more=[Addition(2, [b"added"])])
    end(conn, first)  # part 5 never ran
    job = retry(first)
    assert items_of(conn, job) == [(0, "cut", b"c0", 3), (1, "grown", b"g0", 1)]
    assert job is not None
    parts = conn.execute(
        "SELECT n, item_n, position, body FROM item_part WHERE job_id = %s ORDER BY n", (job.id,)
    ).fetchall()
    assert parts == [(2, 0, 1, b"c1"), (3, 0, 2, b"c2")]
    assert (job.items, job.parts) == (2, 4)
    assert take(default_size=9).hi == 4


def test_a_call_is_repeated_as_the_long_and_streamed_one_that_it_was(
    conn: Conn, new_job: Callable[..., int], retry: Callable[..., JobRow | None]
) -> None:
    call = new_job(1, view="call", lane="interactive", expected_seconds=600.0, streamed=True)
    end(conn, call)
    job = retry(call)
    assert job is not None
    assert (job.view, job.lane, job.expected_seconds, job.streamed) == ("job", "interactive", 600.0, True)


def test_there_is_nothing_to_repeat_of_what_succeeded_or_goes_on(
    conn: Conn, new_job: Callable[..., int], take: Callable[..., Claim], retry: Callable[..., JobRow | None]
) -> None:
    open_job = new_job(1)
    assert retry(open_job) is None
    records.record(conn, take().ref, [PartResult(0, 200, 0, b"")], lease_seconds=30, chunk_done=True)
    end(conn, open_job)
    assert retry(open_job) is None
    assert conn.execute("SELECT count(*) FROM job").fetchone() == (1,)


def test_retries_of_retries_are_found_with_their_items_latest_first(
    conn: Conn, new_job: Callable[..., int], retry: Callable[..., JobRow | None]
) -> None:
    first = new_job(2)
    end(conn, first)
    second = retry(first, "second")
    assert second is not None
    end(conn, second.id)
    third = retry(second.id, "third")
    assert third is not None
    found = retries.retries_of(conn, first)
    assert [(one.suffix, one.is_open) for one in found] == [("third", True), ("second", False)]
    assert retries.find_items(conn, found, ["item-1", "nobody"]) == {
        "item-1": [(third.id, 1), (second.id, 1)]
    }
