"""Requests that are sent again: they find the job of the first one.

By `Idempotency-Key`: the job that was first submitted under the key, in whatever state, as long as it is
kept. The official client sends no key when it tries again, but counts (`x-stainless-retry-count`): an
identical request of the same API key that is still in flight is then taken for the first one.
"""

import hashlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from fastapi import Request

from api.errors import NO_RETRY, ApiError
from api.services import Services
from store import calls
from store.db import borrow
from store.errors import KeyTaken
from tasks.submit import Caller, Submitted

HEADER = "Idempotency-Key"
MOST_CHARACTERS = 255


@dataclass(frozen=True, kw_only=True)
class Identity:
    """By what a request is known when it is sent again.

    `fingerprint` is a digest of endpoint and body; None where the request can only ever be a first one.
    `repeated`: the client says that it has sent it before.
    """

    key: str | None = None
    fingerprint: bytes | None = None
    repeated: bool = False


def identity_of(request: Request, body: bytes) -> Identity:
    """What the request's headers and its body as it was sent say. Hashing takes about 1 ms per MB.

    Raises `ApiError` (invalid_value) for a key that is none.
    """
    key = request.headers.get(HEADER)
    count = request.headers.get("x-stainless-retry-count")
    if key is None and count is None:
        return Identity()
    if key is not None and not 0 < len(key) <= MOST_CHARACTERS:
        message = f"Invalid '{HEADER}': it must have 1 to {MOST_CHARACTERS} characters, not {len(key):,}."
        raise ApiError("invalid_value", message, param=HEADER)
    repeated = count is not None and count.isdecimal() and count.strip("0") != ""
    return Identity(key=key, fingerprint=_fingerprint(request, body), repeated=repeated)


async def submit_once(
    services: Services,
    caller: Caller,
    identity: Identity,
    submit: Callable[[], Awaitable[Submitted]],
    *,
    waits: bool = False,
    announced: bool = True,
) -> Submitted:
    """The job of the request's first sending, or else what `submit` gives.

    `waits`: one more waits for a job that is found. `announced` says whether the end of the job that
    `submit` makes is an event, which a job in flight must have in common with it. `submit` must insert its
    job with the identity's key and fingerprint, and let `KeyTaken` pass: of two at once the unique index
    lets one in. Raises `ApiError` (idempotency_mismatch), `DatabaseUnavailable`, and what `submit` raises.
    """
    while True:
        first = await _find_first(services, caller, identity, waits=waits, announced=announced)
        if first is not None:
            return first
        try:
            return await submit()
        except KeyTaken:
            continue  # another request with this key came in between: it is the first


async def _find_first(
    services: Services, caller: Caller, identity: Identity, *, waits: bool, announced: bool
) -> Submitted | None:
    if identity.fingerprint is None or (identity.key is None and not identity.repeated):
        return None
    async with borrow(services.pool) as conn:
        if identity.key is not None:
            found = await calls.find_by_key(conn, caller.key_id, identity.key)
        else:
            found = await calls.find_in_flight(conn, caller.key_id, identity.fingerprint, announced=announced)
        if found is None:
            return None
        if found.fingerprint != identity.fingerprint:
            message = f"The '{HEADER}' has been used for another request; use a new one for this."
            raise ApiError("idempotency_mismatch", message, param=HEADER, headers=NO_RETRY)
        joined = not waits or found.ended or await calls.join(conn, found.id)
        if not joined and identity.key is None:
            return None  # it ended just now, or is being cancelled: this one is computed anew
        return Submitted(job_id=found.id, suffix=found.suffix, ended=found.ended)


def _fingerprint(request: Request, body: bytes) -> bytes:
    """Forms are different at each sending (their boundary): a route that reads them must say what it read."""
    digest = hashlib.sha256(f"{request.method} {request.url.path}?{request.url.query}\n".encode())
    digest.update(body)
    return digest.digest()
