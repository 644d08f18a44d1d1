"""The dispatcher opens and closes windows by the clock, and a slot lets go of a job that has closed."""

import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg

from store import windows
from tasks.controller import Controller
from tasks.drain import drain
from tasks.windows import Windows
from tests.tasks.slot import submit, text
from tests.tasks.test_drain import conn, results_of, slot, state_of
from tests.tasks.test_drain_order import wait_until

__all__ = ["conn", "slot"]  # the fixtures

Conn = psycopg.Connection[Any]
NOON, NIGHT = (datetime(2026, 1, 1, hour, tzinfo=UTC) for hour in (12, 23))


def give_window(conn: Conn, window: str, timezone: str = "UTC") -> None:
    """To all jobs, which are closed as one that was submitted with it would be."""
    conn.execute(
        "UPDATE job SET run_window = %s, timezone = %s, window_open = false, ready = false",
        (window, timezone),
    )


def test_jobs_open_and_close_by_the_clock_on_the_wall(conn: Conn, database_url: str) -> None:
    submit(database_url, [text(0)])
    give_window(conn, "22:00-06:00")

    def is_open_at(now: datetime) -> bool:
        Windows(clock=lambda _: now).step(conn)
        return windows.groups(conn)[0].is_open

    assert [is_open_at(now) for now in (NOON, NIGHT, NOON)] == [False, True, False]


def test_the_clock_is_the_databases(conn: Conn, database_url: str) -> None:
    submit(database_url, [text(0)])
    now = windows.clock(conn)
    spans = [timedelta(hours=hours) for hours in (-3, 3)]
    give_window(conn, "-".join(f"{now + span:%H:%M}" for span in spans))
    Windows().step(conn)
    assert windows.groups(conn)[0].is_open


def test_a_window_that_is_unknown_here_holds_up_no_other(conn: Conn, database_url: str) -> None:
    submit(database_url, [text(0)])
    give_window(conn, "00:00-23:00", "America/Atlantis")
    submit(database_url, [text(0)])
    conn.execute("UPDATE job SET run_window = '22:00-06:00', timezone = 'UTC', window_open = false "
                 "WHERE run_window IS NULL")  # fmt: skip
    Windows(clock=lambda _: NIGHT).step(conn)
    assert [(group.timezone, group.is_open) for group in windows.groups(conn)] == [
        ("America/Atlantis", False),
        ("UTC", True),
    ]


def test_a_closing_window_stops_feeding_and_an_opening_one_goes_on(
    slot: Callable[..., Controller], conn: Conn, database_url: str
) -> None:
    job_id = submit(database_url, [text(n) for n in range(300)], model="echo-slow")
    controller = slot(drain_seconds=60.0)
    thread = threading.Thread(target=drain, args=(controller,))
    thread.start()
    try:
        wait_until(lambda: results_of(conn, job_id))
        conn.execute("UPDATE job SET run_window = '22:00-06:00', timezone = 'UTC'")
        Windows(clock=lambda _: NOON).step(conn)
        wait_until(lambda: not controller.in_hand())
        assert state_of(conn, job_id) == "running"
        assert len(results_of(conn, job_id)) < 300
        Windows(clock=lambda _: NIGHT).step(conn)
        controller.signals.poke("echo")
        wait_until(lambda: state_of(conn, job_id) == "finalizing")
    finally:
        controller.stop()
        thread.join(timeout=30)
    assert len(results_of(conn, job_id)) == 300
