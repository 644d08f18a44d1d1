"""Jobs with a window: opened and closed by groups, and what they say meanwhile."""

from collections.abc import Callable
from typing import Any

import psycopg
import pytest

from store import models, waiting, windows
from store.windows import WindowGroup

Conn = psycopg.Connection[Any]
NewJob = Callable[..., int]

NIGHT = {"run_window": "22:00-06:00", "timezone": "Europe/Berlin"}
CLOSED = WindowGroup("22:00-06:00", "Europe/Berlin", is_open=False)
OPEN = CLOSED._replace(is_open=True)
WAITS = "waits for its window 22:00-06:00 (Europe/Berlin)"


def note(conn: Conn, job_id: int) -> str | None:
    row = conn.execute("SELECT note FROM job WHERE id = %s", (job_id,)).fetchone()
    assert row is not None
    found: str | None = row[0]
    return found


def test_a_job_with_a_window_waits_and_says_so_until_it_opens(
    conn: Conn, new_job: NewJob, take: Callable[..., Any]
) -> None:
    job_id = new_job(2, **NIGHT)
    assert note(conn, job_id) == WAITS
    assert take() is None
    assert windows.groups(conn) == [CLOSED]
    assert windows.flip(conn, CLOSED) == 1
    assert (note(conn, job_id), windows.groups(conn)) == (None, [OPEN])
    assert take(default_size=1).job_id == job_id


def test_a_closed_job_is_claimed_no_further_and_says_why(
    conn: Conn, new_job: NewJob, take: Callable[..., Any]
) -> None:
    job_id, other = new_job(3, **NIGHT), new_job(1)
    windows.flip(conn, CLOSED)
    assert take(default_size=1).job_id == job_id
    assert windows.flip(conn, OPEN) == 1
    assert note(conn, job_id) == WAITS
    assert take().job_id == other
    assert take() is None


def test_windows_open_alone(conn: Conn, new_job: NewJob) -> None:
    new_job(1, **NIGHT)
    new_job(1, run_window="22:00-06:00", timezone="UTC")
    new_job(1, run_window="08:00-09:00", timezone="Europe/Berlin")
    windows.flip(conn, CLOSED)
    assert windows.groups(conn) == [
        WindowGroup("08:00-09:00", "Europe/Berlin", is_open=False),
        OPEN,
        WindowGroup("22:00-06:00", "UTC", is_open=False),
    ]


def test_an_open_window_does_not_set_aside_a_pause(
    conn: Conn, new_job: NewJob, take: Callable[..., Any]
) -> None:
    job_id = new_job(1, **NIGHT)
    models.pause(conn, "echo", "it crashes")
    windows.flip(conn, CLOSED)
    assert take() is None
    assert note(conn, job_id) == "it crashes"
    models.resume(conn, "echo")
    assert take().job_id == job_id


def test_a_closed_job_is_not_freed_with_its_model(
    conn: Conn, new_job: NewJob, take: Callable[..., Any]
) -> None:
    new_job(1, **NIGHT)
    models.pause(conn, "echo", "it crashes")
    models.resume(conn, "echo")
    assert take() is None


def test_what_a_job_says_of_its_window_nobody_else_takes_off(conn: Conn, new_job: NewJob) -> None:
    job_id = new_job(1, family="served by nobody", **NIGHT)
    assert waiting.explain(conn) == 0
    assert note(conn, job_id) == WAITS


def test_many_jobs_open_some_at_a_time_and_past_rows_that_are_locked(
    conn: Conn, new_job: NewJob, open_connection: Callable[[], Conn], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(windows, "JOBS_AT_ONCE", 2)
    made = [new_job(1, **NIGHT) for _ in range(4)]
    other = open_connection()
    with other.transaction():
        other.execute("SELECT FROM job WHERE id = %s FOR UPDATE", (made[1],))
        conn.execute("SET lock_timeout = '2s'")
        assert [windows.flip(conn, CLOSED) for _ in range(3)] == [2, 1, 0]
    assert windows.flip(conn, CLOSED) == 1
    assert windows.groups(conn) == [OPEN]


def test_ended_jobs_are_no_concern_of_windows(conn: Conn, new_job: NewJob) -> None:
    job_id = new_job(1, **NIGHT)
    conn.execute("UPDATE job SET state = 'cancelled', ended_at = now() WHERE id = %s", (job_id,))
    assert windows.groups(conn) == []
