"""Waiting for jobs on behalf of callers: a signal carries the result, a look each second stands behind it."""

import asyncio
import contextlib
from collections.abc import Sequence
from typing import Any

import msgspec
import redis.asyncio
import structlog
from psycopg_pool import AsyncConnectionPool
from redis.exceptions import RedisError

from store import results, watch
from store.db import map_errors
from store.errors import DatabaseUnavailable
from tasks.signals import ANSWERS, Answered, decode_answered

log = structlog.get_logger(__name__)

LOOK_SECONDS = 1.0
RETRY_SECONDS = 0.5
EARLY_MOST = 64


class Answers:
    """One subscription for all the waiting calls of an API process."""

    def __init__(self, pool: AsyncConnectionPool, client: redis.asyncio.Redis) -> None:
        self._pool = pool
        self._client = client
        self._waiting: dict[int, asyncio.Future[Answered]] = {}
        self._early: dict[int, Answered] = {}
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        self._tasks = [asyncio.create_task(self._listen()), asyncio.create_task(self._look())]

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        for task in self._tasks:
            with contextlib.suppress(asyncio.CancelledError):
                await task

    async def wait(self, job_id: int, seconds: float) -> list[results.ItemResult]:
        """The results of a job's items, once it has ended; none if it failed as a whole.

        Raises TimeoutError, DatabaseUnavailable.
        """
        answered = self._early.pop(job_id, None)
        if answered is None:
            future = self._waiting.setdefault(job_id, asyncio.get_running_loop().create_future())
            try:
                answered = await asyncio.wait_for(future, seconds)
            finally:
                self._waiting.pop(job_id, None)
        if answered.status is not None and answered.data is not None:
            return [
                results.ItemResult(n=0, custom_id="", body=b"", status=answered.status, parts=[answered.data])
            ]
        with map_errors():
            async with self._pool.connection() as conn:
                return await results.answer(conn, job_id)

    def _resolve(self, answered: Answered) -> None:
        future = self._waiting.get(answered.job_id)
        if future is None:
            # The slot was faster than the commit's reply to us; kept for a moment.
            self._early[answered.job_id] = answered
            while len(self._early) > EARLY_MOST:
                self._early.pop(next(iter(self._early)))
        elif not future.done():
            future.set_result(answered)

    async def _listen(self) -> None:
        away = False  # said once when it goes, and once when it is back
        while True:
            try:
                async with self._client.pubsub() as pubsub:
                    await pubsub.subscribe(ANSWERS)
                    if away:
                        log.info("redis.back")
                    away = False
                    async for message in pubsub.listen():
                        self._take(message)
            except (RedisError, OSError) as error:
                if not away:
                    log.warning("redis.lost", error=str(error))
                away = True
                await asyncio.sleep(RETRY_SECONDS)

    def _take(self, message: dict[str, Any]) -> None:
        if message["type"] == "message":
            try:
                self._resolve(decode_answered(message["data"]))
            except msgspec.MsgspecError:  # of another version of ours
                log.warning("answer.unreadable")

    async def _look(self) -> None:
        """Find ended jobs whose signal was lost."""
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            if self._waiting:
                with contextlib.suppress(DatabaseUnavailable):
                    await self._find_ended(list(self._waiting))

    async def _find_ended(self, job_ids: Sequence[int]) -> None:
        with map_errors():
            async with self._pool.connection() as conn:
                ended = await watch.ended(conn, job_ids)
        for job_id in ended:
            self._resolve(Answered(job_id))
