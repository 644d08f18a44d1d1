"""`batchyard check`, over a database in which a part is at work or not."""

import http.server
import socket
import threading
from collections.abc import Iterator

import pytest
from typer.testing import CliRunner

from cli.check import Checked
from cli.exit_codes import ExitCode
from cli.main import app
from store import db, leadership, slots
from tasks.slots import boot_id
from tests.fixtures.stack import Stack


def check(part: str, **settings: str) -> int:
    env = {f"BATCHYARD_{name.upper()}": value for name, value in settings.items()}
    return CliRunner().invoke(app, ["check", part], env=env).exit_code


def test_a_dispatcher_is_there_while_one_leads(database_url: str) -> None:
    assert check("dispatcher", database_url=database_url) == ExitCode.UNREACHABLE
    with db.connect(database_url, name="leader") as conn:
        assert leadership.take(conn)
        assert check("dispatcher", database_url=database_url) == ExitCode.OK
    assert check("dispatcher", database_url=database_url) == ExitCode.UNREACHABLE


def test_another_lock_or_database_is_no_dispatcher(database_url: str, empty_database_url: str) -> None:
    with (
        db.connect(database_url, name="other lock") as conn,
        db.connect(empty_database_url, name="other database") as other,
    ):
        conn.execute("SELECT pg_advisory_lock(%s)", (leadership.LOCK + 1,))
        assert leadership.take(other)
        assert check("dispatcher", database_url=database_url) == ExitCode.UNREACHABLE


@pytest.mark.parametrize(
    ("host", "lease_seconds", "code"),
    [
        (socket.gethostname(), 30.0, ExitCode.OK),
        ("another-host", 30.0, ExitCode.UNREACHABLE),
        (socket.gethostname(), -1.0, ExitCode.UNREACHABLE),
    ],
)
def test_a_worker_is_there_while_a_slot_of_this_host_holds_its_lease(
    database_url: str, host: str, lease_seconds: float, code: ExitCode
) -> None:
    with db.connect(database_url, name="slot") as conn:
        slots.register(
            conn,
            boot_id=boot_id(),
            host=host,
            pid=1,
            families=["echo"],
            cores=None,
            available=[0],
            lease_seconds=lease_seconds,
        )
    assert check("worker", database_url=database_url) == code


class Answering(http.server.BaseHTTPRequestHandler):
    status = 200

    def do_GET(self) -> None:
        self.send_response(self.status if self.path == "/ready" else 404)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@pytest.fixture
def answering() -> Iterator[http.server.HTTPServer]:
    with http.server.HTTPServer(("127.0.0.1", 0), Answering) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def test_the_api_is_there_while_it_is_ready(
    answering: http.server.HTTPServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    port = str(answering.server_port)
    assert check("api", host="0.0.0.0", port=port) == ExitCode.OK
    monkeypatch.setattr(Answering, "status", 503)
    assert check("api", port=port) == ExitCode.UNREACHABLE


def test_no_database_url_is_a_usage_error() -> None:
    assert check("worker", database_url="") == ExitCode.USAGE


def test_an_unknown_part_is_a_usage_error() -> None:
    assert check("workers") == ExitCode.USAGE


def test_every_part_of_a_running_service_is_found(stack: Stack) -> None:
    settings = {"database_url": stack.database_url, "port": stack.url.rpartition(":")[2]}
    assert {part: check(part, **settings) for part in Checked} == dict.fromkeys(Checked, ExitCode.OK)
