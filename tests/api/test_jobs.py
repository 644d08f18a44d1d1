"""`/v1/jobs`: our own view, with inline requests, notes and results as they come."""

import base64
import json
import socket
import time
from collections.abc import Iterator
from typing import Any

import httpx
import numpy as np
import psycopg
import pytest
from openai import OpenAI

from tests.fixtures.batches import GOOD, line, run, upload
from tests.fixtures.jobs import finished
from tests.fixtures.stack import Stack


@pytest.fixture
def http(stack: Stack) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=f"{stack.url}/v1", timeout=30) as client:
        yield client


def test_inline_requests_become_a_file_and_a_job(http: httpx.Client) -> None:
    requests = [{"body": {"input": "a"}}, {"custom_id": "mine", "body": {"input": "b\nc"}}]
    made = http.post("/jobs", json={"endpoint": "/v1/embeddings", "model": "echo", "requests": requests})
    assert made.status_code == 200
    job = finished(http, made.json()["id"])
    assert job["status"] == "completed"
    assert job["request_counts"] == {"total": 2, "completed": 2, "failed": 0}
    assert job["expires_at"] is None
    stored = http.get(f"/files/{job['input_file_id']}/content").text.splitlines()
    assert [json.loads(row)["custom_id"] for row in stored] == ["request-1", "mine"]
    assert json.loads(stored[1]) == {
        "custom_id": "mine",
        "method": "POST",
        "url": "/v1/embeddings",
        "body": {"input": "b\nc"},
    }


def test_results_come_in_order_and_in_the_form_that_is_asked_for(http: httpx.Client) -> None:
    requests = [{"body": {"input": f"text {n}"}} for n in range(300)]
    made = http.post("/jobs", json={"endpoint": "/v1/embeddings", "model": "echo", "requests": requests})
    job_id = finished(http, made.json()["id"])["id"]
    plain = http.get(f"/jobs/{job_id}/results").text.splitlines()
    packed = http.get(f"/jobs/{job_id}/results?encoding_format=base64").text.splitlines()
    assert [json.loads(row)["custom_id"] for row in plain] == [f"request-{n + 1}" for n in range(300)]
    vector = json.loads(plain[7])["response"]["body"]["data"][0]["embedding"]
    same = json.loads(packed[7])["response"]["body"]["data"][0]["embedding"]
    assert np.array_equal(np.frombuffer(base64.b64decode(same), "<f4"), np.array(vector, "<f4"))
    rest = http.get(f"/jobs/{job_id}/results?after=297").text.splitlines()
    assert rest == plain[298:]


def test_results_of_failed_items_stand_among_the_others(http: httpx.Client) -> None:
    requests = [{"body": {"input": "a"}}, {"body": {"input": ""}}, {"body": {"input": "c"}}]
    made = http.post("/jobs", json={"endpoint": "/v1/embeddings", "model": "echo", "requests": requests})
    job = finished(http, made.json()["id"])
    rows = [json.loads(row) for row in http.get(f"/jobs/{job['id']}/results").text.splitlines()]
    assert [row["response"]["status_code"] for row in rows] == [200, 400, 200]


def test_a_batch_is_found_as_a_job_too(client: OpenAI, http: httpx.Client) -> None:
    batch = run(client, upload(client, [GOOD]))
    job = http.get(f"/jobs/{batch.id}").json()
    assert job["id"] == batch.id.replace("batch_", "job_")
    assert job["status"] == "completed"
    assert http.get(f"/jobs/{job['id']}").json() == job


def test_a_job_is_a_batch_to_the_official_client(client: OpenAI, http: httpx.Client) -> None:
    body = {"endpoint": "/v1/embeddings", "model": "echo", "requests": [{"body": {"input": "a"}}]}
    suffix = http.post("/jobs", json=body).json()["id"].removeprefix("job_")
    batch = client.batches.retrieve(f"batch_{suffix}")
    assert (batch.id, batch.object, batch.endpoint) == (f"batch_{suffix}", "batch", "/v1/embeddings")
    assert batch.id in [listed.id for listed in client.batches.list(limit=5).data]


def test_an_inline_batch_names_a_real_input_file(client: OpenAI, http: httpx.Client) -> None:
    body = {"endpoint": "/v1/embeddings", "requests": [line("a", {"model": "echo", "input": "x"})]}
    batch = client.batches.retrieve(http.post("/batches", json=body).json()["id"])
    assert client.files.retrieve(batch.input_file_id).purpose == "batch"


