"""Jobs on the wire: a job in its own words."""

from typing import Any, Literal

import msgspec

from api.schemas.times import unix
from backends.transcription import ENDPOINTS
from store.counts import Counts
from store.jobs import JobRow
from store.queue import Standing
from store.states import JobState


class RequestCounts(msgspec.Struct, kw_only=True):
    """OpenAI's counts: items in all, with a result, with an error."""

    total: int
    completed: int
    failed: int


class ItemCounts(msgspec.Struct, kw_only=True):
    """Items by state."""

    pending: int
    running: int
    succeeded: int
    errored: int
    cancelled: int
    expired: int


class Outlook(msgspec.Struct, kw_only=True):
    """What is to be expected of a job; None is not known. `rate`: items per second, as measured lately."""

    rate: float | None = None
    queue_position: int | None = None
    eta: int | None = None


class AudioProgress(msgspec.Struct, kw_only=True):
    """Seconds of recordings: that are heard, and that are known of. The length of a recording is known once
    it has been opened."""

    done_seconds: float
    known_seconds: float


class JobObject(msgspec.Struct, kw_only=True):
    """`status` is its state, `note` says in a sentence why it waits, `kind` by which door it came in."""

    id: str
    object: Literal["job"] = "job"
    kind: str
    endpoint: str
    model: str | None
    status: str
    note: str | None
    created_at: int
    started_at: int | None
    finalizing_at: int | None
    cancelling_at: int | None
    ended_at: int | None
    expires_at: int | None
    completion_window: str | None
    not_before: int | None
    window: str | None
    timezone: str | None
    input_file_id: str | None
    output_file_id: str | None
    error_file_id: str | None
    errors: dict[str, Any] | None
    priority: int
    counts: ItemCounts
    request_counts: RequestCounts
    audio: AudioProgress | None
    rate: float | None
    queue_position: int | None
    eta: int | None
    attempts: int
    retry_of: str | None
    retries: list[str]
    webhook_url: str | None
    units: int
    metadata: dict[str, Any] | None


class DeletedJob(msgspec.Struct, kw_only=True):
    id: str
    object: Literal["job"] = "job"
    deleted: bool = True


def job_object(
    row: JobRow, counts: Counts, standing: Standing, outlook: Outlook, under_way: int
) -> JobObject:
    """`under_way`: units of unfinished parts."""
    return JobObject(
        id=f"job_{row.suffix}",
        kind=row.view,
        endpoint=row.endpoint,
        model=row.model or None,
        status=row.state,
        note=_why_it_waits(row),
        created_at=unix(row.created_at),
        started_at=unix(row.started_at),
        finalizing_at=unix(row.finalizing_at),
        cancelling_at=unix(row.cancelling_at),
        ended_at=unix(row.ended_at),
        expires_at=unix(row.deadline),
        completion_window=row.completion_window,
        not_before=unix(row.not_before),
        window=row.run_window,
        timezone=row.timezone,
        input_file_id=row.input_file_id,
        output_file_id=row.output_file_id,
        error_file_id=row.error_file_id,
        errors=row.errors,
        priority=row.priority,
        counts=item_counts(counts),
        request_counts=request_counts(counts),
        audio=audio_progress(row.endpoint, row.units, row.foreseen, under_way),
        rate=outlook.rate,
        queue_position=outlook.queue_position,
        eta=outlook.eta,
        attempts=standing.attempts,
        retry_of=None if standing.retry_of is None else f"job_{standing.retry_of}",
        retries=[f"job_{suffix}" for suffix in standing.retries],
        webhook_url=row.webhook_url,
        units=row.units,
        metadata=row.meta,
    )


def _why_it_waits(row: JobRow) -> str | None:
    """The note that somebody has left on the job; else whether it is too early for it."""
    if row.note is None and row.state is JobState.QUEUED and not row.ready and row.not_before is not None:
        return f"waits until {row.not_before.isoformat(timespec='seconds')}"
    return row.note


def item_counts(counts: Counts) -> ItemCounts:
    return ItemCounts(
        pending=counts.pending,
        running=counts.running,
        succeeded=counts.succeeded,
        errored=counts.errored,
        cancelled=counts.cancelled,
        expired=counts.expired,
    )


def request_counts(counts: Counts) -> RequestCounts:
    return RequestCounts(total=counts.total, completed=counts.succeeded, failed=counts.errored)


def audio_progress(endpoint: str, units: int, foreseen: int, under_way: int) -> AudioProgress | None:
    """Of a job about recordings, whose units are milliseconds; else None. What is under way was foreseen, but
    for recordings of a single part."""
    if endpoint not in ENDPOINTS:
        return None
    known = units + max(foreseen, under_way)
    return AudioProgress(done_seconds=(units + under_way) / 1000, known_seconds=known / 1000)
