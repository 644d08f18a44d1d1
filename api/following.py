"""Following a job: its stream says that something is new, the database says what.

A reader begins with a snapshot, or where it was cut off (`Last-Event-ID`), if the stream still knows. Where
it may have missed something (Redis was emptied, the stream was cut, nothing was written while Redis was
away) it gets a snapshot again. Each second without news it looks at the database itself, which is all that
is left while Redis is away.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Hashable
from dataclasses import replace
from typing import Any, NamedTuple

import msgspec

from api.schemas.events import ItemsEvent, ended_item, heard_of, standing
from backends.transcription import ENDPOINTS
from backends.types import decode_segments
from store import following
from store.db import Pool, borrow
from store.errors import DatabaseUnavailable
from store.following import EndedItem, Look, PartItem
from tasks.streams import BEGINNING, GATHER_SECONDS, Entry, EntryId, JobStreams, StreamAway

LOOK_SECONDS = 1.0
SHARE_SECONDS = 5.0


class Event(NamedTuple):
    """What a reader is sent. `kind`: snapshot, state, progress, items or segments."""

    id: EntryId
    kind: str
    data: bytes


class Following:
    """What the readers of one API process share: they ask the same at the same time."""

    def __init__(self, pool: Pool, streams: JobStreams) -> None:
        self.streams = streams
        self._pool = pool
        self._asked: dict[Hashable, tuple[float, asyncio.Task[Any]]] = {}

    async def look(self, job_id: int, *, max_age: float = 0.0, entry: EntryId | None = None) -> Look | None:
        """How the job stood at most `max_age` seconds ago, or at some time since an entry of its stream.

        Raises `DatabaseUnavailable`.
        """

        async def ask() -> Look | None:
            async with borrow(self._pool) as conn:
                look = await following.look(conn, job_id)
            if look is None or look.endpoint not in ENDPOINTS or look.ended:
                return look
            [units] = await self.streams.under_way([job_id])
            return replace(look, under_way=units)

        key, age = (job_id, max_age) if entry is None else ((job_id, "look", entry), SHARE_SECONDS)
        found: Look | None = await self._share(key, age, ask)
        return found

    async def ended_items(self, job_id: int, entry: Entry) -> list[EndedItem]:
        """The items that ended with the parts of an entry. Raises `DatabaseUnavailable`."""

        async def ask() -> list[EndedItem]:
            async with borrow(self._pool) as conn:
                return await following.ended_items(conn, job_id, entry.news.parts)

        found: list[EndedItem] = await self._share((job_id, "items", entry.id), SHARE_SECONDS, ask)
        return found

    async def items_of(self, job_id: int, entry: Entry) -> dict[int, PartItem]:
        """The items of the parts of which an entry has something heard. Raises `DatabaseUnavailable`."""

        async def ask() -> dict[int, PartItem]:
            async with borrow(self._pool) as conn:
                parts = sorted({part for part, _ in entry.news.heard})
                return {item.part: item for item in await following.items_of(conn, job_id, parts)}

        found: dict[int, PartItem] = await self._share((job_id, "heard", entry.id), SHARE_SECONDS, ask)
        return found

    async def _share(self, key: Hashable, max_age: float, ask: Callable[[], Awaitable[Any]]) -> Any:
        now = time.monotonic()
        begun, task = self._asked.get(key, (0.0, None))
        if task is None or now - begun > max_age:
            self._asked = {k: kept for k, kept in self._asked.items() if now - kept[0] < SHARE_SECONDS}
            task = asyncio.ensure_future(ask())
            self._asked[key] = (now, task)
        return await asyncio.shield(task)  # one reader that goes must not take the answer from the others


class Follower:
    """One reader of one job. `events` is to be gone through once."""

    def __init__(self, shared: Following, job_id: int, after: EntryId | None) -> None:
        self._shared, self._job_id = shared, job_id
        self._cursor = after  # up to where the stream has been read; None: it was empty
        self._placed = False  # whether what the stream has is known to follow the cursor
        self._sent = after or BEGINNING
        self._seen: Look | None = None
        self._ended = False

    async def events(self) -> AsyncIterator[list[Event]]:
        """What is new, turn by turn; after a second at most a turn is over, with nothing perhaps. Ends with
        the job."""
        while not self._ended:
            try:
                yield await (self._turn() if self._placed else self._place())
            except DatabaseUnavailable:
                yield []
                await asyncio.sleep(LOOK_SECONDS)

    async def _place(self) -> list[Event]:
        """Find the place in the stream; a snapshot where something may have been missed."""
        try:
            bounds = await self._shared.streams.bounds(self._job_id)
        except StreamAway:
            if self._seen is None:
                return self._standing(await self._look(), "snapshot")
            await asyncio.sleep(LOOK_SECONDS)
            return self._changes(await self._look(max_age=LOOK_SECONDS / 2))
        self._placed = True
        if self._cursor is not None and bounds is not None and bounds[0] <= self._cursor <= bounds[1]:
            return []
        self._cursor = bounds[1] if bounds is not None else None
        return self._standing(await self._look(), "snapshot")

    async def _turn(self) -> list[Event]:
        """Wait for news, and say what they are."""
        wait = LOOK_SECONDS if self._seen is not None else 0.001
        streams, before = self._shared.streams, self._cursor
        try:
            entries = await streams.read(self._job_id, before or BEGINNING, wait)
            bounds = await streams.bounds(self._job_id) if entries and before is not None else None
        except StreamAway:
            self._placed = False
            return []
        if bounds is not None and before is not None and bounds[0] > before:
            self._placed = False  # between the cursor and the first entry there may have been others
            return []
        if not entries:
            return self._changes(await self._look(max_age=LOOK_SECONDS / 2))
        events = [
            event for entry in entries for event in (*await self._heard(entry), *await self._items(entry))
        ]
        self._cursor = entries[-1].id
        events += self._changes(await self._look(entry=self._cursor))
        await asyncio.sleep(0.0 if self._ended else GATHER_SECONDS)  # at most five turns a second
        return events

    async def _look(self, *, max_age: float = 0.0, entry: EntryId | None = None) -> Look | None:
        return await self._shared.look(self._job_id, max_age=max_age, entry=entry)

    async def _heard(self, entry: Entry) -> list[Event]:
        if not entry.news.heard:
            return []
        items = await self._shared.items_of(self._job_id, entry)
        return [
            self._event("segments", heard_of(items[part], decode_segments(data)), entry.id)
            for part, data in entry.news.heard
            if part in items
        ]

    async def _items(self, entry: Entry) -> list[Event]:
        if not entry.news.parts:
            return []
        ended = await self._shared.ended_items(self._job_id, entry)
        if not ended:
            return []
        return [self._event("items", ItemsEvent(items=[ended_item(item) for item in ended]), entry.id)]

    def _changes(self, look: Look | None) -> list[Event]:
        """What is to be said of a look: the state where that is new, else the counts where they are."""
        if look is not None and look == self._seen:
            return []
        same = look is not None and self._seen is not None and look.state == self._seen.state
        return self._standing(look, "progress" if same else "state")

    def _standing(self, look: Look | None, kind: str) -> list[Event]:
        self._ended = look is None or look.ended  # None: it has been deleted
        self._seen = look
        if look is None:
            return []
        return [self._event(kind, standing(look), self._cursor or BEGINNING)]

    def _event(self, kind: str, data: msgspec.Struct, at: EntryId) -> Event:
        """Ids grow: an event is of the entry that it follows, or just behind the event before."""
        self._sent = max(at, self._sent.next())
        return Event(self._sent, kind, msgspec.json.encode(data))
