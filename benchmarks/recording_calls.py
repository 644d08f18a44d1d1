"""How long callers wait on one slot: for the first text of a recording that they read along, and for a clip
of three seconds, alone and beside that recording."""

import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import median
from threading import Event

from openai import OpenAI

from benchmarks.model import WHISPER
from benchmarks.recording_jobs import submit, talking_to, transcribed, upload, wait
from benchmarks.service import Service, fresh_home, running
from benchmarks.speech import CLIPS, Clip, joined, shuffled, write

TIMES = 3  # all clips three times over are about nine minutes
CALLS = 5
CLIP = CLIPS / "2414-128291-0000.flac"  # 2.9 s
HEARD_SECONDS = 60  # of a recording that runs as a job, before the clip comes
WANTED_SECONDS = 3.0  # over the clip's own time


def measure(clips: list[Clip], model: Path, cache: Path, core: int) -> None:
    path = write(cache / "speech" / "turn.wav", joined(shuffled(clips, TIMES)))
    with running(fresh_home(cache), model.parent, slots=f"{core}-{core}", model=WHISPER) as service:
        transcribed(service, path)  # loads the engine, and measures the model's pace
        client = OpenAI(base_url=f"{service.url}/v1", api_key="any", max_retries=0)
        alone = [_clip_seconds(client) for _ in range(CALLS)]
        beside_job = [_beside_job(service, client, path) for _ in range(CALLS)]
        streams = [_beside_stream(client, path) for _ in range(CALLS)]
    first, beside_stream, whole = zip(*streams, strict=True)
    print(f"\nmedian of {CALLS} (least to most), one slot")
    _report("first text of the recording, read along", first)
    _report("all of it, read along, and a clip in between", whole)
    _report("a clip of 2.9 s, alone", alone)
    _report("the clip while the recording runs as a job", beside_job)
    _report("the clip while the recording is read along", beside_stream)
    worst = max(*beside_job, *beside_stream) - median(alone)
    print(f"longest wait over the clip's own time: {worst:.2f} s (wanted at most {WANTED_SECONDS:.0f})")


def _report(what: str, seconds: Sequence[float]) -> None:
    print(f"{what}: {median(seconds):.2f} s ({min(seconds):.2f}-{max(seconds):.2f})")


def _clip_seconds(client: OpenAI) -> float:
    begun = time.perf_counter()
    with CLIP.open("rb") as file:
        client.audio.transcriptions.create(model=WHISPER, file=file)
    return time.perf_counter() - begun


def _beside_job(service: Service, client: OpenAI, path: Path) -> float:
    """Seconds of the clip. Raises `RuntimeError` when the recording has not run beside it."""
    with talking_to(service) as http:
        job_id = submit(http, upload(http, path))
        wait(http, job_id, heard_seconds=HEARD_SECONDS)
        seconds = _clip_seconds(client)
        if not wait(http, job_id, heard_seconds=0):
            raise RuntimeError("the recording ended before the clip")
        wait(http, job_id)
    return seconds


def _beside_stream(client: OpenAI, path: Path) -> tuple[float, float, float]:
    """Seconds to the recording's first text, of the clip that comes then, and to the recording's end. Raises
    `RuntimeError` when the recording has not run beside the clip."""
    heard = Event()
    with ThreadPoolExecutor(1) as pool:
        reading = pool.submit(_read_along, client, path, heard)
        heard.wait()
        seconds = _clip_seconds(client)
        if reading.done():
            raise RuntimeError("the recording ended before the clip")
        first, whole = reading.result()
    return first, seconds, whole


def _read_along(client: OpenAI, path: Path, heard: Event) -> tuple[float, float]:
    """Seconds to the first text and to the end."""
    begun, first = time.perf_counter(), None
    try:
        with path.open("rb") as file:
            events = client.audio.transcriptions.create(model=WHISPER, file=file, stream=True)
            for event in events:
                if first is None and event.type == "transcript.text.delta":
                    first = time.perf_counter() - begun
                    heard.set()
    finally:
        heard.set()
    if first is None:
        raise RuntimeError("no text was heard")
    return first, time.perf_counter() - begun
