"""What a drain notices while it runs: cancels, jobs that must wait, engines that grow; and what it tells."""

import time
from collections import Counter
from collections.abc import Callable

import psycopg
import pytest

from backends.types import Lane
from store import slots
from tasks.controller import Controller
from tasks.drain import drain
from tasks.work import Work
from tests.tasks.slot import cancel, submit, text
from tests.tasks.test_drain import conn, results_of, slot, state_of
from tests.tasks.test_drain_order import draining, wait_until
from tests.tasks.test_strikes import WriteSpec, failed, items, spec

__all__ = ["conn", "slot", "spec"]  # the fixtures

OpenSlot = Callable[..., Controller]


def leased(conn: psycopg.Connection, job_id: int) -> int:
    query = "SELECT count(*) FROM chunk WHERE job_id = %s AND state = 'running' AND lease_until > now()"
    row = conn.execute(query, (job_id,)).fetchone()
    assert row is not None
    return int(row[0])


def strikes(conn: psycopg.Connection) -> int:
    row = conn.execute("SELECT count(*) FROM strike").fetchone()
    assert row is not None
    return int(row[0])


def test_a_job_that_must_wait_is_let_go_of_and_goes_on_later(
    slot: OpenSlot, database_url: str, conn: psycopg.Connection
) -> None:
    job_id = submit(database_url, [text(n) for n in range(400)], model="echo-slow")
    controller = slot(drain_seconds=60)
    with draining(controller):
        wait_until(lambda: results_of(conn, job_id))
        conn.execute("UPDATE job SET ready = false, window_open = false")
        assert wait_until(lambda: leased(conn, job_id) == 0) < 10
        before = len(results_of(conn, job_id))
        assert before < 400
        time.sleep(0.5)
        assert len(results_of(conn, job_id)) == before
    assert conn.execute("SELECT max(losses) FROM chunk").fetchone() == (0,)
    assert state_of(conn, job_id) == "running"
    conn.execute("UPDATE job SET ready = true, window_open = true")
    drain(slot())
    assert len(results_of(conn, job_id)) == 400


def test_what_is_in_flight_of_a_job_that_must_wait_is_finished_and_recorded(
    slot: OpenSlot, database_url: str, conn: psycopg.Connection, spec: WriteSpec
) -> None:
    spec(sleep_on="slow", sleep_ms=2500, delay_ms=1)
    job_id = submit(database_url, items("slow", "quick", "quick"), model="frail")
    controller = slot(drain_seconds=60)
    with draining(controller):
        wait_until(lambda: "frail" in controller.works and controller.works["frail"].engine)
        engine = controller.works["frail"].engine
        assert engine is not None
        wait_until(lambda: engine.in_flight)
        conn.execute("UPDATE job SET ready = false, window_open = false")
        wait_until(lambda: leased(conn, job_id) == 0)
        assert list(results_of(conn, job_id)) == [0]
        assert failed(conn, job_id) == {}
        assert controller.works["frail"].engine is engine


@pytest.mark.parametrize("poked", [True, False])
def test_a_cancelled_item_that_does_not_end_costs_the_engine_its_life_and_nobody_a_strike(
    slot: OpenSlot, database_url: str, conn: psycopg.Connection, spec: WriteSpec, poked: bool
) -> None:
    spec(hang_on="stuck")
    stuck = submit(database_url, items("stuck"), model="frail")
    controller = slot(drain_seconds=60)
    with draining(controller):
        wait_until(lambda: "frail" in controller.works and controller.works["frail"].engine)
        engine = controller.works["frail"].engine
        assert engine is not None
        wait_until(lambda: engine.in_flight)
        others = submit(database_url, items("good", "fine"), model="frail")
        cancel(database_url, stuck)
        if poked:
            controller.signals.poke("echo")
        wait_until(lambda: engine.state == "dead")
        wait_until(lambda: state_of(conn, others) == "finalizing")
    assert failed(conn, others) == {}
    assert strikes(conn) == 0
    assert results_of(conn, stuck) == {}


@pytest.mark.timing
def test_cancelling_a_large_batch_stops_its_compute_within_two_seconds(
    slot: OpenSlot, database_url: str, conn: psycopg.Connection, spec: WriteSpec
) -> None:
    spec(sleep_on="item", sleep_ms=30_000, delay_ms=1)  # one native call of half a minute
    job_id = submit(database_url, items(*["item"] * 2000), model="frail")
    controller = slot(drain_seconds=60)
    with draining(controller):
        wait_until(lambda: "frail" in controller.works and controller.works["frail"].engine)
        engine = controller.works["frail"].engine
        assert engine is not None
        wait_until(lambda: engine.in_flight)
        cancel(database_url, job_id)
        controller.signals.poke("echo")
        assert wait_until(lambda: engine.state == "dead") < 2


