"""Jobs on the wire: ours, and what batches share with them."""

from typing import Annotated, Any, Literal

import msgspec

from api.schemas.expiry import ExpiresAfter
from api.schemas.inline import InlineRequest
from api.schemas.times import unix
from store.jobs import Counts, JobRow

Metadata = Annotated[
    dict[Annotated[str, msgspec.Meta(max_length=64)], Annotated[str, msgspec.Meta(max_length=512)]],
    msgspec.Meta(max_length=16),
]
Window = Annotated[str, msgspec.Meta(pattern="^[1-9][0-9]{0,4}[mhd]$")]  # OpenAI knows 24h only


class Work(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """What is to be done: one endpoint, and requests in a file or inline.

    `model` stands in where lines name none. A batch takes 24 hours unless told otherwise, a job any time.
    """

    endpoint: str
    input_file_id: str | None = None
    requests: list[InlineRequest] | None = None
    model: str | None = None
    completion_window: Window | None = None
    priority: Annotated[int, msgspec.Meta(ge=-100, le=100)] = 0
    metadata: Metadata | None = None
    output_expires_after: ExpiresAfter | None = None


def seconds_of(window: str) -> float:
    """`24h` → 86,400; minutes, hours or days."""
    return float(window[:-1]) * {"m": 60, "h": 3600, "d": 86_400}[window[-1]]


class RequestCounts(msgspec.Struct, kw_only=True):
    total: int
    completed: int
    failed: int


class JobObject(msgspec.Struct, kw_only=True):
    """A job in its own words; `note` says in a sentence why it waits."""

    id: str
    object: Literal["job"] = "job"
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
    input_file_id: str | None
    output_file_id: str | None
    error_file_id: str | None
    errors: dict[str, Any] | None
    priority: int
    request_counts: RequestCounts
    units: int
    metadata: dict[str, Any] | None


def job_object(row: JobRow, counts: Counts) -> JobObject:
    return JobObject(
        id=f"job_{row.suffix}",
        endpoint=row.endpoint,
        model=row.model or None,
        status=row.state,
        note=row.note,
        created_at=unix(row.created_at),
        started_at=unix(row.started_at),
        finalizing_at=unix(row.finalizing_at),
        cancelling_at=unix(row.cancelling_at),
        ended_at=unix(row.ended_at),
        expires_at=unix(row.deadline),
        input_file_id=row.input_file_id,
        output_file_id=row.output_file_id,
        error_file_id=row.error_file_id,
        errors=row.errors,
        priority=row.priority,
        request_counts=counts_object(counts),
        units=row.units,
        metadata=row.meta,
    )


def counts_object(counts: Counts) -> RequestCounts:
    return RequestCounts(total=counts.total, completed=counts.completed, failed=counts.failed)
