"""Work as it is handed in to `/v1/jobs` and `/v1/batches`: what is kept of it, and what is refused."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import psycopg
import pytest
from openai import OpenAI

from tests.fixtures.batches import GOOD as GOOD_LINE
from tests.fixtures.batches import line, upload
from tests.fixtures.jobs import GOOD, finished, results, submit
from tests.fixtures.stack import Stack


@pytest.fixture
def http(stack: Stack) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=f"{stack.url}/v1", timeout=60) as client:
        yield client


def test_one_body_is_a_job_of_one_item(http: httpx.Client) -> None:
    body = {"endpoint": "/v1/embeddings", "body": {"model": "echo", "input": "a"}}
    job = finished(http, http.post("/jobs", json=body).json()["id"])
    assert (job["status"], job["request_counts"]["total"]) == ("completed", 1)
    assert results(http, job["id"])[0]["custom_id"] == "request-1"


@pytest.mark.parametrize("path", ["/jobs", "/batches"])
def test_what_a_job_is_told_is_what_it_says(http: httpx.Client, path: str) -> None:
    tomorrow = int(time.time()) + 86_400
    body = {
        "endpoint": "/v1/embeddings", "model": "echo", "requests": [{"body": GOOD}], "priority": -7,
        "metadata": {"a": "b"}, "completion_window": "3d", "window": "22:00-06:00", "not_before": tomorrow,
        "timezone": "Europe/Berlin", "output_expires_after": {"anchor": "created_at", "seconds": 7200},
    }  # fmt: skip
    made = http.post(path, json=body).json()
    job = http.get(f"/jobs/{made['id']}").json()
    assert (job["priority"], job["metadata"], job["completion_window"]) == (-7, {"a": "b"}, "3d")
    assert (job["window"], job["timezone"]) == ("22:00-06:00", "Europe/Berlin")
    assert (job["not_before"], job["expires_at"] - job["created_at"]) == (tomorrow, 3 * 86_400)
    assert (job["rate"], job["queue_position"], job["eta"], job["attempts"]) == (None, None, None, 0)
    assert job["kind"] == {"/jobs": "job", "/batches": "batch"}[path]
    http.post(f"/jobs/{job['id']}/cancel")


def test_a_job_waits_for_its_moment(http: httpx.Client) -> None:
    moment = time.strftime("%Y-%m-%dT%H:%M:%S+00:00", time.gmtime(time.time() + 3))
    job = finished(http, submit(http, [GOOD], not_before=moment)["id"])
    assert job["started_at"] >= job["not_before"]


def test_a_job_says_until_when_it_waits(http: httpx.Client) -> None:
    job_id = submit(http, [GOOD], not_before="2999-12-31T23:00:00+00:00")["id"]
    while (job := http.get(f"/jobs/{job_id}").json())["status"] == "validating":
        time.sleep(0.05)
    assert job["note"] == "waits until 2999-12-31T23:00:00+00:00"
    http.post(f"/jobs/{job_id}/cancel")


def test_a_job_past_its_time_keeps_what_is_finished(stack: Stack, http: httpx.Client, client: OpenAI) -> None:
    """Its deadline is moved up in the database, since no window is shorter than a minute."""
    job = submit(http, [GOOD] * 1000, model="echo-slow", completion_window="1m")
    while http.get(f"/jobs/{job['id']}").json()["counts"]["succeeded"] == 0:
        time.sleep(0.05)
    with psycopg.connect(stack.database_url) as conn:
        conn.execute("UPDATE job SET deadline = now() WHERE suffix = %s", (job["id"].removeprefix("job_"),))
    ended = finished(http, job["id"])
    assert ended["status"] == "expired"
    item = http.get(f"/jobs/{job['id']}/items?state=expired&limit=1").json()["data"][0]
    assert item["error"]["code"] == "batch_expired"
    counts = ended["counts"]
    assert counts["succeeded"] > 0
    assert counts["succeeded"] + counts["expired"] == 1000
    batch = client.batches.retrieve(job["id"].replace("job_", "batch_"))
    assert (batch.status, batch.expired_at) == ("expired", ended["ended_at"])
    assert len(results(http, job["id"])) == counts["succeeded"]


REFUSED: list[tuple[dict[str, Any], str, str]] = [
    ({"completion_window": "0h"}, "invalid_value", "completion_window"),
    ({"completion_window": ""}, "invalid_value", "completion_window"),
    ({"completion_window": "24"}, "invalid_value", "completion_window"),
    ({"completion_window": "1w"}, "invalid_value", "completion_window"),
    ({"completion_window": "24h\n"}, "invalid_value", "completion_window"),
    ({"completion_window": "9" * 10_000 + "d"}, "invalid_value", "completion_window"),
    ({"window": "22:00-06:00"}, "missing_required_parameter", "timezone"),
    ({"timezone": "Europe/Berlin"}, "missing_required_parameter", "window"),
    ({"window": "22:00-06:00", "timezone": "Mars/Olympus"}, "invalid_value", "timezone"),
    ({"window": "22:00-06:00", "timezone": "\0"}, "invalid_value", "timezone"),
    ({"window": "25:00-06:00", "timezone": "UTC"}, "invalid_value", "window"),
    ({"window": "22-06\0", "timezone": "UTC"}, "invalid_value", "window"),
    ({"not_before": "tomorrow"}, "invalid_value", "not_before"),
    ({"not_before": "2027-01-01T00:00:00"}, "invalid_value", "not_before"),
    ({"not_before": 1e300}, "invalid_value", "not_before"),
    ({"not_before": True}, "invalid_type", "not_before"),
    ({"not_before": 4e9, "completion_window": "1h"}, "invalid_value", "not_before"),
    ({"metadata": {str(n): "x" for n in range(17)}}, "invalid_value", "metadata"),
    ({"metadata": {"x" * 65: "x"}}, "invalid_value", "metadata"),
    ({"metadata": {"x": 1}}, "invalid_type", "metadata"),
    ({"priority": 101}, "invalid_value", "priority"),
    ({"priority": 1.5}, "invalid_type", "priority"),
    ({"webhook_url": "http://127.0.0.1/"}, "invalid_webhook_url", "webhook_url"),
    ({"webhook_url": "https://x.test/\0"}, "invalid_webhook_url", "webhook_url"),
    ({"metadata": {"webhook_url": "http://[::1]/"}}, "invalid_webhook_url", "metadata.webhook_url"),
    ({"model": "echo\0"}, "model_not_found", "model"),
    ({"requests": []}, "invalid_value", "requests"),
    ({"body": {"input": "a"}}, "missing_required_parameter", "input_file_id"),
    ({"requests": [{"body": GOOD, "custom_id": "x" * 1_000_000}]}, "invalid_value", "requests[0].custom_id"),
    ({"requests": [{"body": GOOD, "custom_id": ""}]}, "invalid_value", "requests[0].custom_id"),
    ({"requests": [{"body": GOOD, "custom_id": "a\0"}]}, "invalid_value", "requests[0].custom_id"),
    ({"requests": [{"body": GOOD, "custom_id": 7}]}, "invalid_type", "requests[0].custom_id"),
    ({"requests": [{"body": GOOD}, {"body": GOOD, "custom_id": "request-1"}]},
     "duplicate_custom_id", "requests[1].custom_id"),
    ({"requests": [{"body": [1]}]}, "invalid_type", "requests[0].body"),
    ({"requests": [{"body": GOOD, "method": "GET"}]}, "invalid_method", "requests[0].method"),
    ({"requests": [{"body": GOOD, "url": "/v1/other"}]}, "invalid_url", "requests[0].url"),
]  # fmt: skip


@pytest.mark.parametrize("path", ["/jobs", "/batches"])
@pytest.mark.parametrize(("fields", "code", "param"), REFUSED, ids=range(len(REFUSED)))
def test_work_that_cannot_be_is_refused_by_name(
    http: httpx.Client, path: str, fields: dict[str, Any], code: str, param: str
) -> None:
    work = {"endpoint": "/v1/embeddings", "model": "echo", "requests": [{"body": GOOD}]}
    before = http.get("/jobs?limit=1").json()["first_id"]
    reply = http.post(path, json=work | fields)
    error = reply.json()["error"]
    assert (reply.status_code, error["code"], error["param"]) == (
        404 if code == "model_not_found" else 400, code, param,
    )  # fmt: skip
    assert len(error["message"]) < 500
    assert http.get("/jobs?limit=1").json()["first_id"] == before


def test_the_limit_of_a_custom_id_is_said(http: httpx.Client) -> None:
    requests = [{"body": GOOD, "custom_id": "x" * 1_000_000}]
    work = {"endpoint": "/v1/embeddings", "model": "echo", "requests": requests}
    message = http.post("/jobs", json=work).json()["error"]["message"]
    assert "512" in message
    assert "1,000,000" in message


def test_a_job_of_a_file_counts_its_lines_until_they_are_read(http: httpx.Client, client: OpenAI) -> None:
    file_id = upload(client, [GOOD_LINE, line("b", {"model": "echo", "input": "b"})])
    made = http.post("/jobs", json={"endpoint": "/v1/embeddings", "input_file_id": file_id}).json()
    assert made["request_counts"]["total"] == 2
    bad = upload(client, [GOOD_LINE, GOOD_LINE])
    made = http.post("/jobs", json={"endpoint": "/v1/embeddings", "input_file_id": bad}).json()
    failed = finished(http, made["id"])
    assert (failed["status"], failed["request_counts"]["total"]) == ("failed", 0)


def test_an_idempotency_key_makes_one_job(http: httpx.Client) -> None:
    work = {"endpoint": "/v1/embeddings", "model": "echo", "requests": [{"body": GOOD}]}
    headers = {"idempotency-key": f"once-{time.time()}"}
    with ThreadPoolExecutor(4) as pool:
        made = list(pool.map(lambda _: http.post("/jobs", json=work, headers=headers).json()["id"], range(4)))
    assert len(set(made)) == 1
    other = http.post("/jobs", json=work | {"priority": 1}, headers=headers)
    assert (other.status_code, other.json()["error"]["code"]) == (409, "idempotency_mismatch")


def test_cancelling_while_a_job_finishes_ends_it_one_way_or_the_other(http: httpx.Client) -> None:
    for items in (1, 2, 3, 5, 8, 13, 21, 34):
        job_id = submit(http, [GOOD] * items)["id"]
        with ThreadPoolExecutor(3) as pool:
            replies = list(pool.map(http.post, [f"/jobs/{job_id}/cancel"] * 3))
        job = finished(http, job_id)
        if job["status"] == "completed":
            assert {reply.status_code for reply in replies} <= {200, 409}
            assert job["counts"]["succeeded"] == items
        else:
            assert job["status"] == "cancelled"
            assert {reply.status_code for reply in replies} == {200}
            assert job["counts"]["succeeded"] + job["counts"]["cancelled"] in (items, 0)
        assert len(results(http, job_id)) == job["counts"]["succeeded"]
