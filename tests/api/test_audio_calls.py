"""Recordings as they are handed in, over real Postgres and Redis, with nobody who computes: what is kept of
them, what is found again, what is refused."""

import asyncio
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest
from psycopg.rows import dict_row

from configs.settings import Settings
from store.blobs import open_blobs
from tests.api.serving import api
from tests.tasks.slot import settings_for

TRANSCRIPTIONS, TRANSLATIONS = "/v1/audio/transcriptions", "/v1/audio/translations"
LATER = {"prefer": "respond-async"}
MODEL = {"model": "whisper-tiny.en"}
RECORDING = b"RIFF....WAVE" * 100

Rows = Callable[[str], list[dict[str, Any]]]
Play = Callable[..., httpx.Response]


@pytest.fixture
def settings(database_url: str, redis_url: str, tmp_path: Path) -> Settings:
    return settings_for(tmp_path, database_url=database_url, redis_url=redis_url, max_audio_bytes=100_000)


@pytest.fixture
def rows(database_url: str) -> Iterator[Rows]:
    with psycopg.connect(database_url, autocommit=True, row_factory=dict_row) as conn:
        yield lambda statement: conn.execute(statement).fetchall()


@pytest.fixture
def post(settings: Settings) -> Play:
    """Sends one call and gives its reply."""

    def send(path: str = TRANSCRIPTIONS, headers: dict[str, str] = LATER, **sent: Any) -> httpx.Response:
        async def play() -> httpx.Response:
            async with api(settings) as client:
                return await client.post(path, headers=headers, **sent)

        return asyncio.run(play())

    return send


def form(recording: bytes = RECORDING, **fields: Any) -> dict[str, Any]:
    return {"data": {**MODEL, **fields}, "files": {"file": ("talk.wav", recording, "audio/wav")}}


def kept(settings: Settings) -> list[bytes]:
    folder = open_blobs(settings).path("0" * 32).parent.parent
    return [path.read_bytes() for path in folder.rglob("*") if path.is_file()]


def error_of(reply: httpx.Response) -> tuple[int, str, str | None]:
    error = reply.json()["error"]
    return reply.status_code, error["code"], error["param"]


def test_the_file_of_a_form_is_kept_with_its_job(post: Play, rows: Rows, settings: Settings) -> None:
    reply = post(**form(**{"language": "en", "include[]": ["logprobs"], "metadata[team]": "7"}))
    assert reply.status_code == 202
    assert reply.json()["metadata"] == {"team": "7"}
    assert reply.json()["audio"] == {"done_seconds": 0.0, "known_seconds": 0.0}
    [attachment] = rows("SELECT blob, name, size_bytes FROM attachment JOIN job ON job.id = job_id")
    assert (attachment["name"], attachment["size_bytes"]) == ("talk.wav", len(RECORDING))
    assert kept(settings) == [RECORDING]
    [item] = rows("SELECT body FROM item")
    named, stretch, asked = json.loads(item["body"])
    assert (named, stretch) == ([attachment["blob"], "talk.wav"], None)
    assert asked == {**MODEL, "language": "en", "include": ["logprobs"]}


def test_a_form_that_is_sent_again_finds_its_job_and_leaves_no_second_file(
    post: Play, rows: Rows, settings: Settings
) -> None:
    headers = {**LATER, "idempotency-key": "night-1"}
    first, again = (post(headers=headers, **form()) for _ in range(2))
    assert first.json()["id"] == again.json()["id"]
    other = post(headers=headers, **form(RECORDING + b"more"))
    assert error_of(other)[:2] == (409, "idempotency_mismatch")
    assert len(rows("SELECT FROM attachment")) == 1
    assert kept(settings) == [RECORDING]


@pytest.mark.parametrize(
    ("path", "fields", "refused"),
    [
        (TRANSCRIPTIONS, {"language": "de"}, (400, "unsupported_language", "language")),
        (TRANSCRIPTIONS, {"response_format": "docx"}, (400, "invalid_value", "response_format")),
        (TRANSCRIPTIONS, {"temperature": "warm"}, (400, "invalid_type", "temperature")),
        (TRANSCRIPTIONS, {"known_speaker_names[]": ["Ann"]}, (400, "invalid_value", "known_speaker_names")),
        (TRANSCRIPTIONS, {"url": "https://a.example/b.mp3"}, (400, "missing_required_parameter", "file")),
        (TRANSCRIPTIONS, {"model": "nobody"}, (404, "model_not_found", "model")),
        (TRANSCRIPTIONS, {"model": "echo"}, (400, "endpoint_not_supported", "model")),
        (TRANSCRIPTIONS, {"webhook_url": "ftp://a"}, (400, "invalid_webhook_url", "webhook_url")),
        (TRANSCRIPTIONS, {"voice": "deep"}, (400, "invalid_request", "voice")),
        (TRANSLATIONS, {}, (400, "translation_not_supported", "model")),
    ],
)
def test_what_is_refused_leaves_nothing_behind(
    post: Play, rows: Rows, settings: Settings, path: str, fields: Any, refused: Any
) -> None:
    assert error_of(post(path, **form(**fields))) == refused
    assert rows("SELECT FROM job") == []
    assert kept(settings) == []


def test_a_recording_over_the_limit_is_refused(post: Play, settings: Settings) -> None:
    assert error_of(post(**form(bytes(100_001)))) == (413, "file_too_large", "file")
    assert kept(settings) == []


def test_a_body_of_json_names_its_recording(post: Play, rows: Rows) -> None:
    asked = {**MODEL, "url": "https://a.example/talk.mp3", "formats": ["srt", "text"]}
    assert post(json=asked).status_code == 202
    [item] = rows("SELECT body FROM item")
    assert json.loads(item["body"]) == asked
    assert error_of(post(json=MODEL)) == (400, "missing_required_parameter", "file")
    assert error_of(post(files={"model": (None, "whisper-tiny.en")}))[2] == "file"
    piece = [["0" * 32, "x"], None, MODEL]  # which is ours to make
    assert error_of(post(json=piece))[1] == "invalid_request"


def test_an_uploaded_file_is_looked_up(post: Play, rows: Rows) -> None:
    gone = post(json={**MODEL, "file_id": "file-gone"})
    assert error_of(gone) == (404, "file_not_found", "file_id")
    sent = {"data": {"purpose": "user_data"}, "files": {"file": ("a.wav", bytes(1_000_000))}}
    file_id = post("/v1/files", **sent).json()["id"]
    assert post(json={**MODEL, "file_id": file_id}).status_code == 202
    assert rows("SELECT expected_seconds FROM job") == [{"expected_seconds": pytest.approx(3.0)}]


def test_a_streamed_call_is_marked_for_its_slot(post: Play, rows: Rows) -> None:
    assert post(**form(stream="true")).status_code == 202
    assert rows("SELECT streamed FROM job") == [{"streamed": True}]
