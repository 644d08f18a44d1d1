"""`/v1/keys` (ours): who may call. For keys with the scope `admin`, whose business is the whole service:
they see and make keys of every project."""

import re
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from api.deps import InAdmin, InServices
from api.errors import ApiError
from api.openapi import describes
from api.paging import After
from api.schemas.keys import (
    KeyObject,
    KeyWanted,
    NewKeyObject,
    RevokedKeyObject,
    key_object,
    new_key_object,
    revoked_key_object,
)
from api.schemas.lists import page_of
from api.services import Services
from api.wire import read_json, reply
from store import keys
from store.db import borrow
from store.keys import KeyEntry, NewKey

ALL_SCOPES = ("submit", "read", "admin")
USUAL_SCOPES = ("submit", "read")
MAX_BODY_BYTES = 64 * 1024
ID = re.compile(r"key_[0-9a-f]{32}")

DOOR_CLOSED = "This is the first API key: from now on every call needs one, on loopback too."
DOOR_OPEN = "No API key is left: whoever reaches this address may call."
NO_ADMIN = (
    "No API key with the scope 'admin' is left: to manage keys again, start the API with a new "
    "BATCHYARD_API_KEY, which it then makes."
)

router = APIRouter()


@router.post("/v1/keys", openapi_extra=describes(body=KeyWanted, reply=NewKeyObject))
async def create_key(request: Request, services: InServices, caller: InAdmin) -> Response:
    """Make a key; the reply is the only place that ever shows its secret."""
    wanted = await read_json(request, MAX_BODY_BYTES, KeyWanted)
    secret = keys.new_secret()
    async with borrow(services.pool) as conn:
        first = not await keys.any_key(conn)
        entry = await keys.create(conn, _new_key(wanted, first=first), secret)
    services.keys.forget()
    return reply(new_key_object(entry, secret, DOOR_CLOSED if first else None))


@router.get("/v1/keys", openapi_extra=describes(page_of=KeyObject))
async def list_keys(
    services: InServices,
    caller: InAdmin,
    after: After = None,
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
) -> Response:
    """Keys of all projects, revoked ones too, the newest first."""
    if after is not None:
        await _find(services, after, param="after")
    async with borrow(services.pool) as conn:
        rows, has_more = await keys.page(conn, after, limit)
    return reply(page_of([key_object(row) for row in rows], has_more=has_more))


@router.get("/v1/keys/{key_id}", openapi_extra=describes(reply=KeyObject))
async def retrieve_key(key_id: str, services: InServices, caller: InAdmin) -> Response:
    return reply(key_object(await _find(services, key_id)))


@router.delete("/v1/keys/{key_id}", openapi_extra=describes(reply=RevokedKeyObject))
async def revoke_key(key_id: str, services: InServices, caller: InAdmin) -> Response:
    """Revoke a key, which is final; its jobs go on. Doing it twice is no error."""
    await _find(services, key_id)
    async with borrow(services.pool) as conn:
        await keys.revoke(conn, key_id)
        note = None
        if not await keys.any_key(conn, "admin"):
            note = DOOR_OPEN if await services.keys.is_open(conn) else NO_ADMIN
    services.keys.forget()
    return reply(revoked_key_object(await _find(services, key_id), note))


async def _find(services: Services, key_id: str, *, param: str | None = None) -> KeyEntry:
    """Raises `ApiError` (api_key_not_found)."""
    row = None
    if ID.fullmatch(key_id):
        async with borrow(services.pool) as conn:
            row = await keys.find(conn, key_id)
    if row is None:
        raise ApiError("api_key_not_found", f"No such API key: '{key_id[:64]}'.", param=param)
    return row


def _new_key(wanted: KeyWanted, *, first: bool) -> NewKey:
    """The first key closes the door behind itself, so that it must be able to make others.

    Raises `ApiError` (invalid_value).
    """
    scopes = wanted.scopes or (ALL_SCOPES if first else USUAL_SCOPES)
    if first and "admin" not in scopes:
        message = "The first API key needs the scope 'admin': without it nobody could make another."
        raise ApiError("invalid_value", message, param="scopes")
    return NewKey(
        name=wanted.name,
        project=wanted.project,
        scopes=sorted(set(scopes), key=ALL_SCOPES.index),
        priority_cap=wanted.priority_cap,
        weight=wanted.weight,
        requests_per_minute=wanted.requests_per_minute,
        max_queued_items=wanted.max_queued_items,
    )
