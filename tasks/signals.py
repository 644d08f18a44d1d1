"""Redis signals: pokes, answers, and who listens. All of them may be lost; the database is the truth.

poke:<family>   to slots that are awake: look again
poke:dispatch   to the dispatcher: a job wants validating or settling
poke:deliver    to deliverers: an event may be due
answers         to the API: a job that somebody waits for has ended, with its result when that is small
"""

import asyncio
import time
from collections.abc import Callable
from typing import Any, cast

import msgspec
import redis
import redis.asyncio
from redis.exceptions import RedisError

PREFIX = "batchyard:"
ANSWERS = PREFIX + "answers"
DISPATCH = PREFIX + "poke:dispatch"
DELIVER = PREFIX + "poke:deliver"
ANSWER_LIMIT_BYTES = 256 * 1024  # larger results are read from the database
TIMEOUT_SECONDS = 0.5  # it answers in less than a millisecond, or not at all
SILENT_SECONDS = 1.0


def poke_channel(family: str) -> str:
    return f"{PREFIX}poke:{family}"


class Answered(msgspec.Struct, frozen=True, array_like=True):
    """A job has ended. `status` and `data` are its only part's result, when it has one part and fits."""

    job_id: int
    status: int | None = None
    data: bytes | None = None


_encoder = msgspec.msgpack.Encoder()
decode_answered = msgspec.msgpack.Decoder(Answered).decode


def encode_answered(answered: Answered) -> bytes:
    if answered.data is not None and len(answered.data) > ANSWER_LIMIT_BYTES:
        answered = Answered(answered.job_id)
    return _encoder.encode(answered)


def connect(url: str) -> redis.Redis:
    """A client for the controller and the dispatcher. Nothing is sent before the first command."""
    return redis.Redis.from_url(
        url, socket_timeout=TIMEOUT_SECONDS, socket_connect_timeout=TIMEOUT_SECONDS, protocol=2
    )


def connect_async(url: str) -> redis.asyncio.Redis:
    """A client for the API."""
    return redis.asyncio.Redis.from_url(url, socket_connect_timeout=TIMEOUT_SECONDS, protocol=2)


class Signals:
    """The sending side for synchronous code. A Redis that is away is a signal lost, never an error; after a
    failure nothing is sent for a second, so that a Redis that hangs does not hang the sender."""

    def __init__(self, client: redis.Redis) -> None:
        self._client = client
        self._silent_until = 0.0

    def poke(self, family: str) -> int:
        """Tell awake slots of `family` to look; returns how many listen."""
        return int(self.ask(lambda client: client.publish(poke_channel(family), b"")) or 0)

    def poke_dispatcher(self) -> None:
        self.ask(lambda client: client.publish(DISPATCH, b""))

    def poke_deliverers(self) -> None:
        self.ask(lambda client: client.publish(DELIVER, b""))

    def answered(self, answered: Answered) -> None:
        self.ask(lambda client: client.publish(ANSWERS, encode_answered(answered)))

    def reachable(self) -> bool:
        return bool(self.ask(lambda client: client.ping()))

    def backlog(self, family: str) -> int | None:
        """Wake-ups of `family` that no slot has picked up; None when Redis is away."""
        return cast(int | None, self.ask(lambda client: client.llen(PREFIX + family)))

    def ask(self, ask: Callable[[redis.Redis], Any]) -> Any:
        """What Redis answers; None when it does not, or has not lately."""
        if time.monotonic() < self._silent_until:
            return None
        try:
            return ask(self._client)
        except (RedisError, OSError):
            self._silent_until = time.monotonic() + SILENT_SECONDS
            return None


class AsyncSignals:
    """The sending side for the API, which is as silent after a failure."""

    def __init__(self, client: redis.asyncio.Redis) -> None:
        self._client = client
        self._silent_until = 0.0

    async def poke(self, family: str) -> int | None:
        """Tell awake slots of `family` to look; returns how many listen, None when Redis is away."""
        return cast(int | None, await self._ask(lambda client: client.publish(poke_channel(family), b"")))

    async def poke_dispatcher(self) -> None:
        await self._ask(lambda client: client.publish(DISPATCH, b""))

    async def poke_deliverers(self) -> None:
        await self._ask(lambda client: client.publish(DELIVER, b""))

    async def reachable(self) -> bool:
        return bool(await self._ask(lambda client: client.ping()))

    async def _ask(self, ask: Callable[[redis.asyncio.Redis], Any]) -> Any:
        """What Redis answers; None when it does not, or has not lately."""
        if time.monotonic() < self._silent_until:
            return None
        try:
            async with asyncio.timeout(TIMEOUT_SECONDS):
                return await ask(self._client)
        except (RedisError, OSError):  # a TimeoutError is an OSError
            self._silent_until = time.monotonic() + SILENT_SECONDS
            return None
