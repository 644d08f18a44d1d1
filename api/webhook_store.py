"""Endpoints and deliveries by their public ids, and what is asked of one endpoint at once: a test event."""

import time

import msgspec

from api.errors import NO_RETRY, ApiError
from api.schemas.webhooks import DELIVERY_PREFIX
from api.services import Services
from store import deliveries, webhooks
from store.db import borrow
from store.deliveries import DeliveryRow
from store.ids import new_event_id
from store.webhooks import EndpointRow
from tasks.sending import Outcome, Sender
from tasks.submit import Caller

LARGEST_ID = 2**63 - 1
# What a test event tells of, by the first word of its type.
SAMPLE_IDS = {"batch": "batch_test", "response": "resp_test", "job": "job_test"}


async def find_endpoint(
    services: Services, caller: Caller, endpoint_id: str, *, param: str | None = None
) -> EndpointRow:
    """The caller's endpoint. Raises `ApiError` (webhook_endpoint_not_found)."""
    found = None
    if endpoint_id.isprintable():  # Postgres takes no NUL
        async with borrow(services.pool) as conn:
            found = await webhooks.find(conn, endpoint_id, caller.project_id)
    if found is None:
        raise ApiError("webhook_endpoint_not_found", f"No such endpoint: '{endpoint_id[:80]}'.", param=param)
    return found


async def find_delivery(services: Services, caller: Caller, public_id: str) -> DeliveryRow:
    """The caller's delivery. Raises `ApiError` (webhook_delivery_not_found)."""
    found, number = None, number_of(public_id)
    if number is not None:
        async with borrow(services.pool) as conn:
            found = await deliveries.find(conn, number, caller.project_id)
    if found is None:
        raise ApiError("webhook_delivery_not_found", f"No such delivery: '{public_id[:80]}'.")
    return found


def number_of(public_id: str) -> int | None:
    """`delivery_12` → 12; None where the id has another form."""
    digits = public_id.removeprefix(DELIVERY_PREFIX)
    if not public_id.startswith(DELIVERY_PREFIX) or not digits.isascii() or not digits.isdecimal():
        return None
    return number if len(digits) < 20 and (number := int(digits)) <= LARGEST_ID else None


def check_enabled(enabled: bool) -> None:
    """Raises `ApiError` (webhook_endpoint_disabled) unless the endpoint of a replay takes events."""
    if not enabled:
        message = "The endpoint is disabled; enable it first, by an update with 'enabled': true."
        raise ApiError("webhook_endpoint_disabled", message, headers=NO_RETRY)


async def send_test(services: Services, endpoint: EndpointRow, event_type: str) -> Outcome:
    """Sends a sample event now, once. Raises `ApiError` (webhook_test_failed) where no answer comes."""
    event_id = new_event_id()
    event = {
        "id": event_id,
        "object": "event",
        "created_at": int(time.time()),
        "type": event_type,
        "data": {"id": SAMPLE_IDS[event_type.partition(".")[0]]},
    }
    async with Sender(services.guard) as sender:
        outcome = await sender.send(endpoint.url, event_id, msgspec.json.encode(event), endpoint.secrets)
    if outcome.status_code is None:
        raise ApiError("webhook_test_failed", f"The test event did not arrive: {outcome.error}")
    return outcome
