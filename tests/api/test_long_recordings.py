"""A recording of ten minutes through the whole service: heard by one slot and by two, after a crash in its
middle, and with a clip that comes meanwhile. The engines keep an account of what they hear.
"""

import json
import os
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any

import httpx
import jiwer
import psutil
import psycopg
import pytest
import srt
import webvtt

from store.embedded.services import EmbeddedServices
from tests.backends.accounting_engine import VARIABLE, Entry, Stretch, entries
from tests.fixtures.jobs import finished, results
from tests.fixtures.processes import PROGRAMS, wait_until
from tests.fixtures.speech import CLIPS, speech, write_wav
from tests.fixtures.stack import Stack, running_stack

pytestmark = pytest.mark.slow

ENDPOINT, MODEL = "/v1/audio/transcriptions", "whisper-tiny.en"
SECONDS = 600
CLIP = CLIPS / "2414-128291-0000.flac"  # of three seconds
ACCOUNTING = (sys.executable, "-P", str(PROGRAMS / "run_accounting.py"))
PATIENCE_SECONDS = 240.0
ON_ITS_WAY_SECONDS = 1.0  # an answer that the engine has given may take so long to be safe from its end


@dataclass(frozen=True)
class Service:
    """A service that hears speech, and the account of its engines."""

    stack: Stack
    http: httpx.Client
    account: Path

    def submit(self, path: Path) -> str:
        """A job for one recording: its id."""
        with path.open("rb") as file:
            sent = self.http.post("/files", data={"purpose": "user_data"}, files={"file": (path.name, file)})
        requests = [{"custom_id": path.name, "body": {"file_id": sent.json()["id"], "words": True}}]
        job = self.http.post("/jobs", json={"endpoint": ENDPOINT, "model": MODEL, "requests": requests})
        return str(job.json()["id"])

    def wait_until_heard(self, job_id: str, seconds: float) -> None:
        def heard() -> bool:
            return float(self.http.get(f"/jobs/{job_id}").json()["audio"]["done_seconds"]) >= seconds

        wait_until(heard, PATIENCE_SECONDS, f"{seconds} s of {job_id} are heard")

    def transcript(self, job_id: str) -> dict[str, Any]:
        """It in verbose JSON, once its job has ended."""
        job = finished(self.http, job_id, PATIENCE_SECONDS)
        assert (job["status"], job["request_counts"]["completed"]) == ("completed", 1), job
        assert job["audio"] == {"done_seconds": SECONDS, "known_seconds": SECONDS}
        [result] = results(self.http, job_id, response_format="verbose_json")
        found: dict[str, Any] = result["response"]["body"]
        return found

    def warm_up(self, path: Path) -> None:
        """Until every slot has its engine and, as of a renewal of its lease since, knows of the others."""
        until = time.monotonic() + PATIENCE_SECONDS
        while not all(one["loaded"] for one in self.http.get("/workers").json()["data"]):
            assert time.monotonic() < until, "a slot has no engine"
            self.transcript(self.submit(path))

    def engine(self) -> int:
        """The process of the first slot's engine."""
        [engine] = psutil.Process(self.stack.pids["worker"]).children()
        return int(engine.pid)

    def clip_seconds(self) -> float:
        """How long a caller waits for a clip of three seconds."""
        began = time.monotonic()
        with CLIP.open("rb") as file:
            reply = self.http.post("/audio/transcriptions", data={"model": MODEL}, files={"file": file})
        assert reply.json()["text"], reply.text
        return time.monotonic() - began


@contextmanager
def hearing(folder: Path, make_database: Callable[[], str], models: Path, slots: int) -> Iterator[Service]:
    url, account = make_database(), folder / "heard"
    folder.mkdir()
    with (
        pytest.MonkeyPatch.context() as patch,
        EmbeddedServices(folder / "redis", database_url=url, durable=False) as own,
    ):
        patch.setenv(VARIABLE, str(account))
        started = running_stack(
            folder / "home",
            url,
            own.redis_url,
            families="whisper",
            models=str(models),
            slots=slots,
            slot_program=ACCOUNTING,
        )
        with started as stack, httpx.Client(base_url=f"{stack.url}/v1", timeout=PATIENCE_SECONDS) as http:
            yield Service(stack, http, account)


@pytest.fixture(scope="module")
def one_slot(
    open_folder: Path, database_factory: Callable[[], str], whisper_folder: Path
) -> Iterator[Service]:
    with hearing(open_folder / "one-slot", database_factory, whisper_folder.parent, 1) as service:
        yield service


@pytest.fixture(scope="module")
def two_slots(
    open_folder: Path, database_factory: Callable[[], str], whisper_folder: Path
) -> Iterator[Service]:
    with hearing(open_folder / "two-slots", database_factory, whisper_folder.parent, 2) as service:
        yield service


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_wav(tmp_path_factory.mktemp("long") / "ten minutes.wav", speech(SECONDS))


@pytest.fixture(scope="module")
def undisturbed(one_slot: Service, recording: Path) -> tuple[str, dict[str, Any]]:
    """Its job and its transcript by one slot that has nothing else to do."""
    job_id = one_slot.submit(recording)
    return job_id, one_slot.transcript(job_id)


def assert_alike(transcript: dict[str, Any], undisturbed: dict[str, Any]) -> None:
    """The same spans, and at most one word in a hundred is another."""
    spans, wanted = ({one["seek"] for one in each["segments"]} for each in (transcript, undisturbed))
    assert spans == wanted
    assert len(spans) > 40
    assert jiwer.wer(undisturbed["text"], transcript["text"]) <= 0.01


