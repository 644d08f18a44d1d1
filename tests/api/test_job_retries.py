"""Retries over the real service: what failed is computed again, and merged into what did not."""

import json
import time
from collections.abc import Iterator
from typing import Any

import httpx
import psycopg
import pytest
from openai import OpenAI

from tests.fixtures.jobs import BAD, GOOD, finished, results, submit
from tests.fixtures.stack import Stack


@pytest.fixture
def http(stack: Stack) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=f"{stack.url}/v1", timeout=30) as client:
        yield client


def mend(stack: Stack, job_id: str, custom_id: str) -> None:
    """Stands in for whatever made an item fail and does so no more: its request is good from now on."""
    with psycopg.connect(stack.database_url) as conn:
        conn.execute(
            """UPDATE item SET body = %s FROM job
               WHERE job.id = item.job_id AND suffix = %s AND custom_id = %s""",
            (json.dumps(GOOD | {"model": "echo"}).encode(), job_id.removeprefix("job_"), custom_id),
        )


def test_a_retry_computes_what_failed_and_is_merged_into_the_results(
    stack: Stack, http: httpx.Client, client: OpenAI
) -> None:
    first = finished(http, submit(http, [GOOD, BAD, GOOD, BAD], metadata={"run": "7"}, priority=3)["id"])
    assert first["counts"] == {
        "pending": 0, "running": 0, "succeeded": 2, "errored": 2, "cancelled": 0, "expired": 0,
    }  # fmt: skip
    mend(stack, first["id"], "item-1")

    again = http.post(f"/jobs/{first['id']}/retry").json()
    assert (again["retry_of"], again["input_file_id"], again["kind"]) == (first["id"], None, "job")
    assert (again["priority"], again["metadata"]) == (3, {"run": "7"})
    again = finished(http, again["id"])
    assert again["request_counts"] == {"total": 2, "completed": 1, "failed": 1}
    assert http.get(f"/jobs/{first['id']}").json()["retries"] == [again["id"]]
    assert [job["id"] for job in http.get(f"/jobs?retry_of={first['id']}").json()["data"]] == [again["id"]]
    assert client.batches.retrieve(again["id"].replace("job_", "batch_")).status == "completed"

    def statuses(**params: Any) -> list[int]:
        return [row["response"]["status_code"] for row in results(http, first["id"], **params)]

    assert statuses() == [200, 400, 200, 400]
    assert statuses(include_retries=True) == [200, 200, 200, 400]
    merged = results(http, first["id"], include_retries=True)
    suffixes = [job["id"].removeprefix("job_") for job in (first, again)]
    assert [row["id"] for row in merged] == [f"batch_req_{suffixes[0]}_{n}" for n in range(4)]
    assert [row["response"]["request_id"] for row in merged[:2]] == [
        f"req_{suffixes[0]}_0", f"req_{suffixes[1]}_0",
    ]  # fmt: skip
    assert merged[1]["custom_id"] == "item-1"
    assert results(http, first["id"], include_retries=True, after=0) == merged[1:]


def test_a_cancelled_job_is_retried_with_what_never_ran(http: httpx.Client) -> None:
    first = submit(http, [GOOD | {"model": "echo-slow"} for _ in range(400)], model="echo-slow")
    while http.get(f"/jobs/{first['id']}").json()["counts"]["succeeded"] < 5:
        time.sleep(0.05)
    http.post(f"/jobs/{first['id']}/cancel")
    first = finished(http, first["id"])
    left = first["counts"]["cancelled"]
    assert left + first["counts"]["succeeded"] == 400
    again = http.post(f"/jobs/{first['id']}/retry").json()
    assert sum(again["counts"].values()) == left
    http.post(f"/jobs/{again['id']}/cancel")
    merged = results(http, first["id"], include_retries=True)
    assert len(merged) >= first["counts"]["succeeded"]
    finished(http, again["id"])


def test_a_running_job_is_not_retried_and_a_good_one_neither(http: httpx.Client) -> None:
    running = submit(http, [GOOD] * 200, model="echo-slow")
    reply = http.post(f"/jobs/{running['id']}/retry")
    assert (reply.status_code, reply.json()["error"]["code"]) == (409, "job_not_ended")
    assert reply.headers["x-should-retry"] == "false"
    assert http.delete(f"/jobs/{running['id']}").json()["error"]["code"] == "job_not_ended"
    http.post(f"/jobs/{running['id']}/cancel")
    good = finished(http, submit(http, [GOOD])["id"])
    reply = http.post(f"/jobs/{good['id']}/retry")
    assert (reply.status_code, reply.json()["error"]["code"]) == (409, "nothing_to_retry")
    assert reply.headers["x-should-retry"] == "false"


def test_a_job_is_deleted_with_its_output_files_and_its_retry_stays(stack: Stack, http: httpx.Client) -> None:
    first = finished(http, submit(http, [GOOD, BAD])["id"])
    again = finished(http, http.post(f"/jobs/{first['id']}/retry").json()["id"])
    assert http.delete(f"/jobs/{first['id']}").json() == {"id": first["id"], "object": "job", "deleted": True}
    for path in (
        f"/jobs/{first['id']}",
        f"/files/{first['output_file_id']}",
        f"/files/{first['error_file_id']}/content",
    ):
        assert http.get(path).status_code == 404
    assert http.delete(f"/jobs/{first['id']}").status_code == 404
    assert http.get(f"/jobs/{again['id']}").json()["retry_of"] is None
