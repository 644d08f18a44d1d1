"""Jobs as the routes handle them, whatever their view: submitted, found, counted, cancelled."""

from typing import Literal, NamedTuple

from api.errors import NO_RETRY, ApiError
from api.file_store import find_file, store_requests
from api.schemas.jobs import Work, seconds_of
from api.services import Services
from backends.registry import FAMILIES
from store import jobs
from store.db import borrow
from store.files import FileRow
from store.ids import public_id, suffix_of
from store.jobs import Counts, JobRow
from store.states import FINAL_JOB_STATES, JobState
from tasks.submit import Caller, FileJob

View = Literal["job", "batch"]

PURPOSES: dict[View, tuple[str, ...]] = {"batch": ("batch",), "job": ("batch", "user_data")}
NOT_FOUND: dict[View, str] = {"batch": "batch_not_found", "job": "job_not_found"}
DEFAULT_WINDOW: dict[View, str | None] = {"batch": "24h", "job": None}
ENDPOINTS = sorted({endpoint for family in FAMILIES.values() for endpoint in family.endpoints})


class Counted(NamedTuple):
    job: JobRow
    counts: Counts


async def submit(services: Services, caller: Caller, work: Work, view: View) -> Counted:
    """Submit the lines of a file, or inline requests as one. What is wrong with a line shows later, in the
    job's `errors`; what is wrong with the request as such raises `ApiError`."""
    _check_endpoint(work.endpoint)
    if work.model is not None:
        services.models.find(work.model, work.endpoint)
    file = await _input_file(services, caller, work, view)
    window = work.completion_window or DEFAULT_WINDOW[view]
    submitted = await services.submitter.from_file(
        FileJob(
            view=view,
            endpoint=work.endpoint,
            input_file_id=file.id,
            model=work.model,
            completion_window=window,
            deadline_seconds=seconds_of(window) if window is not None else None,
            priority=work.priority,
            output_expires_seconds=work.output_expires_after.seconds if work.output_expires_after else None,
            metadata=work.metadata,
        ),
        caller,
    )
    return await find_job(services, caller, public_id(view, submitted.suffix), view)


async def find_job(services: Services, caller: Caller, job_id: str, view: View) -> Counted:
    """The job of a public id. `view` 'job' takes any job's id, under any of its prefixes.

    Raises `ApiError` (job_not_found, batch_not_found).
    """
    suffix = suffix_of(view, job_id)
    if suffix is None and view == "job":
        suffix = suffix_of("batch", job_id)
    async with borrow(services.pool) as conn:
        wanted = None if view == "job" else view
        job = await jobs.find(conn, suffix, caller.project_id, view=wanted) if suffix else None
        if job is None:
            raise ApiError(NOT_FOUND[view], f"No such {view}: '{job_id[:64]}'.")
        return Counted(job, await jobs.counts(conn, job))


async def page_of_jobs(
    services: Services, caller: Caller, view: View, *, after: str | None, limit: int
) -> tuple[list[Counted], bool]:
    """One page, newest first, and whether more follow. `view` 'job' lists jobs of every view."""
    suffix = (await find_job(services, caller, after, view)).job.suffix if after is not None else None
    wanted = None if view == "job" else view
    async with borrow(services.pool) as conn:
        rows, has_more = await jobs.page(conn, caller.project_id, wanted, suffix, limit, "desc")
        return [Counted(row, await jobs.counts(conn, row)) for row in rows], has_more


async def cancel_job(services: Services, caller: Caller, job_id: str, view: View) -> Counted:
    """Ask for the end of a job; its finished items are kept. Doing it twice is no error.

    Raises `ApiError` (job_not_cancellable) for a job that has ended otherwise.
    """
    job = (await find_job(services, caller, job_id, view)).job
    async with borrow(services.pool) as conn:
        await jobs.request_cancel(conn, job.id)
    await services.signals.poke_dispatcher()
    now = await find_job(services, caller, job_id, view)
    if now.job.state in FINAL_JOB_STATES and now.job.state != JobState.CANCELLED:
        message = f"The {view} has ended: it is {now.job.state}."
        raise ApiError("job_not_cancellable", message, headers=NO_RETRY)
    return now


async def _input_file(services: Services, caller: Caller, work: Work, view: View) -> FileRow:
    if (work.input_file_id is None) == (work.requests is None):
        message = "Give either 'input_file_id' or 'requests'."
        raise ApiError("missing_required_parameter", message, param="input_file_id")
    if work.requests is not None:
        return await store_requests(services, caller, work.requests, work.endpoint)
    assert work.input_file_id is not None
    file = await find_file(services, caller, work.input_file_id, param="input_file_id")
    if file.purpose not in PURPOSES[view]:
        message = f"The file's purpose is '{file.purpose}'; a {view} takes {' or '.join(PURPOSES[view])}."
        raise ApiError("invalid_purpose", message, param="input_file_id")
    return file


def _check_endpoint(endpoint: str) -> None:
    if endpoint not in ENDPOINTS:
        message = f"Invalid endpoint '{endpoint[:80]}'; it must be one of {', '.join(ENDPOINTS)}."
        raise ApiError("invalid_value", message, param="endpoint")
