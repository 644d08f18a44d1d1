"""Single calls: the one way of every OpenAI endpoint, from the body to the answer.

read → submit, or join the job of an earlier request → wait and render, or tell it live, or answer 202 with
the job.

A route says how its body is read and its result rendered (`Call`); everything else is here: forms with a
file, `webhook_url` and `metadata`, `Prefer: respond-async`, `Idempotency-Key`, joining, callers that go away.

A background response is the same with another end: `read_call`, `terms_of(view="response", awaited=False)`,
`submit_call`, and the route answers with a response object in place of a job. Store and events know the
view already (`resp_…`, `response.completed`).
"""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Self

from fastapi import Request, Response

from api.awaiting import wait_for_result
from api.call_bodies import CallBody, FormRules, receive_body
from api.call_fields import NONE, CallFields, take_fields
from api.deps import services_of, submitter_of
from api.errors import NO_RETRY
from api.idempotency import Identity, identity_of, submit_once
from api.job_store import job_object_of
from api.live import LiveResult
from api.live_replies import live_reply
from api.services import Services
from api.webhook_urls import checked_webhook_url
from api.wire import JSON, LARGE_BYTES, reply
from configs.models import ModelSpec
from configs.settings import Settings
from store.attachments import NewAttachment
from store.ids import View
from store.results import ItemResult
from tasks.submit import Caller, Submitted, Terms

ASYNC = "respond-async"


@dataclass(frozen=True, kw_only=True)
class Call(ABC):
    """A request of one endpoint, checked as far as that goes without its model.

    `model` is a name or an alias. `bodies` are those of its parts. `expected_seconds` is a guess at its
    compute, to be compared with others of the endpoint. `renders_slowly`: rendering takes milliseconds,
    which nobody else should wait for. `media_type` is that of a result; errors are JSON. `live`: the caller
    wants the result told while it is computed.
    """

    model: str
    bodies: Sequence[bytes]
    expected_seconds: float = 0.0
    renders_slowly: bool = False
    media_type: str = JSON
    live: LiveResult | None = None

    @abstractmethod
    def check(self, spec: ModelSpec) -> None:
        """Raises `InvalidBody` for what this model does not take."""

    async def measured(self, services: Services, caller: Caller) -> Self:
        """The call, with a better guess at its compute where that has to be looked up.

        Raises `ApiError` for what is found to be missing.
        """
        return self

    @abstractmethod
    def render(self, item: ItemResult, spec: ModelSpec) -> bytes:
        """The body of the answer: the result, or the error envelope."""


Parse = Callable[[CallBody, Settings], Call]  # raises InvalidBody


@dataclass(frozen=True, kw_only=True)
class ReadCall:
    """`body` is what `call` and `fields` were read from."""

    body: CallBody
    call: Call
    fields: CallFields
    identity: Identity


async def answer_call(
    request: Request, endpoint: str, parse: Parse, form: FormRules | None = None
) -> Response:
    """What a POST to an endpoint answers: the result, or with `Prefer: respond-async` the job. With `form`
    its body may be one."""
    services = services_of(request)
    caller = await submitter_of(request)
    async with receive_body(request, services, form) as body:
        read = await read_call(request, services, body, parse)
        spec = services.models.find(read.call.model, endpoint)
        read.call.check(spec)
        read = replace(read, call=await read.call.measured(services, caller))
        terms = await terms_of(services, read, awaited=not prefers_async(request))
        submitted = await submit_call(services, caller, read, spec, endpoint, terms)
    if not terms.awaited:
        return await _accepted(services, caller, submitted)
    if read.call.live is not None:
        return await live_reply(request, services, submitted, caller, read.call.live, goes_on=terms.lasting)
    item = await wait_for_result(request, services, submitted, caller, goes_on=terms.lasting)
    call = read.call
    content = (
        await asyncio.to_thread(call.render, item, spec) if call.renders_slowly else call.render(item, spec)
    )
    if item.status >= 400:
        return Response(content, status_code=item.status, media_type=JSON, headers=NO_RETRY)
    return Response(content, status_code=item.status, media_type=call.media_type)


async def read_call(request: Request, services: Services, body: CallBody, parse: Parse) -> ReadCall:
    """Check a body; a large one off the event loop. Raises `ApiError`, `InvalidBody`."""

    def read() -> ReadCall:
        inner, fields = take_fields(body.json)
        call = parse(replace(body, json=inner), services.settings)
        return ReadCall(body=body, call=call, fields=fields, identity=identity_of(request, body.known_by))

    return read() if len(body.json) < LARGE_BYTES else await asyncio.to_thread(read)


async def terms_of(services: Services, read: ReadCall, *, view: View = "call", awaited: bool) -> Terms:
    """What the caller asked for beside the result. Raises `ApiError` (invalid_webhook_url)."""
    fields, identity = read.fields, read.identity
    webhook_url = None
    if fields is not NONE:
        webhook_url = await checked_webhook_url(services, fields.webhook_url, fields.metadata)
    return Terms(
        view=view,
        awaited=awaited,
        webhook_url=webhook_url,
        metadata=fields.metadata,
        idempotency_key=identity.key,
        fingerprint=identity.fingerprint,
    )


async def submit_call(
    services: Services, caller: Caller, read: ReadCall, spec: ModelSpec, endpoint: str, terms: Terms
) -> Submitted:
    """Submit a call, or join the job of an earlier request like it: then nobody needs its file.

    Raises `ApiError` (idempotency_mismatch, too_many_queued_items), `DatabaseUnavailable`.
    """
    call, body = read.call, read.body

    async def submit() -> Submitted:
        async with services.limits.room(caller, 1):
            submitted = await services.submitter.call(
                endpoint=endpoint,
                bodies=call.bodies,
                spec=spec,
                caller=caller,
                expected_seconds=call.expected_seconds,
                attachment=_attachment_of(body),
                streamed=call.live is not None,
                terms=terms,
            )
        body.keep()
        return submitted

    return await submit_once(
        services, caller, read.identity, submit, waits=terms.awaited, announced=terms.announced
    )


def _attachment_of(body: CallBody) -> NewAttachment | None:
    if body.file is None:
        return None
    return NewAttachment(blob=body.file.name, name=body.filename, size_bytes=body.file.size_bytes)


def prefers_async(request: Request) -> bool:
    """Whether `Prefer` (RFC 7240) asks for an answer before the result."""
    preferences = ",".join(request.headers.getlist("prefer")).split(",")
    return any(preference.partition(";")[0].strip().lower() == ASYNC for preference in preferences)


async def _accepted(services: Services, caller: Caller, submitted: Submitted) -> Response:
    job_id = f"job_{submitted.suffix}"
    response = reply(await job_object_of(services, caller, job_id), 202)
    response.headers["location"] = f"/v1/jobs/{job_id}"
    response.headers["preference-applied"] = ASYNC
    return response
