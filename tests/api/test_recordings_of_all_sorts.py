"""Batches of recordings of every kind, whole and broken, through the whole service with the real model: each
has its transcript or the reason why not, and no engine dies of any."""

from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psycopg
import pytest
from openai import OpenAI
from whisper_normalizer.english import EnglishTextNormalizer

from backends.whisper.window import RATE
from tests.fixtures.batches import read_lines, run, upload
from tests.fixtures.broken_recordings import broken, whole_recordings
from tests.fixtures.recordings import Sound, read, write, write_video
from tests.fixtures.speech import CLIPS
from tests.fixtures.stack import Stack

pytestmark = pytest.mark.slow

ENDPOINT, MODEL = "/v1/audio/transcriptions", "whisper-tiny.en"
CLIP = CLIPS / "3331-159605-0001.flac"  # three seconds that tiny.en hears without an error
SAID = "the more proposals the more credit"
BROKEN = 200
PATIENCE_SECONDS = 400.0
REFUSALS = {"invalid_audio", "no_audio_stream", "empty_audio", "encrypted_audio"}

Answers = dict[str, dict[str, Any]]  # bodies, or errors, by custom id


@pytest.fixture
def client(speech_stack: Stack) -> Iterator[OpenAI]:
    with speech_stack.client() as client:
        yield client


@pytest.fixture(scope="module")
def spoken() -> Sound:
    return np.asarray(read(CLIP))


@pytest.fixture
def unharmed(speech_stack: Stack, client: OpenAI) -> Iterator[None]:
    """No engine has died since, and no item has a strike. One that has grown is begun anew between parts:
    that is no death."""
    log = speech_stack.home / "worker.log"

    def launches() -> tuple[int, int]:
        """Engines that were started and that were ended for their size."""
        told = log.read_text()
        return told.count("engine.starting"), told.count("engine.recycled")

    client.audio.transcriptions.create(model=MODEL, file=CLIP)
    started, recycled = launches()
    yield
    started_since, recycled_since = np.subtract(launches(), (started, recycled))
    assert started_since <= recycled_since, log.read_text()[-3000:]
    with psycopg.connect(speech_stack.database_url) as conn:
        assert conn.execute("SELECT job_id, n, reason FROM strike").fetchall() == []


def transcribed(client: OpenAI, recordings: dict[str, bytes]) -> tuple[Answers, Answers]:
    """What a batch says to recordings by name: transcripts and errors."""
    lines = []
    for name, data in recordings.items():
        file_id = client.files.create(file=(name, data), purpose="user_data").id
        body = {"model": MODEL, "file_id": file_id}
        lines.append({"custom_id": name, "method": "POST", "url": ENDPOINT, "body": body})
    batch = run(client, upload(client, lines), PATIENCE_SECONDS, endpoint=ENDPOINT)
    assert batch.status == "completed", batch
    told = {
        row["custom_id"]: row["response"]["body"]
        for file_id in (batch.output_file_id, batch.error_file_id)
        if file_id is not None
        for row in read_lines(client, file_id)
    }
    errors = {name: body["error"] for name, body in told.items() if "error" in body}
    return {name: body for name, body in told.items() if name not in errors}, errors


def heard(body: dict[str, Any]) -> str:
    return str(EnglishTextNormalizer()(body["text"]))


def raised(wave: Sound, rate: int) -> Sound:
    """At another sampling rate, by linear interpolation."""
    count = round(len(wave) * rate / RATE)
    positions = np.arange(count) * RATE / rate
    return np.asarray(np.interp(positions, np.arange(len(wave)), wave), dtype=np.float32)


