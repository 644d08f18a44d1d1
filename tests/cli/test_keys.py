"""`batchyard keys`, against a real API: from the open door of loopback to keys with limits."""

import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import uvicorn
from structlog.testing import capture_logs

from api.app import create_app
from configs.settings import Settings
from tasks.address import listen
from tests.cli.conftest import Run


@pytest.fixture
def url(database_url: str, redis_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """An API of this test's own, without keys, that the commands talk to."""
    settings = Settings(home=tmp_path, database_url=database_url, redis_url=redis_url, port=0)
    server = uvicorn.Server(uvicorn.Config(create_app(settings), log_config=None))
    with capture_logs(), listen(settings) as listener:  # what is logged would stand among what is printed
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        until = time.monotonic() + 30
        while not server.started and time.monotonic() < until:
            time.sleep(0.01)
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        monkeypatch.setenv("BATCHYARD_URL", url)
        yield url
        server.should_exit = True
        thread.join(30)


def calls(url: str, secret: str) -> int:
    """What the service answers to who has this key."""
    return httpx.get(f"{url}/v1/files", headers={"authorization": f"Bearer {secret}"}).status_code


def test_keys_are_made_listed_and_revoked(run: Run, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    first = run("keys", "create", "mine")
    assert first.code == 0
    assert "from now on every call needs one" in first.err
    assert run("keys", "list").code == 1  # without it
    monkeypatch.setenv("BATCHYARD_API_KEY", first.out.strip())

    made = json.loads(
        run("keys", "create", "crawler", "--project", "search", "--scope", "read", "--json",
            "--requests-per-minute", "90", "--max-queued-items", "5000", "--weight", "2").out
    )  # fmt: skip
    assert (made["scopes"], made["weight"], made["project"]) == (["read"], 2.0, "search")
    assert calls(url, made["key"]) == 200

    crawler, mine = [line.split() for line in run("keys", "list").out.splitlines()[1:]]
    assert crawler[:7] == [made["id"], "crawler", "search", "read", made["key"][-4:], "90", "5,000"]
    assert mine[1:4] == ["mine", "default", "submit,read,admin"]
    assert made["key"] not in run("keys", "list", "--json").out

    assert run("keys", "revoke", made["id"]).out == f"{made['id']} (crawler) is revoked\n"
    assert calls(url, made["key"]) == 401
    unknown = run("keys", "revoke", "key_nothing")
    assert (unknown.code, "api_key_not_found" in unknown.err) == (1, True)


def test_a_scope_that_is_none_is_a_usage_error(run: Run, url: str) -> None:
    assert run("keys", "create", "mine", "--scope", "root").code == 2
