"""`/v1/jobs`: our own view of all that is submitted. A job has no deadline unless one is asked for."""

from functools import partial
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from api.content import JSON_LINES, lines_response
from api.deps import InReader, InServices, InSubmitter
from api.job_store import cancel_job, find_job, page_of_jobs, submit
from api.paging import After
from api.schemas.jobs import Work, job_object
from api.schemas.lists import page_of
from api.wire import read_json, reply
from backends.embeddings import EncodingFormat
from tasks.render import render_results

router = APIRouter()


@router.post("/v1/jobs")
async def create_job(request: Request, services: InServices, caller: InSubmitter) -> Response:
    work = await read_json(request, services.settings.max_body_bytes, Work)
    return reply(job_object(*await submit(services, caller, work, "job")))


@router.get("/v1/jobs")
async def list_jobs(
    services: InServices,
    caller: InReader,
    after: After = None,
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
) -> Response:
    found, has_more = await page_of_jobs(services, caller, "job", after=after, limit=limit)
    return reply(page_of([job_object(*counted) for counted in found], has_more=has_more))


@router.get("/v1/jobs/{job_id}")
async def retrieve_job(job_id: str, services: InServices, caller: InReader) -> Response:
    return reply(job_object(*await find_job(services, caller, job_id, "job")))


@router.get("/v1/jobs/{job_id}/results")
async def retrieve_results(
    job_id: str,
    services: InServices,
    caller: InReader,
    after: Annotated[int, Query(ge=-1, description="number of the last item that you have")] = -1,
    encoding_format: EncodingFormat | None = None,
) -> Response:
    """The results that are there, errors among them, as JSON lines in order of items."""
    job = (await find_job(services, caller, job_id, "job")).job
    lines = partial(render_results, job=job, after=after, encoding_format=encoding_format)
    return await lines_response(services, lines, media_type=JSON_LINES)


@router.post("/v1/jobs/{job_id}/cancel")
async def cancel(job_id: str, services: InServices, caller: InSubmitter) -> Response:
    return reply(job_object(*await cancel_job(services, caller, job_id, "job")))
