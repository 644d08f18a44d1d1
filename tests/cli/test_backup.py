"""Backup and restore as docs/operations.md describes them: nothing that was accepted is missing then, and
what was under way goes on."""

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from store.embedded.binaries import find_binaries
from tests.cli.conftest import rows_of
from tests.cli.test_up import SPEC, batch, submit
from tests.fixtures.processes import wait_until
from tests.fixtures.stack import Stack, running_stack
from tests.fixtures.up import running_up

pytestmark = pytest.mark.slow

ITEMS = 300  # of 50 ms each: a dump is done long before
SHORT = {"lease_seconds": "3"}  # of the slot whose chunks are in the dump: it does not release them


def test_a_copy_of_a_stopped_home_goes_on_where_it_was(home: Path) -> None:
    (home / "specs").mkdir(exist_ok=True)
    (home / "specs" / "slow-echo.yaml").write_text(SPEC)
    with running_up(home, "--slots", "1") as up:
        batch_id = submit(up, "slow-echo", 200)
        wait_until(lambda: batch(up, batch_id)["request_counts"]["completed"] >= 10, 60, "ten items")
    kept = home.with_name("backup")
    subprocess.run(["cp", "-a", home, kept], check=True)
    shutil.rmtree(home)
    subprocess.run(["cp", "-a", kept, home], check=True)
    with running_up(home, "--slots", "1") as up:
        assert batch(up, batch_id)["request_counts"]["completed"] >= 10
        wait_until(lambda: batch(up, batch_id)["status"] == "completed", 120, "the batch ends")
        lines = results_of(up.url, batch_id)
        assert sorted(line["custom_id"] for line in lines) == sorted(f"n{n}" for n in range(200))


def test_a_dump_taken_at_work_goes_on_elsewhere(
    database_factory: Callable[[], str],
    empty_database_factory: Callable[[], str],
    redis_url: str,
    open_folder: Path,
    tmp_path: Path,
) -> None:
    programs = find_binaries(open_folder, None).postgres.parent
    dump, copied = tmp_path / "batchyard.dump", open_folder / "restored"
    with running_stack(open_folder / "original", database_factory(), redis_url, **SHORT) as stack:
        job_id = submit_slow_job(stack)
        wait_until(lambda: done(stack, job_id) >= 10, 60, "ten items")
        # The database first: a blob is there before its row, so the copy of blobs has one for every row.
        command = [programs / "pg_dump", "--format=custom", f"--file={dump}", stack.database_url]
        subprocess.run(command, check=True)
        shutil.copytree(stack.home / "blobs", copied / "blobs")
        assert done(stack, job_id) < ITEMS  # it was at work
    restored = empty_database_factory()
    command = [programs / "pg_restore", "--no-owner", "--exit-on-error", f"--dbname={restored}", dump]
    subprocess.run(command, check=True)
    with running_stack(copied, restored, redis_url, **SHORT) as stack:
        wait_until(lambda: done(stack, job_id) == ITEMS, 120, "the job ends")
        lines = results_of(stack.url, job_id)
        assert [line["custom_id"] for line in lines] == [f"request-{n + 1}" for n in range(ITEMS)]
        job = httpx.get(f"{stack.url}/v1/jobs/{job_id}").json()
        stored = httpx.get(f"{stack.url}/v1/files/{job['input_file_id']}/content").text
        assert len(stored.splitlines()) == ITEMS


def submit_slow_job(stack: Stack) -> str:
    requests = [{"body": {"input": f"text {n}"}} for n in range(ITEMS)]
    work = {"endpoint": "/v1/embeddings", "model": "echo-slow", "requests": requests}
    return str(httpx.post(f"{stack.url}/v1/jobs", content=json.dumps(work), timeout=30).json()["id"])


def done(stack: Stack, job_id: str) -> int:
    job = httpx.get(f"{stack.url}/v1/jobs/{job_id}", timeout=30).json()
    return int(job["request_counts"]["completed"])


def results_of(url: str, job_id: str) -> list[dict[str, object]]:
    return rows_of(httpx.get(f"{url}/v1/jobs/{job_id}/results", timeout=30).text)
