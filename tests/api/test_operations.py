"""Health, readiness and workers."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest
from fastapi.testclient import TestClient

from api.app import create_app
from configs.settings import Settings
from store import migrate
from store.ids import new_suffix
from tests.fixtures.stack import Stack

Conn = psycopg.Connection[Any]


@pytest.fixture
def conn(database_url: str) -> Iterator[Conn]:
    """A connection to the database of `client`, in which no dispatcher and no slot works."""
    with psycopg.connect(database_url, autocommit=True) as conn:
        yield conn


@pytest.fixture
def client(database_url: str, redis_url: str, tmp_path: Path) -> Iterator[TestClient]:
    (tmp_path / "specs").mkdir()
    (tmp_path / "specs" / "model.yaml").write_text("name: org/model\nfamily: echo\naliases: [also]\n")
    settings = Settings(home=tmp_path, database_url=database_url, redis_url=redis_url)
    with TestClient(create_app(settings)) as client:
        yield client


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
        ready = client.get("/ready").json()
        assert (ready["status"], ready["database"], ready["workers"]) == ("ready", True, 0)


def test_workers_name_their_cores_and_families(stack: Stack) -> None:
    [worker] = httpx.get(f"{stack.url}/v1/workers").json()["data"]
    assert worker["pid"] == stack.pids["worker"]
    assert worker["families"] == ["echo"]
    assert len(worker["cores"]) == 1
    assert set(worker) >= {"loaded", "working_on", "rate", "memory_mb"}


def test_only_who_owns_a_job_sees_that_a_slot_works_on_it(conn: Conn, client: TestClient) -> None:
    conn.execute("INSERT INTO project (name) VALUES ('other')")
    ours, theirs = put_job(conn, project=1), put_job(conn, project=2)
    for suffix in (ours, theirs):
        conn.execute(
            """INSERT INTO slot (boot_id, host, pid, families, working_on, lease_until)
               VALUES ('b', 'h', 1, '{echo}', %s, now() + '1 min'::interval)""",
            (f"job_{suffix}:3",),
        )
    shown = [worker["working_on"] for worker in client.get("/v1/workers").json()["data"]]
    assert shown == [f"job_{ours}:3", None]


def test_readiness_names_everything_that_is_missing_and_stays_200(conn: Conn, client: TestClient) -> None:
    conn.execute("INSERT INTO model_pause (model, reason) VALUES ('org/model', 'it crashes')")
    reply = client.get("/ready")
    assert (reply.status_code, reply.json()["status"]) == (200, "ready")
    slot, dispatcher, model = reply.json()["missing"]
    assert "batchyard worker" in slot
    assert "batchyard dispatch" in dispatcher
    assert "batchyard models resume org/model" in model


def test_queues_count_by_family_and_lane(conn: Conn, client: TestClient) -> None:
    put_job(conn)
    conn.execute("INSERT INTO model_pause (model, reason) VALUES ('echo', 'it crashes')")
    queues = client.get("/v1/queues").json()
    [queue] = queues["data"]
    assert (queue["family"], queue["slots"]) == ("echo", 0)
    [lane] = queue["lanes"]
    assert lane["items"] == {"waiting": 0, "running": 0, "held": 1}
    assert lane["jobs"]["held"] == {"paused": 1, "window": 0, "not_before": 0}
    [paused] = queues["paused_models"]
    assert (paused["model"], paused["reason"], paused["jobs"]) == ("echo", "it crashes", 1)


def test_an_operator_resumes_a_model_by_any_of_its_names(conn: Conn, client: TestClient) -> None:
    conn.execute("INSERT INTO model_pause (model, reason) VALUES ('org/model', 'it crashes')")
    assert client.get("/v1/models/org/model").json()["status"] == "paused"
    for was_paused in (True, False):
        reply = client.post("/v1/models/also/resume")
        assert reply.json() == {"id": "org/model", "object": "model", "was_paused": was_paused}
    assert client.get("/v1/models/org/model").json()["status"] == "ready"
    assert client.post("/v1/models/none/resume").status_code == 404


def test_a_dry_run_of_prune_deletes_nothing(conn: Conn, client: TestClient) -> None:
    put_job(conn)
    conn.execute("UPDATE job SET state = 'completed', ready = false, ended_at = now() - '31 d'::interval")
    for body in ({"dry_run": True}, {"dry_run": True}, {}):
        found = client.post("/v1/prune", json=body).json()
        assert (found["dry_run"], found["jobs"]["job"]) == (bool(body), 1)
    assert client.post("/v1/prune").json()["jobs"]["job"] == 0


def put_job(conn: Conn, project: int = 1) -> str:
    """A job of one item that nobody has claimed: its suffix."""
    suffix = new_suffix()
    conn.execute(
        """WITH job AS (
               INSERT INTO job (suffix, view, project_id, key_id, endpoint, family, model, lane, state, ready,
                                items, parts)
               VALUES (%s, 'job', %s, 1, '/v1/embeddings', 'echo', 'echo', 'bulk', 'queued', true, 1, 1)
               RETURNING id)
           INSERT INTO job_progress (job_id) SELECT id FROM job""",
        (suffix, project),
    )
    return suffix
