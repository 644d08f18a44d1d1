"""Usage: summed by key, day and endpoint, and the same before and after jobs are deleted."""

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from typing import Any

import psycopg
import pytest

from store import lifecycle, records, retirement, usage
from store.items import NewItem
from store.records import PartResult

Conn = psycopg.Connection[Any]
TODAY = datetime.now(UTC).date()
SPEECH, PICTURES, VECTORS = "/v1/audio/transcriptions", "/v1/images/generations", "/v1/embeddings"


@pytest.fixture
def used(wait_for: Callable[..., Any]) -> Callable[..., list[usage.UsageRow]]:
    """Sums over the last days: `used("key", "day")`."""

    def summed(*by: usage.Dimension, **asked: Any) -> list[usage.UsageRow]:
        values = {
            "start": TODAY - timedelta(10),
            "end": TODAY + timedelta(1),
            "project_id": 1,
            "key_id": None,
        }
        rows: list[usage.UsageRow] = wait_for(usage.summed, by=by, **(values | asked))
        return rows

    return summed


@pytest.fixture
def worked(conn: Conn, new_job: Callable[..., int], take: Callable[..., Any]) -> Callable[..., int]:
    """A job that ended with these results ({part: (status, units)}), each of which took 50 ms."""

    def work(
        items: int | list[NewItem],
        results: dict[int, tuple[int, int]],
        *,
        days_ago: float = 0,
        state: str | None = None,
        **fields: Any,
    ) -> int:
        job_id = new_job(items, **fields)
        claim = take(default_size=100)
        rows = [PartResult(n, status, units, b"") for n, (status, units) in results.items()]
        records.record(conn, claim.ref, rows, lease_seconds=30, chunk_done=True, cpu_ms=50 * len(rows))
        conn.execute(
            "UPDATE job SET state = coalesce(%s, 'completed'), ended_at = now() - make_interval(days => 1), "
            "ready = false, created_at = now() - make_interval(secs => %s) WHERE id = %s",
            (state, days_ago * 86_400, job_id),
        )
        return job_id

    return work


def large(name: str, parts: int) -> NewItem:
    return NewItem(custom_id=name, body=b"1", more_bodies=(b"more",) * (parts - 1))


def work_of_all_kinds(worked: Callable[..., int], other_key: int) -> list[int]:
    """Ended jobs of every kind: failed items, large items, cut short, several keys, endpoints and days."""
    return [
        worked(3, {0: (200, 5), 1: (400, 0), 2: (200, 7)}),
        worked(2, {0: (200, 30), 1: (200, 12)}, key_id=other_key),
        worked(4, {0: (200, 100)}, state="cancelled", days_ago=2),
        worked(2, {0: (200, 61_000), 1: (200, 1_500)}, endpoint=SPEECH, days_ago=1),
        worked(1, {0: (200, 4)}, endpoint=PICTURES, key_id=other_key, view="call"),
        worked([large("whole", 3)], dict.fromkeys(range(3), (200, 1))),
        worked([large("broken", 3)], {0: (200, 1), 1: (500, 0), 2: (500, 0)}),
        # Parts 0 and 1 are the first ones of the items, 2 and 3 the others of `broken`, 4 of `short`.
        worked(
            [large("broken", 3), large("short", 2)],
            {0: (200, 1), 1: (200, 1), 2: (500, 0), 3: (500, 0)},
            state="expired",
        ),
    ]


def test_what_is_used_is_the_same_before_and_after_jobs_are_deleted(
    conn: Conn,
    wait_for: Callable[..., Any],
    worked: Callable[..., int],
    used: Callable[..., list[usage.UsageRow]],
    new_key: Callable[..., int],
) -> None:
    other = new_key()
    job_ids = work_of_all_kinds(worked, other)
    before = used("key", "day", "endpoint")
    assert len(before) == 5
    for job_id in (job_ids[0], job_ids[-1]):  # the first of a key, and one more that adds to its row
        assert wait_for(retirement.delete_job, job_id, 1)
        assert used("key", "day", "endpoint") == before
    assert lifecycle.delete_ended(conn, "batch", 3600) == 5
    assert used("key", "day", "endpoint") == before
    assert lifecycle.delete_ended(conn, "call", 3600) == 1
    assert used("key", "day", "endpoint") == before
    assert conn.execute("SELECT count(*) FROM job").fetchone() == (0,)
    work_of_all_kinds(worked, other)
    assert [row.items for row in used("key", "day", "endpoint")] == [2 * row.items for row in before]


