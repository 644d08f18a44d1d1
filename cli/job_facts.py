"""What the command line says of a job or a batch."""

from datetime import datetime

import typer

from cli.client import Object
from cli.progress import counted, duration
from cli.service import print_json
from cli.tables import print_table
from cli.watch import FINAL, complaints


def print_job(job: Object, *, as_json: bool) -> None:
    """A job or batch as JSON, or as one fact per line."""
    if as_json:
        print_json(job)
        return
    typer.echo(job["id"])
    for name, value in _facts(job).items():
        if value:
            typer.echo(f"  {name:<12} {value}")
    for line in complaints(job):
        typer.echo(f"  {line}")


def print_jobs(jobs: list[Object]) -> None:
    """A line for each."""
    rows = [
        (
            job["id"],
            job.get("kind"),
            job["status"],
            done_of(job),
            job["request_counts"]["failed"],
            job["request_counts"]["total"],
            job.get("model"),
            job["endpoint"],
            local_time(job["created_at"]),
        )
        for job in jobs
    ]
    head = ("job", "kind", "status", "done", "failed", "items", "model", "endpoint", "created")
    print_table(head, rows)


def done_of(job: Object) -> int:
    """Items with a result or an error."""
    counts = job["request_counts"]
    return int(counts["completed"] + counts["failed"])


def local_time(seconds: int | None) -> str | None:
    """Unix seconds as date, time and offset of this machine's zone."""
    if seconds is None:
        return None
    return datetime.fromtimestamp(seconds).astimezone().isoformat(sep=" ", timespec="seconds")


def _facts(job: Object) -> dict[str, str | None]:
    counts = job["request_counts"]
    window, rate, attempts = job.get("window"), job.get("rate"), job.get("attempts")
    return {
        "status": job["status"],
        "waiting for": job.get("note"),
        "model": job.get("model"),
        "endpoint": job["endpoint"],
        "items": f"{counts['total']:,}: {counts['completed']:,} succeeded, {counts['failed']:,} failed",
        "audio": _audio(job.get("audio")),
        "rate": f"{rate:,.1f} items/s" if rate else None,
        "position": _position(job.get("queue_position")),
        "done by": _eta(job),
        "window": f"{window} {job.get('timezone')}" if window else None,
        "not before": local_time(job.get("not_before")),
        "attempts": f"{attempts:,}" if attempts else None,
        "retry of": job.get("retry_of"),
        "retried as": ", ".join(job.get("retries") or ()),
        "webhook": job.get("webhook_url"),
        "input": job.get("input_file_id"),
        "output": job.get("output_file_id"),
        "errors": job.get("error_file_id"),
        **{
            name.removesuffix("_at"): local_time(value) for name, value in job.items() if name.endswith("_at")
        },
    }


def _audio(audio: Object | None) -> str | None:
    """How much of its recordings is heard."""
    if not audio or not audio["known_seconds"]:
        return None
    return f"{duration(audio['done_seconds'])} of {duration(audio['known_seconds'])} heard"


def _position(before: int | None) -> str | None:
    """How many jobs are before this one; 0 is the next."""
    if before is None:
        return None
    return f"{counted(before, 'job')} before it" if before else "next in the queue"


def _eta(job: Object) -> str | None:
    eta = job.get("eta")
    if eta is None or job["status"] in FINAL:
        return None
    left = eta - datetime.now().astimezone().timestamp()
    return f"{local_time(eta)}" + (f" (in {duration(left)})" if left > 0 else "")
