"""Counts by state: of what is recorded, what slots hold, and how the job ended."""

from collections.abc import Callable
from typing import Any

import psycopg
import pytest

from store import counts, jobs, leases, records
from store.chunks import Claim
from store.counts import Counts
from store.items import NewItem
from store.records import PartResult

Conn = psycopg.Connection[Any]
WaitFor = Callable[..., Any]


@pytest.fixture
def count(wait_for: WaitFor) -> Callable[[int], Counts]:
    def of(job_id: int) -> Counts:
        found: list[Counts] = wait_for(counts.counts, [wait_for(jobs.load, job_id)])
        return found[0]

    return of


def record(conn: Conn, claim: Claim, statuses: dict[int, int]) -> None:
    rows = [PartResult(n, status, 0, b"") for n, status in statuses.items()]
    records.record(conn, claim.ref, rows, lease_seconds=30, chunk_done=False)


def end(conn: Conn, job_id: int, state: str) -> None:
    conn.execute("UPDATE job SET state = %s, ended_at = now() WHERE id = %s", (state, job_id))


def test_items_are_pending_until_claimed_and_running_until_recorded(
    conn: Conn, new_job: Callable[..., int], take: Callable[..., Claim], count: Callable[[int], Counts]
) -> None:
    job = new_job(6)
    assert count(job) == Counts(total=6, pending=6)
    claim = take(default_size=4)
    assert count(job) == Counts(total=6, pending=2, running=4)
    record(conn, claim, {0: 200, 2: 400})
    assert count(job) == Counts(total=6, pending=2, running=2, succeeded=1, errored=1)
    leases.release(conn, [claim.ref])
    assert count(job) == Counts(total=6, pending=4, succeeded=1, errored=1)


def test_an_item_of_several_parts_is_running_from_its_first_part_to_its_last(
    conn: Conn, new_job: Callable[..., int], take: Callable[..., Claim], count: Callable[[int], Counts]
) -> None:
    large = NewItem(custom_id="large", body=b"0", more_bodies=(b"1", b"2"))
    job = new_job([large, NewItem(custom_id="small", body=b"0")])  # parts: 0 large, 1 small, 2 and 3 large
    first = take(default_size=1)
    assert count(job) == Counts(total=2, pending=1, running=1)
    record(conn, first, {0: 200})
    leases.release(conn, [first.ref])
    assert count(job) == Counts(total=2, pending=1, running=1)
    record(conn, take(default_size=3), {1: 200, 2: 200, 3: 500})
    assert count(job) == Counts(total=2, succeeded=1, errored=1)


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        ("cancelled", Counts(total=4, succeeded=1, errored=1, cancelled=2)),
        ("expired", Counts(total=4, succeeded=1, errored=1, expired=2)),
        ("failed", Counts(total=4, succeeded=1, errored=3)),
    ],
)
def test_items_that_never_ran_share_the_end_of_their_job(
    conn: Conn,
    new_job: Callable[..., int],
    take: Callable[..., Claim],
    count: Callable[[int], Counts],
    state: str,
    expected: Counts,
) -> None:
    job = new_job(4)
    record(conn, take(default_size=2), {0: 200, 1: 400})
    end(conn, job, state)
    assert count(job) == expected
