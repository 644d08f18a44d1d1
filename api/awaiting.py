"""Waiting for a job on behalf of a caller, who may go away."""

import asyncio
import contextlib

from fastapi import Request
from starlette.requests import ClientDisconnect
from starlette.types import Receive

from api.errors import NO_RETRY, ApiError
from api.services import Services
from store import jobs
from store.db import borrow
from store.results import UNFINISHED, ItemResult
from tasks.submit import Caller, Submitted

GRACE_SECONDS = 10.0  # a job whose caller has gone gets so long to end by itself; then it is cancelled

Waiting = asyncio.Task[list[ItemResult]]


async def wait_for_result(
    request: Request, services: Services, submitted: Submitted, caller: Caller
) -> ItemResult:
    """The result of an awaited job's only item, be it an error.

    Raises `ApiError` (call_timeout, or why the job failed as a whole), `ClientDisconnect` and
    `DatabaseUnavailable`. A job that nobody waits for any more is cancelled.
    """
    timeout = services.settings.call_timeout_seconds
    waiting = asyncio.create_task(services.answers.wait(submitted.job_id, timeout))
    gone = asyncio.create_task(_disconnected(request.receive))
    try:
        await asyncio.wait({waiting, gone}, return_when=asyncio.FIRST_COMPLETED)
        if not waiting.done():
            services.background.start(_cancel_unless_answered(services, submitted, waiting))
            raise ClientDisconnect
        results = waiting.result()
    except TimeoutError:
        services.background.start(_cancel(services, submitted))
        message = f"The call took more than {timeout:g} seconds and was cancelled. A batch has no such limit."
        raise ApiError("call_timeout", message, headers=NO_RETRY) from None
    finally:
        gone.cancel()
    if results and results[0].status != UNFINISHED:
        return results[0]
    return await _raise_why_failed(services, submitted, caller)


async def _disconnected(receive: Receive) -> None:
    """Returns when the caller has gone; what else may arrive is of no interest."""
    while (await receive())["type"] != "http.disconnect":
        pass


async def _raise_why_failed(services: Services, submitted: Submitted, caller: Caller) -> ItemResult:
    """A job without results: its model could not be loaded, or somebody cancelled it."""
    async with borrow(services.pool) as conn:
        job = await jobs.find(conn, submitted.suffix, caller.project_id)
    if job is not None and job.errors is not None and job.errors["data"]:
        first = job.errors["data"][0]
        raise ApiError(first["code"], first["message"], param=first.get("param"), headers=NO_RETRY)
    raise ApiError("cancelled", "The call's job was cancelled.", headers=NO_RETRY)


async def _cancel_unless_answered(services: Services, submitted: Submitted, waiting: Waiting) -> None:
    """Give the job a little longer: nearly done is cheaper to finish than to do again."""
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(waiting, GRACE_SECONDS)
        return
    await _cancel(services, submitted)


async def _cancel(services: Services, submitted: Submitted) -> None:
    async with borrow(services.pool) as conn:
        await jobs.request_cancel(conn, submitted.job_id)
