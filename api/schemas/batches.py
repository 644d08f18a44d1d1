"""Batches on the wire (OpenAI's batch object): a view of a job."""

from typing import Any, Literal

import msgspec

from api.schemas.jobs import RequestCounts, request_counts
from api.schemas.times import unix
from backends.transcription import ENDPOINTS
from store.counts import Counts
from store.jobs import JobRow
from store.states import JobState

# OpenAI has no word for a job that waits for a slot: to its clients it is in progress.
STATUS = {
    JobState.VALIDATING: "validating",
    JobState.QUEUED: "in_progress",
    JobState.RUNNING: "in_progress",
    JobState.FINALIZING: "finalizing",
    JobState.CANCELLING: "cancelling",
    JobState.COMPLETED: "completed",
    JobState.FAILED: "failed",
    JobState.CANCELLED: "cancelled",
    JobState.EXPIRED: "expired",
}


class BatchUsage(msgspec.Struct, kw_only=True):
    input_tokens: int
    input_tokens_details: dict[str, int]
    output_tokens: int
    output_tokens_details: dict[str, int]
    total_tokens: int


class BatchObject(msgspec.Struct, kw_only=True):
    id: str
    object: Literal["batch"] = "batch"
    endpoint: str
    model: str | None
    errors: dict[str, Any] | None
    input_file_id: str | None
    completion_window: str
    status: str
    output_file_id: str | None
    error_file_id: str | None
    created_at: int
    in_progress_at: int | None
    expires_at: int | None
    finalizing_at: int | None
    completed_at: int | None
    failed_at: int | None
    expired_at: int | None
    cancelling_at: int | None
    cancelled_at: int | None
    request_counts: RequestCounts
    usage: BatchUsage
    metadata: dict[str, Any] | None


def batch_object(row: JobRow, counts: Counts) -> BatchObject:
    ended = {JobState(row.state): unix(row.ended_at)}
    return BatchObject(
        id=f"batch_{row.suffix}",
        endpoint=row.endpoint,
        model=row.model or None,
        errors=row.errors,
        input_file_id=row.input_file_id,
        completion_window=row.completion_window or "24h",
        status=STATUS[JobState(row.state)],
        output_file_id=row.output_file_id,
        error_file_id=row.error_file_id,
        created_at=unix(row.created_at),
        in_progress_at=unix(row.started_at),
        expires_at=unix(row.deadline),
        finalizing_at=unix(row.finalizing_at),
        completed_at=ended.get(JobState.COMPLETED),
        failed_at=ended.get(JobState.FAILED),
        expired_at=ended.get(JobState.EXPIRED),
        cancelling_at=unix(row.cancelling_at),
        cancelled_at=ended.get(JobState.CANCELLED),
        request_counts=request_counts(counts),
        usage=_usage(0 if row.endpoint in ENDPOINTS else row.units),
        metadata=row.meta,
    )


def _usage(tokens: int) -> BatchUsage:
    """Embedding batches read tokens and write none; recordings are not measured in tokens."""
    return BatchUsage(
        input_tokens=tokens,
        input_tokens_details={"cached_tokens": 0},
        output_tokens=0,
        output_tokens_details={"reasoning_tokens": 0},
        total_tokens=tokens,
    )
