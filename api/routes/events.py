"""`/v1/jobs/{id}/events`: a job live, as server-sent events."""

import time
from collections.abc import AsyncIterator, Callable
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import StreamingResponse

from api.deps import InReader, InServices
from api.errors import ApiError
from api.following import Event, Follower
from api.job_store import find_job
from api.openapi import EVENT, describes
from api.sse import EVENT_STREAM, HEARTBEAT, HEARTBEAT_SECONDS, NOT_CACHED
from tasks.streams import EntryId

router = APIRouter()


@router.get(
    "/v1/jobs/{job_id}/events",
    openapi_extra=describes(
        reply=EVENT, media=EVENT_STREAM, headers={"Last-Event-ID": "the event that was seen last"}
    ),
)
async def follow_job(
    request: Request,
    job_id: str,
    services: InServices,
    caller: InReader,
    last_event_id: Annotated[str | None, Query(description="as the header Last-Event-ID")] = None,
) -> Response:
    """A snapshot, or what followed the event that the reader has seen last; then what happens, to the end."""
    after = _position(request.headers.get("last-event-id") or last_event_id)
    job = await find_job(services, caller, job_id)
    follower = Follower(services.following, job.id, after)
    return StreamingResponse(
        _sent(follower, request.app.state.is_stopping),
        media_type=EVENT_STREAM,
        headers=NOT_CACHED,
    )


def _position(text: str | None) -> EntryId | None:
    if not text:
        return None
    try:
        return EntryId.parse(text)
    except ValueError:
        message = f"Invalid 'last_event_id': '{text[:64]}' is no id of an event."
        raise ApiError("invalid_value", message, param="last_event_id") from None


async def _sent(follower: Follower, is_stopping: Callable[[], bool]) -> AsyncIterator[bytes]:
    said = time.monotonic()
    async for events in follower.events():
        if events:
            yield b"".join(map(_encode, events))
            said = time.monotonic()
        elif time.monotonic() - said >= HEARTBEAT_SECONDS:
            yield HEARTBEAT
            said = time.monotonic()
        if is_stopping():  # the reader comes back to whoever answers then
            return


def _encode(event: Event) -> bytes:
    return b"id: %s\nevent: %s\ndata: %s\n\n" % (str(event.id).encode(), event.kind.encode(), event.data)