def pieces(account: list[Entry], *, done: bool) -> Counter[Stretch]:
    return Counter(one.stretch for one in account if one.stretch and one.done == done)


def test_what_is_stored_once_is_read_in_every_format(
    one_slot: Service, undisturbed: tuple[str, dict[str, Any]]
) -> None:
    job_id, verbose = undisturbed
    [whole] = results(one_slot.http, job_id, formats="srt,vtt,tsv,lrc,text,json")
    forms = whole["response"]["body"]["formats"]
    words = verbose["text"].split()
    assert [word["word"] for word in verbose["words"]] == words
    assert " ".join(one["text"].strip() for one in verbose["segments"]).split() == words
    times = [time for one in verbose["words"] for time in (one["start"], one["end"])]
    assert times == sorted(times)
    assert 0 <= times[0] < times[-1] <= SECONDS

    captions = list(srt.parse(forms["srt"], ignore_errors=False))
    cues = list(webvtt.from_buffer(StringIO(forms["vtt"])))
    assert " ".join(caption.content for caption in captions).split() == words
    assert " ".join(cue.text for cue in cues).split() == words
    times = [time.total_seconds() for caption in captions for time in (caption.start, caption.end)]
    assert times == sorted(times)
    assert times[-1] <= SECONDS
    rows = [row.split("\t") for row in forms["tsv"].splitlines()]
    assert rows[0] == ["start", "end", "text"]
    assert " ".join(text for _, _, text in rows[1:]).split() == words
    lyrics = [row.partition("]")[2] for row in forms["lrc"].splitlines()]
    assert " ".join(lyrics).split() == forms["text"].split() == forms["json"]["text"].split() == words


def test_a_kill_in_the_middle_costs_what_was_in_flight_and_changes_nothing(
    one_slot: Service, undisturbed: tuple[str, dict[str, Any]], recording: Path
) -> None:
    before = len(entries(one_slot.account))
    job_id = one_slot.submit(recording)
    one_slot.wait_until_heard(job_id, 200)
    killed, killed_at = one_slot.engine(), time.monotonic()
    os.kill(killed, signal.SIGKILL)

    assert_alike(one_slot.transcript(job_id), undisturbed[1])

    account = entries(one_slot.account)[before:]
    first = [one for one in account if one.pid == killed]
    assert len(account) > len(first)  # another engine went on
    safe = pieces([one for one in first if one.at < killed_at - ON_ITS_WAY_SECONDS], done=True)
    begun = pieces(account, done=False)
    again = {stretch for stretch, times in begun.items() if times > 1}
    assert again <= set(pieces(first, done=False)) - set(safe)
    assert max(begun.values()) <= 2
    assert sum(end - start for start, end in begun) == SECONDS * 1000
    with psycopg.connect(one_slot.stack.database_url) as conn:
        [[most]] = conn.execute("SELECT coalesce(max(count), 0) FROM strike").fetchall()
    assert most <= 1


def test_two_slots_share_a_recording_and_make_one_transcript_of_it(
    two_slots: Service, undisturbed: tuple[str, dict[str, Any]], recording: Path
) -> None:
    two_slots.warm_up(recording)
    before = len(entries(two_slots.account))
    job_id = two_slots.submit(recording)

    assert_alike(two_slots.transcript(job_id), undisturbed[1])

    account = entries(two_slots.account)[before:]
    heard = pieces(account, done=True)
    assert sum(end - start for start, end in heard) == SECONDS * 1000
    assert set(heard.values()) == {1}
    assert len({one.pid for one in account if one.done and one.stretch}) == 2


@pytest.mark.timing
def test_a_clip_takes_three_seconds_more_at_most_beside_a_long_recording_in_a_job(
    one_slot: Service, recording: Path
) -> None:
    one_slot.clip_seconds()  # loads the model
    own, before = one_slot.clip_seconds(), len(entries(one_slot.account))
    job_id = one_slot.submit(recording)

    def begun() -> bool:
        return bool(pieces(entries(one_slot.account)[before:], done=False))

    wait_until(begun, PATIENCE_SECONDS, "the first piece is begun")
    took = one_slot.clip_seconds()
    assert one_slot.http.get(f"/jobs/{job_id}").json()["status"] == "running"
    one_slot.http.post(f"/jobs/{job_id}/cancel")
    finished(one_slot.http, job_id, PATIENCE_SECONDS)
    assert took <= own + 3.0


@pytest.mark.timing
def test_a_clip_takes_three_seconds_more_at_most_beside_a_long_recording_that_somebody_waits_for(
    one_slot: Service, recording: Path
) -> None:
    one_slot.clip_seconds()  # loads the model
    own = one_slot.clip_seconds()
    begun, texts = threading.Event(), list[str]()

    def follow() -> None:
        asked = {"model": MODEL, "stream": "true"}
        with (
            recording.open("rb") as file,
            one_slot.http.stream("POST", "/audio/transcriptions", data=asked, files={"file": file}) as reply,
        ):
            for row in reply.iter_lines():
                begun.set()
                if "transcript.text.done" in row and row.startswith("data: "):
                    texts.append(json.loads(row.removeprefix("data: "))["text"])

    follower = threading.Thread(target=follow)
    follower.start()
    assert begun.wait(PATIENCE_SECONDS)
    took = one_slot.clip_seconds()
    assert texts == []
    follower.join(PATIENCE_SECONDS)
    assert len(texts[0]) > 1000
    assert took <= own + 3.0
