"""`/v1/embeddings`: an awaited call. The hot route: what is done here is paid by everyone who waits."""

import asyncio

from fastapi import APIRouter, Request, Response

from api.awaiting import wait_for_result
from api.deps import services_of, submitter_of
from api.errors import NO_RETRY
from api.wire import JSON, LARGE_BYTES, read_body
from backends.embeddings import EmbeddingRequest, check_input_count, cut_request
from configs.settings import Settings
from tasks.render import render_answer

ENDPOINT = "/v1/embeddings"
LARGE_INPUTS = 64  # from here on rendering takes milliseconds, which nobody else should wait for

router = APIRouter()


@router.post(ENDPOINT)
async def create_embeddings(request: Request) -> Response:
    """Queue the inputs as a job of one item, in parts where there are many, and wait for it."""
    services = services_of(request)
    caller = await submitter_of(request)
    body = await read_body(request, services.settings.max_body_bytes)
    asked, bodies = (
        _parse(body, services.settings)
        if len(body) < LARGE_BYTES
        else await asyncio.to_thread(_parse, body, services.settings)
    )
    spec = services.models.find(asked.model, ENDPOINT)
    check_input_count(len(asked.inputs), spec.limits.max_inputs)
    submitted = await services.submitter.call(endpoint=ENDPOINT, bodies=bodies, spec=spec, caller=caller)
    item = await wait_for_result(request, services, submitted, caller)
    content = (
        render_answer(item, model=spec.name, encoding_format=asked.encoding_format)
        if len(asked.inputs) < LARGE_INPUTS
        else await asyncio.to_thread(
            render_answer, item, model=spec.name, encoding_format=asked.encoding_format
        )
    )
    headers = NO_RETRY if item.status >= 400 else None
    return Response(content, status_code=item.status, media_type=JSON, headers=headers)


def _parse(body: bytes, settings: Settings) -> tuple[EmbeddingRequest, list[bytes]]:
    """The request, and the bodies of its parts. Raises `InvalidBody`."""
    return cut_request(body, settings.part_inputs, max_inputs=settings.max_inputs)
