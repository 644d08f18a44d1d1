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


class Patience:
    """Looks at things of a service that may be away for a moment."""

    def __init__(self, client: Client, meter: Meter) -> None:
        self._client = client
        self._meter = meter
        self._away_since: float | None = None

    def get(self, path: str) -> Object | None:
        """None while the service is away, of which the meter is told.

        Raises `ServiceUnreachable` once that has lasted a minute, `ServiceRefused`.
        """
        try:
            found = self._client.get(path)
        except ServiceUnreachable:
            self._away_since = self._away_since or time.monotonic()
            if time.monotonic() - self._away_since > PATIENCE_SECONDS:
                raise
            self._meter.update(0, note="the service is away; waiting for it")
            return None
        self._away_since = None
        return found


def wait_for(client: Client, job_id: str, meter: Meter, *, label: str = "computing") -> Object:
    """Poll until the job has ended; returns it as it is then.

    Raises `ServiceUnreachable` when the service is away for a minute, `ServiceRefused` for an unknown id.
    """
    path = f"/v1/{view_of(job_id)}/{job_id}"
    pause, patience = FIRST_POLL_SECONDS, Patience(client, meter)
    meter.stage(label, "items")
    while True:
        job = patience.get(path)
        if job is not None:
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
    note = note_of(job)
    if done == total and note:
        done, total = 0, None
    meter.update(done, total or None, note=note)


def note_of(job: Object) -> str | None:
    """What a job does or waits for, in words; None where its counts say it."""
    note: str | None = job.get("note") or WORDS.get(job["status"])
    if before := job.get("queue_position"):
        note = f"{note}, {counted(before, 'job')} before it"
    return note