def test_a_job_says_how_it_stands_while_others_are_before_it(http: httpx.Client) -> None:
    """One slot: what runs has a rate and an ETA from it, what waits has its place."""
    body = {"endpoint": "/v1/embeddings", "model": "echo-slow"}
    requests = [{"body": {"input": f"text {n}"}} for n in range(4000)]
    first, second, third = (
        http.post("/jobs", json=body | {"requests": requests}).json()["id"] for _ in range(3)
    )
    until = time.monotonic() + 60
    while (running := http.get(f"/jobs/{first}").json())["rate"] is None:
        assert time.monotonic() < until
        assert running["status"] not in ("completed", "failed")
        time.sleep(0.1)
    assert running["queue_position"] is None
    assert running["counts"]["running"] > 0
    left = sum(running["counts"][state] for state in ("pending", "running"))
    assert running["eta"] == pytest.approx(time.time() + left / running["rate"], abs=10)
    waiting = [http.get(f"/jobs/{job_id}").json() for job_id in (second, third)]
    assert [job["status"] for job in waiting] == ["queued", "queued"]
    assert [job["queue_position"] for job in waiting] == [2, 3]  # behind the rest of the first
    assert [job["attempts"] for job in (running, *waiting)] == [1, 0, 0]
    for job_id in (third, second, first):
        http.post(f"/jobs/{job_id}/cancel")
    finished(http, first)


def test_jobs_are_paged_newest_first(http: httpx.Client) -> None:
    body = {"endpoint": "/v1/embeddings", "model": "echo", "requests": [{"body": {"input": "a"}}]}
    made = [http.post("/jobs", json=body).json()["id"] for _ in range(3)]
    first = http.get("/jobs?limit=2").json()
    second = http.get(f"/jobs?limit=1&after={first['last_id']}").json()
    assert [job["id"] for job in (*first["data"], *second["data"])] == made[::-1]
    assert first["has_more"]


@pytest.mark.parametrize(
    ("body", "code", "param"),
    [
        ({"endpoint": "/v1/embeddings"}, "missing_required_parameter", "input_file_id"),
        ({"endpoint": "/v1/embeddings", "input_file_id": "f", "requests": []},
         "missing_required_parameter", "input_file_id"),
        ({"endpoint": "/v1/telepathy", "requests": []}, "invalid_value", "endpoint"),
        ({"endpoint": "/v1/embeddings", "input_file_id": "file-nope"}, "file_not_found", "input_file_id"),
        ({"endpoint": "/v1/embeddings", "input_file_id": "file-\0"}, "file_not_found", "input_file_id"),
        ({"endpoint": "/v1/embeddings", "model": "nobody", "requests": []}, "model_not_found", "model"),
        ({"endpoint": "/v1/embeddings", "requests": [{"input": "a"}]},
         "invalid_request", "requests[0].input"),
        ({"endpoint": "/v1/embeddings", "requests": [{}]},
         "missing_required_parameter", "requests[0].body"),
    ],
)  # fmt: skip
def test_a_wrong_job_is_refused_by_name(http: httpx.Client, body: Any, code: str, param: str) -> None:
    error = http.post("/jobs", json=body).json()["error"]
    assert (error["code"], error["param"]) == (code, param)


@pytest.mark.parametrize("job_id", ["job_nope", "nope", "batch_", "job_%00", "job_" + "x" * 3000])
def test_a_job_that_is_not_there_is_not_found(http: httpx.Client, job_id: str) -> None:
    for reply in (http.get(f"/jobs/{job_id}"), http.get(f"/jobs/{job_id}/results")):
        assert (reply.status_code, reply.json()["error"]["code"]) == (404, "job_not_found")
    assert http.post(f"/jobs/{job_id}/cancel").status_code == 404


def test_a_reader_who_goes_away_frees_the_connection(stack: Stack, http: httpx.Client) -> None:
    requests = [{"body": {"input": [f"{n}-{m}" for m in range(20)]}} for n in range(60)]
    body = {"endpoint": "/v1/embeddings", "model": "echo-wide", "requests": requests}
    job_id = finished(http, http.post("/jobs", json=body).json()["id"])["id"]
    # A small buffer, and a reply of 57 MB: the kernel's own may take in 37 MB before it is looked at.
    transport = httpx.HTTPTransport(socket_options=[(socket.SOL_SOCKET, socket.SO_RCVBUF, 65_536)])
    await_no_downloads(stack)  # of the tests before, which share the service
    with (
        psycopg.connect(stack.database_url) as conn,
        httpx.Client(base_url=http.base_url, transport=transport, timeout=60) as reader,
        reader.stream("GET", f"/jobs/{job_id}/results") as reply,
    ):
        next(reply.iter_raw())
        assert downloads(conn) == 1
    await_no_downloads(stack)


def await_no_downloads(stack: Stack) -> None:
    with psycopg.connect(stack.database_url, autocommit=True) as conn:
        until = time.monotonic() + 10
        while downloads(conn) and time.monotonic() < until:
            time.sleep(0.05)
        assert downloads(conn) == 0


def downloads(conn: psycopg.Connection) -> int:
    """Connections of downloads to this stack's database."""
    statement = """SELECT count(*) FROM pg_stat_activity
                   WHERE application_name = 'api-download' AND datname = current_database()"""
    row = conn.execute(statement).fetchone()
    assert row is not None
    return int(row[0])
