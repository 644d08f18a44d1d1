"""The whole path against the bare engine, in turns: a batch of 5,000 texts, upload to output file, CPU time.

Also two slots against one, by wall clock, and beside it what two bare engines gain on the same cores: what
the machine itself gives.
"""

import io
import json
import os
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import median

from openai import OpenAI

from benchmarks.candidates import OURS, CandidateProcess
from benchmarks.corpus import texts
from benchmarks.model import MODEL, ready_model
from benchmarks.service import Service, fresh_home, running

TEXTS, TURNS = 5000, 3


def run(cache: Path) -> None:
    folder = ready_model(cache)
    all_texts, tokens = texts(TEXTS, folder)
    print(f"{len(all_texts)} texts, {sum(tokens)} tokens, {TURNS} turns")
    cores = sorted(os.sched_getaffinity(0))[:2]
    one = _one_slot(all_texts, folder, cache, cores[0])
    if len(cores) == 2:
        _two_slots(one, all_texts, folder, cache, cores)


def _one_slot(all_texts: list[str], folder: Path, cache: Path, core: int) -> float:
    """Bare engine and whole path in turns, on one core; returns the path's median wall seconds."""
    ratios, walls = [], []
    with running(fresh_home(cache), folder.parent, slots=f"{core}-{core}") as service:  # one slot, one core
        warm_up(service)
        for _ in range(TURNS):
            bare = _bare([f"000 {text}" for text in all_texts], folder, cache, [core])[0]
            wall, spent = embedding_batch(service, all_texts)
            total = sum(spent.values())
            ratios.append(total / bare)
            walls.append(wall)
            by_kind = ", ".join(f"{name} {seconds:.2f}" for name, seconds in sorted(spent.items()))
            print(f"bare {bare:.1f} CPU-s; path {total:.1f} CPU-s ({by_kind}), {wall:.1f} s", flush=True)
    over = 100 * (median(ratios) - 1)
    print(f"whole path over the bare engine: {over:+.1f} % CPU time in the median (wanted at most +10)")
    return median(walls)


def _two_slots(one: float, all_texts: list[str], folder: Path, cache: Path, cores: list[int]) -> None:
    with running(fresh_home(cache), folder.parent, slots=",".join(f"{c}-{c}" for c in cores)) as service:
        warm_up(service)
        two = median(embedding_batch(service, all_texts)[0] for _ in range(TURNS))
    alone = _bare(all_texts, folder, cache, cores[:1])[1]
    together = _bare(all_texts, folder, cache, cores)[1]
    print(
        f"two slots against one: {one / two:.2f} times as fast by wall clock (wanted 1.9 on quiet cores); "
        f"two bare engines against one: {2 * alone / together:.2f}"
    )


def _bare(all_texts: list[str], folder: Path, cache: Path, cores: list[int]) -> tuple[float, float]:
    """(CPU-seconds of the first, wall seconds of all) of bare engines that each embed all texts at once."""
    processes = [CandidateProcess(OURS, folder, cache, core) for core in cores]
    for process in processes:
        process.wait_ready()
    begun = time.perf_counter()
    with ThreadPoolExecutor(len(cores)) as pool:
        costs = list(pool.map(lambda process: process.turn(all_texts)[0], processes))
    wall = time.perf_counter() - begun
    for process in processes:
        process.close()
    return costs[0], wall


def warm_up(service: Service) -> None:
    """Every slot loads its engine."""
    client = OpenAI(base_url=f"{service.url}/v1", api_key="any")
    for number in range(4):
        client.embeddings.create(model=MODEL, input=[f"warm up {number} {n}" for n in range(600)])


def embedding_batch(
    service: Service, all_texts: list[str], look_seconds: float = 0.2
) -> tuple[float, dict[str, float]]:
    """(wall seconds, CPU-seconds by process) from upload to the output file, read.

    The texts differ from batch to batch by a mark at their front, so that no slot remembers a vector.
    """
    client = OpenAI(base_url=f"{service.url}/v1", api_key="any")
    before, begun = service.cpu_seconds(), time.perf_counter()
    mark = f"{begun:.0f}"[-3:]
    lines = "".join(_line(number, f"{mark} {text}") for number, text in enumerate(all_texts))
    file = client.files.create(file=("texts.jsonl", io.BytesIO(lines.encode())), purpose="batch")
    batch = client.batches.create(input_file_id=file.id, endpoint="/v1/embeddings", completion_window="24h")
    while batch.status not in ("completed", "failed"):
        time.sleep(look_seconds)
        batch = client.batches.retrieve(batch.id)
    assert batch.output_file_id is not None, batch.errors
    output = client.files.content(batch.output_file_id).read()
    wall, after = time.perf_counter() - begun, service.cpu_seconds()
    assert output.count(b"\n") == len(all_texts)
    return wall, {name: after[name] - before.get(name, 0.0) for name in after}


def _line(number: int, text: str) -> str:
    body = {"model": MODEL, "input": text}
    line = {"custom_id": f"t{number}", "method": "POST", "url": "/v1/embeddings", "body": body}
    return json.dumps(line) + "\n"
