"""Lists of jobs: filtered, in pages, and of the caller's project alone."""

from collections.abc import Iterator

import httpx
import psycopg
import pytest
from openai import OpenAI

from tests.fixtures.batches import GOOD as GOOD_LINE
from tests.fixtures.batches import run, upload
from tests.fixtures.jobs import GOOD, finished, submit
from tests.fixtures.stack import Stack


@pytest.fixture
def http(stack: Stack) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=f"{stack.url}/v1", timeout=30) as client:
        yield client


def ids(http: httpx.Client, **params: str | int | list[str]) -> list[str]:
    reply = http.get("/jobs", params=params)
    assert reply.status_code == 200, reply.text
    return [job["id"] for job in reply.json()["data"]]


def test_jobs_batches_and_calls_are_one_list_that_can_be_filtered(client: OpenAI, http: httpx.Client) -> None:
    since = finished(http, submit(http, [GOOD])["id"])
    batch = run(client, upload(client, [GOOD_LINE])).id.replace("batch_", "job_")
    job = finished(http, submit(http, [GOOD], model="echo-short")["id"])["id"]
    client.embeddings.create(model="echo", input="a")

    newer = ids(http, limit=10)
    newer = newer[: newer.index(since["id"])]
    (call,) = set(newer) - {batch, job}
    assert newer == [call, job, batch]
    assert ids(http, kind="job,batch", limit=2) == [job, batch]
    assert ids(http, kind="call", limit=1) == [call]
    assert ids(http, kind=["batch", "job"], status=["completed", "queued,running"], limit=2) == [job, batch]
    assert ids(http, model="echo-short", limit=1) == [job]
    assert ids(http, status="completed", endpoint="/v1/embeddings", limit=3) == newer
    assert ids(http, after=since["id"], order="asc") == newer[::-1]
    assert ids(http, after=since["id"].replace("job_", "batch_"), order="asc") == newer[::-1]
    assert ids(http, created_after=since["created_at"] + 10**6) == []
    assert ids(http, created_before="2001-01-01T00:00:00+01:00") == []
    assert set(newer) <= set(ids(http, created_after=since["created_at"], limit=100))
    assert http.get(f"/jobs/{call}").json()["kind"] == "call"


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("status=asleep", "invalid_value"),
        ("status=queued,", "invalid_value"),
        ("kind=letter", "invalid_value"),
        ("model=%00", "invalid_value"),
        ("endpoint=%00", "invalid_value"),
        ("created_after=yesterday", "invalid_value"),
        ("created_after=2026-01-01T00:00:00", "invalid_value"),
        ("created_before=" + "9" * 40, "invalid_value"),
        ("order=sideways", "invalid_value"),
        ("limit=101", "invalid_value"),
        ("retry_of=job_nope", "job_not_found"),
        ("after=job_%00", "job_not_found"),
    ],
)
def test_a_wrong_filter_is_refused(http: httpx.Client, query: str, code: str) -> None:
    assert http.get(f"/jobs?{query}").json()["error"]["code"] == code


def test_a_job_of_another_project_is_nowhere_to_be_found(
    stack: Stack, http: httpx.Client, client: OpenAI
) -> None:
    with psycopg.connect(stack.database_url) as conn:
        conn.execute(
            """
            WITH project AS (
                INSERT INTO project (name) VALUES ('theirs') RETURNING id
            ), job AS (
                INSERT INTO job (suffix, view, project_id, key_id, endpoint, family, model, lane, state,
                                 ended_at)
                SELECT 'theirs', 'batch', id, 1, '/v1/embeddings', 'echo', 'echo', 'bulk', 'cancelled', now()
                FROM project RETURNING id
            ) INSERT INTO job_progress (job_id) SELECT id FROM job"""
        )
    for method, path in (
        ("GET", ""), ("GET", "/items"), ("GET", "/items/a"), ("GET", "/results"), ("GET", "/events"),
        ("POST", "/cancel"), ("POST", "/retry"), ("DELETE", ""),
    ):  # fmt: skip
        reply = http.request(method, f"/jobs/job_theirs{path}")
        assert (reply.status_code, reply.json()["error"]["code"]) == (404, "job_not_found"), path
    assert http.get("/batches/batch_theirs").json()["error"]["code"] == "batch_not_found"
    assert http.post("/batches/batch_theirs/cancel").status_code == 404
    assert http.get("/jobs?retry_of=job_theirs").status_code == 404
    assert http.get("/jobs?after=job_theirs").status_code == 404
    assert "job_theirs" not in ids(http, limit=100)
    assert "batch_theirs" not in [batch.id for batch in client.batches.list(limit=100).data]
