"""The commands against the real service: API, dispatcher and a slot, over real Postgres and Redis."""

import json
from pathlib import Path

import numpy as np
import pytest

from tests.cli.conftest import Run, rows_of
from tests.fixtures.stack import Stack


@pytest.fixture(autouse=True)
def url(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("BATCHYARD_URL", stack.url)
    monkeypatch.delenv("BATCHYARD_API_KEY", raising=False)
    return stack.url


def test_a_thousand_lines_become_a_matrix_in_their_order(run: Run, tmp_path: Path) -> None:
    lines = [f"line number {n} of a thousand" for n in range(1000)]
    lines[7] = lines[3]  # equal texts, equal vectors
    done = run(
        "embed", "-m", "echo", "-", "-o", tmp_path / "v.npy", "--json", stdin="\n".join(lines).encode()
    )
    said = json.loads(done.out)
    assert (done.code, said["vectors"], said["failed"], said["dimensions"]) == (0, 1000, 0, 8)
    matrix = np.load(tmp_path / "v.npy")
    assert matrix.shape == (1000, 8)
    assert (matrix[7] == matrix[3]).all()
    assert len(np.unique(matrix, axis=0)) == 999
    alone = run("embed", "-m", "echo", "-", stdin=lines[500].encode())
    assert np.float32(json.loads(alone.out)["embedding"]).tolist() == matrix[500].tolist()


def test_bad_texts_fail_alone_and_the_job_can_be_read_again(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "in.jsonl"
    texts = ["one", "", "three words here", None]
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    first = run("embed", path, "-m", "echo", "-o", tmp_path / "v.jsonl")
    assert first.code == 4
    rows = [json.loads(line) for line in (tmp_path / "v.jsonl").read_text().splitlines()]
    assert ["error" in row for row in rows] == [False, True, False, True]
    assert "empty_input" in rows[1]["error"]
    job = next(word for word in first.err.split() if word.startswith("job_"))
    again = run("embed", "--resume", job)
    assert again.code == 4
    assert [json.loads(line) for line in again.out.splitlines()] == rows
    shown = json.loads(run("jobs", "show", job, "--json").out)
    assert shown["request_counts"] == {"total": 4, "completed": 2, "failed": 2}


def test_a_job_can_be_cancelled_and_what_was_reached_is_kept(run: Run, tmp_path: Path) -> None:
    texts = "\n".join(f"text {n}" for n in range(2000)).encode()
    job = run("embed", "-m", "echo-slow", "-", "--no-wait", stdin=texts).out.strip()
    assert run("jobs", "cancel", job).code == 0
    waited = run("jobs", "wait", job)
    assert (waited.code, "cancelled" in waited.out) == (4, True)


def test_a_batch_goes_through_submit_wait_and_fetch(run: Run, tmp_path: Path) -> None:
    lines = [
        {
            "custom_id": f"r{n}",
            "method": "POST",
            "url": "/v1/embeddings",
            "body": {"model": "echo", "input": text},
        }
        for n, text in enumerate(["a", "", "c"])
    ]
    path = tmp_path / "in.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    batch = run("batch", "submit", path, "--metadata", "k=v").out.strip()
    assert run("batch", "wait", batch).code == 4
    fetched = run("batch", "fetch", batch, "-o", tmp_path / "out", "--errors", tmp_path / "err")
    assert fetched.code == 4
    names = [
        [json.loads(line)["custom_id"] for line in (tmp_path / f).read_text().splitlines()]
        for f in ("out", "err")
    ]
    assert names == [["r0", "r2"], ["r1"]]


def test_a_file_that_is_no_batch_names_its_lines(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "in.jsonl"
    path.write_text('{"custom_id": "a"}\nnot json\n')
    done = run("batch", "submit", path, "--wait")
    assert done.code == 1
    assert "line 2: " in done.out


def test_an_unknown_model_and_an_unknown_job_are_one_line_each(run: Run) -> None:
    for arguments in (["embed", "-", "-m", "no-such-model"], ["jobs", "show", "job_nothing"]):
        done = run(*arguments, stdin=b"a")
        assert done.code == 1
        assert done.err.startswith("batchyard: ")
        assert done.err.count("\n") == 1


def test_failed_items_are_retried_and_read_with_the_first_results(run: Run, tmp_path: Path) -> None:
    lines = [
        {
            "custom_id": f"r{n}",
            "url": "/v1/embeddings",
            "method": "POST",
            "body": {"model": "echo", "input": text},
        }
        for n, text in enumerate(["a", "", "c"])
    ]
    path, output = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    first = run("batch", "submit", path, "--wait").out.splitlines()[0].replace("batch_", "job_")
    assert run("jobs", "results", first, "-o", output).code == 0
    assert run("jobs", "results", first, "-o", output, "--continue").code == 0
    assert [row["custom_id"] for row in rows_of(output.read_text())] == ["r0", "r1", "r2"]
    waited = run("jobs", "retry", first, "--wait", "--json")
    retried = json.loads(waited.out)
    assert (waited.code, retried["retry_of"], retried["request_counts"]["total"]) == (4, first, 1)
    assert f"retried as   {retried['id']}" in run("jobs", "show", first).out
    merged = rows_of(run("jobs", "results", first, "--include-retries").out)
    assert [row["response"]["status_code"] for row in merged] == [200, 400, 200]
    listed = run("jobs", "list", "--status", "completed", "--model", "echo", "--kind", "batch", "--json")
    assert first in [job["id"] for job in json.loads(listed.out)["data"]]
    assert run("jobs", "delete", retried["id"]).code == 0
    assert run("jobs", "show", retried["id"]).code == 1


def test_an_operator_sees_the_whole(run: Run) -> None:
    [row] = run("queues").out.splitlines()[1:2]
    assert row.startswith("echo")
    assert run("workers").out.splitlines()[1].startswith("slot_")
    assert run("prune", "--dry-run").out.startswith("would be deleted:")
    assert run("models", "resume", "echo").out == "echo: it was not paused\n"
