"""The whole path against the bare engine: a batch of 5,000 texts, from upload to output file, in CPU time.

Also two slots against one, by wall clock, over the same number of other texts.
"""

import io
import json
import os
import time
from pathlib import Path

from openai import OpenAI

from benchmarks.candidates import OURS, CandidateProcess
from benchmarks.corpus import texts
from benchmarks.model import MODEL, ready_model
from benchmarks.service import Service, fresh_home, running

TEXTS = 5000


def run(cache: Path) -> None:
    folder = ready_model(cache)
    all_texts, tokens = texts(TEXTS, folder)
    bare = CandidateProcess(OURS, folder, cache, core=min(os.sched_getaffinity(0)))
    bare.wait_ready()
    bare_seconds, _ = bare.turn(all_texts)
    bare.close()
    print(f"bare engine: {len(all_texts)} texts ({sum(tokens)} tokens), {bare_seconds:.1f} CPU-s")
    with running(fresh_home(cache), folder.parent, slots="1") as service:
        one, total = _batch(service, all_texts)
    over = 100 * (total / bare_seconds - 1)
    print(f"whole path over the bare engine: {over:+.1f} % CPU time (wanted at most +10)")
    with running(fresh_home(cache), folder.parent, slots="2") as service:
        two, _ = _batch(service, all_texts)
    print(f"two slots against one: {one / two:.2f} times as fast by wall clock (wanted 1.9 on quiet cores)")


def _batch(service: Service, all_texts: list[str]) -> tuple[float, float]:
    """(wall seconds, CPU-seconds of all processes) from upload to the output file, read."""
    client = OpenAI(base_url=f"{service.url}/v1", api_key="any")
    for number in range(4):  # every slot loads its engine first
        client.embeddings.create(model=MODEL, input=[f"warm up {number} {n}" for n in range(600)])
    before, begun = service.cpu_seconds(), time.perf_counter()
    lines = "".join(_line(number, text) for number, text in enumerate(all_texts))
    file = client.files.create(file=("texts.jsonl", io.BytesIO(lines.encode())), purpose="batch")
    batch = client.batches.create(input_file_id=file.id, endpoint="/v1/embeddings", completion_window="24h")
    while batch.status not in ("completed", "failed"):
        time.sleep(0.2)
        batch = client.batches.retrieve(batch.id)
    assert batch.output_file_id is not None, batch.errors
    output = client.files.content(batch.output_file_id).read()
    wall, after = time.perf_counter() - begun, service.cpu_seconds()
    assert output.count(b"\n") == len(all_texts)
    spent = {name: after[name] - before.get(name, 0.0) for name in after}
    by_kind = ", ".join(f"{name} {seconds:.2f}" for name, seconds in sorted(spent.items()))
    print(f"whole path: {wall:.1f} s wall, {sum(spent.values()):.1f} CPU-s ({by_kind})", flush=True)
    return wall, sum(spent.values())


def _line(number: int, text: str) -> str:
    body = {"model": MODEL, "input": text}
    return (
        json.dumps({"custom_id": f"t{number}", "method": "POST", "url": "/v1/embeddings", "body": body})
        + "\n"
    )
