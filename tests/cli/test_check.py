"""`batchyard check`, over a database in which a part is at work or not."""

import http.server
import socket
from collections.abc import Callable, Iterator

import pytest

from cli.check import Checked
from cli.exit_codes import ExitCode
from store import db, leadership, slots
from store.deliveries import DELIVERER
from tasks.slots import boot_id
from tests.cli.conftest import Outcome, Run
from tests.fixtures.serving import serving
from tests.fixtures.stack import Stack

Check = Callable[..., Outcome]


@pytest.fixture
def check(run: Run, monkeypatch: pytest.MonkeyPatch) -> Check:
    """`check(part, setting=value)` as a health check would."""

    def check(part: str, **settings: str) -> Outcome:
        with monkeypatch.context() as patched:
            for name, value in settings.items():
                patched.setenv(f"BATCHYARD_{name.upper()}", value)
            return run("check", part)

    return check


def test_a_dispatcher_is_there_while_one_leads(check: Check, database_url: str) -> None:
    assert check("dispatcher", database_url=database_url).code == ExitCode.UNREACHABLE
    with db.connect(database_url, name="leader") as conn:
        assert leadership.take(conn)
        assert check("dispatcher", database_url=database_url).code == ExitCode.OK
    assert check("dispatcher", database_url=database_url).code == ExitCode.UNREACHABLE


def test_another_lock_or_database_is_no_dispatcher(
    check: Check, database_url: str, empty_database_url: str
) -> None:
    with (
        db.connect(database_url, name="other lock") as conn,
        db.connect(empty_database_url, name="other database") as other,
    ):
        conn.execute("SELECT pg_advisory_lock(%s)", (leadership.LOCK + 1,))
        assert leadership.take(other)
        assert check("dispatcher", database_url=database_url).code == ExitCode.UNREACHABLE


def test_a_deliverer_is_there_while_one_is_connected(check: Check, database_url: str) -> None:
    assert check("deliverer", database_url=database_url).code == ExitCode.UNREACHABLE
    with db.connect(database_url, name=DELIVERER):
        assert check("deliverer", database_url=database_url).code == ExitCode.OK


@pytest.mark.parametrize(
    ("host", "lease_seconds", "code"),
    [
        (socket.gethostname(), 30.0, ExitCode.OK),
        ("another-host", 30.0, ExitCode.UNREACHABLE),
        (socket.gethostname(), -1.0, ExitCode.UNREACHABLE),
    ],
)
def test_a_worker_is_there_while_a_slot_of_this_host_holds_its_lease(
    check: Check, database_url: str, host: str, lease_seconds: float, code: ExitCode
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
    assert check("worker", database_url=database_url).code == code


class Answering(http.server.BaseHTTPRequestHandler):
    status = 200

    def do_GET(self) -> None:
        self.send_response(self.status if self.path == "/ready" else 404)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@pytest.fixture
def answering() -> Iterator[http.server.HTTPServer]:
    with serving(http.server.HTTPServer(("127.0.0.1", 0), Answering)) as server:
        yield server


def test_the_api_is_there_while_it_is_ready(
    check: Check, answering: http.server.HTTPServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    port = str(answering.server_port)
    assert check("api", host="0.0.0.0", port=port).code == ExitCode.OK
    monkeypatch.setattr(Answering, "status", 503)
    ended = check("api", port=port)
    assert ended.code == ExitCode.UNREACHABLE
    assert f"http://127.0.0.1:{port}/ready is not ready: it answers with status 503" in ended.err


def test_an_api_that_does_not_answer_is_named_by_its_address(check: Check) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = str(listener.getsockname()[1])
    ended = check("api", port=port)
    assert ended.code == ExitCode.UNREACHABLE
    assert f"no api answers at http://127.0.0.1:{port}/ready" in ended.err


def test_no_database_url_is_a_usage_error(check: Check) -> None:
    ended = check("worker", database_url="")
    assert (ended.code, ended.err.count("\n")) == (ExitCode.USAGE, 1)
    assert "BATCHYARD_DATABASE_URL is not set" in ended.err


def test_a_database_without_tables_is_one_line(check: Check, empty_database_url: str) -> None:
    ended = check("worker", database_url=empty_database_url)
    assert (ended.code, ended.err.count("\n")) == (ExitCode.UNREACHABLE, 1)
    assert "batchyard migrate" in ended.err


def test_an_unknown_part_is_a_usage_error(check: Check) -> None:
    assert check("workers").code == ExitCode.USAGE


def test_every_part_of_a_running_service_is_found(check: Check, hooked_stack: Stack) -> None:
    settings = {"database_url": hooked_stack.database_url, "port": hooked_stack.url.rpartition(":")[2]}
    codes = {part: check(part, **settings).code for part in Checked}
    assert codes == dict.fromkeys(Checked, ExitCode.OK)
