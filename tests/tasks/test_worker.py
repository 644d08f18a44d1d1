"""A slot's process: a real Celery worker, woken, pinged, stopped and killed."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import psycopg
import pytest

from backends.types import Lane
from configs.settings import Settings
from tasks.app import make_app, send_wake_up
from tests.tasks.slot import settings_for, submit, text
from tests.tasks.test_drain import conn, results_of, state_of

__all__ = ["conn"]  # the fixture

StartWorker = Callable[..., subprocess.Popen[bytes]]
COMMAND = (sys.executable, "-P", "-m", "cli.main", "worker", "--families", "echo")
LINGER_SECONDS = "0.3"


@pytest.fixture
def settings(database_url: str, redis_url: str, tmp_path: Path) -> Settings:
    return settings_for(tmp_path, database_url=database_url, redis_url=redis_url)


@pytest.fixture
def start(settings: Settings, tmp_path: Path, conn: psycopg.Connection) -> Iterator[StartWorker]:
    """Starts workers and waits for their slots; ends them afterwards."""
    started: list[subprocess.Popen[bytes]] = []

    def start_one(*options: str, wait: bool = True) -> subprocess.Popen[bytes]:
        env = {
            **os.environ,
            "BATCHYARD_HOME": str(settings.home),
            "BATCHYARD_DATABASE_URL": settings.database_url or "",
            "BATCHYARD_REDIS_URL": settings.redis_url or "",
            "BATCHYARD_LINGER_SECONDS": LINGER_SECONDS,
            "BATCHYARD_STOP_SECONDS": "2",
        }
        with (tmp_path / f"worker{len(started)}.log").open("wb") as output:
            process = subprocess.Popen((*COMMAND, *options), env=env, stdout=output, stderr=output)
        started.append(process)
        if wait:
            wait_until(lambda: is_registered(conn, process.pid))
        return process

    yield start_one
    for process in started:
        process.kill()
        process.wait()


def wait_until(condition: Callable[[], object], seconds: float = 30.0) -> None:
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, "it did not happen"
        time.sleep(0.02)


def is_registered(conn: psycopg.Connection, pid: int) -> bool:
    return conn.execute("SELECT FROM slot WHERE pid = %s", (pid,)).fetchone() is not None


def test_a_wake_up_is_drained_and_so_is_the_next(
    start: StartWorker, settings: Settings, database_url: str, conn: psycopg.Connection
) -> None:
    start()
    app = make_app(settings)
    for _ in range(3):
        job_id = submit(database_url, [text(n) for n in range(5)])
        send_wake_up(app, "echo")
        wait_until(lambda: state_of(conn, job_id) == "finalizing")  # noqa: B023
        time.sleep(float(LINGER_SECONDS) + 0.2)  # the drain has ended


def test_control_commands_are_answered_while_a_drain_runs(
    start: StartWorker, settings: Settings, database_url: str, conn: psycopg.Connection
) -> None:
    start()
    app = make_app(settings)
    job_id = submit(database_url, [text(n) for n in range(200)], model="echo-slow")
    send_wake_up(app, "echo")
    wait_until(lambda: results_of(conn, job_id))
    assert len(app.control.ping(timeout=2.0)) == 1
    assert state_of(conn, job_id) == "running"


def test_a_terminated_worker_hands_back_what_it_holds_and_gives_up_its_cores(
    start: StartWorker, settings: Settings, database_url: str, conn: psycopg.Connection
) -> None:
    process = start()
    job_id = submit(database_url, [text(n) for n in range(400)], model="echo-slow")
    send_wake_up(make_app(settings), "echo")
    wait_until(lambda: results_of(conn, job_id))
    engines = psutil.Process(process.pid).children()
    assert engines
    process.terminate()
    assert process.wait(timeout=10) == 0
    assert not any(engine.is_running() for engine in engines)
    assert conn.execute("SELECT count(*) FROM slot").fetchone() == (0,)
    assert conn.execute(
        "SELECT count(*) FROM chunk WHERE state = 'running' AND lease_until > now()"
    ).fetchone() == (0,)
    assert conn.execute("SELECT coalesce(max(losses), 0) FROM chunk").fetchone() == (0,)


def test_a_terminated_worker_hands_back_an_item_that_does_not_end_without_a_strike(
    start: StartWorker, settings: Settings, database_url: str, conn: psycopg.Connection, tmp_path: Path
) -> None:
    (tmp_path / "specs" / "stuck.yaml").write_text("name: stuck\nfamily: echo\noptions: {hang_on: never}\n")
    process = start()
    job_id = submit(database_url, [text(0), {"model": "stuck", "input": "never"}], model="stuck")
    send_wake_up(make_app(settings), "echo")
    wait_until(lambda: conn.execute("SELECT 1 FROM slot WHERE working_on IS NOT NULL").fetchone())
    process.terminate()
    assert process.wait(timeout=30) == 0
    leases = conn.execute("SELECT DISTINCT lease_until = '-infinity', losses FROM chunk").fetchall()
    assert leases == [(True, 0)]
    assert conn.execute("SELECT count(*) FROM strike").fetchone() == (0,)
    assert results_of(conn, job_id) == {}


def test_a_soft_shutdown_ends_the_worker_at_once_and_its_engine_with_it(
    start: StartWorker, settings: Settings, database_url: str, conn: psycopg.Connection
) -> None:
    process = start()
    job_id = submit(database_url, [text(n) for n in range(400)], model="echo-slow")
    send_wake_up(make_app(settings), "echo")
    wait_until(lambda: results_of(conn, job_id))
    engines = psutil.Process(process.pid).children()
    process.send_signal(signal.SIGQUIT)
    process.wait(timeout=2)
    with suppress(psutil.NoSuchProcess):
        for engine in engines:
            engine.wait(timeout=2)


def test_slots_never_share_a_core(start: StartWorker, conn: psycopg.Connection) -> None:
    available = sorted(os.sched_getaffinity(0))
    for _ in available:
        start()
    cores = conn.execute("SELECT core FROM slot_core ORDER BY core").fetchall()
    assert [core for (core,) in cores] == available
    refused = start(wait=False)
    assert refused.wait(timeout=20) != 0
    assert conn.execute("SELECT count(*) FROM slot").fetchone() == (len(available),)


def test_work_goes_on_while_redis_is_emptied(
    start: StartWorker, settings: Settings, database_url: str, conn: psycopg.Connection
) -> None:
    start()
    job_id = submit(database_url, [text(n) for n in range(100)], model="echo-slow")
    app = make_app(settings)
    send_wake_up(app, "echo")
    wait_until(lambda: results_of(conn, job_id))
    with app.connection() as connection:
        connection.default_channel.client.flushall()
    wait_until(lambda: state_of(conn, job_id) == "finalizing")
    call = submit(database_url, [text(0)], lane=Lane.INTERACTIVE, view="call")
    send_wake_up(app, "echo")
    wait_until(lambda: state_of(conn, call) == "completed")
