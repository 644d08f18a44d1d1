"""Waiting for a job or a batch: polls, shows progress, bears a service that is away for a moment."""

import time
from typing import Literal

from cli.client import Client, Object, ServiceUnreachable
from cli.exit_codes import ExitCode
from cli.progress import Meter, counted

FINAL = frozenset({"completed", "failed", "cancelled", "expired"})
PATIENCE_SECONDS = 60.0  # a service that restarts is back long before
FIRST_POLL_SECONDS, LAST_POLL_SECONDS = 0.1, 1.0

WORDS = {
    "validating": "checking the input",
    "queued": "waiting for a slot",
    "finalizing": "settling the counts",
    "cancelling": "ending what is in flight",
}

View = Literal["jobs", "batches"]


def view_of(job_id: str) -> View:
    """Ids tell which view they belong to."""
    return "batches" if job_id.startswith("batch_") else "jobs"


def wait_for(client: Client, job_id: str, meter: Meter, *, label: str = "computing") -> Object:
    """Poll until the job has ended; returns it as it is then.

    Raises `ServiceUnreachable` when the service is away for a minute, `ServiceRefused` for an unknown id.
    """
    path = f"/v1/{view_of(job_id)}/{job_id}"
    pause, away_since = FIRST_POLL_SECONDS, None
    meter.stage(label, "items")
    while True:
        try:
            job = client.get(path)
        except ServiceUnreachable:
            away_since = away_since or time.monotonic()
            if time.monotonic() - away_since > PATIENCE_SECONDS:
                raise
            meter.update(0, note="the service is away; waiting for it")
        else:
            away_since = None
            if job["status"] in FINAL:
                return job
            _show(job, meter)
        time.sleep(pause)
        pause = min(pause * 1.5, LAST_POLL_SECONDS)


def outcome(job: Object) -> ExitCode:
    """The exit code for a job that has ended: OK only when every item has succeeded."""
    counts = job["request_counts"]
    if job["status"] == "failed":
        return ExitCode.FAILED
    whole = job["status"] == "completed" and counts["completed"] == counts["total"]
    return ExitCode.OK if whole else ExitCode.INCOMPLETE


def complaints(job: Object, most: int = 10) -> list[str]:
    """What is wrong with a job that failed, one line each, with the line of its input where it has one."""
    found = (job.get("errors") or {}).get("data") or []
    lines = [_complaint(error) for error in found[:most]]
    if len(found) > most:
        lines.append(f"and {len(found) - most} more")
    return lines


def _complaint(error: Object) -> str:
    place = f"line {error['line']}: " if error.get("line") else ""
    return f"{place}{error['message']}"


def _show(job: Object, meter: Meter) -> None:
    """Counts once there are any, and the words of a state that counts nothing."""
    counts = job["request_counts"]
    done, total = counts["completed"] + counts["failed"], counts["total"]
    note = job.get("note") or WORDS.get(job["status"])
    if before := job.get("queue_position"):
        note = f"{note}, {counted(before, 'job')} before it"
    if done == total and note:
        done, total = 0, None
    meter.update(done, total or None, note=note)
