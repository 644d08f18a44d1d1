"""Ingest: all lines of a file become items, or none does."""

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import psycopg
import pytest

from store import ingest, items, jobs, lifecycle
from store.ids import new_suffix
from store.jobs import NewJob
from store.lines import LineRules

Conn = psycopg.Connection[Any]
RULES = LineRules(endpoint="/v1/embeddings", max_items=60_000, max_line_bytes=1024**2)


@pytest.fixture
def validating(wait_for: Callable[..., Any]) -> int:
    """A job whose file is yet to be read."""
    job = NewJob(
        suffix=new_suffix(), view="batch", project_id=1, key_id=1, endpoint="/v1/embeddings",
        family="", model="", lane="bulk", input_file_id="file-x",
    )  # fmt: skip
    job_id: int = wait_for(jobs.insert_validating, job)
    return job_id


def write(path: Path, custom_ids: list[str], text: str = "text") -> Path:
    with path.open("w") as file:
        for custom_id in custom_ids:
            body = {"model": "echo", "input": text}
            request = {"custom_id": custom_id, "method": "POST", "url": "/v1/embeddings", "body": body}
            file.write(json.dumps(request) + "\n")
    return path


def count_items(conn: Conn) -> int:
    row = conn.execute("SELECT count(*) FROM item").fetchone()
    assert row is not None
    return int(row[0])


def test_every_line_becomes_an_item_in_order(conn: Conn, validating: int, tmp_path: Path) -> None:
    path = write(tmp_path / "in.jsonl", ["c", "a", "b"])
    stored = ingest.ingest(conn, validating, path, RULES)
    assert (stored.items, stored.parts, stored.model, stored.errors) == (3, 3, "echo", ())
    rows = conn.execute("SELECT n, custom_id, body, parts FROM item ORDER BY n").fetchall()
    body = b'{"model": "echo", "input": "text"}'
    assert rows == [(0, "c", body, 1), (1, "a", body, 1), (2, "b", body, 1)]


def test_a_body_may_be_cut_into_parts(conn: Conn, validating: int, tmp_path: Path) -> None:
    path = tmp_path / "in.jsonl"
    path.write_bytes(b"".join(write(tmp_path / text, [text], text).read_bytes() for text in "abc"))

    def split(body: bytes) -> list[bytes]:
        count = {b"a": 2, b"b": 1, b"c": 3}[json.loads(body)["input"].encode()]
        return [b"%d/%d" % (part, count) for part in range(count)]

    stored = ingest.ingest(conn, validating, path, RULES, split=split)
    assert (stored.items, stored.parts) == (3, 6)
    loaded = items.load_parts(conn, validating, 0, 6)
    assert [part.body for part in loaded] == [b"0/2", b"0/1", b"0/3", b"1/2", b"1/3", b"2/3"]


@pytest.mark.parametrize(
    ("custom_ids", "expected"),
    [
        (["a", "b", "a"], [("duplicate_custom_id", 3)]),
        (["a", "", "b", "a"], [("invalid_value", 2), ("duplicate_custom_id", 4)]),
        ([], [("empty_file", None)]),
    ],
    ids=["duplicate", "two faults", "empty"],
)
def test_a_file_at_fault_stores_nothing_and_says_all_that_is_wrong(
    conn: Conn,
    validating: int,
    tmp_path: Path,
    custom_ids: list[str],
    expected: list[tuple[str, int | None]],
) -> None:
    stored = ingest.ingest(conn, validating, write(tmp_path / "in.jsonl", custom_ids), RULES)
    assert [(error.code, error.line) for error in stored.errors] == expected
    assert count_items(conn) == 0
    assert ingest.ingest(conn, validating, write(tmp_path / "good.jsonl", ["a"]), RULES).items == 1


def test_a_fault_inside_an_open_transaction_undoes_only_the_ingest(
    conn: Conn, validating: int, tmp_path: Path
) -> None:
    with conn.transaction():
        stored = ingest.ingest(conn, validating, write(tmp_path / "in.jsonl", ["a", "a"]), RULES)
        assert lifecycle.reject(conn, validating, [error._asdict() for error in stored.errors])
    row = conn.execute("SELECT state, errors -> 'data' -> 0 ->> 'line' FROM job").fetchone()
    assert row == ("failed", "2")


def test_a_job_that_was_cancelled_meanwhile_keeps_no_items(
    conn: Conn, validating: int, tmp_path: Path, wait_for: Callable[..., Any]
) -> None:
    path = write(tmp_path / "in.jsonl", ["a"])
    with conn.transaction():
        stored = ingest.ingest(conn, validating, path, RULES)
        wait_for(jobs.request_cancel, validating)  # does not wait for the ingest
        if not lifecycle.validated(conn, validating, stored.items, stored.parts):
            raise psycopg.Rollback
    assert count_items(conn) == 0
    (job,) = lifecycle.settle_cancelling(conn)
    assert job.id == validating


def test_a_missing_file_is_an_os_error(conn: Conn, validating: int, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        ingest.ingest(conn, validating, tmp_path / "gone", RULES)
    assert count_items(conn) == 0


def cpu_seconds(conn: Conn) -> float:
    """CPU time of this process and of the server's end of the connection so far."""
    server = psutil.Process(conn.info.backend_pid).cpu_times()
    return time.process_time() + server.user + server.system


@pytest.mark.timing
def test_forty_thousand_lines_are_stored_per_second(conn: Conn, validating: int, tmp_path: Path) -> None:
    """In CPU time of both ends added up, which other work on the machine does not stretch much: the two
    overlap, so the rate by the clock of a quiet machine is higher."""
    path = write(tmp_path / "in.jsonl", [f"request-{n}" for n in range(50_000)], "a sentence or two. " * 20)
    before = cpu_seconds(conn)
    stored = ingest.ingest(conn, validating, path, RULES)
    rate = stored.items / (cpu_seconds(conn) - before)
    assert rate >= 40_000, f"{rate:,.0f} lines per CPU-second"