def test_recordings_of_every_kind_are_understood(
    client: OpenAI, unharmed: None, spoken: Sound, tmp_path: Path
) -> None:
    at_48 = raised(spoken, 48_000)
    kinds = whole_recordings(tmp_path, at_48)[:-1]  # the last is no speech
    recordings = {f"kind {number}": data for number, data in enumerate(kinds)}
    made: dict[str, Callable[[Path], Path]] = {
        "film.mp4": lambda path: write_video(path, spoken, seconds=4),
        "film.mkv": lambda path: write_video(path, spoken, seconds=4),
        "film.mov": lambda path: write_video(path, spoken, seconds=4),
        "x.ogg": lambda path: write(path, np.stack([at_48] * 2), 48_000, "libopus"),
        "telephone.wav": lambda path: write(path, spoken[::2], 8000, "pcm_mulaw"),
        "u8.wav": lambda path: write(path, spoken, RATE, "pcm_u8"),
        "f64.wav": lambda path: write(path, at_48, 48_000, "pcm_f64le"),
        "24.wav": lambda path: write(path, raised(spoken, 44_100), 44_100, "pcm_s24le"),
        "six channels.flac": lambda path: write(path, np.stack([at_48] * 6), 48_000, "flac"),
        "eight channels.wav": lambda path: write(path, np.stack([at_48] * 8), 48_000, "pcm_s16le"),
    }
    recordings |= {name: make(tmp_path / name).read_bytes() for name, make in made.items()}

    bodies, errors = transcribed(client, recordings)

    assert errors == {}
    assert {name: heard(body) for name, body in bodies.items()} == dict.fromkeys(recordings, SAID)
    assert [body for body in bodies.values() if "warnings" in body] == []


def test_what_cannot_be_heard_has_a_reason_and_what_can_in_part_a_warning(
    client: OpenAI, unharmed: None, spoken: Sound, tmp_path: Path
) -> None:
    def written(name: str, wave: Sound, codec: str, **how: Any) -> bytes:
        return write(tmp_path / name, wave, RATE, codec, **how).read_bytes()

    key = "00112233445566778899aabbccddeeff"
    secret = {"encryption_scheme": "cenc-aes-ctr", "encryption_key": key, "encryption_kid": key}
    pause, holed = np.zeros(RATE, np.float32), spoken.copy()
    holed[:2000] = np.nan
    twice = written("cut.wav", np.concatenate([spoken, pause, pause]), "pcm_s16le")
    recordings = {
        "cut": twice[: 44 + 2 * (len(spoken) + RATE // 2)],
        "not numbers": written("nan.wav", holed, "pcm_f32le"),
        "silence": written("silence.flac", np.concatenate([pause, pause]), "flac"),
        "all not numbers": written("nans.wav", np.full(RATE, np.nan, np.float32), "pcm_f32le"),
        "letter": b"Dear Sir, " * 100,
        "picture": write_video(tmp_path / "mute.mp4", None, seconds=1).read_bytes(),
        "encrypted": written("secret.mp4", spoken, "aac", options=secret),
        "no index": written("late.mp4", spoken, "aac")[:-2000],
        "no samples": written("short.wav", spoken[:1600], "pcm_s16le")[:78],
    }

    bodies, errors = transcribed(client, recordings)

    assert {name: heard(body) for name, body in bodies.items()} == {
        "cut": SAID,
        "not numbers": SAID,
        "silence": "",
        "all not numbers": "",
    }
    assert {name: body["warnings"] for name, body in bodies.items()} == {
        "cut": ["truncated_input"],
        "not numbers": ["damaged_input"],
        "silence": ["no_speech"],
        "all not numbers": ["damaged_input", "no_speech"],
    }
    assert {name: error["code"] for name, error in errors.items()} == {
        "letter": "invalid_audio",
        "picture": "no_audio_stream",
        "encrypted": "encrypted_audio",
        "no index": "invalid_audio",
        "no samples": "empty_audio",
    }
    assert all(error["message"] for error in errors.values())


def test_two_hundred_broken_recordings_are_answered_and_no_engine_dies(
    client: OpenAI, unharmed: None, spoken: Sound, tmp_path: Path
) -> None:
    whole = whole_recordings(tmp_path, spoken, rate=RATE)
    recordings = {
        f"broken {seed}": data for seed in range(BROKEN) if (data := broken(whole, seed))
    }  # an upload of nothing is refused before

    bodies, errors = transcribed(client, recordings)

    assert bodies.keys() | errors.keys() == recordings.keys()
    assert {error["code"] for error in errors.values()} <= REFUSALS
    counts = Counter(heard(body) == SAID for body in bodies.values())
    assert counts[True] > 20  # those that were hardly hurt
    assert len(errors) > 20
    assert sum("warnings" in body for body in bodies.values()) > 20
