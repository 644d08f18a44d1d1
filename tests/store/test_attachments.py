"""Attachments: kept as long as an item may need them, shared by retries, and then given up once."""

from collections.abc import Callable
from typing import Any

import psycopg
import pytest

from store import attachments, jobs, leftovers, records, retries
from store.attachments import NewAttachment
from store.chunks import Claim
from store.records import Addition, PartResult
from store.retries import Retry

Conn = psycopg.Connection[Any]
Take = Callable[..., Claim]
NewJob = Callable[..., int]
WaitFor = Callable[..., Any]


def attachment(blob: str) -> NewAttachment:
    return NewAttachment(blob=blob, name=f"{blob}.wav", size_bytes=7)


def blobs(conn: Conn) -> list[str]:
    return [row[0] for row in conn.execute("SELECT DISTINCT blob FROM attachment ORDER BY blob").fetchall()]


def record(conn: Conn, claim: Claim, *statuses: int, more: tuple[Addition, ...] = ()) -> None:
    rows = [PartResult(claim.lo + n, status, 1, b"") for n, status in enumerate(statuses)]
    done = len(rows) == claim.hi - claim.lo
    records.record(conn, claim.ref, rows, lease_seconds=30, chunk_done=done, more=more)


def end(conn: Conn, job_id: int, state: str = "completed", *, ago: str = "0 s") -> None:
    conn.execute(
        "UPDATE job SET state = %s, ready = false, ended_at = now() - %s::interval WHERE id = %s",
        (state, ago, job_id),
    )


def test_what_was_fetched_is_found_by_its_item_and_needed_until_that_has_all_results(
    conn: Conn, take: Take, new_job: NewJob
) -> None:
    job = new_job(2)
    for item, blob in ((0, "a"), (0, "again"), (1, "b")):
        assert attachments.insert_fetched(conn, job, item, attachment(blob))
    assert attachments.fetched(conn, job, [0, 1, 5]) == {0: ("a", "a.wav"), 1: ("b", "b.wav")}
    claim = take(default_size=2)
    record(conn, claim, 200, 400, more=(Addition(0, [b"more"]),))
    assert attachments.expired(conn) == ["b"]  # also where the item failed: a retry fetches anew
    record(conn, take(), 200)
    assert sorted(attachments.expired(conn)) == ["a", "again"]
    assert attachments.expired(conn) == []


def test_nothing_is_kept_for_a_job_that_is_gone(conn: Conn, new_job: NewJob) -> None:
    job = new_job(1)
    attachments.insert_fetched(conn, job, 0, attachment("a"))
    conn.execute("DELETE FROM job")
    assert not attachments.insert_fetched(conn, job, 0, attachment("late"))
    assert attachments.expired(conn) == []  # a moment
    conn.execute("UPDATE attachment SET created_at = now() - interval '61 minutes'")
    assert attachments.expired(conn) == ["a"]


@pytest.mark.parametrize(
    ("state", "status", "fields", "ago", "is_kept"),
    [
        ("running", 200, {}, "0 s", True),
        ("completed", 200, {}, "0 s", False),
        ("completed", 500, {}, "2 hours", True),  # for a retry
        ("cancelled", 200, {}, "2 hours", True),
        ("completed", 500, {"announced": False}, "50 minutes", True),
        ("completed", 500, {"announced": False}, "61 minutes", False),  # its caller was told, and asks again
    ],
)
def test_a_form_is_kept_as_long_as_a_retry_may_be_asked_for(
    conn: Conn,
    take: Take,
    new_job: NewJob,
    state: str,
    status: int,
    fields: dict[str, Any],
    ago: str,
    is_kept: bool,
) -> None:
    job = new_job(1, view="call", attachment=attachment("form"), **fields)
    record(conn, take(), status)
    conn.execute("UPDATE job SET ended_at = NULL WHERE id = %s", (job,))
    if state != "running":
        end(conn, job, state, ago=ago)
    counted = leftovers.count_blobs(conn)
    assert attachments.expired(conn) == ([] if is_kept else ["form"])
    assert counted == ((0, 0) if is_kept else (1, 7))


def test_a_retry_shares_the_form_which_goes_with_the_last_that_needs_it(
    conn: Conn, take: Take, new_job: NewJob, wait_for: WaitFor
) -> None:
    first = new_job(2, attachment=attachment("form"))
    attachments.insert_fetched(conn, first, 1, attachment("fetched"))
    record(conn, take(default_size=2), 500, 500)
    end(conn, first)
    again = Retry(
        suffix="again", key_id=1, family="echo", model="echo", cores=1, priority=0, deadline_seconds=None
    )
    second = wait_for(retries.insert, wait_for(jobs.load, first), again)
    shared = conn.execute("SELECT item_n, blob FROM attachment WHERE job_id = %s", (second,)).fetchall()
    assert shared == [(0, "form")]
    conn.execute("DELETE FROM job WHERE id = %s", (first,))
    conn.execute("UPDATE attachment SET created_at = now() - interval '2 hours'")
    assert attachments.expired(conn) == ["fetched"]
    assert blobs(conn) == ["form"]
    record(conn, take(default_size=2), 200, 200)
    end(conn, second)
    assert leftovers.count_blobs(conn) == (1, 7)
    assert attachments.expired(conn) == ["form"]


def test_of_two_that_delete_the_last_rows_of_a_blob_one_gives_it(
    conn: Conn, overtake: Callable[..., Any]
) -> None:
    """Each sees the row that the other deletes."""
    put = """INSERT INTO attachment (blob, name, size_bytes, created_at)
             VALUES ('b', '', 1, now() - %s::interval)"""
    given: list[str] = []

    def first(own: Conn) -> None:
        given.extend(attachments.expired(own))
        conn.execute(
            "UPDATE attachment SET created_at = '2020-01-01' WHERE created_at > now() - '1 h'::interval"
        )

    for age in ("2 hours", "1 minute"):
        conn.execute(put, (age,))
    given += overtake(first, attachments.expired)
    assert given == ["b"]
    assert blobs(conn) == []
