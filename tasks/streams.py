"""A job's events on their way to those who follow it: a Redis stream per job, capped, which may be lost.

An entry says that something is new: parts were recorded, or the state changed. What is true then is asked of
the database by the reader (`api/following.py`). It may also carry pieces of results that are still to come.
Plain awaited calls have no stream, streamed ones do.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any, NamedTuple, Self, cast

import msgspec
import redis
import redis.asyncio
from redis.exceptions import RedisError

from store.states import FINAL_JOB_STATES
from tasks import under_way
from tasks.signals import PREFIX, TIMEOUT_SECONDS, Signals

MOST_ENTRIES = 1000
MOST_PARTS = 1000  # per entry: bounds what a reader looks up at once
GATHER_SECONDS = 0.2
KEEP_SECONDS = 86_400
KEEP_ENDED_SECONDS = 600  # for readers who were cut off just before the end
READ_AT_ONCE = 50
FIELD = b"e"


class StreamAway(Exception):
    """Redis does not answer."""


class EntryId(NamedTuple):
    """A position in a stream, as Redis orders them: milliseconds, and a number within one."""

    milliseconds: int
    number: int

    @classmethod
    def parse(cls, text: str) -> Self:
        """`1732439404000-0` → an id. Raises ValueError."""
        milliseconds, _, number = text.partition("-")
        parsed = cls(_unsigned(milliseconds), _unsigned(number or "0"))
        if max(parsed) >= 2**63:
            raise ValueError(f"{text!r} is no position in a stream")
        return parsed

    def next(self) -> "EntryId":
        return EntryId(self.milliseconds, self.number + 1)

    def __str__(self) -> str:
        return f"{self.milliseconds}-{self.number}"


BEGINNING = EntryId(0, 0)


class News(msgspec.Struct, frozen=True, array_like=True):
    """An entry: the numbers of parts that were recorded, or none and the state that the job has come to.

    `heard` are pieces of results (the data of `Delta` events), each with its part's number, in the order in
    which they were decided; they come before `parts`. A part that is computed again says them again.
    """

    parts: list[int] = []
    state: str | None = None
    heard: list[tuple[int, bytes]] = []


class Entry(NamedTuple):
    id: EntryId
    news: News


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(News).decode


def key_of(job_id: int) -> str:
    return f"{PREFIX}events:{job_id}"


class _Gathered:
    """News of one job that have not been sent."""

    def __init__(self) -> None:
        self.parts: list[int] = []
        self.heard: list[tuple[int, bytes]] = []

    def news(self) -> list[News]:
        slices = [self.parts[at : at + MOST_PARTS] for at in range(0, len(self.parts), MOST_PARTS)]
        first, *others = slices or [[]]
        return [News(first, heard=self.heard), *map(News, others)]


class EventWriter:
    """Writes for one slot or dispatcher. Never raises, and is silent when `Signals` is: what is written while
    Redis is away is lost."""

    def __init__(self, signals: Signals) -> None:
        self._signals = signals
        self._gathered: dict[int, _Gathered] = {}
        self._flush_at = 0.0

    def recorded(self, job_id: int, parts: Sequence[int]) -> None:
        """Parts have been recorded. Gathered for a fifth of a second: `flush` sends them."""
        if parts:
            self._of(job_id).parts.extend(parts)

    def heard(self, job_id: int, pieces: Sequence[tuple[int, bytes]]) -> None:
        """Pieces of results have come, each of a part of this number. Gathered likewise."""
        if pieces:
            self._of(job_id).heard.extend(pieces)

    def _of(self, job_id: int) -> "_Gathered":
        if not self._gathered:
            self._flush_at = time.monotonic() + GATHER_SECONDS
        return self._gathered.setdefault(job_id, _Gathered())

    def state(self, job_id: int, state: str) -> None:
        """The job has come to `state`; what was gathered goes out before."""
        self.flush(at_once=True)
        news = [News(state=state)]
        self._signals.ask(lambda client: _append(client.pipeline(transaction=False), job_id, news).execute())

    def flush(self, *, at_once: bool = False) -> None:
        """Send what has been gathered for long enough."""
        if not self._gathered or (time.monotonic() < self._flush_at and not at_once):
            return
        gathered, self._gathered = self._gathered, {}

        def send(client: redis.Redis) -> None:
            pipeline = client.pipeline(transaction=False)
            for job_id, gathered_of_job in gathered.items():
                _append(pipeline, job_id, gathered_of_job.news())
            pipeline.execute()

        self._signals.ask(send)


class JobStreams:
    """Reads for one API process, and tells what it does itself."""

    def __init__(self, client: redis.asyncio.Redis) -> None:
        self._client = client

    async def state(self, job_id: int, state: str) -> None:
        """The job has come to `state`. Never raises."""
        with suppress(StreamAway):
            async with _answering(TIMEOUT_SECONDS):
                await _append(self._client.pipeline(transaction=False), job_id, [News(state=state)]).execute()

    async def bounds(self, job_id: int) -> tuple[EntryId, EntryId] | None:
        """The first and last id of the job's stream; None where it is empty. Raises `StreamAway`."""
        async with _answering(TIMEOUT_SECONDS):
            pipeline = self._client.pipeline(transaction=False)
            pipeline.xrange(key_of(job_id), count=1)
            pipeline.xrevrange(key_of(job_id), count=1)
            first, last = await pipeline.execute()
        return (_id(first[0][0]), _id(last[0][0])) if first and last else None

    async def read(self, job_id: int, after: EntryId, seconds: float) -> list[Entry]:
        """The entries after this id; waits so long for the first of them. Raises `StreamAway`."""
        async with _answering(seconds + TIMEOUT_SECONDS):
            streams = cast(Any, {key_of(job_id): str(after)})
            milliseconds = max(1, int(seconds * 1000))
            found: Any = await self._client.xread(streams, count=READ_AT_ONCE, block=milliseconds)
        entries = found[0][1] if found else []
        return [Entry(_id(name), decode_news(fields)) for name, fields in entries]

    async def under_way(self, job_ids: Sequence[int]) -> list[int]:
        """The units that unfinished parts of each job have come to; 0 where none is known. Never raises."""
        found: list[Any] = []
        with suppress(StreamAway):
            async with _answering(TIMEOUT_SECONDS):
                pipeline = self._client.pipeline(transaction=False)
                for job_id in job_ids:
                    pipeline.hgetall(under_way.key_of(job_id))
                found = await pipeline.execute()
        return [under_way.units_of(fields) for fields in found] or [0] * len(job_ids)


