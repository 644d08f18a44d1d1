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
from store.db import borrow
from store.errors import DatabaseUnavailable
from tasks.signals import ANSWERS, Answered, decode_answered

log = structlog.get_logger(__name__)

LOOK_SECONDS = 1.0
RETRY_SECONDS = 0.5
EARLY_MOST = 64
STOP_SECONDS = 0.1


class Answers:
    """One subscription for all the waiting calls of an API process."""

    def __init__(self, pool: AsyncConnectionPool, client: redis.asyncio.Redis) -> None:
        self._pool = pool
        self._client = client
        self._waiting: dict[int, set[asyncio.Future[Answered]]] = {}  # several, where calls were joined
        self._early: dict[int, Answered] = {}
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        self._tasks = [asyncio.create_task(self._listen()), asyncio.create_task(self._look())]

    async def stop(self) -> None:
        """End the subscription. Asked more than once: redis swallows a cancel while it connects."""
        while self._tasks:
            for task in self._tasks:
                task.cancel()
            _, pending = await asyncio.wait(self._tasks, timeout=STOP_SECONDS)
            self._tasks = list(pending)

    async def wait(self, job_id: int, seconds: float) -> list[results.ItemResult]:
        """The results of a job's items, once it has ended; none if it failed as a whole.

        Raises TimeoutError, DatabaseUnavailable.
        """
        answered = self._early.pop(job_id, None) or await self._signal(job_id, seconds)
        if answered.status is not None and answered.data is not None:
            return [results.ItemResult.single(answered.status, answered.data)]
        return await self.read(job_id)

    async def read(self, job_id: int) -> list[results.ItemResult]:
        """The results of a job that has ended. Raises DatabaseUnavailable."""
        async with borrow(self._pool) as conn:
            return await results.answer(conn, job_id)

    async def _signal(self, job_id: int, seconds: float) -> Answered:
        future: asyncio.Future[Answered] = asyncio.get_running_loop().create_future()
        waiting = self._waiting.setdefault(job_id, set())
        waiting.add(future)
        try:
            return await asyncio.wait_for(future, seconds)
        finally:
            waiting.discard(future)
            if not waiting:
                self._waiting.pop(job_id, None)

    def _resolve(self, answered: Answered) -> None:
        futures = self._waiting.get(answered.job_id)
        if futures is None:
            # The slot was faster than the commit's reply to us; kept for a moment.
            self._early[answered.job_id] = answered
            while len(self._early) > EARLY_MOST:
                self._early.pop(next(iter(self._early)))
            return
        for future in futures:
            if not future.done():
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
        async with borrow(self._pool) as conn:
            ended = await watch.ended(conn, job_ids)
        for job_id in ended:
            self._resolve(Answered(job_id))
