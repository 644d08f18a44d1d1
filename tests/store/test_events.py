"""Webhook events: a job has ended if, and only if, its event is there, whichever statement ended it."""

import json
from collections.abc import Callable
from typing import Any

import psycopg
import pytest

from store import jobs, lifecycle, records, webhooks
from store.chunks import Claim
from store.records import PartResult

Conn = psycopg.Connection[Any]
NewJob = Callable[..., int]
Take = Callable[..., Claim]
WaitFor = Callable[..., Any]
End = Callable[[int], Any]

ENDS = {
    "completed": "batch.completed",
    "recorded": "job.completed",
    "failed": "batch.failed",
    "expired": "batch.expired",
    "cancelled": "batch.cancelled",
    "settled": "batch.cancelled",
    "response": "response.completed",
}


@pytest.fixture
def endings(conn: Conn, new_job: NewJob, take: Take, wait_for: WaitFor) -> dict[str, Callable[[], int]]:
    """Ways for a job to end. Each makes a job, brings it to its last step, takes that, and gives its id."""

    def record(job: int) -> int:
        claim = take()
        records.record(conn, claim.ref, [PartResult(0, 200, 1, b"x")], lease_seconds=30.0, chunk_done=True)
        return job

    def ended(job: int, end: End) -> int:
        assert end(job)
        return job

    def settled() -> int:
        job = new_job()
        take()
        wait_for(jobs.request_cancel, job)
        return ended(job, lambda job: lifecycle.finish_cancelled(conn, job, None, None))

    def expired() -> int:
        job = new_job()
        conn.execute("UPDATE job SET deadline = now() - interval '1 second' WHERE id = %s", (job,))
        lifecycle.expire_due(conn)
        return ended(job, lambda job: lifecycle.expire(conn, job, None, None))

    def cancelled() -> int:
        job = new_job(view="batch")
        wait_for(jobs.request_cancel, job)
        lifecycle.settle_cancelling(conn)
        lifecycle.finish_cancelled(conn, job, None, None)
        return job

    return {
        "completed": lambda: ended(record(new_job()), lambda job: lifecycle.complete(conn, job, None, None)),
        "recorded": lambda: record(new_job(view="call", announced=True)),
        "failed": lambda: ended(new_job(), lambda job: lifecycle.fail(conn, job, "server_error", "why")),
        "expired": expired,
        "cancelled": cancelled,
        "settled": settled,
        "response": lambda: record(new_job(view="response", announced=True)),
    }


def events_of(conn: Conn, job: int) -> list[tuple[str, str]]:
    return conn.execute("SELECT type, payload FROM webhook_event WHERE job_id = %s", (job,)).fetchall()


def has_ended(conn: Conn) -> bool:
    return conn.execute("SELECT FROM job WHERE ended_at IS NOT NULL").rowcount > 0


@pytest.mark.parametrize("end", ENDS)
def test_every_end_is_an_event_of_openais_form(
    conn: Conn, endings: dict[str, Callable[[], int]], end: str
) -> None:
    job = endings[end]()
    ((kind, payload),) = events_of(conn, job)
    assert kind == ENDS[end]
    assert kind in webhooks.EVENT_TYPES
    event = json.loads(payload)
    assert event.keys() == {"id", "object", "created_at", "type", "data"}
    assert (event["object"], event["type"], list(event["data"])) == ("event", kind, ["id"])
    row = conn.execute(
        "SELECT suffix, extract(epoch FROM ended_at) FROM job WHERE id = %s", (job,)
    ).fetchone()
    assert row is not None
    prefix = {"batch": "batch_", "job": "job_", "response": "resp_"}[kind.partition(".")[0]]
    assert (event["data"]["id"], event["created_at"]) == (prefix + row[0], int(row[1]))


@pytest.mark.parametrize("end", ENDS)
def test_where_the_event_cannot_be_written_the_job_does_not_end(
    conn: Conn, endings: dict[str, Callable[[], int]], end: str
) -> None:
    conn.execute("ALTER TABLE webhook_event ADD CONSTRAINT none CHECK (type = '')")
    with pytest.raises(psycopg.errors.CheckViolation):
        endings[end]()
    assert not has_ended(conn)


def test_a_call_that_is_only_awaited_is_no_event(conn: Conn, new_job: NewJob, take: Take) -> None:
    job = new_job(view="call", lane="interactive", announced=False)
    records.record(conn, take().ref, [PartResult(0, 200, 1, b"x")], lease_seconds=30.0, chunk_done=True)
    assert has_ended(conn)
    assert events_of(conn, job) == []


def test_an_event_goes_to_the_jobs_url_and_to_the_enabled_endpoints_that_ask_for_its_type(
    conn: Conn, new_job: NewJob, wait_for: WaitFor
) -> None:
    def endpoint(*event_types: str) -> str:
        row = wait_for(webhooks.insert, 1, name="e", url="https://x/", event_types=event_types)
        return str(row.id)

    asks = endpoint("job.completed", "batch.failed")
    endpoint("batch.completed")
    disabled = endpoint("batch.failed")
    wait_for(webhooks.disable, disabled, "for a reason")
    job = new_job(webhook_url="https://Hooks.example:8443/a/b?c")
    lifecycle.fail(conn, job, "server_error", "why")
    found = conn.execute("SELECT endpoint_id, url, receiver, state FROM delivery ORDER BY url").fetchall()
    assert found == [
        (None, "https://Hooks.example:8443/a/b?c", "1 hooks.example:8443", "pending"),
        (asks, None, asks, "pending"),
    ]


def test_an_endpoint_that_is_deleted_meanwhile_is_not_told_and_holds_no_end_up(
    conn: Conn, new_job: NewJob, wait_for: WaitFor, overtake: Callable[..., Any]
) -> None:
    for name in ("goes", "stays"):
        wait_for(webhooks.insert, 1, name=name, url="https://x/", event_types=["batch.failed"])
    job = new_job()
    assert overtake(
        lambda ahead: ahead.execute("DELETE FROM webhook_endpoint WHERE name = 'goes'"),
        lambda behind: lifecycle.fail(behind, job, "server_error", "why"),
    )
    told = conn.execute("SELECT name FROM delivery JOIN webhook_endpoint AS e ON e.id = endpoint_id")
    assert told.fetchall() == [("stays",)]
