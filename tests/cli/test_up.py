"""`batchyard up` whole: what a user sees, and what is left when it ends in one way or another."""

import json
import os
import signal
import socket
import time
from pathlib import Path
from typing import Any

import httpx
import pytest

from cli.exit_codes import ExitCode
from tests.fixtures.processes import as_root, living, wait_until
from tests.fixtures.up import Up, running_up

pytestmark = pytest.mark.slow

SPEC = "name: slow-echo\nfamily: echo\noptions:\n  delay_ms: 20\n"


def embed(up: Up, text: str = "hello") -> int:
    """Tokens of one awaited call."""
    reply = httpx.post(f"{up.url}/v1/embeddings", json={"model": "echo", "input": text}, timeout=30)
    assert reply.status_code == 200, reply.text
    return int(reply.json()["usage"]["total_tokens"])


def submit(up: Up, model: str, count: int) -> str:
    """A bulk job of `count` items; returns its id."""
    lines = [
        {
            "custom_id": f"n{n}",
            "method": "POST",
            "url": "/v1/embeddings",
            "body": {"model": model, "input": f"text {n}"},
        }
        for n in range(count)
    ]
    content = "".join(json.dumps(line) + "\n" for line in lines)
    files = {"file": ("in.jsonl", content, "application/jsonl")}
    file = httpx.post(f"{up.url}/v1/files", files=files, data={"purpose": "batch"}, timeout=30).json()
    body = {"input_file_id": file["id"], "endpoint": "/v1/embeddings", "completion_window": "24h"}
    reply = httpx.post(f"{up.url}/v1/batches", json=body, timeout=30)
    assert reply.status_code == 200, reply.text
    return str(reply.json()["id"])


def batch(up: Up, batch_id: str) -> dict[str, Any]:
    state: dict[str, Any] = httpx.get(f"{up.url}/v1/batches/{batch_id}", timeout=30).json()
    return state


def test_it_says_ready_on_stdout_answers_calls_and_ends_on_one_signal(home: Path) -> None:
    with running_up(home) as up:
        assert embed(up, "three words here") == 3
        pids = up.family()
        assert len(pids) >= 7  # up, Postgres, Redis, API, dispatcher, deliverer, a slot
        up.process.send_signal(signal.SIGINT)
        assert up.process.wait(30) == ExitCode.OK
        assert living(pids) == []
        assert up.process.stdout
        assert up.process.stdout.read() == ""
        assert "Traceback" not in up.log


