"""Webhook endpoints and deliveries on the wire: OpenAI's endpoint object, and ours."""

from typing import Annotated, Any, Literal

import msgspec

from api.schemas.times import unix
from store.deliveries import AttemptRow, DeliveryRow
from store.webhooks import EndpointRow, EventType, ProjectSecret

DELIVERY_PREFIX = "delivery_"

Name = Annotated[str, msgspec.Meta(pattern=r"^[^\x00-\x1f\x7f]{1,200}$")]
Url = Annotated[str, msgspec.Meta(min_length=1, max_length=2048)]
EventTypes = Annotated[list[EventType], msgspec.Meta(min_length=1, max_length=100)]


class EndpointWanted(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """A receiver to register."""

    name: Name
    url: Url
    event_types: EventTypes


class EndpointChange(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """What is to change about an endpoint; `enabled` is ours."""

    name: Name | None = None
    url: Url | None = None
    event_types: EventTypes | None = None
    enabled: bool | None = None


class Rotation(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    keep_old_secret_active_for_24_hours: bool = False


class TestWanted(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    event_type: EventType


class EndpointObject(msgspec.Struct, kw_only=True):
    """OpenAI's webhook endpoint; from `enabled` on it is ours."""

    id: str
    object: Literal["webhook_endpoint"] = "webhook_endpoint"
    created_at: int
    updated_at: int
    name: str
    url: str
    event_types: list[str]
    signing_secret_hint: str
    enabled: bool
    disabled_reason: str | None
    failing_since: int | None
    old_secret_expires_at: int | None


class EndpointWithSecret(EndpointObject, kw_only=True):
    """Told once, when the secret is made."""

    signing_secret: str


class DeletedEndpoint(msgspec.Struct, kw_only=True):
    id: str
    object: Literal["webhook_endpoint.deleted"] = "webhook_endpoint.deleted"
    deleted: bool = True


class TestResult(msgspec.Struct, kw_only=True):
    """What the receiver answered to a test event; `error` and `latency_ms` are ours."""

    object: Literal["webhook_endpoint.test"] = "webhook_endpoint.test"
    webhook_endpoint_id: str
    event_type: str
    status_code: int
    success: bool = True
    latency_ms: int
    error: str | None


class EventTypeList(msgspec.Struct, kw_only=True):
    object: Literal["list"] = "list"
    data: list[str]


class Replayed(msgspec.Struct, kw_only=True):
    id: str
    object: Literal["webhook_endpoint.replay"] = "webhook_endpoint.replay"
    deliveries: int


class SecretObject(msgspec.Struct, kw_only=True):
    """What signs events for the `webhook_url` of jobs."""

    object: Literal["webhook_secret"] = "webhook_secret"
    signing_secret: str
    old_secret_expires_at: int | None


class DeliveryObject(msgspec.Struct, kw_only=True):
    """One event for one receiver. Status, latency and error are the last attempt's; `attempt_count` counts
    from its creation or last replay on."""

    id: str
    object: Literal["webhook_delivery"] = "webhook_delivery"
    state: str
    event_id: str
    event_type: str
    job_id: str
    webhook_endpoint_id: str | None
    url: str
    attempt_count: int
    status_code: int | None
    latency_ms: int | None
    error: str | None
    created_at: int
    next_attempt_at: int | None
    ended_at: int | None


class AttemptObject(msgspec.Struct, kw_only=True):
    attempted_at: int
    status_code: int | None
    latency_ms: int
    error: str | None


class DeliveryWithAttempts(DeliveryObject, kw_only=True):
    attempts: list[AttemptObject]


def endpoint_object(row: EndpointRow) -> EndpointObject:
    return EndpointObject(**_endpoint_fields(row))


def endpoint_with_secret(row: EndpointRow) -> EndpointWithSecret:
    return EndpointWithSecret(**_endpoint_fields(row), signing_secret=row.secret)


def secret_object(secret: ProjectSecret) -> SecretObject:
    return SecretObject(signing_secret=secret.secret, old_secret_expires_at=unix(secret.old_secret_until))


def delivery_object(row: DeliveryRow) -> DeliveryObject:
    return DeliveryObject(**_delivery_fields(row))


def delivery_with_attempts(row: DeliveryRow, attempts: list[AttemptRow]) -> DeliveryWithAttempts:
    made = [
        AttemptObject(
            attempted_at=unix(attempt.attempted_at),
            status_code=attempt.status_code,
            latency_ms=attempt.latency_ms,
            error=attempt.error,
        )
        for attempt in attempts
    ]
    return DeliveryWithAttempts(**_delivery_fields(row), attempts=made)


def _endpoint_fields(row: EndpointRow) -> dict[str, Any]:
    return {
        "id": row.id,
        "created_at": unix(row.created_at),
        "updated_at": unix(row.updated_at),
        "name": row.name,
        "url": row.url,
        "event_types": row.event_types,
        "signing_secret_hint": f"whsec_…{row.secret[-4:]}",
        "enabled": row.enabled,
        "disabled_reason": row.disabled_reason,
        "failing_since": unix(row.failing_since),
        "old_secret_expires_at": unix(row.old_secret_until),
    }


def _delivery_fields(row: DeliveryRow) -> dict[str, Any]:
    pending = row.state == "pending"
    return {
        "id": f"{DELIVERY_PREFIX}{row.id}",
        "state": row.state,
        "event_id": row.event_id,
        "event_type": row.type,
        "job_id": row.about,
        "webhook_endpoint_id": row.endpoint_id,
        "url": row.url,
        "attempt_count": row.tries,
        "status_code": row.status_code,
        "latency_ms": row.latency_ms,
        "error": row.error,
        "created_at": unix(row.created_at),
        "next_attempt_at": unix(row.next_at) if pending else None,
        "ended_at": unix(row.ended_at),
    }
