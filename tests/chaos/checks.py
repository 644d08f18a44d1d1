"""What must hold after a run, whatever happened in it. Each check gives its violations as sentences."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import psycopg
from standardwebhooks import Webhook, WebhookVerificationError

from backends.echo import EchoBackend
from backends.types import Part
from configs.models import ModelSpec
from tests.backends.listed_feed import answers, part, run, vectors
from tests.chaos.plan import JobPlan
from tests.chaos.receiver import Received
from tests.chaos.submitting import read_job, read_lines

_COUNTS = """
SELECT items, parts, done, failed,
       (SELECT count(*) FROM result WHERE job_id = job.id),
       (SELECT count(DISTINCT n) FROM result WHERE job_id = job.id),
       (SELECT count(*) FROM result WHERE job_id = job.id AND status <> 200),
       (SELECT count(DISTINCT custom_id) FROM item WHERE job_id = job.id)
FROM job JOIN job_progress ON job_id = job.id WHERE suffix = %s
"""
_LEFT_RUNNING = """
SELECT count(*) FROM chunk JOIN job ON job.id = job_id
WHERE chunk.state = 'running' AND (chunk.lease_until < now() OR job.ended_at IS NOT NULL)
"""
_EVENTS = "SELECT id, type, payload FROM webhook_event WHERE job_id = (SELECT id FROM job WHERE suffix = %s)"
_UNDELIVERED = "SELECT event_id, state, tries, error FROM delivery WHERE state <> 'delivered'"


def check_job(client: httpx.Client, conn: psycopg.Connection, job: JobPlan, job_id: str) -> Iterator[str]:
    """Items = results + errors, each once, with the right content; errors = the planted ones; the counts
    are those of the table."""
    state = read_job(client, job_id)
    if state["status"] != "completed":
        yield f"{job.name} is {state['status']} with errors {state['errors']}"
        return
    output = read_lines(client, state["output_file_id"])
    errors = read_lines(client, state["error_file_id"])
    seen = Counter(line["custom_id"] for line in [*output, *errors])
    if seen != Counter(f"{job.name}-{n}" for n in range(job.items)):
        twice = [name for name, count in seen.items() if count > 1]
        yield f"{job.name}: {len(seen)} of {job.items} custom_ids in its files, twice: {twice[:5]}"
    found = {line["custom_id"]: _code_of(line) for line in errors}
    wanted = {f"{job.name}-{n}": code for n, code in job.poison.items()}
    if found != wanted:
        yield f"{job.name}: errors are {found}, planted were {wanted}"
    yield from _check_vectors(job, output)
    done, failed = job.items, len(job.poison)
    row = conn.execute(_COUNTS, (job_id.partition("_")[2],)).fetchone()
    if row != (done, done, done, failed, done, done, failed, done):
        yield f"{job.name}: counts are {row} for {done} items with {failed} planted errors"
    if state["request_counts"] != {"total": done, "completed": done - failed, "failed": failed}:
        yield f"{job.name}: request_counts are {state['request_counts']}"


def _code_of(line: dict[str, Any]) -> str:
    error = line["error"] or line["response"]["body"]["error"]
    return str(error["code"])


def _check_vectors(job: JobPlan, output: list[dict[str, Any]]) -> Iterator[str]:
    """Every result is that of its own item."""
    backend = EchoBackend.load(ModelSpec(name="m", family="echo"), Path(), 1)
    parts: list[Part] = [part(n + 1, input=job.text(n)) for n in range(job.items)]
    expected = {key: vectors(answer)[0] for key, answer in answers(run(backend, parts)).items()}
    for line in output:
        got = line["response"]["body"]["data"][0]["embedding"]
        if not np.allclose(got, expected[int(line["custom_id"].rpartition("-")[2]) + 1], atol=1e-5):
            yield f"{line['custom_id']} has the result of another item"
            return


def check_rest(conn: psycopg.Connection) -> Iterator[str]:
    """Nothing is left running with an expired lease, or of a job that has ended."""
    row = conn.execute(_LEFT_RUNNING).fetchone()
    if row != (0,):
        yield f"{row} chunks are left running"


def check_webhooks(
    conn: psycopg.Connection, job_ids: list[str], got: dict[str, list[Received]], secrets: list[str]
) -> Iterator[str]:
    """One event per job, delivered at least once, with one body per id and a signature that verifies."""
    for job_id in job_ids:
        prefix, _, suffix = job_id.partition("_")
        events = conn.execute(_EVENTS, (suffix,)).fetchall()
        if [type_ for _, type_, _ in events] != [f"{prefix}.completed"]:
            yield f"{job_id} has the events {events}"
            continue
        event_id, _, payload = events[0]
        bodies = {received.body for received in got.get(event_id, [])}
        if bodies != {payload.encode()}:
            yield f"event {event_id} was received with the bodies {bodies}, it is {payload}"
        for received in got.get(event_id, []):
            if not any(_verifies(secret, received) for secret in secrets):
                yield f"an attempt of event {event_id} has a signature that does not verify"
    for row in conn.execute(_UNDELIVERED).fetchall():
        yield f"a delivery is not delivered: {row}"


def _verifies(secret: str, received: Received) -> bool:
    try:
        Webhook(secret).verify(received.body, received.headers)
    except WebhookVerificationError:
        return False
    return True
