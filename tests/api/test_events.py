"""`GET /v1/jobs/{id}/events` on a running service: the whole way of a job, through losses of Redis too."""

import json
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pytest
import redis

from store.embedded.services import EmbeddedServices
from tasks.streams import EntryId
from tests.fixtures.batches import ENDED
from tests.fixtures.processes import wait_until
from tests.fixtures.stack import Stack, running_stack


class Event(NamedTuple):
    id: EntryId
    kind: str
    data: Any


@pytest.fixture
def http(stack: Stack) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=f"{stack.url}/v1", timeout=60) as client:
        yield client


def submit(http: httpx.Client, count: int, model: str = "echo") -> str:
    requests = [{"custom_id": f"c{n}", "body": {"input": f"text {n}"}} for n in range(count)]
    body = {"endpoint": "/v1/embeddings", "model": model, "requests": requests}
    job_id: str = http.post("/jobs", json=body).json()["id"]
    return job_id


def follow(http: httpx.Client, job_id: str, **headers: str) -> Iterator[Event]:
    """The events of a job, to the end of the stream."""
    with http.stream("GET", f"/jobs/{job_id}/events", headers=headers) as reply:
        assert reply.headers["content-type"].startswith("text/event-stream")
        fields: dict[str, str] = {}
        for line in reply.iter_lines():
            if line:
                name, _, value = line.partition(": ")
                fields[name] = value
            elif "data" in fields:
                yield Event(EntryId.parse(fields["id"]), fields["event"], json.loads(fields["data"]))
                fields = {}


def follow_through(
    http: httpx.Client, job_id: str, disturb: Callable[[], None], *, at: str = "items"
) -> list[Event]:
    """All events of a job; something happens to the service at the first event of the kind `at`."""
    events = []
    for event in follow(http, job_id):
        events.append(event)
        if event.kind == at:
            disturb()
            at = ""
    assert at == "", "it was disturbed"
    return events


def check_the_end(events: list[Event], count: int) -> None:
    ids = [event.id for event in events]
    assert ids == sorted(set(ids)), "ids grow"
    assert events[0].kind == "snapshot"
    assert events[-1].data["status"] == "completed"
    assert events[-1].data["request_counts"] == {"total": count, "completed": count, "failed": 0}
    assert all(event.data["status"] not in ENDED for event in events[:-1] if event.kind != "items")


def named(events: list[Event]) -> set[str]:
    return {item["custom_id"] for event in events if event.kind == "items" for item in event.data["items"]}


def test_a_job_is_followed_from_its_submission_to_its_end(http: httpx.Client) -> None:
    job_id = submit(http, 60, "echo-slow")
    events = list(follow(http, job_id))
    check_the_end(events, 60)
    assert named(events) == {f"c{n}" for n in range(60)}
    assert {event.kind for event in events} == {"snapshot", "state", "progress", "items"}


def test_a_reader_that_was_cut_off_goes_on_and_misses_nothing(http: httpx.Client) -> None:
    job_id = submit(http, 60, "echo-slow")
    events: list[Event] = []
    for event in follow(http, job_id):
        events.append(event)
        if event.kind == "items":
            break
    rest = list(follow(http, job_id, **{"last-event-id": str(events[-1].id)}))
    assert "snapshot" not in [event.kind for event in rest]
    check_the_end(events + rest, 60)
    assert named(events) | named(rest) == {f"c{n}" for n in range(60)}


def test_a_job_that_has_ended_and_a_call_are_followed_too(http: httpx.Client) -> None:
    body = {"model": "echo-slow", "input": "a"}
    job_id = http.post("/embeddings", json=body, headers={"prefer": "respond-async"}).json()["id"]
    assert list(follow(http, job_id))[-1].data["status"] == "completed"
    [snapshot] = follow(http, job_id)
    assert (snapshot.kind, snapshot.data["id"]) == ("snapshot", job_id)


@pytest.mark.parametrize("position", ["abc", "1-2-3", "-5", "9" * 30, "٣-0"])
def test_a_position_that_is_none_is_refused(http: httpx.Client, position: str) -> None:
    job_id = submit(http, 1)
    reply = http.get(f"/jobs/{job_id}/events", params={"last_event_id": position})
    assert (reply.status_code, reply.json()["error"]["param"]) == (400, "last_event_id")


def test_an_unknown_job_has_no_events(http: httpx.Client) -> None:
    reply = http.get("/jobs/job_nope/events")
    assert (reply.status_code, reply.json()["error"]["code"]) == (404, "job_not_found")


def test_a_cancel_is_told(http: httpx.Client) -> None:
    job_id = submit(http, 2000, "echo-slow")
    events = []
    for event in follow(http, job_id):
        events.append(event)
        if event.kind == "items":
            http.post(f"/jobs/{job_id}/cancel")
    assert events[-1].data["status"] == "cancelled"


def test_a_loss_of_redis_costs_no_reader_the_end_of_a_job(
    database_factory: Callable[[], str], open_folder: Path
) -> None:
    database_url = database_factory()
    services = EmbeddedServices(open_folder / "events-redis", database_url=database_url, durable=False)

    def empty() -> None:
        with redis.Redis.from_url(services_url) as client:
            client.flushall()

    def restart() -> None:
        [pid] = services.pids().values()  # Postgres is not its own
        os.kill(pid, signal.SIGKILL)
        wait_until(lambda: services.revive() != [], 30, "Redis is started again")

    with services as own:
        services_url = own.redis_url
        with (
            running_stack(open_folder / "events", database_url, own.redis_url) as stack,
            httpx.Client(base_url=f"{stack.url}/v1", timeout=60) as http,
        ):
            for disturb in (empty, restart):
                events = follow_through(http, submit(http, 100, "echo-slow"), disturb)
                check_the_end(events, 100)
                assert [event.kind for event in events].count("snapshot") >= 2
