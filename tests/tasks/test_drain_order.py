"""What a drain does first, and what it does while something is away: nobody starves, nothing spins."""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest

from backends.types import Lane
from store import db
from store.errors import DatabaseUnavailable
from tasks.controller import Controller
from tasks.drain import Drain, drain
from tasks.finalization import Finalizer
from tasks.launch import Launch
from tasks.looking import Looker
from tasks.signals import ANSWERS, connect, decode_answered
from tests.tasks.slot import cancel, submit, submit_in_parts, text
from tests.tasks.test_drain import conn, results_of, slot, state_of

__all__ = ["conn", "slot"]  # the fixtures

OpenSlot = Callable[..., Controller]
# Calls enough for half a minute: the share of bulk is kept over a minute, and a turn in which a busy machine
# ends only the calls that it had begun is made up for in the next ones.
ENDLESS = 2000


@contextmanager
def draining(controller: Controller) -> Iterator[None]:
    thread = threading.Thread(target=drain, args=(controller,))
    thread.start()
    try:
        yield
    finally:
        controller.stop()
        thread.join(timeout=30)
        assert not thread.is_alive()


def wait_until(condition: Callable[[], object], seconds: float = 60.0) -> float:
    begun = time.monotonic()
    while not condition():
        assert time.monotonic() - begun < seconds, "it did not happen"
        time.sleep(0.01)
    return time.monotonic() - begun


def cpu_share(seconds: float) -> float:
    before = time.process_time()
    time.sleep(seconds)
    return (time.process_time() - before) / seconds


def test_a_call_is_answered_with_all_its_parts_also_when_the_first_one_comes_last(
    slot: OpenSlot, database_url: str, redis_url: str, conn: psycopg.Connection
) -> None:
    heard = connect(redis_url).pubsub()
    heard.subscribe(ANSWERS)
    job_id = submit_in_parts(database_url, 2)
    first, second = slot(), slot()
    Drain(first)._looker.look()  # holds part 0
    drain(second)  # computes part 1
    assert state_of(conn, job_id) == "running"
    drain(first)
    assert state_of(conn, job_id) == "completed"
    messages = iter(lambda: heard.get_message(timeout=1.0), None)
    [answered] = [decode_answered(message["data"]) for message in messages if message["type"] == "message"]
    assert (answered.job_id, answered.data) == (job_id, None)


def test_lost_chunks_are_taken_over_before_new_work(
    slot: OpenSlot, database_url: str, conn: psycopg.Connection
) -> None:
    lost = submit(database_url, [text(n) for n in range(8)], model="echo-slow")
    Looker(slot()).look()  # its holder is never heard of again
    conn.execute("UPDATE chunk SET lease_until = now() - interval '1 second'")
    submit(database_url, [text(n) for n in range(600)], model="echo-slow")
    with draining(slot(drain_seconds=60)):
        wait_until(lambda: len(results_of(conn, lost)) == 8)
        assert conn.execute("SELECT count(*) FROM result").fetchone()[0] < 200  # type: ignore[index]


def test_an_interactive_part_does_not_wait_for_all_suspects(
    slot: OpenSlot, database_url: str, conn: psycopg.Connection
) -> None:
    job_id = submit(database_url, [text(n) for n in range(200)], model="echo-slow")
    lost = slot()
    lost.pace.measured("echo-slow", parts=10, seconds=0.2)
    Looker(lost).look()
    conn.execute("UPDATE chunk SET losses = 5, lease_until = now() - interval '1 second'")
    controller = slot(drain_seconds=60)
    with draining(controller):
        wait_until(lambda: results_of(conn, job_id))
        call = submit(database_url, [text(0)], model="echo-slow", lane=Lane.INTERACTIVE, view="call")
        controller.signals.poke("echo")
        wait_until(lambda: state_of(conn, call) == "completed")
        assert len(results_of(conn, job_id)) < 100


