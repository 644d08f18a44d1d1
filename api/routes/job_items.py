"""`/v1/jobs/{id}/items`, `/results` and `/transcripts`: what has become of each request of a job."""

from functools import partial
from typing import Annotated

from fastapi import APIRouter, Depends, Query, Response

from api.content import JSON_LINES, lines_response
from api.deps import InReader, InServices
from api.errors import ApiError
from api.job_filters import Several, item_states_of
from api.job_store import find_job
from api.openapi import BINARY, TEXT, describes
from api.schemas.items import ItemObject, ItemPage, item_object
from api.transcript_formats import TranscriptQuery, formats_of
from api.wire import reply
from backends.embeddings import EncodingFormat
from backends.transcription import ENDPOINTS
from store import item_states
from store.db import borrow
from store.lines import MAX_CUSTOM_ID
from tasks.formats import Formats
from tasks.render import render_results
from tasks.transcript_bodies import ZIP
from tasks.transcript_zips import zip_of_job

MOST_ITEMS = 2**31 - 1  # numbers are Postgres integers
AfterItem = Query(ge=-1, le=MOST_ITEMS, description="number of the last item that you have")

router = APIRouter()


@router.get("/v1/jobs/{job_id}/items", openapi_extra=describes(reply=ItemPage))
async def list_items(
    job_id: str,
    services: InServices,
    caller: InReader,
    state: Several = None,
    after: Annotated[int, AfterItem] = -1,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
) -> Response:
    """Items in order of their numbers."""
    states = item_states_of(state)
    job = await find_job(services, caller, job_id)
    async with borrow(services.pool) as conn:
        rows, has_more = await item_states.page(conn, job, after=after, limit=limit, states=states)
    first, last = (rows[0].n, rows[-1].n) if rows else (None, None)
    data = [item_object(row, job) for row in rows]
    return reply(ItemPage(data=data, first_id=first, last_id=last, has_more=has_more))


@router.get("/v1/jobs/{job_id}/items/{custom_id:path}", openapi_extra=describes(reply=ItemObject))
async def retrieve_item(job_id: str, custom_id: str, services: InServices, caller: InReader) -> Response:
    job = await find_job(services, caller, job_id)
    row = None
    if len(custom_id) <= MAX_CUSTOM_ID and "\0" not in custom_id:
        async with borrow(services.pool) as conn:
            row = await item_states.find(conn, job, custom_id)
    if row is None:
        raise ApiError("item_not_found", f"The job has no item '{custom_id[:64]}'.")
    return reply(item_object(row, job))


@router.get("/v1/jobs/{job_id}/results", openapi_extra=describes(reply=TEXT, media=JSON_LINES))
async def retrieve_results(
    job_id: str,
    services: InServices,
    caller: InReader,
    query: Annotated[TranscriptQuery, Depends()],
    after: Annotated[int | None, AfterItem] = None,
    include_retries: bool = False,
    encoding_format: EncodingFormat | None = None,
    response_format: Annotated[str | None, Query(max_length=40)] = None,
) -> Response:
    """Results as JSON lines in order of items, errors among them: what is there by now, or with `after` as
    far as there is no gap. Formats are in place of those that the requests asked for."""
    one = formats_of([response_format], "response_format") if response_format is not None else ()
    wanted = Formats(
        encoding_format=encoding_format,
        transcripts=formats_of(query.formats) or one,
        captions=query.captions,
    )
    job = await find_job(services, caller, job_id)
    lines = partial(
        render_results,
        job=job,
        after=after,
        include_retries=include_retries,
        formats=wanted,
    )
    return await lines_response(services, lines, media_type=JSON_LINES)


@router.get("/v1/jobs/{job_id}/transcripts", openapi_extra=describes(reply=BINARY, media=ZIP))
async def retrieve_transcripts(
    job_id: str,
    services: InServices,
    caller: InReader,
    query: Annotated[TranscriptQuery, Depends()],
    include_retries: bool = False,
) -> Response:
    """The transcripts that are there by now, as files in a zip, with what failed in its errors.jsonl."""
    wanted = Formats(transcripts=formats_of(query.formats), captions=query.captions)
    job = await find_job(services, caller, job_id)
    if job.endpoint not in ENDPOINTS:
        message = f"The job is one of {job.endpoint}, which makes no transcripts."
        raise ApiError("endpoint_not_supported", message)
    lines = partial(zip_of_job, job=job, formats=wanted, include_retries=include_retries)
    response = await lines_response(services, lines, media_type=ZIP)
    response.headers["content-disposition"] = f'attachment; filename="{job.public_id}_transcripts.zip"'
    return response
