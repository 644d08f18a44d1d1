"""`/v1/batches`: OpenAI's view of a job with many items."""

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from api.deps import InReader, InServices, InSubmitter
from api.job_store import BATCHES, batch_objects, cancel_job, find_job, page_of_jobs
from api.openapi import describes
from api.paging import After
from api.schemas.batches import BatchObject
from api.schemas.lists import page_of
from api.schemas.work import Work
from api.services import Services
from api.submission import submit_work
from api.wire import reply
from store.job_pages import JobFilter
from store.jobs import JobRow

router = APIRouter()


@router.post("/v1/batches", openapi_extra=describes(body=Work, reply=BatchObject))
async def create_batch(request: Request, services: InServices, caller: InSubmitter) -> Response:
    """Accept a batch; it is validated next, line by line."""
    submitted = await submit_work(request, services, caller, "batch")
    return await _batch(services, await find_job(services, caller, f"batch_{submitted.suffix}", "batch"))


@router.get("/v1/batches", openapi_extra=describes(page_of=BatchObject))
async def list_batches(
    services: InServices,
    caller: InReader,
    after: After = None,
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
) -> Response:
    wanted = JobFilter(views=BATCHES)
    rows, has_more = await page_of_jobs(services, caller, wanted, door="batch", after=after, limit=limit)
    return reply(page_of(await batch_objects(services, *rows), has_more=has_more))


@router.get("/v1/batches/{batch_id}", openapi_extra=describes(reply=BatchObject))
async def retrieve_batch(batch_id: str, services: InServices, caller: InReader) -> Response:
    return await _batch(services, await find_job(services, caller, batch_id, "batch"))


@router.post("/v1/batches/{batch_id}/cancel", openapi_extra=describes(reply=BatchObject))
async def cancel_batch(batch_id: str, services: InServices, caller: InSubmitter) -> Response:
    return await _batch(services, await cancel_job(services, caller, batch_id, "batch"))


async def _batch(services: Services, row: JobRow) -> Response:
    return reply((await batch_objects(services, row))[0])
