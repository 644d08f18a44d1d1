"""Health, readiness and workers."""

import httpx

from tests.fixtures.stack import Stack


def test_health_needs_nothing(stack: Stack) -> None:
    assert httpx.get(f"{stack.url}/health").json() == {"status": "ok"}


def test_readiness_says_what_is_there(stack: Stack) -> None:
    reply = httpx.get(f"{stack.url}/ready")
    assert reply.status_code == 200
    assert reply.json() == {"status": "ready", "database": True, "redis": True, "workers": 1}


def test_workers_name_their_cores_and_families(stack: Stack) -> None:
    [worker] = httpx.get(f"{stack.url}/v1/workers").json()["data"]
    assert worker["pid"] == stack.pids["worker"]
    assert worker["families"] == ["echo"]
    assert len(worker["cores"]) == 1
