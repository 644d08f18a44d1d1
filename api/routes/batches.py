"""`/v1/batches`: OpenAI's view of a job with many items."""

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from api.deps import InReader, InServices, InSubmitter
from api.job_store import cancel_job, find_job, page_of_jobs, submit
from api.paging import After
from api.schemas.batches import batch_object
from api.schemas.jobs import Work
from api.schemas.lists import page_of
from api.wire import read_json, reply

router = APIRouter()


@router.post("/v1/batches")
async def create_batch(request: Request, services: InServices, caller: InSubmitter) -> Response:
    """Accept a batch; it is validated next, line by line."""
    work = await read_json(request, services.settings.max_body_bytes, Work)
    return reply(batch_object(*await submit(services, caller, work, "batch")))


@router.get("/v1/batches")
async def list_batches(
    services: InServices,
    caller: InReader,
    after: After = None,
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
) -> Response:
    found, has_more = await page_of_jobs(services, caller, "batch", after=after, limit=limit)
    return reply(page_of([batch_object(*counted) for counted in found], has_more=has_more))


@router.get("/v1/batches/{batch_id}")
async def retrieve_batch(batch_id: str, services: InServices, caller: InReader) -> Response:
    return reply(batch_object(*await find_job(services, caller, batch_id, "batch")))


@router.post("/v1/batches/{batch_id}/cancel")
async def cancel_batch(batch_id: str, services: InServices, caller: InSubmitter) -> Response:
    return reply(batch_object(*await cancel_job(services, caller, batch_id, "batch")))
