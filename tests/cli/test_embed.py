"""`batchyard embed`: what comes out, and what happens when something breaks on the way."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest

from cli import client
from tests.cli.conftest import Run, rows_of
from tests.fixtures.fake_service import WIDTH, FakeService, vector_of

# --- outputs ------------------------------------------------------------------------------------------

TEXTS = b"one\nBAD\nthree\nfour\n"


def test_npy_has_a_row_per_input_and_ids_beside_it(run: Run, service: FakeService, tmp_path: Path) -> None:
    done = run("embed", "-", "-o", tmp_path / "v.npy", stdin=TEXTS)
    assert done.code == 4
    matrix = np.load(tmp_path / "v.npy")
    assert matrix.dtype == np.float32
    assert matrix.shape == (4, WIDTH)
    assert np.isnan(matrix[1]).all()
    assert [matrix[i].tolist() for i in (0, 2, 3)] == [
        vector_of(t).tolist() for t in ("one", "three", "four")
    ]
    ids = [json.loads(line) for line in (tmp_path / "v.ids.jsonl").read_text().splitlines()]
    assert ids == [f"stdin:{n}" for n in (1, 2, 3, 4)]
    assert "1 text failed:\n  stdin:2: the input is empty" in done.err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["v.ids.jsonl", "v.npy"]


@pytest.mark.parametrize("left_out", [{0}, {2}, {3}, {0, 1, 3}])
def test_npy_keeps_rows_in_place_when_items_were_not_reached(
    run: Run, service: FakeService, tmp_path: Path, left_out: set[int]
) -> None:
    service.leave_out, service.status = left_out, "expired"
    done = run("embed", "-", "-o", tmp_path / "v.npy", stdin=b"a\nb\nc\nd\n")
    assert done.code == 4
    matrix = np.load(tmp_path / "v.npy")
    assert {row for row in range(4) if np.isnan(matrix[row]).all()} == left_out
    assert all((matrix[row] == vector_of("abcd"[row])).all() for row in range(4) if row not in left_out)
    assert len((tmp_path / "v.ids.jsonl").read_text().splitlines()) == 4
    were = {1: "1 text was", 3: "3 texts were"}[len(left_out)]
    assert f"is expired; {were} not reached" in done.err


def test_npy_may_begin_with_a_row_that_failed(run: Run, service: FakeService, tmp_path: Path) -> None:
    assert run("embed", "-", "-o", tmp_path / "v.npy", stdin=b"BAD\none\n").code == 4
    matrix = np.load(tmp_path / "v.npy")
    assert np.isnan(matrix[0]).all()
    assert matrix[1].tolist() == vector_of("one").tolist()


def test_npy_without_one_vector_is_refused(run: Run, service: FakeService, tmp_path: Path) -> None:
    done = run("embed", "-", "-o", tmp_path / "v.npy", stdin=b"BAD\n")
    assert (done.code, "not one vector" in done.err) == (1, True)
    assert list(tmp_path.iterdir()) == []


def test_parquet_has_index_id_vector_and_error(
    run: Run, service: FakeService, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cli.vectors.ROWS_PER_GROUP", 3)
    assert run("embed", "-", "-o", tmp_path / "v.parquet", stdin=TEXTS).code == 4
    rows = pyarrow.parquet.read_table(tmp_path / "v.parquet").to_pylist()
    assert [row["index"] for row in rows] == [0, 1, 2, 3]
    assert rows[1]["embedding"] is None
    assert rows[1]["error"] == "the input is empty (empty_input)"
    assert np.float32(rows[3]["embedding"]).tolist() == vector_of("four").tolist()


def test_json_lines_go_to_a_file(run: Run, service: FakeService, tmp_path: Path) -> None:
    done = run("embed", "-", "-o", tmp_path / "v.jsonl", stdin=TEXTS)
    rows = rows_of((tmp_path / "v.jsonl").read_text())
    assert [sorted(row) for row in rows] == [["embedding", "id", "index"], ["error", "id", "index"]] + [
        ["embedding", "id", "index"]
    ] * 2
    assert done.out == ""


@pytest.mark.parametrize("output", ["v.txt", "no/such/folder/v.npy", "."])
def test_an_output_that_cannot_be_is_refused_before_anything_is_sent(
    run: Run, service: FakeService, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, output: str
) -> None:
    monkeypatch.chdir(tmp_path)
    done = run("embed", "-", "-o", output, stdin=TEXTS)
    assert (done.code, service.asked) == (1, [])
    assert output in done.err


def test_json_says_how_it_went(run: Run, service: FakeService, tmp_path: Path) -> None:
    done = run("embed", "-", "-o", tmp_path / "v.npy", "--json", stdin=TEXTS)
    said = json.loads(done.out)
    assert said["job"] == "job_0000"
    assert (said["vectors"], said["failed"], said["dimensions"], said["tokens"]) == (3, 1, WIDTH, 9)
    assert run("embed", "-", "--json", stdin=TEXTS).code == 2


# --- the request --------------------------------------------------------------------------------------


def test_options_reach_every_item_and_defaults_none(run: Run, service: FakeService) -> None:
    run(
        "embed",
        "-",
        "-m",
        "m",
        "--dimensions",
        8,
        "--overlong",
        "truncate",
        "--input-type",
        "query",
        stdin=b"a",
    )
    run("embed", "-", stdin=b"b")
    (first,), (second,) = service.bodies.values()
    assert first["body"] == {
        "model": "m",
        "overlong": "truncate",
        "dimensions": 8,
        "input_type": "query",
        "input": "a",
    }
    assert second["body"] == {"model": "all-minilm-l6-v2", "input": "b"}
    assert (second["method"], second["url"], second["custom_id"]) == ("POST", "/v1/embeddings", "0 stdin:1")


def test_an_unknown_model_is_refused_before_anything_is_read(
    run: Run, service: FakeService, tmp_path: Path
) -> None:
    done = run("embed", tmp_path / "missing.txt", "-m", "nothing")
    assert (done.code, "model_not_found" in done.err) == (1, True)


def test_a_large_input_goes_up_in_parts(
    run: Run, service: FakeService, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "PART_BYTES", 1000)
    texts = [f"text number {n}" for n in range(100)]
    assert run("embed", "-", stdin="\n".join(texts).encode()).code == 0
    assert service.texts() == texts
    assert len(service.uploads["upload_0"]) > 5


def test_a_key_is_sent_and_a_missing_one_is_explained(
    run: Run, service: FakeService, monkeypatch: pytest.MonkeyPatch
) -> None:
    service.key = "sk-right"
    done = run("embed", "-", stdin=b"a")
    assert (done.code, "invalid_api_key" in done.err) == (1, True)
    assert "--api-key or BATCHYARD_API_KEY" in done.err
    monkeypatch.setenv("BATCHYARD_API_KEY", "sk-right")
    assert run("embed", "-", stdin=b"a").code == 0


# --- waiting, leaving, coming back --------------------------------------------------------------------


def test_without_wait_the_job_is_named_and_can_be_resumed(
    run: Run, service: FakeService, tmp_path: Path
) -> None:
    job = run("embed", "-", "--no-wait", stdin=TEXTS).out.strip()
    assert job == "job_0000"
    done = run("embed", "--resume", job, "-o", tmp_path / "v.npy")
    assert done.code == 4
    assert np.load(tmp_path / "v.npy").shape == (4, WIDTH)
    assert (tmp_path / "v.ids.jsonl").read_text().splitlines()[2] == '"stdin:3"'


def test_results_go_on_behind_the_last_line_when_the_connection_breaks(
    run: Run, service: FakeService
) -> None:
    service.drop_results_after = 2
    done = run("embed", "-", stdin=b"a\nb\nc\nd\n")
    assert [row["index"] for row in rows_of(done.out)] == [0, 1, 2, 3]
    asked = [line for line in service.asked if "results" in line]
    assert [line.partition("after=")[2].partition("&")[0] for line in asked] == ["-1", "1"]


def test_a_service_that_is_away_for_a_moment_is_waited_for(run: Run, service: FakeService) -> None:
    job = run("embed", "-", "--no-wait", stdin=b"a").out.strip()
    service.away = 3
    assert run("jobs", "wait", job).code == 0


def test_a_service_that_stays_away_is_given_up(
    run: Run, service: FakeService, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cli.watch.PATIENCE_SECONDS", 0.05)
    job = run("embed", "-", "--no-wait", stdin=b"a").out.strip()
    service.away = 10**6
    done = run("jobs", "wait", job)
    assert (done.code, "service_unavailable" in done.err) == (3, True)


def test_a_job_that_failed_names_the_lines_at_fault(run: Run, service: FakeService) -> None:
    service.status = "failed"
    service.errors = [
        {"code": "line_too_long", "line": 3, "message": "longer than 1 MiB", "param": None},
        {"code": "x", "line": None, "message": "something else", "param": None},
    ]
    done = run("embed", "-", stdin=TEXTS)
    assert done.code == 1
    assert "line 3: longer than 1 MiB" in done.err
    assert "something else" in done.err


@pytest.mark.parametrize("arguments", [[], ["--resume", "job_1", "file.txt"]])
def test_something_to_embed_or_a_job_must_be_named(run: Run, arguments: list[str]) -> None:
    assert run("embed", *arguments).code == 2


def test_a_job_of_another_kind_is_not_read_as_vectors(run: Run, service: FakeService, tmp_path: Path) -> None:
    line = {"custom_id": "a", "body": {"model": "m", "input": "x"}}
    service.files["file-x"] = json.dumps(line).encode()
    chat = service.create("job", {"endpoint": "/v1/chat/completions", "input_file_id": "file-x"})["id"]
    foreign = service.create("job", {"endpoint": "/v1/embeddings", "input_file_id": "file-x"})["id"]
    assert "not of /v1/embeddings" in run("embed", "--resume", chat).err
    asked = len(service.asked)
    refused = run("embed", "--resume", foreign)
    assert "was not made by 'batchyard embed'" in refused.err
    assert f"batchyard batch fetch batch_{foreign.removeprefix('job_')}" in refused.err
    assert len(service.asked) == asked + 1  # there was no wait
    assert "job_not_found" in run("embed", "--resume", "job_none").err


def unboxed(text: str) -> str:
    """What stands in the box that the command line draws around a usage error."""
    return " ".join(text.replace("│", " ").split())


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (["-m", "other"], "--model"),
        (["--model", "all-minilm-l6-v2"], "--model"),
        (["--dimensions", 3, "--overlong", "error"], "--dimensions, --overlong"),
        (["--input-type", "query"], "--input-type"),
        (["--lines"], "--lines"),
    ],
)
def test_what_shapes_a_new_job_is_refused_for_an_old_one(
    run: Run, service: FakeService, options: list[object], named: str
) -> None:
    refused = run("embed", "--resume", "job_1", *options)
    assert (refused.code, service.asked) == (2, [])
    assert f"{named}: a job keeps what it was submitted with" in unboxed(refused.err)


def test_a_batch_to_resume_is_refused_before_it_is_asked_for(run: Run, service: FakeService) -> None:
    refused = run("embed", "--resume", "batch_1")
    assert (refused.code, service.asked) == (2, [])
    assert "batchyard batch fetch batch_1" in unboxed(refused.err)


def test_no_service_says_how_to_start_one(run: Run, service: FakeService) -> None:
    service.shutdown()
    service.server_close()
    done = run("embed", "-", stdin=b"a")
    assert done.code == 3
    assert "batchyard up" in done.err


@pytest.mark.parametrize("url", ["localhost:8080", "http://", "ftp://x", "http://[::1"])
def test_a_url_that_is_none_is_a_usage_error(run: Run, url: str) -> None:
    assert run("embed", "-", "--url", url).code == 2


def test_another_http_server_is_not_taken_for_the_service(run: Run, service: FakeService) -> None:
    service.poll = lambda job_id: [job_id]  # type: ignore[method-assign, assignment, return-value]
    service.jobs["job_1"] = {}
    assert "not like a Batchyard service" in run("jobs", "show", "job_1").err


def test_ctrl_c_leaves_the_job_and_says_how_to_come_back(service: FakeService, tmp_path: Path) -> None:
    service.polls_until_done = -1
    command = [sys.executable, "-m", "cli.main", "embed", "-", "-o", str(tmp_path / "v.npy")]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stderr=subprocess.PIPE, env=os.environ, text=True
    ) as process:
        assert process.stdin is not None
        process.stdin.write("a\nb\n")
        process.stdin.close()
        deadline = time.monotonic() + 30
        while not any(line.startswith("GET /v1/jobs/") for line in service.asked):
            assert time.monotonic() < deadline
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        assert process.stderr is not None
        said = process.stderr.read()
        assert process.wait(10) == 130
    assert service.jobs["job_0000"]["status"] == "running"
    assert f"batchyard embed --resume job_0000 --output {tmp_path}/v.npy --url {service.url}" in said
    assert "Traceback" not in said
    assert list(tmp_path.iterdir()) == []
