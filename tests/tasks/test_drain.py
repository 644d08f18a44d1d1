"""Drains over real Postgres, Redis and an echo engine: claim → feed → record."""

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest

from backends.types import Lane, decode_error, decode_result
from tasks.controller import Controller
from tasks.drain import Drain, drain
from tests.tasks.slot import open_slot, settings_for, submit, text

OpenSlot = Callable[..., Controller]


@pytest.fixture
def slot(database_url: str, redis_url: str, tmp_path: Path) -> Iterator[OpenSlot]:
    """Opens slots on cores of their own; closes them afterwards."""
    opened: list[Controller] = []

    def open_one(**changes: object) -> Controller:
        settings = settings_for(tmp_path, **{"database_url": database_url, "redis_url": redis_url, **changes})
        opened.append(open_slot(settings, core=len(opened)))
        return opened[-1]

    yield open_one
    for controller in opened:
        controller.close()


@pytest.fixture
def conn(database_url: str) -> Iterator[psycopg.Connection]:
    with psycopg.connect(database_url, autocommit=True) as connection:
        yield connection


def results_of(conn: psycopg.Connection, job_id: int) -> dict[int, tuple[int, bytes]]:
    rows = conn.execute("SELECT n, status, data FROM result WHERE job_id = %s", (job_id,)).fetchall()
    return {n: (status, data) for n, status, data in rows}


def state_of(conn: psycopg.Connection, job_id: int) -> str:
    row = conn.execute("SELECT state FROM job WHERE id = %s", (job_id,)).fetchone()
    assert row is not None
    return str(row[0])


def test_every_item_of_a_job_is_recorded_once(
    slot: OpenSlot, database_url: str, conn: psycopg.Connection
) -> None:
    job_id = submit(database_url, [text(n) for n in range(300)])
    drain(slot())
    results = results_of(conn, job_id)
    assert sorted(results) == list(range(300))
    assert {status for status, _ in results.values()} == {200}
    assert len({decode_result(data).vectors for _, data in results.values()}) == 300
    assert state_of(conn, job_id) == "finalizing"
    assert conn.execute("SELECT count(*) FROM chunk WHERE state = 'running'").fetchone() == (0,)


def test_a_bad_item_fails_alone_with_its_own_error(
    slot: OpenSlot, database_url: str, conn: psycopg.Connection
) -> None:
    bodies = [text(0), b"not json", {"model": "echo", "input": ""}, text(3), {"model": "echo"}]
    job_id = submit(database_url, bodies)
    drain(slot())
    results = results_of(conn, job_id)
    assert [results[n][0] for n in range(5)] == [200, 400, 400, 200, 400]
    codes = [decode_error(results[n][1]).code for n in (1, 2, 4)]
    assert codes == ["invalid_json", "empty_input", "missing_required_parameter"]


def test_an_awaited_call_is_completed_by_its_record(
    slot: OpenSlot, database_url: str, conn: psycopg.Connection
) -> None:
    job_id = submit(database_url, [text(1)], lane=Lane.INTERACTIVE, view="call")
    drain(slot())
    assert state_of(conn, job_id) == "completed"


def test_an_interactive_item_overtakes_a_running_bulk_job(
    slot: OpenSlot, database_url: str, conn: psycopg.Connection
) -> None:
    controller = slot()
    bulk = submit(database_url, [text(n) for n in range(100)], model="echo-slow")
    running = threading.Thread(target=drain, args=(controller,))
    running.start()
    while not results_of(conn, bulk):
        time.sleep(0.02)
    call = submit(database_url, [text(0)], model="echo-slow", lane=Lane.INTERACTIVE, view="call")
    controller.signals.poke("echo")
    while state_of(conn, call) != "completed":
        time.sleep(0.005)
    assert state_of(conn, bulk) == "running"
    running.join(timeout=30)
    assert state_of(conn, bulk) == "finalizing"


def test_a_drain_whose_time_is_up_leaves_its_engine_at_work_and_the_next_goes_on(
    slot: OpenSlot, database_url: str, conn: psycopg.Connection
) -> None:
    job_id = submit(database_url, [text(n) for n in range(60)], model="echo-slow")
    controller = slot(drain_seconds=0.5)
    drains = 0
    while state_of(conn, job_id) != "finalizing":
        drain(controller)
        drains += 1
        assert drains < 50
    assert drains > 1
    assert len(results_of(conn, job_id)) == 60
    assert conn.execute("SELECT max(epoch) FROM chunk").fetchone() == (1,)


