"""`/v1/jobs`: our own view of all that is submitted. A job has no deadline unless one is asked for."""

from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request, Response

from api.deps import InReader, InServices, InSubmitter
from api.job_filters import JobQuery
from api.job_store import (
    cancel_job,
    delete_job,
    find_job,
    job_object_of,
    job_objects,
    page_of_jobs,
    retry_job,
)
from api.openapi import describes
from api.paging import After, Order
from api.schemas.jobs import DeletedJob, JobObject
from api.schemas.lists import page_of
from api.schemas.work import Work
from api.submission import submit_work
from api.wire import reply

router = APIRouter()


@router.post("/v1/jobs", openapi_extra=describes(body=Work, reply=JobObject))
async def create_job(request: Request, services: InServices, caller: InSubmitter) -> Response:
    submitted = await submit_work(request, services, caller, "job")
    return reply(await job_object_of(services, caller, f"job_{submitted.suffix}"))


@router.get("/v1/jobs", openapi_extra=describes(page_of=JobObject))
async def list_jobs(
    services: InServices,
    caller: InReader,
    query: Annotated[JobQuery, Depends()],
    retry_of: Annotated[str | None, Query(max_length=64)] = None,
    after: After = None,
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
    order: Order = "desc",
) -> Response:
    first = await find_job(services, caller, retry_of) if retry_of is not None else None
    wanted = query.filter(first.id if first is not None else None)
    rows, has_more = await page_of_jobs(
        services, caller, wanted, door="job", after=after, limit=limit, order=order
    )
    return reply(page_of(await job_objects(services, *rows), has_more=has_more))


@router.get("/v1/jobs/{job_id}", openapi_extra=describes(reply=JobObject))
async def retrieve_job(job_id: str, services: InServices, caller: InReader) -> Response:
    return reply(await job_object_of(services, caller, job_id))


@router.post("/v1/jobs/{job_id}/cancel", openapi_extra=describes(reply=JobObject))
async def cancel(job_id: str, services: InServices, caller: InSubmitter) -> Response:
    row = await cancel_job(services, caller, job_id, "job")
    return reply((await job_objects(services, row))[0])


@router.post("/v1/jobs/{job_id}/retry", openapi_extra=describes(reply=JobObject))
async def retry(job_id: str, services: InServices, caller: InSubmitter) -> Response:
    """A new job of what an ended one left undone."""
    row = await retry_job(services, caller, job_id)
    return reply((await job_objects(services, row))[0])


@router.delete("/v1/jobs/{job_id}", openapi_extra=describes(reply=DeletedJob))
async def delete(job_id: str, services: InServices, caller: InSubmitter) -> Response:
    row = await delete_job(services, caller, job_id)
    return reply(DeletedJob(id=f"job_{row.suffix}"))
