"""Parts of the service run apart: what they refuse is one line, and being told to stop is no failure."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from cli.exit_codes import ExitCode
from tests.cli.conftest import Run
from tests.fixtures.processes import wait_until

PARTS = ("api", "dispatch", "deliver", "worker")
API = (sys.executable, "-P", "-m", "cli.main", "api")


@pytest.fixture(autouse=True)
def apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("BATCHYARD_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("BATCHYARD_HOME", str(tmp_path))
    monkeypatch.setattr("configs.logging.configure", lambda settings: None)


@pytest.fixture
def urls(monkeypatch: pytest.MonkeyPatch, database_url: str, redis_url: str) -> None:
    monkeypatch.setenv("BATCHYARD_DATABASE_URL", database_url)
    monkeypatch.setenv("BATCHYARD_REDIS_URL", redis_url)


@pytest.fixture
def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


@pytest.mark.parametrize("part", PARTS)
def test_without_urls_a_part_says_which_to_set(run: Run, monkeypatch: pytest.MonkeyPatch, part: str) -> None:
    ended = run(part)
    assert (ended.code, ended.err.count("\n")) == (ExitCode.USAGE, 1)
    assert "BATCHYARD_DATABASE_URL and BATCHYARD_REDIS_URL are not set" in ended.err
    assert "batchyard up" in ended.err
    monkeypatch.setenv("BATCHYARD_DATABASE_URL", "postgresql:///x")
    assert "batchyard: BATCHYARD_REDIS_URL is not set" in run(part).err


@pytest.mark.parametrize("part", PARTS)
def test_a_database_without_tables_is_to_be_migrated(
    run: Run, monkeypatch: pytest.MonkeyPatch, empty_database_url: str, redis_url: str, part: str
) -> None:
    monkeypatch.setenv("BATCHYARD_DATABASE_URL", empty_database_url)
    monkeypatch.setenv("BATCHYARD_REDIS_URL", redis_url)
    ended = run(part)
    assert (ended.code, ended.err.count("\n")) == (ExitCode.UNREACHABLE, 1)
    assert "batchyard migrate" in ended.err


@pytest.mark.parametrize("part", PARTS)
def test_a_database_that_is_away_is_one_line(
    run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, part: str
) -> None:
    monkeypatch.setenv("BATCHYARD_DATABASE_URL", f"postgresql:///x?host={tmp_path}")
    monkeypatch.setenv("BATCHYARD_REDIS_URL", f"unix://{tmp_path}/no.sock")
    ended = run(part)
    assert ended.code == ExitCode.UNREACHABLE
    assert ended.err.startswith("batchyard: ")
    assert "Traceback" not in ended.err


@pytest.mark.usefixtures("urls")
@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--cores", "9999"], "core 9999 is not there: this process may use "),
        (["--cores", "many"], "'many' is not a core set"),
        (["--families", "parrot"], "unknown families: parrot"),
    ],
)
def test_a_slot_that_cannot_be_is_refused_at_start(run: Run, options: list[str], message: str) -> None:
    ended = run("worker", *options)
    assert (ended.code, ended.err.count("\n")) == (ExitCode.USAGE, 1)
    assert ended.err.startswith(f"batchyard: {message}")


@pytest.mark.usefixtures("urls")
def test_an_api_on_a_taken_port_ends_with_one_line() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        ended = subprocess.run(
            (*API, "--port", str(port)), capture_output=True, text=True, timeout=60, check=False
        )
    assert (ended.returncode, ended.stderr.count("\n")) == (ExitCode.REFUSED, 1)
    assert f"cannot bind 127.0.0.1 port {port}: Address already in use" in ended.stderr


@pytest.fixture
def api(urls: None, free_port: int) -> Iterator[subprocess.Popen[str]]:
    """An API that answers."""
    with subprocess.Popen((*API, "--port", str(free_port)), stderr=subprocess.PIPE, text=True) as process:
        try:
            wait_until(lambda: _answers(free_port), 60, "the api answers")
            yield process
        finally:
            process.kill()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_an_api_that_is_told_to_stop_ends_well(api: subprocess.Popen[str], number: signal.Signals) -> None:
    api.send_signal(number)
    _, said = api.communicate(timeout=30)
    assert (api.returncode, "Traceback" in said) == (ExitCode.OK, False)


def _answers(port: int) -> bool:
    try:
        return httpx.get(f"http://127.0.0.1:{port}/health", trust_env=False).status_code == 200
    except httpx.TransportError:
        return False
