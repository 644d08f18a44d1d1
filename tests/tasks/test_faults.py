"""Engines that crash, hang or cannot be loaded, under a drain: what is lost, and what is not."""

from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from backends.registry import FAMILIES, Family, Runtime
from backends.types import decode_error
from tasks.drain import drain
from tests.backends.faulty_engine import FaultyEngine
from tests.tasks.slot import open_slot, settings_for, submit, text
from tests.tasks.test_drain import conn, results_of, state_of

__all__ = ["conn"]  # the fixture


@pytest.fixture(autouse=True)
def faulty_family(monkeypatch: pytest.MonkeyPatch) -> None:
    """The slot's family `echo` computed by an engine that breaks when a body says so."""
    monkeypatch.setattr("tasks.launch.Engine", FaultyEngine)
    runtimes = {"faulty": Runtime(backend="unused:in this process")}
    monkeypatch.setitem(FAMILIES, "faulty", Family(endpoints=("/v1/embeddings",), runtimes=runtimes))


@pytest.fixture
def run(database_url: str, redis_url: str, tmp_path: Path) -> Iterator[object]:
    """Submits bodies to a model with `fault`, drains until nothing is left; returns the job's id."""
    controllers = []

    def run_one(bodies: list[object], fault: str = "", **changes: object) -> int:
        settings = settings_for(tmp_path, database_url=database_url, redis_url=redis_url, **changes)
        spec = f"name: faulty\nfamily: faulty\nruntime: faulty\noptions: {{fault: '{fault}', delay_ms: 1}}\n"
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