def test_items_errors_and_what_was_computed_are_counted(
    worked: Callable[..., int], used: Callable[..., list[usage.UsageRow]], new_key: Callable[..., int]
) -> None:
    work_of_all_kinds(worked, new_key())
    rows = {row.endpoint: row for row in used("endpoint")}
    vectors = rows[VECTORS]
    # Items with a result or an error: 3 and 2, the first of 4, one whole, one broken; of the last job the
    # broken one only. Each broken one is one error.
    assert (vectors.items, vectors.errors, vectors.tokens) == (9, 3, 12 + 42 + 100 + 3 + 1 + 2)
    assert vectors.cpu_ms == 50 * 16
    assert (vectors.audio_ms, vectors.images) == (0, 0)
    assert (rows[SPEECH].items, rows[SPEECH].audio_ms, rows[SPEECH].tokens) == (2, 62_500, 0)
    assert (rows[PICTURES].items, rows[PICTURES].images, rows[PICTURES].tokens) == (1, 4, 0)
    [all_of_it] = used()
    assert (all_of_it.items, all_of_it.errors, all_of_it.tokens) == (12, 3, vectors.tokens)


def test_sums_are_of_a_project_a_key_and_a_time(
    conn: Conn,
    wait_for: Callable[..., Any],
    worked: Callable[..., int],
    used: Callable[..., list[usage.UsageRow]],
    new_key: Callable[..., int],
) -> None:
    conn.execute("INSERT INTO project (id, name) VALUES (2, 'other')")
    foreign, own = new_key(), new_key()
    conn.execute("UPDATE api_key SET project_id = 2, name = 'foreign' WHERE id = %s", (foreign,))
    worked(2, {0: (200, 1), 1: (200, 1)}, key_id=foreign, project_id=2)
    worked(1, {0: (200, 1)}, key_id=own, days_ago=3)
    worked(1, {0: (200, 1)})
    lifecycle.delete_ended(conn, "batch", 3600)  # what is kept is filtered as what is there
    worked(1, {0: (200, 1)}, key_id=foreign, project_id=2)

    assert [row.items for row in used()] == [2]
    assert [row.items for row in used(project_id=None)] == [5]
    assert [row.items for row in used(key_id=own)] == [1]
    assert [row.items for row in used(key_id=foreign)] == [0]
    [row] = used("key", project_id=2)
    assert (row.key_name, row.project, row.items) == ("foreign", "other", 3)
    assert wait_for(usage.find_key, row.key_id, 2) == foreign
    assert wait_for(usage.find_key, row.key_id, 1) is None
    days = {row.day: row.items for row in used("day")}
    assert sorted(days.values()) == [1, 1]
    [earlier, later] = sorted(day for day in days if day)
    assert later - earlier == timedelta(3)
    assert [row.items for row in used(start=earlier, end=earlier)] == [1]
    assert [row.items for row in used(start=earlier, end=later)] == [2]
    assert used("day", start=date.min, end=date.max) == used("day")


def test_a_job_that_is_open_or_foreign_is_not_deleted(
    wait_for: Callable[..., Any], worked: Callable[..., int], new_job: Callable[..., int]
) -> None:
    ended, still_open = worked(1, {0: (200, 1)}), new_job(1)
    assert not wait_for(retirement.delete_job, ended, 2)
    assert not wait_for(retirement.delete_job, still_open, 1)
    assert wait_for(retirement.delete_job, ended, 1)
    assert not wait_for(retirement.delete_job, ended, 1)