def test_the_working_folder_does_not_stand_in_for_our_packages(home: Path, tmp_path: Path) -> None:
    for name in ("api", "tasks", "configs", "cli"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('imported from the working folder')\n")
    with running_up(home, cwd=tmp_path) as up:
        assert embed(up) == 1


def test_a_second_up_on_the_same_home_is_refused_and_the_first_goes_on(home: Path) -> None:
    with running_up(home) as first:
        with running_up(home) as second:
            assert second.process.returncode == ExitCode.REFUSED
            assert f"home {home} is in use by process {first.process.pid}" in second.log
            assert "Traceback" not in second.log
        assert embed(first) == 1


def test_killing_it_leaves_nothing_running_and_the_next_start_continues_the_batch(home: Path) -> None:
    (home / "specs").mkdir()
    (home / "specs" / "slow.yaml").write_text(SPEC)
    with running_up(home) as up:
        batch_id = submit(up, "slow-echo", 400)
        wait_until(lambda: 0 < batch(up, batch_id)["request_counts"]["completed"] < 400, 30, "the batch runs")
        embed(up)
        assert len(up.family()) >= 7  # an engine too
        up.process.kill()
        wait_until(lambda: up.family() == [], 10, "every process has ended")
    with running_up(home) as up:
        wait_until(lambda: batch(up, batch_id)["status"] == "completed", 60, "the batch is completed")
        state = batch(up, batch_id)
        assert state["request_counts"] == {"total": 400, "completed": 400, "failed": 0}
        content = httpx.get(f"{up.url}/v1/files/{state['output_file_id']}/content", timeout=30).text
        custom_ids = [json.loads(line)["custom_id"] for line in content.splitlines()]
        assert sorted(custom_ids) == sorted(f"n{n}" for n in range(400))


@pytest.mark.parametrize("name", ["api", "dispatch", "worker"])
def test_a_process_that_is_killed_comes_back(home: Path, name: str) -> None:
    with running_up(home, "--slots", "1") as up:
        pid = up.child(name)
        os.kill(pid, signal.SIGKILL)
        wait_until(lambda: pid not in up.family(), 5, "it has ended")
        wait_until(lambda: up.has_child(name), 10, "another is there")
        assert up.child(name) != pid
        assert embed(up) == 1


def test_calls_are_answered_again_after_postgres_was_killed(home: Path) -> None:
    with running_up(home) as up:
        embed(up)
        postgres = int((home / "postgres" / "postmaster.pid").read_text().split()[0])
        os.kill(postgres, signal.SIGKILL)

        def answered() -> bool:
            body = {"model": "echo", "input": "hello"}
            return httpx.post(f"{up.url}/v1/embeddings", json=body, timeout=30).status_code == 200

        wait_until(answered, 30, "calls are answered again")


def test_a_port_that_is_taken_is_refused_and_nothing_is_left(home: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        with running_up(home, "--port", str(port)) as up:
            assert up.process.returncode == ExitCode.REFUSED
            assert f"cannot bind 127.0.0.1 port {port}: Address already in use" in up.log
    assert not (home / "postgres" / "postmaster.pid").exists()


def test_an_open_address_without_a_key_is_refused(home: Path) -> None:
    with running_up(home, "--host", "0.0.0.0") as up:
        assert up.process.returncode == ExitCode.REFUSED
        assert "no API key exists" in up.log
        assert "Traceback" not in up.log


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--slots", "1000"), "1000 slots on"),
        (("--families", "parrot"), "unknown families: parrot"),
        (("--models", "parrot"), "there is no model 'parrot'"),
    ],
)
def test_arguments_that_cannot_be_are_refused_before_anything_is_made(
    open_folder: Path, options: tuple[str, ...], message: str
) -> None:
    home = open_folder / "never-made"
    with running_up(home, *options) as up:
        assert (up.process.returncode, home.exists()) == (ExitCode.USAGE, False)
        assert up.log.startswith(f"batchyard: {message}")
        assert up.log.count("\n") == 1
    up.log_file.unlink()


def test_an_address_that_is_not_ours_is_refused_before_a_database_is_made(open_folder: Path) -> None:
    home = open_folder / "elsewhere"
    with running_up(home, "--host", "192.0.2.1", api_key="sk-long-enough") as up:
        assert (up.process.returncode, (home / "postgres").exists()) == (ExitCode.USAGE, False)
        assert "name an address of this machine with --host" in up.log
        assert "--port" not in up.log


def test_an_open_address_is_refused_in_a_new_home_before_a_database_is_made(open_folder: Path) -> None:
    home = open_folder / "open-to-all"
    with running_up(home, "--host", "0.0.0.0") as up:
        assert (up.process.returncode, home.exists()) == (ExitCode.REFUSED, False)
        assert up.log.startswith("batchyard: binding 0.0.0.0 opens the service to other machines")
        assert up.log.count("\n") == 1


def test_a_variable_that_means_nothing_is_said_once_for_all_parts(home: Path) -> None:
    with running_up(home, "--slots", "1", prot="80", specs=str(home / "none")) as up:
        assert embed(up) == 1
    assert up.log.count("BATCHYARD_PROT is not a setting and does nothing; did you mean BATCHYARD_PORT?") == 1
    assert up.log.count("BATCHYARD_SPECS: there is no folder") == 1


@as_root
def test_a_closed_home_is_refused_by_name(open_folder: Path) -> None:
    closed = open_folder / "closed-to-others"
    closed.mkdir(mode=0o700)
    with running_up(closed / "home") as up:
        assert up.process.returncode == ExitCode.REFUSED
        assert f"the folder {closed} is closed to that account" in up.log


@pytest.mark.timing
def test_an_initialised_home_is_ready_within_five_seconds(home: Path) -> None:
    began = time.monotonic()
    with running_up(home) as up:
        assert up.url
        assert time.monotonic() - began < 5