def test_a_slot_that_stops_records_what_it_has_and_hands_the_rest_back(
    slot: OpenSlot, database_url: str, conn: psycopg.Connection
) -> None:
    job_id = submit(database_url, [text(n) for n in range(100)], model="echo-slow")
    first = slot()
    running = threading.Thread(target=drain, args=(first,))
    running.start()
    while not results_of(conn, job_id):
        time.sleep(0.02)
    first.stop()
    running.join(timeout=10)
    assert not running.is_alive()
    assert 0 < len(results_of(conn, job_id)) < 100
    assert conn.execute("SELECT count(*) FROM result WHERE status <> 200").fetchone() == (0,)
    drain(slot())
    assert len(results_of(conn, job_id)) == 100
    assert conn.execute("SELECT max(losses) FROM chunk").fetchone() == (0,)


def test_a_lost_chunk_is_taken_over_and_its_old_holder_is_fenced(
    slot: OpenSlot, database_url: str, conn: psycopg.Connection
) -> None:
    job_id = submit(database_url, [text(n) for n in range(40)], model="echo-slow")
    stale = slot(drain_seconds=0.4)
    drain(stale)  # its time is up; the engine holds the rest
    conn.execute("UPDATE chunk SET lease_until = now() - interval '1 second' WHERE state = 'running'")
    drain(slot())
    assert len(results_of(conn, job_id)) == 40
    Drain(stale).finish()  # what the old holder computed meanwhile is void
    assert not stale.in_hand()
    assert conn.execute("SELECT done, failed FROM job_progress WHERE job_id = %s", (job_id,)).fetchone() == (
        40,
        0,
    )


def test_a_cancelled_job_is_let_go_of_while_it_runs(
    slot: OpenSlot, database_url: str, conn: psycopg.Connection
) -> None:
    job_id = submit(database_url, [text(n) for n in range(1000)], model="echo-slow")
    controller = slot()
    running = threading.Thread(target=drain, args=(controller,))
    running.start()
    while not results_of(conn, job_id):
        time.sleep(0.02)
    conn.execute("UPDATE job SET state = 'cancelling', ready = false WHERE id = %s", (job_id,))
    running.join(timeout=10)
    assert not running.is_alive()
    assert not controller.in_hand()
    assert len(results_of(conn, job_id)) < 1000


def test_a_model_that_cannot_be_loaded_fails_its_job_with_the_reason(
    slot: OpenSlot, database_url: str, conn: psycopg.Connection
) -> None:
    job_id = submit(database_url, [text(0)], model="gone")
    drain(slot())
    assert state_of(conn, job_id) == "failed"
    row = conn.execute("SELECT errors FROM job WHERE id = %s", (job_id,)).fetchone()
    assert row is not None
    assert "gone" in row[0]["data"][0]["message"]


def test_a_drain_goes_on_without_redis(
    slot: OpenSlot, database_url: str, conn: psycopg.Connection, tmp_path: Path
) -> None:
    job_id = submit(database_url, [text(n) for n in range(50)])
    drain(slot(redis_url=f"unix://{tmp_path}/nobody.sock"))
    assert len(results_of(conn, job_id)) == 50


def test_a_drain_rides_out_a_lost_database_connection(
    slot: OpenSlot, database_url: str, conn: psycopg.Connection
) -> None:
    job_id = submit(database_url, [text(n) for n in range(60)], model="echo-slow")
    controller = slot()
    running = threading.Thread(target=drain, args=(controller,))
    running.start()
    while not results_of(conn, job_id):
        time.sleep(0.02)
    killed = conn.execute(
        "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
        " WHERE datname = current_database() AND application_name LIKE 'batchyard slot%'"
    ).fetchone()
    assert killed is not None
    assert killed[0] >= 1
    running.join(timeout=30)
    assert len(results_of(conn, job_id)) == 60


def test_a_slot_leaves_the_parts_of_a_large_call_to_others_beyond_two_seconds_of_work(
    slot: OpenSlot, database_url: str, conn: psycopg.Connection
) -> None:
    submit(database_url, [text(n) for n in range(300)], model="echo-slow", lane=Lane.INTERACTIVE)
    controller = slot(drain_seconds=0.3)
    while not results_of(conn, 1):  # its engine may take longer than a drain to start
        drain(controller)
    row = conn.execute("SELECT next_part FROM job").fetchone()
    assert row is not None
    assert 1 < row[0] < 200


def test_a_second_wake_up_during_a_drain_returns_at_once(slot: OpenSlot, database_url: str) -> None:
    controller = slot()
    with controller.lock:
        before = time.monotonic()
        drain(controller)
        assert time.monotonic() - before < 1
