"""Jobs as the routes handle them, whatever their view: found, listed, described, cancelled, repeated."""

from typing import Literal

from api.errors import NO_RETRY, ApiError
from api.outlook import outlooks
from api.schemas.batches import BatchObject, batch_object
from api.schemas.jobs import JobObject, job_object
from api.schemas.work import seconds_of
from api.services import Services
from api.submission import Door
from backends.transcription import ENDPOINTS
from store import counts, job_pages, jobs, queue, retirement, retries
from store.db import borrow
from store.ids import View, new_suffix, suffix_of_any
from store.job_pages import JobFilter
from store.jobs import JobRow
from store.states import FINAL_JOB_STATES, JobState
from tasks.submit import Caller

NOT_FOUND: dict[Door, str] = {"batch": "batch_not_found", "job": "job_not_found"}
BATCHES: tuple[View, ...] = ("batch", "job")  # views that are shown as batches


async def find_job(services: Services, caller: Caller, job_id: str, door: Door = "job") -> JobRow:
    """The job of a public id, under any of its prefixes. By the door `batch` awaited calls are not found.

    Raises `ApiError` (job_not_found, batch_not_found), `DatabaseUnavailable`.
    """
    suffix = suffix_of_any(job_id)
    async with borrow(services.pool) as conn:
        job = await jobs.find(conn, suffix, caller.project_id) if suffix else None
    if job is None or (door == "batch" and job.view not in BATCHES):
        raise ApiError(NOT_FOUND[door], f"No such {door}: '{job_id[:64]}'.")
    return job


async def page_of_jobs(
    services: Services,
    caller: Caller,
    wanted: JobFilter,
    *,
    door: Door,
    after: str | None,
    limit: int,
    order: Literal["asc", "desc"] = "desc",
) -> tuple[list[JobRow], bool]:
    """One page, and whether more follow. Raises `ApiError` for an `after` that is not there."""
    suffix = (await find_job(services, caller, after, door)).suffix if after is not None else None
    async with borrow(services.pool) as conn:
        return await job_pages.page(conn, caller.project_id, wanted, suffix, limit, order)


async def job_objects(services: Services, *rows: JobRow) -> list[JobObject]:
    """All that is to be said of each of these jobs."""
    async with borrow(services.pool) as conn:
        counted = await counts.counts(conn, rows)
        standings = await queue.standings(conn, rows)
        expected = await outlooks(conn, rows)
    heard = [row.id for row in rows if row.endpoint in ENDPOINTS and row.state not in FINAL_JOB_STATES]
    units = await services.following.streams.under_way(heard) if heard else []
    under_way = dict(zip(heard, units, strict=True))
    return [
        job_object(row, count, standings.get(row.id, queue.UNKNOWN), outlook, under_way.get(row.id, 0))
        for row, count, outlook in zip(rows, counted, expected, strict=True)
    ]


async def job_object_of(services: Services, caller: Caller, job_id: str) -> JobObject:
    """Raises `ApiError` (job_not_found), `DatabaseUnavailable`."""
    return (await job_objects(services, await find_job(services, caller, job_id)))[0]


async def batch_objects(services: Services, *rows: JobRow) -> list[BatchObject]:
    async with borrow(services.pool) as conn:
        counted = await counts.counts(conn, rows)
    return [batch_object(row, count) for row, count in zip(rows, counted, strict=True)]


async def cancel_job(services: Services, caller: Caller, job_id: str, door: Door) -> JobRow:
    """Ask for the end of a job; its finished items are kept. Doing it twice is no error.

    Raises `ApiError` (job_not_cancellable) for a job that has ended otherwise.
    """
    job = await find_job(services, caller, job_id, door)
    async with borrow(services.pool) as conn:
        await jobs.request_cancel(conn, job.id)
    await services.signals.poke_dispatcher()
    if job.family:  # slots that hold parts of it look at once
        await services.signals.poke(job.family)
    now = await find_job(services, caller, job_id, door)
    await services.following.streams.state(job.id, now.state)
    if now.state in FINAL_JOB_STATES and now.state != JobState.CANCELLED:
        message = f"The {door} has ended: it is {now.state}."
        raise ApiError("job_not_cancellable", message, headers=NO_RETRY)
    return now


async def retry_job(services: Services, caller: Caller, job_id: str) -> JobRow:
    """A new job of the items of an ended one that failed or never ran.

    Raises `ApiError` (job_not_ended, nothing_to_retry, too_many_queued_items, and where its model has gone).
    """
    job = _ended(await find_job(services, caller, job_id), "retried")
    async with borrow(services.pool) as conn:
        left = (await counts.counts(conn, [job]))[0]
    items = left.total - left.succeeded
    if items == 0:
        raise _nothing_to_retry()
    spec = services.models.find(job.model, job.endpoint)
    retry = retries.Retry(
        suffix=new_suffix(),
        key_id=caller.key_id,
        family=spec.family,
        model=spec.name,
        cores=spec.cores,
        priority=min(job.priority, caller.priority_cap),
        deadline_seconds=seconds_of(job.completion_window) if job.completion_window is not None else None,
    )
    async with services.limits.room(caller, items), borrow(services.pool) as conn:
        if await retries.insert(conn, job, retry) is None:
            raise _nothing_to_retry()
    await services.submitter.wake(spec.family)
    return await find_job(services, caller, f"job_{retry.suffix}")


async def delete_job(services: Services, caller: Caller, job_id: str) -> JobRow:
    """Delete a job that has ended, with its items, results and output files; what it was.

    Raises `ApiError` (job_not_ended).
    """
    job = _ended(await find_job(services, caller, job_id), "deleted")
    async with borrow(services.pool) as conn:
        await retirement.delete_job(conn, job.id, caller.project_id)
    return job


def _ended(job: JobRow, done: str) -> JobRow:
    if job.state not in FINAL_JOB_STATES:
        message = f"The job is {job.state}; it can be {done} once it has ended."
        raise ApiError("job_not_ended", message, headers=NO_RETRY)
    return job


def _nothing_to_retry() -> ApiError:
    message = "Every item of the job has succeeded, or it has none: there is nothing to retry."
    return ApiError("nothing_to_retry", message, headers=NO_RETRY)
