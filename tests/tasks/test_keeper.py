"""The threads that keep a slot: its lease, and drains in Celery's stead."""

import os
import signal
import time
from collections.abc import Callable

import psycopg
import pytest

from store import paces
from tasks import keeper
from tasks.controller import Controller
from tasks.drain import drain
from tasks.keeper import keep, wait_for
from tests.tasks.slot import submit, text
from tests.tasks.test_drain import conn, results_of, slot, state_of
from tests.tasks.test_drain_order import wait_until

__all__ = ["conn", "slot"]  # the fixtures

OpenSlot = Callable[..., Controller]


def test_the_lease_is_renewed_also_while_the_stand_in_drains(
    slot: OpenSlot, database_url: str, conn: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keeper, "TICK_SECONDS", 0.1)
    controller = slot(drain_seconds=3.0, lease_seconds=1.5)
    conn.execute("UPDATE slot SET lease_until = now() + interval '1.5 s'")
    submit(database_url, [text(n) for n in range(1000)], model="echo-slow")
    controller.signals._silent_until = time.monotonic() + 60  # as if Redis were away
    threads = keep(controller)
    until = time.monotonic() + 4
    while time.monotonic() < until:
        assert conn.execute("SELECT count(*) FROM slot WHERE lease_until > now()").fetchone() == (1,)
        time.sleep(0.1)
    assert results_of(conn, 1)
    controller.stop()
    wait_for(threads, 10)


def test_parts_in_hand_are_finished_when_no_wake_up_comes(
    slot: OpenSlot, database_url: str, conn: psycopg.Connection
) -> None:
    job_id = submit(database_url, [text(n) for n in range(30)], model="echo-slow")
    controller = slot(drain_seconds=0.2)
    drain(controller)
    assert controller.in_hand()
    threads = keep(controller)
    wait_until(lambda: state_of(conn, job_id) == "finalizing")
    controller.stop()
    wait_for(threads, 10)


def test_a_slot_that_was_removed_ends_its_process(
    slot: OpenSlot, conn: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended: list[tuple[int, int]] = []
    monkeypatch.setattr(os, "kill", lambda pid, number: ended.append((pid, number)))
    controller = slot(lease_seconds=0.6)
    conn.execute("DELETE FROM slot")
    threads = keep(controller)
    wait_until(lambda: ended)
    assert ended == [(os.getpid(), signal.SIGTERM)]
    controller.stop()
    wait_for(threads, 10)


def test_what_a_slot_has_measured_is_there_for_the_next(
    slot: OpenSlot, database_url: str, conn: psycopg.Connection
) -> None:
    controller = slot(lease_seconds=0.3)
    submit(database_url, [text(n) for n in range(30)], model="echo-slow")
    drain(controller)
    threads = keep(controller)
    try:
        wait_until(lambda: paces.load(conn))
    finally:
        controller.stop()
        wait_for(threads, 10)
    assert paces.load(conn)["echo-slow"] == controller.pace.seconds["echo-slow"] > 0.01
