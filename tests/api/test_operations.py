"""Health, readiness and workers."""

from pathlib import Path

import httpx
from fastapi.testclient import TestClient

from api.app import create_app
from configs.settings import Settings
from store import migrate
from tests.fixtures.stack import Stack


def test_health_needs_nothing(stack: Stack) -> None:
    assert httpx.get(f"{stack.url}/health").json() == {"status": "ok"}


def test_readiness_says_what_is_there(stack: Stack) -> None:
    reply = httpx.get(f"{stack.url}/ready")
    assert reply.status_code == 200
    assert reply.json() == {"status": "ready", "database": True, "redis": True, "workers": 1}


def test_a_service_whose_database_is_not_migrated_is_not_ready_until_it_is(
    empty_database_url: str, redis_url: str, tmp_path: Path
) -> None:
    settings = Settings(home=tmp_path, database_url=empty_database_url, redis_url=redis_url)
    with TestClient(create_app(settings), raise_server_exceptions=False) as client:
        reply = client.get("/ready")
        assert (reply.status_code, reply.json()["status"]) == (503, "unavailable")
        assert reply.json()["detail"] == "the database is not migrated; run: batchyard migrate"
        assert client.get("/v1/batches").status_code == 503
        migrate.upgrade(empty_database_url)
        assert client.get("/ready").json() == {
            "status": "ready",
            "database": True,
            "redis": True,
            "workers": 0,
        }


def test_workers_name_their_cores_and_families(stack: Stack) -> None:
    [worker] = httpx.get(f"{stack.url}/v1/workers").json()["data"]
    assert worker["pid"] == stack.pids["worker"]
    assert worker["families"] == ["echo"]
    assert len(worker["cores"]) == 1