def test_an_engine_that_outgrows_its_share_is_begun_anew_between_items(
    slot: OpenSlot, database_url: str, conn: psycopg.Connection, spec: WriteSpec
) -> None:
    spec(leak_on="leaky", leak_mb=60, delay_ms=300)
    job_id = submit(database_url, items(*["tight"] * 3, *["leaky"] * 5, *["tight"] * 3), model="frail")
    controller = slot(drain_seconds=90, memory_mb=100)
    pids = set()

    def done() -> bool:
        engine = controller.works["frail"].engine if "frail" in controller.works else None
        pids.add(engine.pid if engine else None)
        return state_of(conn, job_id) == "finalizing"

    with draining(controller):
        wait_until(done, 80)
    assert len(pids - {None}) > 1
    assert failed(conn, job_id) == {}
    assert strikes(conn) == 0


def test_an_engine_that_shrinks_again_before_it_is_ended_keeps_no_part(
    slot: OpenSlot,
    database_url: str,
    conn: psycopg.Connection,
    spec: WriteSpec,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    spec(sleep_on="slow", sleep_ms=5000, delay_ms=1)
    job_id = submit(database_url, items("slow", "quick", "quick", "quick"), model="frail")
    looks: Counter[int] = Counter()

    def large_for_once(work: Work) -> float:
        assert work.engine is not None
        looks[work.engine.pid] += bool(work.engine.in_flight)
        return 300.0 if looks[work.engine.pid] == 2 else 100.0

    monkeypatch.setattr("tasks.sweep.resident_mb", large_for_once)
    with draining(slot(drain_seconds=90, memory_mb=200)):
        wait_until(lambda: state_of(conn, job_id) == "finalizing", 80)
    assert max(looks.values()) > 2
    assert failed(conn, job_id) == {}


def test_a_kill_of_an_engine_that_is_too_large_is_a_strike(
    slot: OpenSlot,
    database_url: str,
    conn: psycopg.Connection,
    spec: WriteSpec,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As the kernel does when memory ends."""
    spec(hang_on="greedy")
    job_id = submit(database_url, items("greedy"), model="frail")
    looks: Counter[int] = Counter()

    def grown(work: Work) -> float:
        assert work.engine is not None
        looks[work.engine.pid] += 1
        return 100.0 if looks[work.engine.pid] == 1 else 300.0

    monkeypatch.setattr("tasks.sweep.resident_mb", grown)
    controller = slot(drain_seconds=60, memory_mb=200)
    with draining(controller):
        for expected in (1, 2):
            wait_until(lambda: "frail" in controller.works and controller.works["frail"].too_large)
            engine = controller.works["frail"].engine
            assert engine is not None
            wait_until(lambda: engine.in_flight)  # noqa: B023
            engine._process.kill()
            wait_until(lambda: strikes_of(conn, job_id) == expected)  # noqa: B023
        wait_until(lambda: results_of(conn, job_id))
    assert failed(conn, job_id) == {0: "engine_crashed"}


def strikes_of(conn: psycopg.Connection, job_id: int) -> int:
    row = conn.execute(
        "SELECT coalesce(sum(count), 0)::int FROM strike WHERE job_id = %s", (job_id,)
    ).fetchone()
    assert row is not None
    return int(row[0])


def test_a_slot_says_what_it_does_and_afterwards_that_it_does_nothing(
    slot: OpenSlot, database_url: str, conn: psycopg.Connection
) -> None:
    job_id = submit(database_url, [text(n) for n in range(250)], model="echo-slow")
    controller = slot(drain_seconds=60)
    suffix = conn.execute("SELECT suffix FROM job").fetchone()
    assert suffix is not None
    with draining(controller):
        wait_until(lambda: controller.working_on)
        status = controller.status()
        assert status.working_on is not None
        assert status.working_on.startswith(f"job_{suffix[0]}:")
        assert 0 <= int(status.working_on.partition(":")[2]) < 250
        assert list(status.loaded) == ["echo-slow"]
        assert status.rate is not None
        assert 0 < status.rate < 50
        assert status.memory_mb is not None
        assert 10 < status.memory_mb < 1000
        assert slots.renew(conn, controller.slot.slot_id, 60, status)
        wait_until(lambda: state_of(conn, job_id) == "finalizing", 60)
    assert controller.status().working_on is None


def test_what_computing_took_of_a_core_is_recorded(
    slot: OpenSlot, database_url: str, conn: psycopg.Connection
) -> None:
    bulk = submit(database_url, [{"model": "echo", "input": ["a b c"] * 200} for _ in range(300)])
    call = submit(database_url, [text(0)], lane=Lane.INTERACTIVE, view="call")
    controller = slot()
    before = time.monotonic()
    drain(controller)
    elapsed_ms = 1000 * (time.monotonic() - before)
    cpu_ms: dict[int, int] = dict(conn.execute("SELECT job_id, cpu_ms FROM job_progress").fetchall())
    assert 100 < cpu_ms[bulk] < elapsed_ms  # an echo of 200 inputs takes a millisecond or more
    assert cpu_ms[call] < cpu_ms[bulk]
