"""Replies that are told while they are computed, over real Postgres and Redis; the slot is the test."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api import awaiting
from backends.types import ErrorInfo, encode_result, encode_segments
from configs.settings import Settings
from tasks.signals import Answered, Signals, connect
from tasks.streams import EventWriter, key_of
from tests.api.serving import hang_up, running, until
from tests.api.test_transcripts_live import FIRST, SECOND, THIRD, result
from tests.tasks.slot import settings_for

PATH = "/v1/audio/transcriptions"
FIELDS = {"model": "whisper-tiny.en", "stream": "true"}
FILES = {"file": ("note.wav", b"RIFF", "audio/wav")}

ZERO, ONE = result(FIRST, SECOND, total_ms=3000), result(THIRD)


class Slot:
    """Records parts of the only job, and says what is heard of them."""

    def __init__(self, settings: Settings) -> None:
        assert settings.database_url is not None
        assert settings.redis_url is not None
        self.conn = psycopg.connect(settings.database_url, autocommit=True)
        self.redis = connect(settings.redis_url)
        self._signals = Signals(self.redis)
        self._writer = EventWriter(self._signals)
        self.job_id = 0
        self.told = asyncio.Event()  # something of the reply has been sent

    def close(self) -> None:
        self.conn.close()
        self.redis.close()

    def one(self, statement: str) -> Any:
        row = self.conn.execute(statement).fetchone()
        assert row is not None
        return row[0]

    async def begin(self, parts: int = 1) -> None:
        """Wait for the job; it is found to have so many parts."""
        await until(lambda: self.one("SELECT count(*) FROM job WHERE waiters = 1") == 1, "nobody waits")
        self.job_id = self.one("SELECT id FROM job")
        self.conn.execute("UPDATE job SET parts = %s, state = 'running', next_part = 1", (parts,))
        self.conn.execute("UPDATE item SET parts = %s", (parts,))
        for n in range(1, parts):
            self.conn.execute("INSERT INTO item_part VALUES (%s, %s, 0, %s, '{}')", (self.job_id, n, n))

    def hear(self, part: int, *segments: Any) -> None:
        self._writer.heard(self.job_id, [(part, encode_segments(list(segments)))])
        self._writer.flush(at_once=True)

    def record(self, part: int, data: bytes, status: int = 200) -> None:
        self.conn.execute(
            "INSERT INTO result (job_id, n, status, data) VALUES (%s, %s, %s, %s)",
            (self.job_id, part, status, data),
        )
        self._writer.recorded(self.job_id, [part])
        self._writer.flush(at_once=True)

    def end(self) -> None:
        self.conn.execute("UPDATE job SET state = 'completed', ended_at = now()")
        self._signals.answered(Answered(self.job_id))


Script = Callable[[Slot], Awaitable[None]]


@pytest.fixture
def settings(database_url: str, redis_url: str, tmp_path: Path) -> Settings:
    return settings_for(tmp_path, database_url=database_url, redis_url=redis_url)


@pytest.fixture
def ask(settings: Settings) -> Callable[[Script], httpx.Response]:
    """The reply to a streamed call whose slot follows the script."""

    def asked(script: Script) -> httpx.Response:
        async def play() -> httpx.Response:
            slot = Slot(settings)
            try:
                async with running(settings) as app:
                    transport = httpx.ASGITransport(watched(app, slot.told))
                    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
                        reply = asyncio.create_task(client.post(PATH, data=FIELDS, files=FILES))
                        await script(slot)
                        return await asyncio.wait_for(reply, 60)
            finally:
                slot.close()

        return asyncio.run(play())

    return asked


def watched(app: ASGIApp, told: asyncio.Event) -> ASGIApp:
    """The application; `told` is set when it has sent a first piece of a body."""

    async def call(scope: Scope, receive: Receive, send: Send) -> None:
        async def sent(message: Message) -> None:
            await send(message)
            if message.get("body"):
                told.set()

        await app(scope, receive, sent)

    return call


def told(reply: httpx.Response) -> list[tuple[str, Any]]:
    """The events of a reply, which ends as OpenAI's do."""
    assert reply.headers["content-type"].startswith("text/event-stream")
    *frames, last, nothing = reply.text.split("\n\n")
    assert (last, nothing) == ("data: [DONE]", "")
    pairs = [frame.split("\n", 1) for frame in frames if not frame.startswith(":")]
    return [(name.removeprefix("event: "), json.loads(data.removeprefix("data: "))) for name, data in pairs]


