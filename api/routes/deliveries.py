"""Deliveries: what became of each event at each receiver, and sending it again. All of it is ours."""

from typing import Annotated

from fastapi import APIRouter, Query, Response

from api.deps import InReader, InServices, InSubmitter
from api.openapi import describes
from api.paging import After
from api.schemas.lists import page_of
from api.schemas.webhooks import (
    DeliveryObject,
    DeliveryWithAttempts,
    Replayed,
    delivery_object,
    delivery_with_attempts,
)
from api.services import Services
from api.webhook_store import check_enabled, find_delivery, find_endpoint
from api.wire import reply
from store import deliveries
from store.db import borrow
from store.states import DeliveryState
from tasks.submit import Caller

router = APIRouter()

Limit = Annotated[int, Query(ge=1, le=100)]
JobFilter = Annotated[
    str | None, Query(description="id of a job, batch or response", pattern="^[a-z]{1,8}_[a-z0-9]{1,40}$")
]


@router.get("/v1/webhook_endpoints/{endpoint_id}/deliveries", openapi_extra=describes(page_of=DeliveryObject))
async def list_deliveries_of_endpoint(
    endpoint_id: str,
    services: InServices,
    caller: InReader,
    after: After = None,
    limit: Limit = 20,
    state: DeliveryState | None = None,
) -> Response:
    endpoint = await find_endpoint(services, caller, endpoint_id)
    return await _page(services, caller, after, limit, state=state, endpoint_id=endpoint.id)


@router.get("/v1/webhook_deliveries", openapi_extra=describes(page_of=DeliveryObject))
async def list_deliveries(
    services: InServices,
    caller: InReader,
    after: After = None,
    limit: Limit = 20,
    state: DeliveryState | None = None,
    job: JobFilter = None,
) -> Response:
    suffix = job.partition("_")[2] if job else None
    return await _page(services, caller, after, limit, state=state, job_suffix=suffix)


@router.get("/v1/webhook_deliveries/{delivery_id}", openapi_extra=describes(reply=DeliveryWithAttempts))
async def retrieve_delivery(delivery_id: str, services: InServices, caller: InReader) -> Response:
    row = await find_delivery(services, caller, delivery_id)
    async with borrow(services.pool) as conn:
        attempts = await deliveries.attempts_of(conn, row.id)
    return reply(delivery_with_attempts(row, attempts))


@router.post("/v1/webhook_deliveries/{delivery_id}/replay", openapi_extra=describes(reply=DeliveryObject))
async def replay_delivery(delivery_id: str, services: InServices, caller: InSubmitter) -> Response:
    """Attempt it anew, now, whatever became of it: the same event under the same id."""
    row = await find_delivery(services, caller, delivery_id)
    check_enabled(row.enabled)
    async with borrow(services.pool) as conn:
        await deliveries.replay(conn, row.id, caller.project_id)
    await services.signals.poke_deliverers()
    return reply(delivery_object(await find_delivery(services, caller, delivery_id)))


@router.post("/v1/webhook_endpoints/{endpoint_id}/replay", openapi_extra=describes(reply=Replayed))
async def replay_failed(endpoint_id: str, services: InServices, caller: InSubmitter) -> Response:
    """Attempt anew all that has failed at this endpoint, what waits for a further attempt included."""
    endpoint = await find_endpoint(services, caller, endpoint_id)
    check_enabled(endpoint.enabled)
    async with borrow(services.pool) as conn:
        count = await deliveries.replay_failed(conn, endpoint.id)
    await services.signals.poke_deliverers()
    return reply(Replayed(id=endpoint.id, deliveries=count))


async def _page(
    services: Services,
    caller: Caller,
    after: str | None,
    limit: int,
    *,
    state: DeliveryState | None,
    endpoint_id: str | None = None,
    job_suffix: str | None = None,
) -> Response:
    last = (await find_delivery(services, caller, after)).id if after is not None else None
    async with borrow(services.pool) as conn:
        rows, has_more = await deliveries.page(
            conn,
            caller.project_id,
            endpoint_id=endpoint_id,
            state=state,
            job_suffix=job_suffix,
            after=last,
            limit=limit,
        )
    return reply(page_of([delivery_object(row) for row in rows], has_more=has_more))
