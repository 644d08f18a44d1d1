"""Back-pressure: how many items may be queued, by one API key and in all.

The numbers come from one query, repeated about once a second while there are callers, plus what this process
has let in since that query began: a submission costs no query of its own. What other API processes let in is
seen with the next query, so that together they may exceed a limit by what they take in a second.
"""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import structlog

from api.errors import NO_RETRY, ApiError
from configs.settings import Settings
from store.backlog import queued_items
from store.db import Pool, borrow
from tasks.submit import Caller

log = structlog.get_logger(__name__)

FRESH_SECONDS = 1.0
# A single call goes by numbers that are so much older, and has them refreshed behind it; a larger submission
# waits for fresh ones.
STALE_SECONDS = 5.0
# Counting takes 3 µs per open job. With very many of them numbers count as fresh for longer, so that counting
# takes this share of the time at most; more only where somebody would be refused.
USUAL_SHARE = 0.05
MOST_SHARE = 0.2
RETRY_SECONDS = 10


class Limits:
    """The limits on queued items of one API process."""

    def __init__(self, settings: Settings, pool: Pool) -> None:
        self._settings = settings
        self._pool = pool
        self._queued: dict[int, int] = {}  # by key, as the last query counted
        self._total = 0  # of these
        self._arrived: Counter[int] = Counter()  # submitted since that query began
        self._arriving: Counter[int] = Counter()  # let in, and being submitted
        self._counted_at = float("-inf")  # when that query began
        self._took = 0.0
        self._counting: asyncio.Task[None] | None = None

    @asynccontextmanager
    async def room(self, caller: Caller, items: int) -> AsyncIterator[None]:
        """Hold room for `items` while the block submits them; a block that raises has submitted nothing.

        Raises `ApiError` (too_many_queued_items), `DatabaseUnavailable`.
        """
        await self._make_sure(caller, items)
        self._arriving[caller.key_id] += items
        try:
            yield
            self._arrived[caller.key_id] += items
        finally:
            self._arriving -= Counter({caller.key_id: items})

    async def _make_sure(self, caller: Caller, items: int) -> None:
        late = time.monotonic() - self._counted_at - max(FRESH_SECONDS, self._took / USUAL_SHARE)
        if late > (STALE_SECONDS if items <= 1 else 0):
            await self._count()
        elif late > 0:
            self._start_counting()
        if self._refusal(caller, items) is not None:
            await self._count()  # much of what was let in may be done
            refusal = self._refusal(caller, items)
            if refusal is not None:
                raise refusal

    def _refusal(self, caller: Caller, items: int) -> ApiError | None:
        """What is said to who may not have so many more, if so."""
        key = caller.key_id
        own = self._queued.get(key, 0) + self._arrived[key] + self._arriving[key]
        limit = caller.max_queued_items
        if limit is None:
            limit = self._settings.max_queued_items_per_key
        if limit is not None and own + items > limit:
            return _too_many("This API key", own, items, limit)
        total = self._total + self._arrived.total() + self._arriving.total()
        if total + items > self._settings.max_queued_items:
            return _too_many("The service", total, items, self._settings.max_queued_items)
        return None

    async def _count(self) -> None:
        await asyncio.shield(self._start_counting())

    def _start_counting(self) -> asyncio.Task[None]:
        """One count at a time; who needs one that is under way shares it."""
        if self._counting is None or self._counting.done():
            self._counting = asyncio.create_task(self._run_count())
            self._counting.add_done_callback(_note_failure)
        return self._counting

    async def _run_count(self) -> None:
        await asyncio.sleep(max(0.0, self._counted_at + self._took / MOST_SHARE - time.monotonic()))
        begun, before = time.monotonic(), self._arrived.copy()
        async with borrow(self._pool) as conn:
            self._queued = await queued_items(conn)
        self._total = sum(self._queued.values())
        self._arrived -= before
        self._counted_at, self._took = begun, time.monotonic() - begun


def _note_failure(counting: asyncio.Task[None]) -> None:
    """A caller that waited has been told; nobody waits for a count behind a call."""
    if not counting.cancelled() and (error := counting.exception()) is not None:
        log.warning("queued_items.not_counted", error=str(error))


def _too_many(who: str, queued: int, asked: int, limit: int) -> ApiError:
    message = f"{who} has {queued:,} items queued; {asked:,} more would exceed its limit of {limit:,}."
    headers = {"retry-after": str(RETRY_SECONDS)}
    if asked > limit:
        message += " So many never fit at once: submit them in several jobs."
        headers |= NO_RETRY
    else:
        message += " Try again when some of them are done."
    return ApiError("too_many_queued_items", message, headers=headers)
