"""`/v1/webhook_endpoints` (the official client's `client.webhooks`), event types, the project's secret."""

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from api.deps import InAdmin, InReader, InServices, InSubmitter
from api.openapi import describes
from api.paging import After
from api.schemas.lists import page_of
from api.schemas.webhooks import (
    DeletedEndpoint,
    EndpointChange,
    EndpointObject,
    EndpointWanted,
    EndpointWithSecret,
    EventTypeList,
    Rotation,
    SecretObject,
    TestResult,
    TestWanted,
    endpoint_object,
    endpoint_with_secret,
    secret_object,
)
from api.webhook_store import find_endpoint, send_test
from api.webhook_urls import check_webhook_url
from api.wire import decode, read_body, read_json, reply
from store import webhooks
from store.db import borrow

router = APIRouter()

BODY_BYTES = 64 * 1024


@router.post("/v1/webhook_endpoints", openapi_extra=describes(body=EndpointWanted, reply=EndpointWithSecret))
async def create_endpoint(request: Request, services: InServices, caller: InSubmitter) -> Response:
    """Register a receiver; its secret is shown now and never again. Raises `ApiError`
    (invalid_webhook_url)."""
    wanted = await read_json(request, BODY_BYTES, EndpointWanted)
    await check_webhook_url(services, wanted.url, param="url")
    types = list(dict.fromkeys(wanted.event_types))
    async with borrow(services.pool) as conn:
        row = await webhooks.insert(
            conn, caller.project_id, name=wanted.name, url=wanted.url, event_types=types
        )
    return reply(endpoint_with_secret(row))


@router.get("/v1/webhook_endpoints", openapi_extra=describes(page_of=EndpointObject))
async def list_endpoints(
    services: InServices,
    caller: InReader,
    after: After = None,
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
) -> Response:
    if after is not None:
        await find_endpoint(services, caller, after, param="after")
    async with borrow(services.pool) as conn:
        rows, has_more = await webhooks.page(conn, caller.project_id, after=after, limit=limit)
    return reply(page_of([endpoint_object(row) for row in rows], has_more=has_more))


@router.get("/v1/webhook_endpoints/{endpoint_id}", openapi_extra=describes(reply=EndpointObject))
async def retrieve_endpoint(endpoint_id: str, services: InServices, caller: InReader) -> Response:
    return reply(endpoint_object(await find_endpoint(services, caller, endpoint_id)))


@router.post(
    "/v1/webhook_endpoints/{endpoint_id}", openapi_extra=describes(body=EndpointChange, reply=EndpointObject)
)
async def update_endpoint(
    endpoint_id: str, request: Request, services: InServices, caller: InSubmitter
) -> Response:
    """Change what is given. Disabling ends what is pending; a replay brings it back."""
    endpoint = await find_endpoint(services, caller, endpoint_id)
    change = await read_json(request, BODY_BYTES, EndpointChange)
    if change.url is not None:
        await check_webhook_url(services, change.url, param="url")
    types = list(dict.fromkeys(change.event_types)) if change.event_types else None
    async with borrow(services.pool) as conn:
        row = await webhooks.update(
            conn,
            endpoint.id,
            caller.project_id,
            name=change.name,
            url=change.url,
            event_types=types,
            enabled=change.enabled,
        )
    return reply(endpoint_object(row or endpoint))  # deleted meanwhile: as it was


@router.delete("/v1/webhook_endpoints/{endpoint_id}", openapi_extra=describes(reply=DeletedEndpoint))
async def delete_endpoint(endpoint_id: str, services: InServices, caller: InSubmitter) -> Response:
    """The endpoint goes with its deliveries."""
    endpoint = await find_endpoint(services, caller, endpoint_id)
    async with borrow(services.pool) as conn:
        await webhooks.delete(conn, endpoint.id, caller.project_id)
    return reply(DeletedEndpoint(id=endpoint.id))


@router.post(
    "/v1/webhook_endpoints/{endpoint_id}/rotate_secret",
    openapi_extra=describes(body=Rotation, optional=True, reply=EndpointWithSecret),
)
async def rotate_endpoint_secret(
    endpoint_id: str, request: Request, services: InServices, caller: InSubmitter
) -> Response:
    """A new secret, shown now and never again; the old one signs beside it for 24 hours if that is asked."""
    endpoint = await find_endpoint(services, caller, endpoint_id)
    keep_old = await _keeps_old_secret(request)
    async with borrow(services.pool) as conn:
        row = await webhooks.rotate(conn, endpoint.id, caller.project_id, keep_old=keep_old)
    return reply(endpoint_with_secret(row or endpoint))


@router.post(
    "/v1/webhook_endpoints/{endpoint_id}/test", openapi_extra=describes(body=TestWanted, reply=TestResult)
)
async def test_endpoint(
    endpoint_id: str, request: Request, services: InServices, caller: InSubmitter
) -> Response:
    """Send a sample event at once, also where the endpoint is disabled. Raises `ApiError`
    (webhook_test_failed) where no answer comes."""
    endpoint = await find_endpoint(services, caller, endpoint_id)
    wanted = await read_json(request, BODY_BYTES, TestWanted)
    outcome = await send_test(services, endpoint, wanted.event_type)
    assert outcome.status_code is not None
    result = TestResult(
        webhook_endpoint_id=endpoint.id,
        event_type=wanted.event_type,
        status_code=outcome.status_code,
        latency_ms=outcome.latency_ms,
        error=outcome.error,
    )
    return reply(result)


@router.get("/v1/webhook_event_types", openapi_extra=describes(reply=EventTypeList))
async def list_event_types(caller: InReader) -> Response:
    return reply(EventTypeList(data=list(webhooks.EVENT_TYPES)))


@router.get("/v1/webhook_secret", openapi_extra=describes(reply=SecretObject))
async def retrieve_secret(services: InServices, caller: InAdmin) -> Response:
    """What signs events for the `webhook_url` of this project's jobs."""
    async with borrow(services.pool) as conn:
        return reply(secret_object(await webhooks.project_secret(conn, caller.project_id)))


@router.post(
    "/v1/webhook_secret/rotate", openapi_extra=describes(body=Rotation, optional=True, reply=SecretObject)
)
async def rotate_secret(request: Request, services: InServices, caller: InAdmin) -> Response:
    """A new secret for the project; the old one signs beside it for 24 hours if that is asked."""
    keep_old = await _keeps_old_secret(request)
    async with borrow(services.pool) as conn:
        secret = await webhooks.rotate_project_secret(conn, caller.project_id, keep_old=keep_old)
    return reply(secret_object(secret))


async def _keeps_old_secret(request: Request) -> bool:
    """Of a rotation, whose body may be left out."""
    body = await read_body(request, BODY_BYTES)
    return decode(body or b"{}", Rotation).keep_old_secret_active_for_24_hours
