"""Recordings under a drain: found or fetched before they are heard, cut into parts, told as they are heard.

The engine is `hearing_engine.py`, which hears text files.
"""

import asyncio
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest
import redis

from backends.registry import FAMILIES
from backends.transcription import TRANSCRIPTIONS, piece
from backends.types import TranscriptResult, decode_error, decode_result, decode_segments
from configs.families import FAMILY_RULES
from store import calls, db, jobs, retries, slots
from store.attachments import NewAttachment
from store.blobs import Blob, open_blobs
from store.ids import new_file_id, new_suffix
from store.items import NewItem
from store.retries import Retry
from tasks import fetching, under_way
from tasks.controller import Controller
from tasks.drain import drain
from tasks.looking import FETCHED_AHEAD
from tasks.streams import decode_news, key_of
from tasks.under_way import units_of
from tests.fixtures.processes import wait_until
from tests.fixtures.web_server import Page, WebServer, web_server
from tests.tasks.hearing_engine import FAMILY, RULES, HearingEngine
from tests.tasks.slot import cancel, settings_for

PATIENCE_SECONDS = 60.0
LONG = [f"line {n}" for n in range(9)]  # five pieces


@pytest.fixture(autouse=True)
def hearing_family(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tasks.launch.Engine", HearingEngine)
    monkeypatch.setattr(fetching, "PAUSES", (0.01, 0.01))
    monkeypatch.setitem(FAMILIES, "hearing", FAMILY)
    monkeypatch.setitem(FAMILY_RULES, "hearing", RULES)


@pytest.fixture
def server() -> Iterator[WebServer]:
    with web_server() as started:
        yield started


@pytest.fixture
def service(database_url: str, redis_url: str, tmp_path: Path) -> Iterator["Service"]:
    with psycopg.connect(database_url, autocommit=True) as conn:
        made = Service(conn, database_url, redis_url, tmp_path)
        yield made
        for controller in made.controllers:
            controller.close()


class Service:
    """A database, a folder of blobs, and slots that share them."""

    def __init__(
        self, conn: psycopg.Connection[Any], database_url: str, redis_url: str, folder: Path
    ) -> None:
        self.conn, self._folder = conn, folder
        self.controllers: list[Controller] = []
        self._values = {"database_url": database_url, "redis_url": redis_url, "fetch_allow": "127.0.0.0/8"}
        self._database_url = database_url
        self.blobs = open_blobs(settings_for(folder, **self._values))

    def slot(self, delay_ms: float = 0.0, **changes: object) -> Controller:
        settings = settings_for(self._folder, **{**self._values, **changes})
        spec = f"name: ears\nfamily: hearing\nruntime: hearing\noptions: {{delay_ms: {delay_ms}}}\n"
        (self._folder / "specs" / "ears.yaml").write_text(spec)
        core = len(self.controllers)
        with db.connect(self._database_url, name="test") as conn:
            lease = slots.register(
                conn, boot_id="test", host="test", pid=1, families=["hearing"], cores=[core],
                available=[core], lease_seconds=60,
            )  # fmt: skip
        self.controllers.append(Controller(settings, lease, ["hearing"]))
        return self.controllers[-1]

    def blob(self, lines: list[str]) -> Blob:
        writer = self.blobs.create()
        writer.write("\n".join(lines).encode())
        return writer.commit()

    def file(self, lines: list[str], *, project: int = 1, expires: str = "1 hour") -> str:
        """An uploaded file: its id."""
        blob, file_id = self.blob(lines), new_file_id()
        self.conn.execute(
            "INSERT INTO file (id, project_id, purpose, filename, blob, size_bytes, sha256, expires_at)"
            " VALUES (%s, %s, 'user_data', 'f.wav', %s, %s, %s, now() + %s::interval)",
            (file_id, project, blob.name, blob.size_bytes, blob.sha256, expires),
        )
        return file_id

    def submit(self, bodies: list[Any], *, attachment: NewAttachment | None = None, **fields: Any) -> int:
        """A job with one item for each body: its id. A body that is bytes is taken as it is."""
        raw = [body if isinstance(body, bytes) else request(**body) for body in bodies]
        items = [NewItem(custom_id=str(n), body=body) for n, body in enumerate(raw)]
        values = {
            "suffix": new_suffix(), "view": "job", "project_id": 1, "key_id": 1, "endpoint": TRANSCRIPTIONS,
            "family": "hearing", "model": "ears", "lane": "bulk",
        }  # fmt: skip

        async def insert() -> int:
            async with await psycopg.AsyncConnection.connect(self._database_url, autocommit=True) as conn:
                new = jobs.NewJob(**(values | fields))
                return await calls.insert_call(conn, new, items, attachment=attachment)

        return asyncio.run(insert())

    def call(self, lines: list[str], **fields: Any) -> int:
        """A call whose recording came with it."""
        blob = self.blob(lines)
        body = piece(request(stream=fields.get("streamed", False)), (blob.name, "form.wav"))
        attachment = NewAttachment(blob=blob.name, name="form.wav", size_bytes=blob.size_bytes)
        values = {"view": "call", "lane": "interactive", "attachment": attachment}
        return self.submit([body], **(values | fields))

    def retry(self, job_id: int) -> int:
        """A job of what this one, which has ended, left undone: its id."""

        async def insert() -> int | None:
            async with await psycopg.AsyncConnection.connect(self._database_url, autocommit=True) as conn:
                how = Retry(
                    suffix=new_suffix(), key_id=1, family="hearing", model="ears", cores=1, priority=0,
                    deadline_seconds=None,
                )  # fmt: skip
                job = await jobs.load(conn, job_id)
                return await retries.insert(conn, job, how) if job is not None else None

        again = asyncio.run(insert())
        assert again is not None
        return again

    def cancel(self, job_id: int) -> None:
        cancel(self._database_url, job_id)

    def rows(self, job_id: int) -> dict[int, tuple[int, bytes]]:
        rows = self.conn.execute("SELECT n, status, data FROM result WHERE job_id = %s", (job_id,)).fetchall()
        return {n: (status, data) for n, status, data in rows}

    def text(self, job_id: int, n: int) -> str:
        """What was heard in a part."""
        status, data = self.rows(job_id)[n]
        assert status == 200
        result = decode_result(data)
        assert isinstance(result, TranscriptResult)
        return "".join(segment.text for segment in result.segments)

    def code(self, job_id: int, n: int) -> str:
        status, data = self.rows(job_id)[n]
        assert status != 200
        return decode_error(data).code

    def state(self, job_id: int) -> str:
        return str(self.one("SELECT state FROM job WHERE id = %s", job_id))

    def one(self, statement: str, *values: object) -> Any:
        row = self.conn.execute(statement, values).fetchone()
        assert row is not None
        return row[0] if len(row) == 1 else row

    def wait(self, condition: Callable[[], object], what: str) -> None:
        wait_until(lambda: bool(condition()), PATIENCE_SECONDS, what)


def request(**fields: Any) -> bytes:
    return json.dumps({"model": "ears", **fields}).encode()


@contextmanager
def draining(controller: Controller) -> Iterator[threading.Thread]:
    thread = threading.Thread(target=drain, args=(controller,))
    thread.start()
    yield thread
    thread.join(PATIENCE_SECONDS)
    assert not thread.is_alive()


def test_a_recording_is_a_file_a_url_or_came_with_its_call(service: Service, server: WebServer) -> None:
    server.pages = {"/a.wav": [Page(body=b"from afar")]}
    job = service.submit([{"file_id": service.file(["uploaded"])}, {"url": server.url("/a.wav")}])
    call = service.call(["attached"])
    drain(service.slot())
    assert [service.text(job, 0), service.text(job, 1), service.text(call, 0)] == [
        " uploaded",
        " from afar",
        " attached",
    ]
    fetched = service.one("SELECT item_n, name, fetched FROM attachment WHERE job_id = %s", job)
    assert fetched == (1, "a.wav", True)


def test_what_cannot_be_found_or_fetched_is_the_items_own_error(service: Service, server: WebServer) -> None:
    gone = service.file(["gone"])
    service.blobs.delete(service.one("SELECT blob FROM file WHERE id = %s", gone))
    service.conn.execute("INSERT INTO project (id, name) VALUES (7, 'other')")
    bodies = [
        {"file_id": "file-none"},
        {"file_id": service.file(["theirs"], project=7)},
        {"file_id": service.file(["expired"], expires="-1 second")},
        {"file_id": gone},
        {"url": server.url("/missing")},
        {"url": "https://10.0.0.1/inside.wav"},
        {"url": server.url("/a"), "file_id": "file-both"},
        {"url": server.url("/b"), "temperature": 9},
        {"url": server.url("/c"), "stream": True},
        {"file_id": service.file(["good"])},
    ]
    job = service.submit(bodies)
    drain(service.slot())
    assert [service.code(job, n) for n in range(9)] == [
        *["file_not_found"] * 4,
        "fetch_failed",
        "invalid_audio_url",
        "missing_required_parameter",
        *["invalid_value"] * 2,
    ]
    assert service.text(job, 9) == " good"
    assert server.asked == ["/missing"]  # nothing is fetched for what will be refused
    assert service.state(job) == "finalizing"


def test_a_part_that_waits_for_its_recording_keeps_its_lease_and_holds_up_no_other(
    service: Service, server: WebServer
) -> None:
    hold = threading.Event()
    server.pages = {"/slow": [Page(body=b"came late", hold=hold)]}
    job = service.submit([{"url": server.url("/slow")}, {"file_id": service.file(["at hand"])}])
    with draining(service.slot(lease_seconds=1.0)):
        service.wait(lambda: 1 in service.rows(job), "the other part is recorded")
        call = service.call(["short"])
        service.wait(lambda: service.state(call) == "completed", "a call is answered meanwhile")
        renewed = "SELECT lease_until > claimed_at + interval '2.5 seconds' FROM chunk WHERE job_id = %s"
        service.wait(lambda: service.one(renewed, job), "the lease is renewed")
        assert 0 not in service.rows(job)
        hold.set()
        service.wait(lambda: 0 in service.rows(job), "the slow one is heard")
    assert service.text(job, 0) == " came late"
    assert service.one("SELECT max(epoch) FROM chunk") == 1


def test_servers_that_hang_hold_up_no_other_job(service: Service, server: WebServer) -> None:
    hold = threading.Event()
    server.pages = {"/slow": [Page(body=b"came late", hold=hold)]}
    slow = service.submit([{"url": server.url("/slow")} for _ in range(2 * FETCHED_AHEAD)])
    with draining(service.slot()):
        fetching = "SELECT coalesce(sum(hi - lo), 0) FROM chunk WHERE job_id = %s"
        service.wait(lambda: service.one(fetching, slow) >= FETCHED_AHEAD, "enough of it is claimed")
        other = service.submit([{"file_id": service.file(["at hand"])}])
        service.wait(lambda: service.state(other) == "finalizing", "another job is done meanwhile")
        assert service.one(fetching, slow) < 2 * FETCHED_AHEAD
        hold.set()
        service.wait(lambda: service.state(slow) == "finalizing", "the slow one is done too")


def test_a_fetch_that_nobody_waits_for_any_more_is_given_up(service: Service, server: WebServer) -> None:
    hold = threading.Event()
    server.pages = {"/slow": [Page(body=b"x" * 100, hold=hold)]}
    job = service.submit([{"url": server.url("/slow")}])
    controller = service.slot(lease_seconds=30.0)
    with draining(controller):
        service.wait(lambda: server.asked, "the fetch has begun")
        service.cancel(job)
        held = "SELECT count(*) FROM chunk WHERE state = 'running' AND lease_until > now()"
        service.wait(lambda: service.one(held) == 0, "the slot has let go")
    hold.set()
    service.wait(lambda: not _files(service), "nothing of it is kept")
    assert service.one("SELECT count(*) FROM attachment") == 0


def test_what_was_fetched_is_there_for_who_takes_the_part_over(service: Service, server: WebServer) -> None:
    server.pages = {"/a": [Page(body=b"one\ntwo\nthree")]}
    job = service.submit([{"url": server.url("/a")}])
    first = service.slot(delay_ms=200.0, drain_seconds=0.2)
    while not service.one("SELECT count(*) FROM attachment"):
        drain(first)
    service.conn.execute("UPDATE chunk SET lease_until = now() - interval '1 second'")
    drain(service.slot())
    assert service.text(job, 0) == " one two three"
    assert server.asked == ["/a"]


def test_a_long_recording_is_cut_into_parts_that_come_before_what_is_not_begun(
    service: Service, server: WebServer
) -> None:
    server.pages = {"/long": [Page(body="\n".join(LONG).encode())]}
    short = [{"file_id": service.file([f"short {n}"])} for n in range(30)]
    job = service.submit([{"url": server.url("/long")}, *short])
    with draining(service.slot(delay_ms=20.0)):
        service.wait(
            lambda: service.one("SELECT parts FROM job WHERE id = %s", job) == 36, "it has been planned"
        )
        progress = "SELECT units, foreseen FROM job_progress WHERE job_id = %s"
        assert sum(service.one(progress, job)) >= 9000
        service.wait(lambda: set(range(31, 36)) <= service.rows(job).keys(), "all of it is heard")
        assert len(service.rows(job)) < 30
    assert [service.text(job, n) for n in (0, *range(31, 36))] == [
        "", " line 0 line 1", " line 2 line 3", " line 4 line 5", " line 6 line 7", " line 8",
    ]  # fmt: skip
    assert service.one(progress, job) == (39_000, 0)
    assert server.asked == ["/long"]


def test_a_streamed_call_that_failed_is_heard_when_it_is_asked_for_again(service: Service) -> None:
    call = service.call(["again"], streamed=True)
    service.cancel(call)
    job = service.retry(call)
    drain(service.slot())
    assert service.text(job, 0) == " again"


def test_a_short_recording_enters_while_a_long_one_is_heard_that_somebody_waits_for_too(
    service: Service,
) -> None:
    long = service.call([f"{n}" for n in range(200)], expected_seconds=20.0)
    controller = service.slot(delay_ms=50.0, drain_seconds=60.0)
    with draining(controller):
        service.wait(lambda: len(service.rows(long)) > 3, "it is being heard")
        clip = service.call(["clip"], expected_seconds=0.5)
        controller.signals.poke("hearing")
        service.wait(lambda: service.state(clip) == "completed", "the clip is answered")
        assert len(service.rows(long)) < 50
        service.cancel(long)


def test_followers_are_told_what_is_heard_before_its_part_is_recorded(
    service: Service, redis_url: str
) -> None:
    streamed, plain = service.call(["a", "b"], streamed=True), service.call(["c"])
    bulk = service.submit([{"file_id": service.file(["d"])}])
    drain(service.slot(delay_ms=1.0))
    with redis.Redis.from_url(redis_url) as client:
        told = {job: _told(client, job) for job in (streamed, plain, bulk)}
    assert told == {streamed: [" a", " b", 0, "completed"], plain: [], bulk: [" d", 0, "finalizing"]}


def test_how_far_a_recording_is_is_told_while_it_is_heard(service: Service, redis_url: str) -> None:
    job = service.submit([{"file_id": service.file(["a", "b", "c", "d"])}])
    seen = []
    with redis.Redis.from_url(redis_url) as client, draining(service.slot(delay_ms=700.0)):

        def look() -> bool:
            seen.append(units_of(client.hgetall(under_way.key_of(job))))
            return service.state(job) == "finalizing"

        service.wait(look, "it is heard")
        assert client.hgetall(under_way.key_of(job)) == {}  # it is counted by the record
    told = sorted(set(seen))
    assert told[0] == 0
    assert len(told) >= 3
    assert set(told) < {0, 1000, 2000, 3000, 4000}
    assert service.one("SELECT units FROM job_progress WHERE job_id = %s", job) == 4000


def _told(client: redis.Redis, job_id: int) -> list[str | int]:
    """What the job's stream says, in order: what was heard, parts that are recorded, states."""
    told: list[str | int] = []
    for _, fields in client.xrange(key_of(job_id)):
        one = decode_news(fields)
        told += [segment.text for _, data in one.heard for segment in decode_segments(data)]
        told += one.parts
        told += [one.state] if one.state else []
    return told


def _files(service: Service) -> list[Path]:
    folder = service.blobs.path("0" * 32).parent.parent
    return [path for path in folder.rglob("*") if path.is_file()]
