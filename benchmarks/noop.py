"""No-op items through the whole service, beside task queues that do the same no-op with a stored result.

In turns, each alone while it has its turn: ours (`batchyard up`, family echo), plain Celery, Dramatiq and
Procrastinate, with one and two workers, over the same Redis and Postgres binaries. A turn is timed from the
first item handed in to the last result read by the client.
"""

import json
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import median

import httpx

from benchmarks.candidates import ROOT, python_of
from benchmarks.model import ready_model
from benchmarks.peers.queue_turns import text_of
from benchmarks.service import fresh_home, running
from store.embedded.services import EmbeddedServices, Urls

ROUNDS = 2
CALLS, SMALL, LARGE = 200, 100, 50_000
PEERS_LARGE = 10_000  # of the 50,000: their rates do not depend on it, and Celery's turn takes minutes
SMALL_TIMES = 5
OURS = "Batchyard"
PEERS = {
    "Celery": "benchmarks.peers.celery_queue",
    "Dramatiq": "benchmarks.peers.dramatiq_queue",
    "Procrastinate": "benchmarks.peers.procrastinate_queue",
}
CORES = {1: "0-0", 2: "0-0,1-1"}  # slots for our turns

Turn = dict[str, float]  # "call": median seconds; "small", "large": items per second


def run(cache: Path) -> None:
    models, home = ready_model(cache).parent, fresh_home(cache)
    with EmbeddedServices(home.parent / "peers") as urls:
        for workers in CORES:
            turns: dict[str, list[Turn]] = {}
            for _ in range(ROUNDS):
                for name in (OURS, *PEERS):
                    turn = _ours(home, models, workers) if name == OURS else _peer(name, urls, workers, cache)
                    turns.setdefault(name, []).append(turn)
                    print(f"{workers} worker(s), {name}: {_words(turn)}", flush=True)
            _report(workers, turns)


def _words(turn: Turn) -> str:
    return (
        f"{turn['call'] * 1e3:.1f} ms per call, {turn['small']:,.0f} items/s of {SMALL}, "
        f"{turn['large']:,.0f} items/s of many"
    )


def _report(workers: int, turns: dict[str, list[Turn]]) -> None:
    print(f"\n| {workers} worker(s) | one call, ms | {SMALL} items/s | {LARGE} items/s | ours / theirs |")
    print("|---|---|---|---|---|")
    ours = [turn["large"] for turn in turns[OURS]]
    for name, of_name in turns.items():
        ratios = [our / turn["large"] for our, turn in zip(ours, of_name, strict=True)]
        middle = {what: median(turn[what] for turn in of_name) for what in of_name[0]}
        print(
            f"| {name} | {middle['call'] * 1e3:.1f} | {middle['small']:,.0f} | {middle['large']:,.0f} | "
            f"{median(ratios):.1f} ({min(ratios):.1f}-{max(ratios):.1f}) |"
        )
    print(flush=True)


# --- peers ----------------------------------------------------------------------------------------------


def _peer(name: str, urls: Urls, workers: int, cache: Path) -> Turn:
    with _asking(name, urls, workers, cache) as ask:
        calls = ask({"calls": CALLS})
        small = [ask({"items": SMALL})[0] for _ in range(SMALL_TIMES)]
        (large,) = ask({"items": PEERS_LARGE})
    return {"call": median(calls), "small": SMALL / median(small), "large": PEERS_LARGE / large}


