"""The reply to an awaited call that tells its result while it is computed, as server-sent events.

Redis carries what is decided early (`Delta`s, in the job's stream) and is allowed to lose it: each part that
has been recorded is read from Postgres as well, and so is the end. Until the first event, or for ten seconds,
an error is still an error reply; after that it is an event.
"""

import asyncio
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Sequence

import orjson
from fastapi import Request, Response
from fastapi.responses import StreamingResponse
from starlette.requests import ClientDisconnect

from api.awaiting import disconnected, leave, only_item, timed_out
from api.errors import NO_RETRY, ApiError, error_body
from api.live import LiveResult, Told
from api.services import Services
from api.sse import EVENT_STREAM, HEARTBEAT, HEARTBEAT_SECONDS, NOT_CACHED
from api.wire import JSON
from backends.types import decode_error
from store import part_results
from store.db import borrow
from store.errors import DatabaseUnavailable
from store.results import ItemResult
from tasks.streams import BEGINNING, Entry, StreamAway
from tasks.submit import Caller, Submitted

START_SECONDS = 10.0
TURN_SECONDS = 1.0
ERROR = b"event: error\ndata: %s\n\n"
END = b"data: [DONE]\n\n"


async def live_reply(
    request: Request,
    services: Services,
    submitted: Submitted,
    caller: Caller,
    result: LiveResult,
    *,
    goes_on: bool = False,
) -> Response:
    """Begin to tell. Raises as `wait_for_result` does, as long as nothing has been told."""
    telling = _Telling(services, submitted, caller, result, goes_on)
    gone = asyncio.create_task(disconnected(request.receive))
    first: Sequence[Told] = ()
    begin_by = time.monotonic() + START_SECONDS
    try:
        while not first and not telling.over and time.monotonic() < begin_by:
            first = await telling.turn()
            if gone.done() and not telling.over:
                raise ClientDisconnect
    except BaseException:
        telling.stop()
        raise
    finally:
        gone.cancel()
    if telling.failed is not None and not first:
        return Response(telling.failed, status_code=telling.status, media_type=JSON, headers=NO_RETRY)
    return StreamingResponse(_frames(telling, first), media_type=EVENT_STREAM, headers=NOT_CACHED)


async def _frames(telling: "_Telling", first: Sequence[Told]) -> AsyncIterator[bytes]:
    said = time.monotonic()
    told: Sequence[Told] = first
    try:
        while True:
            if told:
                yield b"".join(map(_frame, told))
                said = time.monotonic()
            elif time.monotonic() - said >= HEARTBEAT_SECONDS:
                yield HEARTBEAT
                said = time.monotonic()
            if telling.over:
                break
            told = await telling.turn()
        if telling.failed is not None:
            yield ERROR % telling.failed
        yield END
    except ApiError as error:
        yield ERROR % error_body(error.code, error.message, param=error.param)
    except DatabaseUnavailable:
        yield ERROR % error_body("service_unavailable", "The service has lost its database. Ask again soon.")
    finally:
        telling.stop()


def _frame(told: Told) -> bytes:
    return b"event: %s\ndata: %s\n\n" % (told["type"].encode(), orjson.dumps(told))


class _Telling:
    """One call, turn by turn. `over`: all has been told, or nobody listens; `failed` is the error envelope of
    a call that failed, with `status`."""

    def __init__(
        self,
        services: Services,
        submitted: Submitted,
        caller: Caller,
        result: LiveResult,
        goes_on: bool,
    ) -> None:
        self.over = False
        self.failed: bytes | None = None
        self.status = 200
        self._services, self._submitted, self._caller = services, submitted, caller
        self._result, self._goes_on = result, goes_on
        self._cursor = BEGINNING
        self._turn_of = 0  # the part whose turn it is; of a job of one item, parts are numbered by position
        self._early: defaultdict[int, list[bytes]] = defaultdict(list)  # what came of later parts
        seconds = services.settings.call_timeout_seconds
        answers, job_id = services.answers, submitted.job_id
        end = answers.read(job_id) if submitted.ended else answers.wait(job_id, seconds)
        self._end = asyncio.create_task(end)

    async def turn(self) -> list[Told]:
        """What is new, after a second at most. Raises `ApiError` (call_timeout, or why the job failed)."""
        reading = asyncio.create_task(self._read())
        await asyncio.wait({self._end, reading}, return_when=asyncio.FIRST_COMPLETED)
        if not self._end.done():
            return await self._news(reading.result())
        reading.cancel()
        self.over = True
        try:
            results = self._end.result()
        except TimeoutError:
            raise timed_out(self._services, self._submitted, self._goes_on) from None
        return self._ended(await only_item(self._services, self._submitted, self._caller, results))

    def stop(self) -> None:
        """Nobody listens any more: where that is before the end, the caller has gone."""
        if not self.over:
            leave(self._services, self._submitted, self._end)
            self.over = True

    def _ended(self, item: ItemResult) -> list[Told]:
        if item.status >= 400:
            error = decode_error(item.parts[0])
            self.failed, self.status = error_body(error.code, error.message, param=error.param), item.status
            return []
        told = [event for data in item.parts[self._turn_of :] for event in self._result.part(data)]
        return [*told, *self._result.end(item)]

    async def _read(self) -> list[Entry]:
        try:
            return await self._services.following.streams.read(
                self._submitted.job_id, self._cursor, TURN_SECONDS
            )
        except StreamAway:
            await asyncio.sleep(TURN_SECONDS)
            return []

    async def _news(self, entries: Sequence[Entry]) -> list[Told]:
        told: list[Told] = []
        recorded = not entries
        for entry in entries:
            self._cursor = entry.id
            recorded = recorded or bool(entry.news.parts)
            for part, data in entry.news.heard:
                if part == self._turn_of:
                    told += self._result.delta(data)
                elif part > self._turn_of:
                    self._early[part].append(data)
        if recorded:
            told += await self._recorded()
        return told

    async def _recorded(self) -> list[Told]:
        """Of the parts that have been recorded since the last look, as far as their turn has come."""
        told: list[Told] = []
        try:
            async with borrow(self._services.pool) as conn:
                found = await part_results.from_part(conn, self._submitted.job_id, self._turn_of)
        except DatabaseUnavailable:
            return []  # the next look finds them, or the end
        for data in found:
            told += self._result.part(data)
            self._early.pop(self._turn_of, None)
            self._turn_of += 1
            for early in self._early.get(self._turn_of, ()):
                told += self._result.delta(early)
        return told
