"""A stop in mid-batch, counted: what is computed again after it, and what a cancelled batch still computes.

Leases are so long here that whoever waited for one would not end in time.
"""

import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.backends.counting_engine import VARIABLE, Computed
from tests.chaos.plan import JobPlan
from tests.chaos.running import Running
from tests.chaos.submitting import read_job, read_lines, submit, wait_for_ends
from tests.fixtures.processes import PROGRAMS, wait_until

pytestmark = pytest.mark.slow

COUNTING = (sys.executable, "-P", str(PROGRAMS / "run_counting.py"), "up")
UNCOMMITTED_SECONDS = 1.5  # records wait for a second at most; half of one is for a busy machine


@pytest.fixture
def computed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Computed:
    path = tmp_path / "computed"
    monkeypatch.setenv(VARIABLE, str(path))
    return Computed(path)


@pytest.fixture
def service(home: Path, computed: Computed) -> Iterator[Running]:
    """Two slots with engines that count; 300 s of lease."""
    (home / "specs").mkdir(exist_ok=True)
    (home / "specs" / "paced.yaml").write_text("name: paced\nfamily: echo\noptions: {delay_ms: 3}\n")
    service = Running(
        home,
        command=COUNTING,
        slots="2",
        lease_seconds="300",
        engine_nice="0",
        models=str(home.with_name("models")),
    )
    service.start()
    yield service
    service.stop()


@pytest.fixture
def client(service: Running) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=service.url, timeout=30) as client:
        yield client


def batch_of(items: int) -> JobPlan:
    return JobPlan(name="it", view="batch", model="paced", items=items, key=0, priority=0, own_webhook=False)


def wait_for(client: httpx.Client, job_id: str, items: int) -> dict[str, Any]:
    """Until that many are recorded; the job as it is then."""
    wait_until(lambda: read_job(client, job_id)["request_counts"]["completed"] >= items, 60, "it runs")
    return read_job(client, job_id)


@pytest.mark.parametrize("end", [Running.stop, Running.kill], ids=["stopped", "killed"])
def test_a_restart_computes_again_at_most_what_was_in_flight_and_the_uncommitted_second(
    service: Running, client: httpx.Client, computed: Computed, end: Callable[[Running], None]
) -> None:
    job_id = submit(client, batch_of(2000), None)
    state = wait_for(client, job_id, 600)
    assert state["status"] == "running"
    ended_at = time.monotonic()
    end(service)
    before = computed.lines()
    service.start()
    assert wait_for_ends(client, [job_id], 60) == []

    state = read_job(client, job_id)
    assert state["request_counts"] == {"total": 2000, "completed": 2000, "failed": 0}
    counts = Counter(body for _, body in computed.lines())
    assert len(counts) == 2000
    again = {body for body, count in counts.items() if count > 1}
    assert max(counts.values()) <= 2
    uncommitted = {body for at, body in before if at > ended_at - UNCOMMITTED_SECONDS}
    assert again <= (uncommitted if end is Running.kill else set())
    assert len(before) < 2000  # it was in the middle


@pytest.mark.timing
def test_a_cancelled_batch_of_20_000_stops_computing_within_two_seconds_and_delivers_what_was_finished(
    service: Running, client: httpx.Client, computed: Computed
) -> None:
    job_id = submit(client, batch_of(20_000), None)
    wait_for(client, job_id, 1000)
    cancelled_at = time.monotonic()
    assert client.post(f"/v1/batches/{job_id}/cancel").status_code == 200
    assert wait_for_ends(client, [job_id], 30) == []

    state = read_job(client, job_id)
    assert state["status"] == "cancelled"
    output = read_lines(client, state["output_file_id"])
    finished = state["request_counts"]["completed"]
    assert len({line["custom_id"] for line in output}) == len(output) == finished
    lines = computed.lines()
    assert max(at for at, _ in lines) - cancelled_at < 2
    assert finished >= sum(at < cancelled_at for at, _ in lines) >= 1000
