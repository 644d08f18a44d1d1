"""Jobs of many items as they are handed in: checked as far as that goes without reading the file, and
submitted once."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Literal

import msgspec
from fastapi import Request

from api.errors import ApiError
from api.file_store import file_not_found, find_file, store_requests
from api.idempotency import Identity, identity_of, submit_once
from api.moments import parse_moment
from api.schemas.inline import InlineRequest, check_requests
from api.schemas.work import Work, seconds_of
from api.services import Services
from api.webhook_urls import checked_webhook_url
from api.wire import LARGE_BYTES, decode, read_body
from backends.registry import FAMILIES
from configs.windows import parse_window
from store.files import FileRow
from tasks.submit import Caller, FileJob, Submitted

Door = Literal["job", "batch"]

PURPOSES: dict[Door, tuple[str, ...]] = {"batch": ("batch",), "job": ("batch", "user_data")}
DEFAULT_WINDOW: dict[Door, str | None] = {"batch": "24h", "job": None}
ENDPOINTS = sorted({endpoint for family in FAMILIES.values() for endpoint in family.endpoints})
BLOCK_BYTES = 1024**2


async def submit_work(request: Request, services: Services, caller: Caller, door: Door) -> Submitted:
    """Read a request of `/v1/jobs` or `/v1/batches` and submit what it asks for, or find the job that an
    earlier one like it made.

    What is wrong with a line of a file shows later, in the job's `errors`; what is wrong with the request
    raises `ApiError`.
    """
    body = await read_body(request, services.settings.max_body_bytes)

    def read() -> tuple[Work, Identity]:
        return decode(body, Work), identity_of(request, body)

    work, identity = read() if len(body) < LARGE_BYTES else await asyncio.to_thread(read)

    async def submit() -> Submitted:
        return await _submit(services, caller, work, door, identity)

    return await submit_once(services, caller, identity, submit)


async def _submit(
    services: Services, caller: Caller, work: Work, door: Door, identity: Identity
) -> Submitted:
    _check_endpoint(work.endpoint)
    if work.model is not None:
        services.models.find(work.model, work.endpoint)
    window = DEFAULT_WINDOW[door] if work.completion_window is None else work.completion_window
    seconds = seconds_of(window) if window is not None else None
    not_before = _not_before(work, seconds)
    _check_window(work)
    webhook_url = await checked_webhook_url(services, work.webhook_url, work.metadata)
    requests = _requests(work)
    if requests is None:
        file = await _input_file(services, caller, work, door)
        lines = await asyncio.to_thread(_count_lines, _path_of(services, file))
    else:
        await asyncio.to_thread(check_requests, requests, work.endpoint)
        lines = len(requests)
    async with services.limits.room(caller, lines):
        if requests is not None:
            file = await store_requests(services, caller, requests, work.endpoint)
        job = FileJob(
            view=door,
            endpoint=work.endpoint,
            input_file_id=file.id,
            lines=lines,
            model=work.model,
            completion_window=window,
            deadline_seconds=seconds,
            not_before=not_before,
            run_window=work.window,
            timezone=work.timezone,
            webhook_url=webhook_url,
            priority=work.priority,
            output_expires_seconds=work.output_expires_after.seconds if work.output_expires_after else None,
            metadata=work.metadata,
            idempotency_key=identity.key,
            fingerprint=identity.fingerprint,
        )
        return await services.submitter.from_file(job, caller)


def _requests(work: Work) -> Sequence[InlineRequest] | None:
    """The requests that came with the call; None: they are in a file. Raises `ApiError` unless one way of
    giving them was taken."""
    body = None if work.body is msgspec.UNSET else work.body
    if [work.input_file_id, work.requests, body].count(None) != 2:
        message = "Give one of 'input_file_id', 'requests' and 'body'."
        raise ApiError("missing_required_parameter", message, param="input_file_id")
    return work.requests if body is None else [InlineRequest(body=body)]


async def _input_file(services: Services, caller: Caller, work: Work, door: Door) -> FileRow:
    assert work.input_file_id is not None
    file = await find_file(services, caller, work.input_file_id, param="input_file_id")
    if file.purpose not in PURPOSES[door]:
        message = f"The file's purpose is '{file.purpose}'; a {door} takes {' or '.join(PURPOSES[door])}."
        raise ApiError("invalid_purpose", message, param="input_file_id")
    return file


def _path_of(services: Services, file: FileRow) -> Path:
    """Raises `ApiError` (file_not_found) where the bytes are gone."""
    path = services.blobs.path(file.blob) if file.blob is not None else None
    if path is None or not path.is_file():
        raise file_not_found(file.id, "input_file_id")
    return path


def _count_lines(path: Path) -> int:
    """How many items a file has, near enough for limits: blank lines count. 512 MB take about 0.2 s."""
    lines, last = 0, b"\n"
    with path.open("rb") as file:
        while block := file.read(BLOCK_BYTES):
            lines += block.count(b"\n")
            last = block[-1:]
    return lines + (last != b"\n")


def _check_endpoint(endpoint: str) -> None:
    if endpoint not in ENDPOINTS:
        message = f"Invalid endpoint '{endpoint[:80]}'; it must be one of {', '.join(ENDPOINTS)}."
        raise ApiError("invalid_value", message, param="endpoint")


def _check_window(work: Work) -> None:
    if work.window is None:
        if work.timezone is not None:
            message = "A 'timezone' says nothing without a 'window', such as 22:00-06:00."
            raise ApiError("missing_required_parameter", message, param="window")
        return
    if work.timezone is None:
        message = "A 'window' needs a 'timezone', such as Europe/Berlin."
        raise ApiError("missing_required_parameter", message, param="timezone")
    try:
        parse_window(work.window, work.timezone)
    except ValueError as error:
        param = "timezone" if "timezone" in str(error) else "window"
        raise ApiError("invalid_value", f"Invalid '{param}': {error}.", param=param) from None


def _not_before(work: Work, deadline_seconds: float | None) -> datetime | None:
    if work.not_before is None:
        return None
    moment = parse_moment(work.not_before, "not_before")
    if deadline_seconds is not None and moment >= datetime.now(UTC) + timedelta(seconds=deadline_seconds):
        message = "Invalid 'not_before': the completion_window ends before it."
        raise ApiError("invalid_value", message, param="not_before")
    return moment