@contextmanager
def _asking(
    name: str, urls: Urls, workers: int, cache: Path
) -> Iterator[Callable[[dict[str, int]], list[float]]]:
    """A peer's client with its workers; asks it for a turn."""
    env = {
        "PATH": "/usr/bin:/bin",
        "BENCH_WORKERS": str(workers),
        "BENCH_REDIS": urls.redis_url,
        "BENCH_DATABASE": urls.database_url,
    }
    with (cache / f"{name}.log").open("w") as log:
        process = subprocess.Popen(
            [python_of("queues"), "-m", PEERS[name]],
            cwd=ROOT, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True,
        )  # fmt: skip
        assert process.stdin is not None
        assert process.stdout is not None
        if not process.stdout.readline():
            raise RuntimeError(f"{name} did not start; its log is {log.name}")

        def ask(turn: dict[str, int]) -> list[float]:
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdin.write(json.dumps(turn) + "\n")
            process.stdin.flush()
            line = process.stdout.readline()
            if not line:
                raise RuntimeError(f"{name} ended; its log is {log.name}")
            seconds: list[float] = json.loads(line)["seconds"]
            return seconds

        try:
            yield ask
        finally:
            process.stdin.close()
            process.wait()


# --- ours -----------------------------------------------------------------------------------------------


def _ours(home: Path, models: Path, workers: int) -> Turn:
    with ExitStack() as stack:
        service = stack.enter_context(running(home, models, slots=CORES[workers]))
        client = stack.enter_context(httpx.Client(base_url=service.url, timeout=300))
        inline_job(client, 20)
        calls = [_call(client, number) for number in range(CALLS)]
        small = [_timed(inline_job, client, SMALL) for _ in range(SMALL_TIMES)]
        large = _timed(file_job, client, LARGE)
    return {"call": median(calls), "small": SMALL / median(small), "large": LARGE / large}


def _call(client: httpx.Client, number: int) -> float:
    begun = time.perf_counter()
    reply = client.post("/v1/embeddings", json={"model": "echo", "input": text_of(number)})
    reply.raise_for_status()
    seconds = time.perf_counter() - begun
    time.sleep(0.01)  # as for the peers
    return seconds


def _timed(job: Callable[[httpx.Client, int], None], client: httpx.Client, count: int) -> float:
    begun = time.perf_counter()
    job(client, count)
    return time.perf_counter() - begun


def inline_job(client: httpx.Client, count: int) -> None:
    """A job whose requests come in the call; its results are read."""
    requests = [{"body": {"model": "echo", "input": text_of(number)}} for number in range(count)]
    reply = client.post("/v1/jobs", json={"endpoint": "/v1/embeddings", "requests": requests})
    _read_results(client, _wait(client, reply, look_seconds=0.005), count)


def file_job(client: httpx.Client, count: int) -> None:
    """A job of a file's lines; its results are read."""
    lines = b"".join(
        b'{"custom_id":"%d","method":"POST","url":"/v1/embeddings","body":{"model":"echo","input":"%s"}}\n'
        % (number, text_of(number).encode())
        for number in range(count)
    )
    begun = time.perf_counter()
    file = client.post("/v1/files", files={"file": ("in.jsonl", lines)}, data={"purpose": "batch"})
    file.raise_for_status()
    handed_in = time.perf_counter()
    reply = client.post("/v1/jobs", json={"endpoint": "/v1/embeddings", "input_file_id": file.json()["id"]})
    job = _wait(client, reply, look_seconds=0.1)
    ended = time.perf_counter()
    _read_results(client, job, count)
    print(
        f"  {count} items: {handed_in - begun:.2f} s to upload, {ended - handed_in:.2f} s from the job's "
        f"creation to its end, {time.perf_counter() - ended:.2f} s to read the results"
    )


def _wait(client: httpx.Client, reply: httpx.Response, look_seconds: float) -> str:
    """The id of the job that a reply names, once it has ended."""
    reply.raise_for_status()
    job = reply.json()
    while job["status"] not in ("completed", "failed"):
        time.sleep(look_seconds)
        job = client.get(f"/v1/jobs/{job['id']}").raise_for_status().json()
    return str(job["id"])


def _read_results(client: httpx.Client, job_id: str, count: int) -> None:
    results = client.get(f"/v1/jobs/{job_id}/results").raise_for_status().content
    assert results.count(b"\n") == count, results[-1000:]
