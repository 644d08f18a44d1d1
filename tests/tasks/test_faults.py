"""Engines that crash, hang or cannot be loaded, under a drain: what is lost, and what is not."""

import threading
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from backends.registry import FAMILIES, Family, Runtime
from backends.types import decode_error
from configs.families import FAMILY_RULES, EchoOptions, EmbeddingDefaults, FamilyRules
from tasks.drain import drain
from tests.backends.faulty_engine import FaultyEngine
from tests.tasks.slot import cancel, open_slot, settings_for, submit, text
from tests.tasks.test_drain import conn, results_of, state_of

__all__ = ["conn"]  # the fixture


class FaultyOptions(EchoOptions):
    fault: str = ""


@pytest.fixture(autouse=True)
def faulty_family(monkeypatch: pytest.MonkeyPatch) -> None:
    """The slot's family `echo` computed by an engine that breaks when a body says so."""
    monkeypatch.setattr("tasks.launch.Engine", FaultyEngine)
    runtimes = {"faulty": Runtime(backend="unused:in this process")}
    monkeypatch.setitem(FAMILIES, "faulty", Family(endpoints=("/v1/embeddings",), runtimes=runtimes))
    rules = FamilyRules(runtimes={"faulty": ""}, options=FaultyOptions, defaults=EmbeddingDefaults)
    monkeypatch.setitem(FAMILY_RULES, "faulty", rules)


@pytest.fixture
def run(database_url: str, redis_url: str, tmp_path: Path) -> Iterator[object]:
    """Submits bodies to a model with `fault`, drains until nothing is left; returns the job's id."""
    controllers = []

    def run_one(bodies: list[object], fault: str = "", delay_ms: int = 1, **changes: object) -> int:
        settings = settings_for(tmp_path, database_url=database_url, redis_url=redis_url, **changes)
        options = f"{{fault: '{fault}', delay_ms: {delay_ms}}}"
        spec = f"name: faulty\nfamily: faulty\nruntime: faulty\noptions: {options}\n"
        (tmp_path / "specs" / "faulty.yaml").write_text(spec)
        job_id = submit(database_url, bodies, model="faulty")
        controllers.append(open_slot(settings))
        drain(controllers[-1])
        return job_id

    yield run_one
    for controller in controllers:
        controller.close()


def code(results: dict[int, tuple[int, bytes]], n: int) -> str:
    return decode_error(results[n][1]).code


def test_an_item_that_crashes_its_engine_twice_fails_and_every_other_completes(
    run, conn: psycopg.Connection
) -> None:
    job_id = run([text(n) if n != 20 else b"crash" for n in range(50)])
    results = results_of(conn, job_id)
    assert sorted(results) == list(range(50))
    assert [n for n, (status, _) in results.items() if status != 200] == [20]
    assert code(results, 20) == "engine_crashed"
    assert "SIGSEGV" in decode_error(results[20][1]).message
    assert conn.execute("SELECT n, count FROM strike WHERE count >= 2").fetchall() == [(20, 2)]


def test_an_item_without_progress_is_ended_and_fails_as_a_timeout(run, conn: psycopg.Connection) -> None:
    job_id = run([text(n) if n != 3 else b"hang with the GIL" for n in range(8)], stall_seconds=0.5)
    results = results_of(conn, job_id)
    assert [n for n, (status, _) in results.items() if status != 200] == [3]
    assert code(results, 3) == "engine_timeout"


def test_an_exception_in_a_backend_fails_its_item_alone(run, conn: psycopg.Connection) -> None:
    job_id = run([text(0), b"raise", text(2)])
    results = results_of(conn, job_id)
    assert results[0][0] == results[2][0] == 200
    assert code(results, 1) == "engine_error"
    assert conn.execute("SELECT count(*) FROM strike").fetchone() == (0,)


@pytest.mark.parametrize(
    ("fault", "expected"), [("load:SIGILL", "bad_native_build"), ("load raises", "model_load_failed")]
)
def test_a_model_that_cannot_be_loaded_fails_its_job_once_and_is_not_tried_for_ever(
    run, conn: psycopg.Connection, fault: str, expected: str
) -> None:
    job_id = run([text(0)], fault)
    assert state_of(conn, job_id) == "failed"
    row = conn.execute("SELECT errors FROM job WHERE id = %s", (job_id,)).fetchone()
    assert row is not None
    [error] = row[0]["data"]
    assert error["code"] == expected
    assert "/" not in error["message"].replace("see: batchyard", "")


def test_an_engine_that_ends_again_and_again_by_itself_fails_its_job(run, conn: psycopg.Connection) -> None:
    job_id = run([text(0)], "cannot run")
    assert state_of(conn, job_id) == "failed"


def test_items_beside_several_poisonous_ones_are_not_failed_with_them(run, conn: psycopg.Connection) -> None:
    bad = [20, 25, 27, 90]
    bodies = [b"crash" if n in bad else text(n) for n in range(100)]
    results = results_of(conn, run(bodies, delay_ms=0, drain_seconds=60))
    assert sorted(n for n, (status, _) in results.items() if status != 200) == bad
    assert len(results) == 100


def test_an_item_whose_engine_leaves_without_a_signal_fails_alone(run, conn: psycopg.Connection) -> None:
    results = results_of(conn, run([b"exit" if n == 5 else text(n) for n in range(30)], delay_ms=0))
    assert [n for n, (status, _) in results.items() if status != 200] == [5]
    assert len(results) == 30


def test_an_engine_that_crashes_before_anything_starts_is_not_started_for_ever(
    run, conn: psycopg.Connection
) -> None:
    job_id = run([text(n) for n in range(100)], "crashes before it starts", drain_seconds=60)
    assert state_of(conn, job_id) == "failed"
    assert len(results_of(conn, job_id)) < 10


def test_a_load_that_was_killed_is_tried_again_before_its_job_fails(
    run, conn: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tasks.launcher.PAUSE_SECONDS", 0.05)
    loads = []

    class Counting(FaultyEngine):
        def __init__(self, *args: object, **options: object) -> None:
            loads.append(args)
            super().__init__(*args, **options)  # type: ignore[arg-type]

    monkeypatch.setattr("tasks.launch.Engine", Counting)
    job_id = run([text(0)], "load:SIGKILL")
    assert state_of(conn, job_id) == "failed"
    assert len(loads) == 3


def test_a_job_that_is_cancelled_while_its_model_loads_leaves_no_launch_behind(
    run, conn: psycopg.Connection, database_url: str
) -> None:
    begun = threading.Timer(0.6, lambda: conn_cancel(database_url))
    begun.start()
    run([text(0)], "slow load", linger_seconds=2.0)
    begun.join()
    assert conn.execute("SELECT count(*) FROM result").fetchone() == (0,)


def conn_cancel(database_url: str) -> None:
    cancel(database_url, 1)
