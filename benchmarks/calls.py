"""What the service adds to one awaited embeddings call: latency at the client, less the engine's own time."""

import time
from pathlib import Path
from statistics import median, quantiles

import httpx

from benchmarks.candidates import OURS, CandidateProcess
from benchmarks.model import MODEL, ready_model
from benchmarks.service import Service, fresh_home, running

CALLS = 300
PAUSE_SECONDS = 0.02  # the service is idle, not saturated


def run(cache: Path) -> None:
    folder = ready_model(cache)
    engine = _engine_seconds(folder, cache)
    with running(fresh_home(cache), folder.parent, slots="1") as service:
        _report("echo", _calls(service, "echo"), 0.0)
        _report(MODEL, _calls(service, MODEL), engine)


def _engine_seconds(folder: Path, cache: Path) -> float:
    """Median time of the bare engine for one short text."""
    process = CandidateProcess(OURS, folder, cache, core=0)
    process.wait_ready()
    seconds = median(process.turn([_text(number)])[0] for number in range(100))
    process.close()
    return seconds


def _text(number: int) -> str:
    return f"How do I parse date number {number}?"


def _calls(service: Service, model: str) -> list[float]:
    seconds = []
    with httpx.Client(base_url=service.url, timeout=60) as client:
        for number in range(-20, CALLS):
            begun = time.perf_counter()
            reply = client.post("/v1/embeddings", json={"model": model, "input": _text(number)})
            reply.raise_for_status()
            if number >= 0:
                seconds.append(time.perf_counter() - begun)
            time.sleep(PAUSE_SECONDS)
    return seconds


def _report(model: str, seconds: list[float], engine: float) -> None:
    middle, tail = median(seconds), quantiles(seconds, n=100)[98]
    print(
        f"awaited call, {model}: median {middle * 1e3:.1f} ms, p99 {tail * 1e3:.1f} ms; engine "
        f"{engine * 1e3:.1f} ms; added by the service {(middle - engine) * 1e3:.1f} ms (wanted at most 15)"
    )
