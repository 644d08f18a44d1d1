"""Recordings to text through the whole service, by the official client, with the real Whisper tiny.en."""

import hashlib
import io
import json
import time
import wave
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from openai import BadRequestError, OpenAI
from openai.types.audio import Transcription, TranscriptionDiarized, TranscriptionVerbose

from backends.audio.reader import Reader
from tests.fixtures.batches import read_lines, run, upload
from tests.fixtures.jobs import finished
from tests.fixtures.jobs import results as results_of
from tests.fixtures.stack import Stack
from tests.fixtures.web_server import Page, web_server

pytestmark = pytest.mark.slow

CLIPS = Path(__file__).parents[2] / "cli" / "clips"
CLIP = CLIPS / "1688-142285-0005.flac"
SAID = "always accusing people"
MODEL = "whisper-tiny.en"
ENDPOINT = "/v1/audio/transcriptions"


@pytest.fixture
def client(speech_stack: Stack) -> Iterator[OpenAI]:
    with speech_stack.client() as client:
        yield client


@pytest.fixture
def http(speech_stack: Stack) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=f"{speech_stack.url}/v1", timeout=300) as http:
        yield http


@pytest.fixture(scope="module")
def long_recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All clips, one after the other: long enough to be cut."""
    path = tmp_path_factory.mktemp("long") / "all.wav"
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(16_000)
        for clip in sorted(CLIPS.glob("*.flac")):
            reader = Reader(str(clip), 0, None, split=False)
            while not reader.step():
                pass
            file.writeframes((reader.channels[0] * 32767).astype(np.int16).tobytes())
    return path


def uploaded(client: OpenAI, path: Path) -> str:
    return client.files.create(file=path, purpose="user_data").id


def test_a_clip_is_transcribed_in_the_types_of_the_official_client(client: OpenAI) -> None:
    plain = client.audio.transcriptions.create(model=MODEL, file=CLIP, language="en", include=["logprobs"])
    assert type(plain) is Transcription
    assert SAID in plain.text
    assert plain.usage is not None
    assert plain.usage.type == "duration"
    assert plain.logprobs
    assert "".join(entry.token or "" for entry in plain.logprobs).strip() == plain.text

    verbose = client.audio.transcriptions.create(
        model=MODEL,
        file=CLIP,
        response_format="verbose_json",
        timestamp_granularities=["word", "segment"],
    )
    assert TranscriptionVerbose.model_validate(verbose.model_dump()) == verbose
    assert verbose.segments
    assert verbose.words
    assert "".join(segment.text for segment in verbose.segments).strip() == verbose.text
    assert [word.word for word in verbose.words] == verbose.text.split()
    assert verbose.duration == 4.3
    assert all(0 <= word.start <= word.end <= verbose.duration for word in verbose.words)

    diarized = client.audio.transcriptions.create(
        model=MODEL,
        file=CLIP,
        response_format="diarized_json",
        chunking_strategy={"type": "server_vad", "threshold": 0.5},
        keywords=["Helstone"],
        prompt="Mr. Hale",
        temperature=0,
    )
    assert TranscriptionDiarized.model_validate(diarized.model_dump()).segments[0].speaker == "channel_0"


def test_formats_that_are_text_are_text(client: OpenAI) -> None:
    assert SAID in client.audio.transcriptions.create(model=MODEL, file=CLIP, response_format="text")
    srt = client.audio.transcriptions.create(model=MODEL, file=CLIP, response_format="srt")
    assert srt.startswith("1\n00:00:0")
    vtt = client.audio.transcriptions.create(model=MODEL, file=CLIP, response_format="vtt")
    assert vtt.startswith("WEBVTT\n")


def test_several_formats_are_a_zip(http: httpx.Client) -> None:
    with CLIP.open("rb") as file:
        reply = http.post(
            "/audio/transcriptions",
            data={"model": MODEL, "formats[]": ["srt", "text"]},
            files={"file": ("a talk.flac", file)},
        )
    assert reply.headers["content-type"] == "application/zip"
    found = zipfile.ZipFile(io.BytesIO(reply.content))
    assert found.namelist() == ["a talk.srt", "a talk.txt"]
    assert SAID in found.read("a talk.txt").decode()


def test_a_long_recording_is_told_in_order_while_it_is_heard(client: OpenAI, long_recording: Path) -> None:
    events = list(client.audio.transcriptions.create(model=MODEL, file=long_recording, stream=True))
    *pieces, done = events
    assert len(pieces) > 20
    assert all(piece.type == "transcript.text.delta" for piece in pieces)
    assert done.type == "transcript.text.done"
    assert done.text == "".join(piece.delta for piece in pieces)
    first, last = done.text.find("accusing people"), done.text.find("spoil")
    assert 0 <= first < last or last == -1


@pytest.mark.filterwarnings("ignore:deprecated:DeprecationWarning")  # the client's word on translations
def test_what_the_model_cannot_do_is_refused_with_the_reason(client: OpenAI, tmp_path: Path) -> None:
    with pytest.raises(BadRequestError) as caught:
        client.audio.translations.create(model=MODEL, file=CLIP)
    assert caught.value.code == "translation_not_supported"
    text = tmp_path / "notes.mp3"
    text.write_text("not a recording at all " * 100)
    with pytest.raises(BadRequestError) as caught:
        client.audio.transcriptions.create(model=MODEL, file=text)
    assert caught.value.code == "invalid_audio"
    with pytest.raises(BadRequestError) as caught:
        list(client.audio.transcriptions.create(model=MODEL, file=text, stream=True))
    assert caught.value.code == "invalid_audio"


def test_a_batch_of_recordings_has_a_transcript_or_a_reason_for_each(client: OpenAI, tmp_path: Path) -> None:
    def line(custom_id: str, **body: Any) -> dict[str, Any]:
        return {"custom_id": custom_id, "method": "POST", "url": ENDPOINT, "body": {"model": MODEL, **body}}

    clip, text = uploaded(client, CLIP), tmp_path / "notes.txt"
    text.write_text("no recording")
    lines = [
        line("plain", file_id=clip),
        line("srt", file_id=clip, response_format="srt"),
        line("several", file_id=clip, formats=["vtt", "verbose_json"]),
        line("gone", file_id="file-gone"),
        line("no recording", file_id=uploaded(client, text)),
        line("nothing"),
        line("german", file_id=clip, language="de"),
    ]
    batch = run(client, upload(client, lines), endpoint=ENDPOINT, seconds=120)
    assert batch.status == "completed", batch
    assert batch.output_file_id is not None
    assert batch.error_file_id is not None
    bodies = {row["custom_id"]: row["response"]["body"] for row in read_lines(client, batch.output_file_id)}
    assert sorted(bodies) == ["plain", "several", "srt"]
    assert SAID in bodies["plain"]["text"]
    assert bodies["srt"].startswith("1\n00:00")
    assert SAID in bodies["several"]["text"]
    assert bodies["several"]["formats"]["vtt"].startswith("WEBVTT")
    assert bodies["several"]["formats"]["verbose_json"]["segments"]
    errors = {
        row["custom_id"]: row["response"]["body"]["error"]["code"]
        for row in read_lines(client, batch.error_file_id)
    }
    assert errors == {
        "gone": "file_not_found",
        "no recording": "invalid_audio",
        "nothing": "missing_required_parameter",
        "german": "unsupported_language",
    }


def test_a_job_is_followed_and_read_in_any_format_afterwards(
    client: OpenAI, http: httpx.Client, long_recording: Path
) -> None:
    file_id = uploaded(client, long_recording)
    digest = hashlib.sha256(long_recording.read_bytes()).hexdigest()
    assert [file["id"] for file in http.get("/files", params={"sha256": digest}).json()["data"]] == [file_id]
    assert http.get("/files", params={"sha256": "0" * 64}).json()["data"] == []

    requests = [
        {"custom_id": "all", "body": {"file_id": file_id, "words": True}},
        {"custom_id": "gone", "body": {"file_id": "file-gone"}},
    ]
    job = http.post("/jobs", json={"endpoint": ENDPOINT, "model": MODEL, "requests": requests}).json()
    heard, known = [], 0.0
    with http.stream("GET", f"/jobs/{job['id']}/events") as events:
        kind = ""
        for row in events.iter_lines():
            if row.startswith("event: "):
                kind = row.removeprefix("event: ")
            elif row.startswith("data: "):
                data = json.loads(row.removeprefix("data: "))
                heard += data["segments"] if kind == "segments" else []
                known = data["audio"]["known_seconds"] if kind != "segments" and "audio" in data else known
    assert known == pytest.approx(161.6, abs=1)
    ended = finished(http, job["id"])
    assert ended["audio"]["done_seconds"] == ended["audio"]["known_seconds"] == pytest.approx(known)

    [whole, failed] = results_of(http, job["id"], response_format="verbose_json")
    body = whole["response"]["body"]
    told = {(segment["start"], segment["text"]) for segment in heard}
    assert told  # what was heard before this reader came is not among it
    assert told <= {(segment["start"], segment["text"].strip()) for segment in body["segments"]}
    assert failed["response"]["body"]["error"]["code"] == "file_not_found"
    assert len(body["words"]) == len(body["text"].split())
    [several, _] = results_of(http, job["id"], formats="tsv,lrc")
    assert set(several["response"]["body"]["formats"]) == {"tsv", "lrc"}

    zipped = http.get(f"/jobs/{job['id']}/transcripts", params={"formats": "srt,txt"})
    files = zipfile.ZipFile(io.BytesIO(zipped.content))
    assert files.namelist() == ["all.srt", "all.txt", "errors.jsonl"]
    assert files.read("all.txt").decode().strip() == body["text"]
    assert json.loads(files.read("errors.jsonl"))["custom_id"] == "gone"


def test_a_recording_is_fetched_by_its_url(http: httpx.Client) -> None:
    with web_server() as web:
        web.pages["/talk.flac"] = [Page(body=CLIP.read_bytes())]
        body = {"model": MODEL, "url": web.url("/talk.flac"), "response_format": "text"}
        reply = http.post("/audio/transcriptions", json=body)
        assert SAID in reply.text
        gone = http.post("/audio/transcriptions", json=body | {"url": web.url("/other.flac")})
        assert (gone.status_code, gone.json()["error"]["code"]) == (400, "fetch_failed")


def test_a_clip_passes_a_long_recording_on_the_only_slot(
    client: OpenAI, http: httpx.Client, long_recording: Path
) -> None:
    file_id = uploaded(client, long_recording)
    requests = [{"body": {"file_id": file_id}} for _ in range(6)]
    job = http.post("/jobs", json={"endpoint": ENDPOINT, "model": MODEL, "requests": requests}).json()
    until = time.monotonic() + 60
    while http.get(f"/jobs/{job['id']}").json()["status"] != "running":
        assert time.monotonic() < until
        time.sleep(0.05)
    assert SAID in client.audio.transcriptions.create(model=MODEL, file=CLIP).text
    assert http.get(f"/jobs/{job['id']}").json()["status"] == "running"
    http.post(f"/jobs/{job['id']}/cancel")
