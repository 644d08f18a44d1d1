"""Poison items and broken models under a drain: who fails, who waits, and what a trial decides."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest

from backends.types import decode_error
from store import models
from store.errors import DatabaseUnavailable
from tasks.controller import Controller
from tasks.drain import drain
from tasks.trials import Trials
from tests.tasks.slot import submit
from tests.tasks.test_drain import conn, results_of, slot, state_of
from tests.tasks.test_drain_order import wait_until

__all__ = ["conn", "slot"]  # the fixtures

OpenSlot = Callable[..., Controller]
WriteSpec = Callable[..., None]


@pytest.fixture
def spec(tmp_path: Path) -> WriteSpec:
    """Writes the spec of model `frail`, an echo with options."""

    def write(**options: object) -> None:
        (tmp_path / "specs").mkdir(exist_ok=True)
        lines = "".join(f"  {name}: {value}\n" for name, value in options.items())
        (tmp_path / "specs" / "frail.yaml").write_text(f"name: frail\nfamily: echo\noptions:\n{lines}")

    return write


@pytest.fixture
def frail(spec: WriteSpec) -> None:
    """The engine ends on items that say `poison`, and takes them one by one."""
    spec(crash_on="poison", delay_ms=1)


@contextmanager
def draining(controller: Controller) -> Iterator[None]:
    """Drains again and again, as wake-ups would make it."""

    def work() -> None:
        while not controller.stopping.is_set():
            drain(controller)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        controller.stop()
        thread.join(timeout=60)
        assert not thread.is_alive()


def items(*words: str) -> list[object]:
    return [{"model": "frail", "input": f"{word} {n}"} for n, word in enumerate(words)]


def pauses(conn: psycopg.Connection) -> list[str]:
    return [reason for (reason,) in conn.execute("SELECT reason FROM model_pause").fetchall()]


def failed(conn: psycopg.Connection, job_id: int) -> dict[int, str]:
    results = results_of(conn, job_id)
    return {n: decode_error(data).code for n, (status, data) in results.items() if status != 200}


def try_now(conn: psycopg.Connection, controller: Controller) -> None:
    conn.execute("UPDATE model_pause SET probe_at = now()")
    Trials(controller.signals).step(conn)


def is_held(conn: psycopg.Connection, job_id: int) -> bool:
    """Its model is paused, and no slot has anything of it."""
    live = "SELECT count(*) FROM chunk WHERE job_id = %s AND state = 'running' AND lease_until > now()"
    return bool(pauses(conn)) and conn.execute(live, (job_id,)).fetchone() == (0,)


@pytest.mark.usefixtures("frail")
def test_a_single_item_that_ends_its_engine_twice_fails_with_the_signal_and_pauses_nothing(
    slot: OpenSlot, database_url: str, conn: psycopg.Connection
) -> None:
    job_id = submit(database_url, items("poison"), model="frail")
    drain(slot())
    [(status, data)] = results_of(conn, job_id).values()
    assert status == 500
    assert decode_error(data).code == "engine_crashed"
    assert "SIGSEGV" in decode_error(data).message
    assert pauses(conn) == []


@pytest.mark.usefixtures("frail")
def test_a_model_that_ends_on_one_item_after_the_other_is_paused_and_nothing_burns(
    slot: OpenSlot, database_url: str, conn: psycopg.Connection
) -> None:
    job_id = submit(database_url, items(*["poison"] * 20), model="frail")
    with draining(slot()):
        wait_until(lambda: is_held(conn, job_id), 60)
    assert pauses(conn) == ["its engine crashed on 4 different items in a row (SIGSEGV)"]
    assert results_of(conn, job_id) == {}
    row = conn.execute("SELECT state, ready, note FROM job").fetchone()
    assert row == ("running", False, "its engine crashed on 4 different items in a row (SIGSEGV)")
    assert conn.execute("SELECT max(losses) FROM chunk").fetchone() == (0,)


@pytest.mark.usefixtures("frail")
def test_once_its_model_is_mended_and_resumed_every_item_completes(
    slot: OpenSlot, database_url: str, conn: psycopg.Connection, spec: WriteSpec
) -> None:
    job_id = submit(database_url, items(*["poison"] * 20), model="frail")
    with draining(slot()):
        wait_until(lambda: is_held(conn, job_id), 60)
    spec(delay_ms=1)
    assert models.resume(conn, "frail")
    drain(slot())
    assert len(results_of(conn, job_id)) == 20
    assert failed(conn, job_id) == {}


@pytest.mark.usefixtures("frail")
def test_a_trial_that_passes_while_the_database_goes_away_ends_the_pause_when_it_is_back(
    slot: OpenSlot,
    database_url: str,
    conn: psycopg.Connection,
    spec: WriteSpec,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    job_id = submit(database_url, items(*["poison"] * 8), model="frail")
    with draining(slot()):
        wait_until(lambda: is_held(conn, job_id), 60)
    spec(delay_ms=1)
    passed, calls = models.passed, []

    def away_at_first(conn: psycopg.Connection, model: str) -> bool:
        calls.append(model)
        if len(calls) == 1:
            raise DatabaseUnavailable("for a moment")
        return passed(conn, model)

    monkeypatch.setattr(models, "passed", away_at_first)
    controller = slot()
    try_now(conn, controller)
    with draining(controller):
        wait_until(lambda: state_of(conn, job_id) == "finalizing", 60)
    assert pauses(conn) == []


@pytest.mark.usefixtures("frail")
def test_a_run_of_poison_items_amid_good_ones_fails_and_all_others_complete(
    slot: OpenSlot, database_url: str, conn: psycopg.Connection
) -> None:
    words = ["good"] * 10 + ["poison"] * 6 + ["good"] * 10
    job_id = submit(database_url, items(*words), model="frail")
    controller = slot()

    def settled() -> bool:
        try_now(conn, controller)  # the pauses between trials are the dispatcher's
        return state_of(conn, job_id) == "finalizing"

    with draining(controller):
        wait_until(lambda: pauses(conn), 60)
        wait_until(settled, 90)
    assert failed(conn, job_id) == dict.fromkeys(range(10, 16), "engine_crashed")
    assert len(results_of(conn, job_id)) == 26


@pytest.mark.usefixtures("frail")
def test_a_trial_is_decided_by_what_another_slot_has_computed_before(
    slot: OpenSlot, database_url: str, conn: psycopg.Connection
) -> None:
    good = submit(database_url, items("good"), model="frail")
    drain(slot())
    assert state_of(conn, good) == "finalizing"
    poison = submit(database_url, items(*["poison"] * 4), model="frail")
    controller = slot()  # which has computed nothing
    with draining(controller):
        wait_until(lambda: is_held(conn, poison), 60)
        try_now(conn, controller)
        wait_until(lambda: state_of(conn, poison) == "finalizing", 60)
    assert failed(conn, poison) == dict.fromkeys(range(4), "engine_crashed")
    assert pauses(conn) == []


@pytest.mark.usefixtures("frail")
def test_a_trial_that_fails_pauses_anew_and_still_nothing_burns(
    slot: OpenSlot, database_url: str, conn: psycopg.Connection
) -> None:
    job_id = submit(database_url, items(*["poison"] * 6), model="frail")
    controller = slot()
    with draining(controller):
        wait_until(lambda: is_held(conn, job_id), 60)
        for _ in range(3):
            try_now(conn, controller)
            wait_until(lambda: pauses(conn) and "again on trial (SIGSEGV)" in pauses(conn)[0], 60)
            wait_until(lambda: is_held(conn, job_id), 60)
            conn.execute("UPDATE model_pause SET reason = 'tried'")
    assert results_of(conn, job_id) == {}
    assert conn.execute("SELECT probes FROM model_pause").fetchone() == (3,)


def test_a_model_that_hangs_on_one_item_after_the_other_is_paused_too(
    slot: OpenSlot, database_url: str, conn: psycopg.Connection, spec: WriteSpec
) -> None:
    spec(hang_on="poison")
    job_id = submit(database_url, items(*["poison"] * 8), model="frail")
    with draining(slot(stall_seconds=0.3)):
        wait_until(lambda: is_held(conn, job_id), 90)
    assert pauses(conn) == ["its engine made no progress on 4 different items in a row"]


def test_a_kill_from_outside_is_no_strike_however_often(
    slot: OpenSlot, database_url: str, conn: psycopg.Connection, spec: WriteSpec
) -> None:
    spec(crash_on="poison", crash_signal="SIGKILL")
    job_id = submit(database_url, items("poison", "good"), model="frail")
    controller = slot()
    with draining(controller):
        wait_until(lambda: 1 in results_of(conn, job_id), 60)
        wait_until(lambda: controller.works["frail"].deaths.in_a_row >= 4, 60)
    assert conn.execute("SELECT count(*) FROM strike").fetchone() == (0,)
    assert pauses(conn) == []
    assert failed(conn, job_id) == {}
