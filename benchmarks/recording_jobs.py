"""A recording through the whole service as a job: uploaded, transcribed, its transcript read."""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from benchmarks.model import WHISPER
from benchmarks.service import Service

LOOK_SECONDS = 0.2
ENDPOINT = "/v1/audio/transcriptions"


@dataclass(frozen=True)
class Transcribed:
    """Wall seconds from the upload to the transcript read, and of these from the job's creation to its end;
    CPU-seconds by process; the text."""

    wall: float
    job_wall: float
    spent: dict[str, float]
    text: str


@contextmanager
def talking_to(service: Service) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=f"{service.url}/v1", timeout=600) as client:
        yield client


def transcribed(service: Service, path: Path, look_seconds: float = LOOK_SECONDS) -> Transcribed:
    """Raises `RuntimeError` when it cannot be transcribed."""
    with talking_to(service) as client:
        before, begun = service.cpu_seconds(), time.perf_counter()
        file_id = upload(client, path)
        created = time.perf_counter()
        job_id = submit(client, file_id)
        wait(client, job_id, look_seconds=look_seconds)
        ended = time.perf_counter()
        text = _read(client, job_id)
        wall, after = time.perf_counter() - begun, service.cpu_seconds()
    spent = {name: after[name] - before.get(name, 0.0) for name in after}
    return Transcribed(wall, ended - created, spent, text)


def upload(client: httpx.Client, path: Path) -> str:
    with path.open("rb") as file:
        reply = client.post("/files", data={"purpose": "user_data"}, files={"file": (path.name, file)})
    return str(reply.raise_for_status().json()["id"])


def submit(client: httpx.Client, file_id: str) -> str:
    body = {"file_id": file_id, "words": True}
    reply = client.post("/jobs", json={"endpoint": ENDPOINT, "model": WHISPER, "requests": [{"body": body}]})
    return str(reply.raise_for_status().json()["id"])


def wait(
    client: httpx.Client,
    job_id: str,
    *,
    heard_seconds: float | None = None,
    look_seconds: float = LOOK_SECONDS,
) -> bool:
    """Until the job has ended, or so many seconds of audio are heard; whether it goes on."""
    while True:
        job = client.get(f"/jobs/{job_id}").raise_for_status().json()
        if job["status"] in ("completed", "failed"):
            return False
        if heard_seconds is not None and job["audio"]["done_seconds"] >= heard_seconds:
            return True
        time.sleep(look_seconds)


def _read(client: httpx.Client, job_id: str) -> str:
    """The text of its verbose JSON."""
    reply = client.get(f"/jobs/{job_id}/results", params={"response_format": "verbose_json"})
    result = json.loads(reply.raise_for_status().text)
    if result["error"] or result["response"]["status_code"] != 200:
        raise RuntimeError(f"{job_id}: {result}")
    return str(result["response"]["body"]["text"])
