"""`batchyard jobs` and `batchyard batch`: what is printed, what is saved, and the exit codes."""

import json
from pathlib import Path

import pytest

from tests.cli.conftest import Run
from tests.fixtures.fake_service import FakeService


@pytest.fixture
def requests(tmp_path: Path) -> Path:
    """An input file of three requests, of which the second fails."""
    lines = [
        {"custom_id": name, "url": "/v1/embeddings", "method": "POST", "body": {"model": "m", "input": text}}
        for name, text in (("a", "one"), ("b", "BAD"), ("c", "three"))
    ]
    path = tmp_path / "requests.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def test_a_batch_is_submitted_awaited_and_fetched(
    run: Run, service: FakeService, requests: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    batch = run("batch", "submit", requests, "--metadata", "team=search", "--metadata", "x=").out.strip()
    assert service.jobs[batch]["metadata"] == {"team": "search", "x": ""}
    assert service.files["file-0"] == requests.read_bytes()
    waited = run("batch", "wait", batch, "--json")
    assert waited.code == 4
    assert json.loads(waited.out)["request_counts"] == {"total": 3, "completed": 2, "failed": 1}
    fetched = run("batch", "fetch", batch)
    assert fetched.code == 4
    output = (tmp_path / f"{batch}_output.jsonl").read_text().splitlines()
    errors = (tmp_path / f"{batch}_errors.jsonl").read_text().splitlines()
    assert [json.loads(line)["custom_id"] for line in output] == ["a", "c"]
    assert [json.loads(line)["custom_id"] for line in errors] == ["b"]


def test_a_batch_without_failures_has_one_file_and_exit_code_0(
    run: Run, service: FakeService, requests: Path, tmp_path: Path
) -> None:
    requests.write_text(requests.read_text().replace("BAD", "two"))
    done = run("batch", "submit", requests, "--wait")
    assert done.code == 0
    assert "3: 3 succeeded, 0 failed" in done.out
    batch = done.out.splitlines()[0]
    target = tmp_path / "out.jsonl"
    fetched = run("batch", "fetch", batch, "-o", target)
    assert (fetched.code, fetched.out) == (0, f"{target}: {target.stat().st_size:,} bytes\n")


def test_a_batch_that_runs_cannot_be_fetched_yet(run: Run, service: FakeService, requests: Path) -> None:
    service.polls_until_done = -1
    batch = run("batch", "submit", requests).out.strip()
    done = run("batch", "fetch", batch)
    assert (done.code, f"batchyard batch wait {batch}" in done.err) == (1, True)


def test_a_batch_that_failed_names_its_lines(run: Run, service: FakeService, requests: Path) -> None:
    service.status, service.polls_until_done = "failed", 0
    service.errors = [{"line": n, "message": f"fault {n}", "code": "x", "param": None} for n in range(1, 15)]
    batch = run("batch", "submit", requests).out.strip()
    fetched = run("batch", "fetch", batch)
    assert fetched.code == 1
    assert "line 1: fault 1" in fetched.err
    assert "and 4 more" in fetched.err
    shown = run("jobs", "show", batch)
    assert shown.code == 0
    assert "line 10: fault 10" in shown.out


def test_an_interrupted_download_leaves_no_half_file(
    run: Run, service: FakeService, requests: Path, tmp_path: Path
) -> None:
    batch = run("batch", "submit", requests, "--wait").out.splitlines()[0]
    done = run("batch", "fetch", batch, "-o", tmp_path / "no" / "such" / "out.jsonl")
    assert (done.code, "out.jsonl" in done.err) == (1, True)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["requests.jsonl"]


@pytest.mark.parametrize("verb", ["jobs", "batch"])
def test_a_job_can_be_cancelled(run: Run, service: FakeService, requests: Path, verb: str) -> None:
    batch = run("batch", "submit", requests).out.strip()
    assert "cancelled" in run(verb, "cancel", batch).out
    assert service.jobs[batch]["status"] == "cancelled"
    assert run("jobs", "wait", batch).code == 4


def test_show_says_what_a_job_waits_for(run: Run, service: FakeService, requests: Path) -> None:
    service.polls_until_done = -1
    batch = run("batch", "submit", requests).out.strip()
    service.jobs[batch]["note"] = "the model's files are being pulled"
    service.jobs[batch]["audio"] = {"done_seconds": 61.2, "known_seconds": 3600.0}
    shown = run("jobs", "show", batch).out
    assert "waiting for  the model's files are being pulled" in shown
    assert "audio        61 s of 60 min heard" in shown
    assert "created" in shown
    assert "ended" not in shown
    assert json.loads(run("jobs", "show", batch, "--json").out)["id"] == batch


@pytest.mark.parametrize("arguments", [["jobs", "show", "job_x"], ["batch", "wait", "batch_x"]])
def test_an_unknown_id_is_one_line(run: Run, service: FakeService, arguments: list[str]) -> None:
    done = run(*arguments)
    assert done.code == 1
    assert done.err.splitlines()[-1] == "batchyard: no job of this name (job_not_found, 404)"
    assert "Traceback" not in done.err


def test_an_input_file_that_cannot_be_read_and_metadata_that_is_none_are_refused(
    run: Run, service: FakeService, requests: Path, tmp_path: Path
) -> None:
    assert "none.jsonl: No such file" in run("batch", "submit", tmp_path / "none.jsonl").err
    assert run("batch", "submit", tmp_path).code == 1
    assert run("batch", "submit", requests, "--metadata", "novalue").code == 2
    assert service.jobs == {}