def texts(reply: httpx.Response) -> list[str]:
    """Pieces, and the text of the end."""
    return [data.get("delta", data.get("text")) for _, data in told(reply)]


def test_parts_that_are_heard_at_once_are_told_in_order(ask: Callable[[Script], httpx.Response]) -> None:
    async def script(slot: Slot) -> None:
        await slot.begin(parts=2)
        slot.hear(1, THIRD)
        slot.hear(0, FIRST)
        slot.record(0, ZERO)
        slot.record(1, ONE)
        slot.end()

    reply = ask(script)
    assert texts(reply) == ["One", " two.", " Three.", "One two. Three."]
    assert told(reply)[-1][0] == "transcript.text.done"


def test_what_redis_lost_is_told_from_the_results(ask: Callable[[Script], httpx.Response]) -> None:
    async def script(slot: Slot) -> None:
        await slot.begin(parts=2)
        slot.hear(0, FIRST)
        await asyncio.wait_for(slot.told.wait(), 60)
        slot.redis.delete(key_of(slot.job_id))
        slot.record(0, ZERO)
        slot.record(1, ONE)
        slot.redis.delete(key_of(slot.job_id))
        slot.end()

    assert texts(ask(script)) == ["One", " two.", " Three.", "One two. Three."]


def test_an_error_before_the_first_piece_is_an_error_reply(ask: Callable[[Script], httpx.Response]) -> None:
    async def script(slot: Slot) -> None:
        await slot.begin()
        slot.record(0, encode_result(ErrorInfo("no_audio_stream", "none", "file")), status=400)
        slot.end()

    reply = ask(script)
    assert reply.status_code == 400
    assert reply.json()["error"]["code"] == "no_audio_stream"


def test_a_later_error_is_an_event_that_the_client_raises(ask: Callable[[Script], httpx.Response]) -> None:
    async def script(slot: Slot) -> None:
        await slot.begin(parts=2)
        slot.record(0, ZERO)
        await asyncio.wait_for(slot.told.wait(), 60)
        slot.record(1, encode_result(ErrorInfo("engine_error", "broken")), status=500)
        slot.end()

    *pieces, (name, last) = told(ask(script))
    assert [data["delta"] for _, data in pieces] == ["One", " two."]
    assert (name, last["error"]["code"], last["error"]["type"]) == ("error", "engine_error", "server_error")


def test_a_job_that_fails_as_a_whole_says_why(ask: Callable[[Script], httpx.Response]) -> None:
    async def script(slot: Slot) -> None:
        await slot.begin()
        why = json.dumps({"data": [{"code": "model_load_failed", "message": "no memory"}]})
        slot.conn.execute("UPDATE job SET errors = %s", (why,))
        slot.end()

    reply = ask(script)
    assert (reply.status_code, reply.json()["error"]["code"]) == (503, "model_load_failed")


def test_a_reader_who_goes_away_leaves_the_job(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(awaiting, "GRACE_SECONDS", 0.05)

    async def play() -> None:
        slot, gone = Slot(settings), asyncio.Event()
        async with running(settings) as app:
            body = json.dumps(
                {"model": "whisper-tiny.en", "stream": True, "url": "https://a.example/b"}
            ).encode()
            headers = [(b"content-type", b"application/json")]
            call = asyncio.create_task(hang_up(app, body, headers, gone, PATH))
            await slot.begin(parts=2)
            slot.hear(0, FIRST)
            gone.set()
            await until(lambda: slot.one("SELECT state FROM job") == "cancelling", "nobody waits any more")
            call.cancel()
            await asyncio.gather(call, return_exceptions=True)
        slot.close()

    asyncio.run(play())