@pytest.mark.parametrize("wait", [0.0, 0.4, 0.8])
def test_a_cancelled_job_is_settled_long_before_its_lease_ends(
    slot: OpenSlot, database_url: str, conn: psycopg.Connection, wait: float
) -> None:
    job_id = submit(database_url, [text(n) for n in range(1000)], model="echo-slow")
    controller = slot(drain_seconds=60)
    finalizer = Finalizer(controller.signals)

    def settled() -> bool:
        finalizer.step(conn)
        return state_of(conn, job_id) == "cancelled"

    with draining(controller):
        wait_until(lambda: results_of(conn, job_id))
        time.sleep(wait)
        cancel(database_url, job_id)
        assert wait_until(settled) < 5


def test_a_drain_is_quiet_while_the_database_is_away(
    slot: OpenSlot, database_url: str, conn: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    job_id = submit(database_url, [text(n) for n in range(300)], model="echo-slow")
    controller, connect_ = slot(drain_seconds=60), db.connect

    def away(*_: object, **__: object) -> None:
        raise DatabaseUnavailable("away")

    with draining(controller):
        wait_until(lambda: results_of(conn, job_id))
        monkeypatch.setattr(db, "connect", away)
        controller.conn.close()
        time.sleep(0.3)
        assert cpu_share(1.5) < 0.5
        monkeypatch.setattr(db, "connect", connect_)
        wait_until(lambda: state_of(conn, job_id) == "finalizing")
    assert len(results_of(conn, job_id)) == 300


def test_models_change_without_waiting_for_the_clock(
    slot: OpenSlot, database_url: str, conn: psycopg.Connection, tmp_path: Path
) -> None:
    controller = slot(drain_seconds=60, linger_seconds=3.0)
    for name in "abcd":
        (tmp_path / "specs" / f"{name}.yaml").write_text(f"name: {name}\nfamily: echo\n")
    with draining(controller):
        warm = [submit(database_url, [text(0)], model=name) for name in "abcd"]
        controller.signals.poke("echo")
        wait_until(lambda: all(state_of(conn, job_id) == "finalizing" for job_id in warm))
        changing = [submit(database_url, [text(0)], model=name) for name in "abcdabcd"]
        controller.signals.poke("echo")
        seconds = wait_until(lambda: all(state_of(conn, job_id) == "finalizing" for job_id in changing))
    assert seconds < 2  # eight changes; each used to wait for the look of the next second


def test_an_error_of_ours_leaves_no_slot_that_seems_to_listen(
    slot: OpenSlot, database_url: str, conn: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    job_id = submit(database_url, [text(n) for n in range(20)])
    controller = slot()
    with monkeypatch.context() as patch:
        patch.setattr(Looker, "look", lambda _: 1 / 0)
        drain(controller)
    assert controller.signals.poke("echo") == 0
    drain(controller)
    assert len(results_of(conn, job_id)) == 20


def test_a_pause_of_the_machine_is_no_hang(
    slot: OpenSlot, database_url: str, conn: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Controller and engine are stopped together, for longer than a silent call may take."""
    monkeypatch.setattr("tasks.drain.STOPPED_SECONDS", 1.0)
    job_id = submit(database_url, [text(n) for n in range(100)], model="echo-slow")
    controller = slot(drain_seconds=60, stall_seconds=1.0)
    with draining(controller):
        wait_until(lambda: results_of(conn, job_id))
        engine = controller.works["echo-slow"].engine
        assert engine is not None
        script = (
            "import os, signal, sys, time\n"
            "ours, engine = int(sys.argv[1]), int(sys.argv[2])\n"
            "os.kill(engine, signal.SIGSTOP); os.kill(ours, signal.SIGSTOP)\n"
            "time.sleep(2.5)\n"
            "os.kill(ours, signal.SIGCONT); os.kill(engine, signal.SIGCONT)\n"
        )
        subprocess.run([sys.executable, "-c", script, str(os.getpid()), str(engine.pid)], check=True)
        wait_until(lambda: state_of(conn, job_id) == "finalizing")
    assert conn.execute("SELECT count(*) FROM strike").fetchone() == (0,)


def test_calls_without_end_do_not_starve_a_batch(
    slot: OpenSlot, database_url: str, conn: psycopg.Connection
) -> None:
    calls = submit(database_url, [text(n) for n in range(ENDLESS)], model="echo-slow", lane=Lane.INTERACTIVE)
    batch = submit(database_url, [text(n) for n in range(20)], model="echo-slow")
    with draining(slot(drain_seconds=60)):
        wait_until(lambda: state_of(conn, batch) == "finalizing")
        assert 0 < len(results_of(conn, calls)) < ENDLESS * 3 / 4
    assert state_of(conn, calls) == "running"


def test_jobs_of_one_item_get_the_share_of_bulk_too(
    slot: OpenSlot, database_url: str, conn: psycopg.Connection
) -> None:
    calls = submit(database_url, [text(n) for n in range(ENDLESS)], model="echo-slow", lane=Lane.INTERACTIVE)
    jobs = [submit(database_url, [text(n)], model="echo-slow") for n in range(20)]
    with draining(slot(drain_seconds=90)):
        wait_until(lambda: all(state_of(conn, job_id) == "finalizing" for job_id in jobs))
        assert len(results_of(conn, calls)) < ENDLESS * 3 / 4


def test_a_batch_without_end_does_not_starve_calls(
    slot: OpenSlot, database_url: str, conn: psycopg.Connection
) -> None:
    batch = submit(database_url, [text(n) for n in range(800)], model="echo-slow")
    controller = slot(drain_seconds=60)
    with draining(controller):
        wait_until(lambda: results_of(conn, batch))
        calls = submit(database_url, [text(n) for n in range(50)], model="echo-slow", lane=Lane.INTERACTIVE)
        controller.signals.poke("echo")
        wait_until(lambda: state_of(conn, calls) == "finalizing")
        assert len(results_of(conn, batch)) < 300


def test_calls_of_a_model_that_is_loaded_do_not_wait_for_the_download_of_another(
    slot: OpenSlot,
    database_url: str,
    conn: psycopg.Connection,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    controller, downloaded = slot(drain_seconds=90), threading.Event()
    (tmp_path / "specs" / "large.yaml").write_text("name: large\nfamily: echo\n")
    step = Launch.step
    monkeypatch.setattr(
        Launch, "step", lambda own: step(own) if own.spec.name == "echo" or downloaded.is_set() else None
    )

    def call(model: str) -> int:
        job_id = submit(database_url, [text(0)], model=model, lane=Lane.INTERACTIVE, view="call")
        controller.signals.poke("echo")
        return job_id

    with draining(controller):
        first = call("echo")
        wait_until(lambda: state_of(conn, first) == "completed")
        waiting = [call("large") for _ in range(2)]
        wait_until(lambda: "large" in controller.works)
        others = [call("echo") for _ in range(5)]
        wait_until(lambda: all(state_of(conn, job_id) == "completed" for job_id in others))
        downloaded.set()
        wait_until(lambda: all(state_of(conn, job_id) == "completed" for job_id in waiting))


def test_calls_do_not_keep_a_batch_going_when_it_is_the_turn_of_another_model(
    slot: OpenSlot, database_url: str, conn: psycopg.Connection
) -> None:
    long = submit(database_url, [text(n) for n in range(2000)], model="echo-slow")
    controller = slot(drain_seconds=90)
    seen = 0
    with draining(controller):
        wait_until(lambda: results_of(conn, long))
        urgent = submit(database_url, [text(0)])
        conn.execute("UPDATE job SET priority = 10 WHERE id = %s", (urgent,))

        def done() -> bool:
            nonlocal seen
            if len(results_of(conn, long)) > seen:  # several calls a second, and the batch goes on
                seen = len(results_of(conn, long))
                submit(database_url, [text(0)], model="echo-slow", lane=Lane.INTERACTIVE, view="call")
                controller.signals.poke("echo")
            return state_of(conn, urgent) == "finalizing"

        wait_until(done, 80)
        assert len(results_of(conn, long)) < 1500
