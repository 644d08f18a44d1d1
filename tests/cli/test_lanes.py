"""Somebody who waits and a large batch on the same slots, with a real model: neither hurts the other much."""

import itertools
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median, quantiles

import httpx
import pytest

from tests.cli.test_up import batch
from tests.fixtures.minilm import stored_texts
from tests.fixtures.processes import wait_until
from tests.fixtures.up import Up, running_up

pytestmark = [pytest.mark.slow, pytest.mark.timing]

MODEL = "all-minilm-l6-v2"
ITEMS = 20_000
ROUNDS, ROUND_SECONDS = 3, 6.0  # each without calls, then with them: a machine's speed wanders


@pytest.fixture
def up(home: Path, minilm_folder: Path) -> Iterator[Up]:
    home.with_name("models").symlink_to(minilm_folder.parent)
    with running_up(home, "--slots", "2") as started:
        yield started


def call_seconds(up: Up, seconds: float) -> list[float]:
    """How long calls take that one client makes back to back, each with a text of its own."""
    taken = []
    until = time.monotonic() + seconds
    with httpx.Client(base_url=up.url, timeout=60) as client:
        while (begun := time.monotonic()) < until:
            text = f"How do I parse date number {len(taken)} of {until}?"
            client.post("/v1/embeddings", json={"model": MODEL, "input": text}).raise_for_status()
            taken.append(time.monotonic() - begun)
    return taken


def submit_batch(up: Up, items: int) -> str:
    """A batch of texts as people write them, no two alike; returns its id."""
    texts = itertools.cycle(stored_texts().texts[: stored_texts().corpus])
    lines = (
        json.dumps(
            {"custom_id": f"n{n}", "method": "POST", "url": "/v1/embeddings",
             "body": {"model": MODEL, "input": f"{n} {text[:300]}"}}
        )
        for n, text in zip(range(items), texts, strict=False)
    )  # fmt: skip
    with httpx.Client(base_url=up.url, timeout=60) as client:
        files = {"file": ("in.jsonl", "\n".join(lines), "application/jsonl")}
        file = client.post("/v1/files", files=files, data={"purpose": "batch"}).raise_for_status().json()
        body = {"input_file_id": file["id"], "endpoint": "/v1/embeddings", "completion_window": "24h"}
        return str(client.post("/v1/batches", json=body).raise_for_status().json()["id"])


def done(up: Up, batch_id: str) -> int:
    return int(batch(up, batch_id)["request_counts"]["completed"])


def rate(up: Up, batch_id: str, meanwhile: Callable[[], None]) -> float:
    """Items of the batch per second while something goes on."""
    begun, before = time.monotonic(), done(up, batch_id)
    meanwhile()
    return (done(up, batch_id) - before) / (time.monotonic() - begun)


def test_calls_stay_quick_and_the_batch_goes_on_while_both_want_the_slots(up: Up) -> None:
    call_seconds(up, 5)  # both slots load the model
    idle = median(call_seconds(up, 3))
    batch_id = submit_batch(up, ITEMS)
    wait_until(lambda: done(up, batch_id) > 500, 60, "the batch has begun")

    alone, beside, busy = 0.0, 0.0, list[float]()
    for _ in range(ROUNDS):
        alone += rate(up, batch_id, lambda: time.sleep(ROUND_SECONDS)) / ROUNDS
        beside += rate(up, batch_id, lambda: busy.extend(call_seconds(up, ROUND_SECONDS))) / ROUNDS
    left = ITEMS - done(up, batch_id)
    measured = (
        f"idle median {idle * 1e3:.1f} ms; busy median {median(busy) * 1e3:.1f} ms, "
        f"p99 {quantiles(busy, n=100)[98] * 1e3:.0f} ms, {len(busy)} calls; "
        f"batch {alone:.0f} items/s alone, {beside:.0f} beside the calls; {left} items left"
    )
    assert left > 0, measured  # else the batch did not run on every slot all the time
    assert median(busy) < 8 * idle, measured
    assert quantiles(busy, n=100)[98] < 2, measured
    assert beside > 0.7 * alone, measured
