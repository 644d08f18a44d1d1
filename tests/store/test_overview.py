"""Counts by lane, reasons to hold back, and what is missing, over real jobs."""

from collections.abc import Callable
from typing import Any

import psycopg
import pytest

from store import leadership, models, overview
from tests.store.conftest import Await, Connect

Conn = psycopg.Connection[Any]


def lane(wait_for: Await, name: str = "bulk") -> overview.LaneRow:
    [row] = [row for row in wait_for(overview.lanes) if row.lane == name]
    assert isinstance(row, overview.LaneRow)
    return row


def test_items_wait_until_they_are_claimed_and_run_until_they_are_recorded(
    conn: Conn, wait_for: Await, new_job: Callable[..., int], take: Callable[..., Any]
) -> None:
    job_id = new_job(5)
    assert (lane(wait_for).items_waiting, lane(wait_for).items_running) == (5, 0)
    assert lane(wait_for).oldest_seconds is not None
    take(default_size=2)
    row = lane(wait_for)
    assert (row.items_waiting, row.items_running, row.jobs_running, row.jobs_waiting) == (3, 2, 1, 0)
    assert row.oldest_seconds is None
    conn.execute("UPDATE job_progress SET done = 1 WHERE job_id = %s", (job_id,))
    assert lane(wait_for).items_running == 1


def test_held_jobs_count_by_their_reason_and_not_as_waiting(
    conn: Conn, wait_for: Await, new_job: Callable[..., int]
) -> None:
    new_job(1)
    paused, windowed, early = new_job(2, model="other"), new_job(3), new_job(4)
    models.pause(conn, "other", "it crashes")
    conn.execute("UPDATE job SET window_open = false, ready = false WHERE id = %s", (windowed,))
    conn.execute("UPDATE job SET not_before = now() + '1 h', ready = false WHERE id = %s", (early,))
    row = lane(wait_for)
    assert (row.items_waiting, row.items_held, row.jobs_waiting) == (1, 9, 1)
    assert (row.held_paused, row.held_window, row.held_not_before) == (1, 1, 1)
    [pause] = wait_for(overview.pauses)
    assert (pause.model, pause.reason, pause.jobs) == ("other", "it crashes", 1)
    conn.execute("UPDATE job SET ended_at = now(), state = 'cancelled' WHERE id = %s", (paused,))
    assert lane(wait_for).held_paused == 0


def test_a_large_item_is_one_item(wait_for: Await, new_job: Callable[..., int], conn: Conn) -> None:
    from store.items import NewItem

    job_id = new_job([NewItem(custom_id="a", body=b"0", more_bodies=(b"1", b"2"))], lane="interactive")
    assert lane(wait_for, "interactive").items_waiting == 1
    conn.execute("UPDATE job SET next_part = 2, state = 'running' WHERE id = %s", (job_id,))
    row = lane(wait_for, "interactive")
    assert (row.items_waiting, row.items_running) == (0, 1)


def test_what_is_missing_is_seen(conn: Conn, wait_for: Await, open_connection: Connect) -> None:
    nothing = wait_for(overview.standing)
    assert (nothing.slots, nothing.dispatcher, nothing.undelivered, nothing.paused) == (0, False, False, [])
    leader = open_connection()
    assert leadership.take(leader)
    models.pause(conn, "m", "why")
    conn.execute(
        "INSERT INTO slot (boot_id, host, pid, families, lease_until) VALUES"
        " ('b', 'h', 1, '{echo,bert}', now() + '1 min'::interval),"
        " ('b', 'h', 2, '{echo}', now() - '1 s'::interval)"
    )
    there = wait_for(overview.standing)
    assert (there.slots, there.dispatcher, there.paused) == (1, True, ["m"])
    assert wait_for(overview.slots_by_family) == {"bert": 1, "echo": 1}


@pytest.mark.parametrize(("age", "undelivered"), [("-1 s", True), ("1 min", False)])
def test_deliveries_that_are_due_want_a_deliverer(
    conn: Conn, wait_for: Await, age: str, undelivered: bool
) -> None:
    conn.execute(
        "INSERT INTO webhook_event (id, project_id, type, payload) VALUES ('e', 1, 'job.completed', '')"
    )
    conn.execute(
        "INSERT INTO delivery (project_id, event_id, url, receiver, next_at)"
        " VALUES (1, 'e', 'https://x', 'x', now() + %s::interval)",
        (age,),
    )
    assert wait_for(overview.standing).undelivered is undelivered
