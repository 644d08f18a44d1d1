"""`batchyard jobs list|retry|results|delete`."""

import json
from pathlib import Path

import pytest

from cli.result_lines import go_on_with
from tests.cli.conftest import Run, rows_of
from tests.fixtures.fake_service import FakeService


@pytest.fixture
def job(service: FakeService) -> str:
    """A job of four items that has ended; the third failed."""
    service.files["file-in"] = b"".join(
        json.dumps({"custom_id": text, "body": {"model": "m", "input": text}}).encode() + b"\n"
        for text in ("a", "b", "BAD", "d")
    )
    made = service.create("job", {"endpoint": "/v1/embeddings", "input_file_id": "file-in"})
    service.polls_until_done = 0
    return str(service.poll(made["id"])["id"])


def test_a_list_is_a_line_per_job_with_its_counts_and_says_how_to_go_on(
    run: Run, service: FakeService, job: str
) -> None:
    done = run("jobs", "list", "--status", "completed", "--status", "failed", "--model", "m", "--limit", 5)
    assert (done.code, done.err) == (0, "there are more: --after x\n")
    head, line = done.out.splitlines()
    assert head.split()[:4] == ["job", "kind", "status", "done"]
    assert line.split()[:8] == [job, "-", "completed", "4", "1", "4", "m", "/v1/embeddings"]
    assert service.asked[-1] == "GET /v1/jobs?limit=5&status=completed%2Cfailed&model=m"


def test_results_go_to_stdout_as_they_came(run: Run, service: FakeService, job: str) -> None:
    rows = rows_of(run("jobs", "results", job).out)
    assert rows == list(service.results(job))
    assert [row["custom_id"] for row in rows_of(run("jobs", "results", job, "--after", 1).out)] == [
        "BAD",
        "d",
    ]


def test_a_file_of_results_is_gone_on_with_behind_its_last_whole_line(
    run: Run, service: FakeService, job: str, tmp_path: Path
) -> None:
    path = tmp_path / "out.jsonl"
    service.leave_out = {2, 3}
    assert run("jobs", "results", job, "-o", path, "--continue").code == 0
    path.write_bytes(path.read_bytes() + b'{"id": "half a li')
    service.leave_out = set()
    done = run("jobs", "results", job, "-o", path, "--continue")
    assert done.err.splitlines()[-1] == f"{path}: 2 results"
    assert rows_of(path.read_text()) == list(service.results(job))
    assert [ask for ask in service.asked if "after" in ask][-1].endswith("after=1")


def test_a_broken_download_goes_on_by_itself(run: Run, service: FakeService, job: str) -> None:
    service.drop_results_after = 2
    assert [row["custom_id"] for row in rows_of(run("jobs", "results", job).out)] == ["a", "b", "BAD", "d"]


def test_results_of_a_job_that_runs_say_that_more_will_come(run: Run, service: FakeService, job: str) -> None:
    service.jobs[job]["status"] = "running"
    service.polls_until_done = -1
    assert run("jobs", "results", job).err == f"{job} is running: more results will come\n"


def test_a_file_of_something_else_is_not_gone_on_with(run: Run, job: str, tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("my notes\n")
    done = run("jobs", "results", job, "-o", path, "--continue")
    assert (done.code, "does not hold results" in done.err) == (1, True)
    assert path.read_text() == "my notes\n"
    assert run("jobs", "results", job, "--continue").code == 2


def test_the_last_line_is_found_however_long_it_is(tmp_path: Path) -> None:
    path = tmp_path / "long.jsonl"
    lines = [json.dumps({"id": f"batch_req_x_{n}", "fill": "x" * 200_000}) + "\n" for n in range(3)]
    path.write_text("".join(lines))
    file, last = go_on_with(path)
    with file:
        assert (last, file.tell()) == (2, path.stat().st_size)


def test_a_retry_is_a_new_job_that_can_be_awaited(run: Run, service: FakeService, job: str) -> None:
    retried = run("jobs", "retry", job).out.strip()
    assert retried != job
    assert retried in service.jobs
    waited = run("jobs", "retry", job, "--wait", "--json")
    assert (waited.code, json.loads(waited.out)["status"]) == (4, "completed")


def test_a_deleted_job_is_gone(run: Run, service: FakeService, job: str) -> None:
    assert run("jobs", "delete", job).out == f"{job} deleted\n"
    assert service.jobs == {}
    assert run("jobs", "delete", job).code == 1