def connect_streams(url: str) -> redis.asyncio.Redis:
    """A client of its own for readers: each holds a connection, and pokes must not wait for one."""
    return redis.asyncio.Redis.from_url(
        url, socket_connect_timeout=TIMEOUT_SECONDS, protocol=2, max_connections=10_000
    )


def _append(pipeline: Any, job_id: int, news: Sequence[News]) -> Any:
    """Add entries to a job's stream, and say how long it is kept: the pipeline, to be executed."""
    for one in news:
        pipeline.xadd(key_of(job_id), {FIELD: _encode(one)}, maxlen=MOST_ENTRIES, approximate=True)
    ended = news[-1].state in FINAL_JOB_STATES
    pipeline.expire(key_of(job_id), KEEP_ENDED_SECONDS if ended else KEEP_SECONDS)
    return pipeline


@asynccontextmanager
async def _answering(seconds: float) -> AsyncIterator[None]:
    """Turns a Redis that refuses, hangs or goes away into `StreamAway`."""
    try:
        async with asyncio.timeout(seconds):
            yield
    except (RedisError, OSError, TimeoutError) as error:
        raise StreamAway(str(error)) from error


def decode_news(fields: dict[bytes, bytes]) -> News:
    try:
        return _decode(fields[FIELD])
    except (KeyError, msgspec.MsgspecError):  # of another version of ours
        return News()


def _id(name: bytes) -> EntryId:
    return EntryId.parse(name.decode())


def _unsigned(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) < 20):
        raise ValueError(f"{text!r} is no position in a stream")
    return int(text)
