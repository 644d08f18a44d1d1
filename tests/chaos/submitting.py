"""Submitting the jobs of a plan, and waiting for their ends."""

import json
import time
from typing import Any

import httpx

from tests.chaos.plan import JobPlan

ENDPOINT = "/v1/embeddings"
ENDED = ("completed", "failed", "expired", "cancelled")


def request_of(job: JobPlan, n: int) -> dict[str, Any]:
    return {"custom_id": f"{job.name}-{n}", "body": {"model": job.model, "input": job.text(n)}}


def submit(client: httpx.Client, job: JobPlan, webhook_url: str | None) -> str:
    """Hand a job in, inline or (a batch) as a file, and say its id."""
    work: dict[str, Any] = {"endpoint": ENDPOINT, "priority": job.priority}
    if webhook_url is not None:
        work["webhook_url"] = webhook_url
    if job.view == "job":
        work["requests"] = [request_of(job, n) for n in range(job.items)]
        return _id_of(client.post("/v1/jobs", json=work))
    lines = [{"method": "POST", "url": ENDPOINT, **request_of(job, n)} for n in range(job.items)]
    content = "".join(json.dumps(line) + "\n" for line in lines)
    file = {"file": ("in.jsonl", content, "application/jsonl")}
    file_id = _id_of(client.post("/v1/files", files=file, data={"purpose": "batch"}))
    work |= {"input_file_id": file_id, "completion_window": "24h"}
    return _id_of(client.post("/v1/batches", json=work))


def submit_stubbornly(client: httpx.Client, job: JobPlan, webhook_url: str, seconds: float = 60.0) -> str:
    """Hand a job in inline while an earlier fault may still show: again until it is taken, which by its
    Idempotency-Key happens once."""
    requests = [request_of(job, n) for n in range(job.items)]
    work = {"endpoint": ENDPOINT, "priority": job.priority, "requests": requests, "webhook_url": webhook_url}
    deadline = time.monotonic() + seconds
    while True:
        try:
            return _id_of(client.post("/v1/jobs", json=work, headers={"Idempotency-Key": job.name}))
        except (httpx.HTTPError, AssertionError):
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)


def _id_of(reply: httpx.Response) -> str:
    assert reply.status_code == 200, reply.text
    return str(reply.json()["id"])


def read_job(client: httpx.Client, job_id: str) -> dict[str, Any]:
    """A job of either view, as `/v1/jobs` tells it."""
    reply = client.get(f"/v1/jobs/{job_id}")
    assert reply.status_code == 200, reply.text
    state: dict[str, Any] = reply.json()
    return state


def wait_for_ends(client: httpx.Client, job_ids: list[str], seconds: float) -> list[str]:
    """Those that have not ended when the time is up."""
    deadline = time.monotonic() + seconds
    left = list(job_ids)
    while left and time.monotonic() < deadline:
        try:
            left = [job_id for job_id in left if read_job(client, job_id)["status"] not in ENDED]
        except (httpx.HTTPError, AssertionError):  # the last fault may still show
            if time.monotonic() > deadline - 1:
                raise
        time.sleep(0.1)
    return left


def read_lines(client: httpx.Client, file_id: str | None) -> list[dict[str, Any]]:
    if file_id is None:
        return []
    reply = client.get(f"/v1/files/{file_id}/content")
    assert reply.status_code == 200, reply.text
    return [json.loads(line) for line in reply.text.splitlines()]
