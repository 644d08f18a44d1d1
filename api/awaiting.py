"""Waiting for a job on behalf of a caller, who may go away: for its result as a whole.

Who is told of it while it is computed waits in `api/live_replies.py`, by the same rules."""

import asyncio
import contextlib

from fastapi import Request
from starlette.requests import ClientDisconnect
from starlette.types import Receive

from api.errors import NO_RETRY, ApiError
from api.services import Services
from store import calls, jobs
from store.db import borrow
from store.results import UNFINISHED, ItemResult
from tasks.submit import Caller, Submitted

GRACE_SECONDS = 10.0  # a caller who has gone counts as one who waits for so long: nearly done gets done

Waiting = asyncio.Task[list[ItemResult]]


async def wait_for_result(
    request: Request, services: Services, submitted: Submitted, caller: Caller, *, goes_on: bool = False
) -> ItemResult:
    """The result of an awaited job's only item, be it an error.

    A plain job that nobody waits for any more is cancelled; one that `goes_on` is not (`store/calls.py`).
    Raises `ApiError` (call_timeout, or why the job failed as a whole), `ClientDisconnect` and
    `DatabaseUnavailable`.
    """
    if submitted.ended:
        results = await services.answers.read(submitted.job_id)
    else:
        results = await _wait(request, services, submitted, goes_on)
    return await only_item(services, submitted, caller, results)


async def only_item(
    services: Services, submitted: Submitted, caller: Caller, results: list[ItemResult]
) -> ItemResult:
    """Of the results of a job that has ended. Raises `ApiError` that says why there is none."""
    if results and results[0].status != UNFINISHED:
        return results[0]
    raise await _why_failed(services, submitted, caller)


async def _wait(
    request: Request, services: Services, submitted: Submitted, goes_on: bool
) -> list[ItemResult]:
    timeout = services.settings.call_timeout_seconds
    waiting = asyncio.create_task(services.answers.wait(submitted.job_id, timeout))
    gone = asyncio.create_task(disconnected(request.receive))
    try:
        await asyncio.wait({waiting, gone}, return_when=asyncio.FIRST_COMPLETED)
        if not waiting.done():
            leave(services, submitted, waiting)
            raise ClientDisconnect
        return waiting.result()
    except TimeoutError:
        raise timed_out(services, submitted, goes_on) from None
    finally:
        gone.cancel()


def timed_out(services: Services, submitted: Submitted, goes_on: bool) -> ApiError:
    """Leave the job at once: what its caller is told."""
    services.background.start(_leave(services, submitted))
    took = f"The call took more than {services.settings.call_timeout_seconds:g} seconds"
    if goes_on:
        return ApiError("call_timeout", f"{took}. It goes on: ask again, or wait for its event.")
    message = f"{took} and was cancelled. A batch has no such limit."
    return ApiError("call_timeout", message, headers=NO_RETRY)


def leave(services: Services, submitted: Submitted, waiting: Waiting) -> None:
    """The caller has gone. The job gets a little longer: nearly done is cheaper finished than done again."""
    services.background.start(_leave_unless_answered(services, submitted, waiting))


async def disconnected(receive: Receive) -> None:
    """Returns when the caller has gone; what else may arrive is of no interest."""
    while (await receive())["type"] != "http.disconnect":
        pass


async def _why_failed(services: Services, submitted: Submitted, caller: Caller) -> ApiError:
    """A job without results: its model could not be loaded, or somebody cancelled it."""
    async with borrow(services.pool) as conn:
        job = await jobs.find(conn, submitted.suffix, caller.project_id)
    if job is not None and job.errors is not None and job.errors["data"]:
        first = job.errors["data"][0]
        return ApiError(first["code"], first["message"], param=first.get("param"), headers=NO_RETRY)
    return ApiError("cancelled", "The call's job was cancelled.", headers=NO_RETRY)


async def _leave_unless_answered(services: Services, submitted: Submitted, waiting: Waiting) -> None:
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(waiting, GRACE_SECONDS)
        return
    await _leave(services, submitted)


async def _leave(services: Services, submitted: Submitted) -> None:
    async with borrow(services.pool) as conn:
        family = await calls.leave(conn, submitted.job_id)
    if family is not None:  # cancelled: the slot that computes it should hear of it at once
        await services.signals.poke(family)
        await services.signals.poke_dispatcher()
