"""Submitting calls and waiting for them, without a slot: the test plays the slot."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest

from backends.types import EmbeddingResult, decode_result, encode_result
from configs.models import ModelSpec
from configs.settings import Settings
from store import chunks, db, records
from tasks.answers import Answers
from tasks.signals import PREFIX, Answered, AsyncSignals, Signals, connect, connect_async
from tasks.submit import Caller, Submitter
from tests.tasks.slot import open_slot, settings_for

ECHO = ModelSpec(name="echo", family="echo")
RESULT = encode_result(EmbeddingResult(tokens=1, dimensions=1, vectors=b"\0\0\x80?"))


@dataclass
class Side:
    """The API's side of a call."""

    submitter: Submitter
    answers: Answers

    async def call(self, *bodies: bytes) -> int:
        submitted = await self.submitter.call(
            endpoint="/v1/embeddings", bodies=bodies or [b"{}"], spec=ECHO, caller=Caller()
        )
        return submitted.job_id


@pytest.fixture
def settings(database_url: str, redis_url: str, tmp_path: Path) -> Settings:
    return settings_for(tmp_path, database_url=database_url, redis_url=redis_url)


@asynccontextmanager
async def api_side(settings: Settings) -> AsyncIterator[Side]:
    pool = db.open_pool(settings.database_url or "", name="test", size=4)
    client = connect_async(settings.redis_url or "")
    answers = Answers(pool, client)
    await pool.open()
    answers.start()
    try:
        yield Side(Submitter(settings, pool, AsyncSignals(client)), answers)
    finally:
        await answers.stop()
        await client.aclose()
        await pool.close()


def compute(settings: Settings, rows: int = 1) -> list[chunks.Claim]:
    """Claim everything and record it, as a slot does; without a signal."""
    controller = open_slot(settings)
    claims = []
    with psycopg.connect(settings.database_url or "", autocommit=True) as conn:
        while claim := chunks.claim(
            conn,
            slot_id=controller.slot.slot_id,
            families=["echo"],
            lanes=["interactive"],
            cores=1,
            lease_seconds=30,
            sizes={},
            default_size=1,
            seconds={},
            loaded=None,
            only_model=None,
        ):
            rows_ = [records.PartResult(n=claim.lo, status=200, units=1, data=RESULT)]
            records.record(conn, claim.ref, rows_, lease_seconds=30, chunk_done=True)
            claims.append(claim)
    controller.close()
    return claims


def test_the_signal_carries_the_result(settings: Settings) -> None:
    async def scenario() -> list[bytes]:
        async with api_side(settings) as side:
            job_id = await side.call()
            waiting = asyncio.create_task(side.answers.wait(job_id, 10))
            await asyncio.sleep(0.3)
            Signals(connect(settings.redis_url or "")).answered(Answered(job_id, 200, RESULT))
            [item] = await waiting
            assert item.status == 200
            return item.parts

    assert asyncio.run(scenario()) == [RESULT]


def test_an_answer_that_is_faster_than_its_waiter_is_kept(settings: Settings) -> None:
    async def scenario() -> int:
        async with api_side(settings) as side:
            job_id = await side.call()
            await asyncio.sleep(0.2)  # the subscription is confirmed
            Signals(connect(settings.redis_url or "")).answered(Answered(job_id, 200, RESULT))
            await asyncio.sleep(0.2)
            begun = time.monotonic()
            [item] = await side.answers.wait(job_id, 10)
            assert time.monotonic() - begun < 0.5
            return item.status

    assert asyncio.run(scenario()) == 200


def test_a_lost_signal_costs_a_look_and_no_more(settings: Settings) -> None:
    async def scenario() -> int:
        async with api_side(settings) as side:
            job_id = await side.call()
            await asyncio.to_thread(compute, settings)
            [item] = await side.answers.wait(job_id, 10)
            return item.status

    assert asyncio.run(scenario()) == 200


def test_the_parts_of_a_large_call_come_back_in_order(settings: Settings) -> None:
    async def scenario() -> tuple[int, int]:
        async with api_side(settings) as side:
            job_id = await side.call(b"{}", b"{}", b"{}")
            claims = await asyncio.to_thread(compute, settings)
            [item] = await side.answers.wait(job_id, 10)
            assert all(decode_result(part).tokens == 1 for part in item.parts)
            return len(claims), len(item.parts)

    assert asyncio.run(scenario()) == (3, 3)


def test_a_call_that_nobody_answers_times_out(settings: Settings) -> None:
    async def scenario() -> None:
        async with api_side(settings) as side:
            await side.answers.wait(await side.call(), 0.2)

    with pytest.raises(TimeoutError):
        asyncio.run(scenario())


def test_a_wake_up_is_sent_exactly_when_no_slot_listens(settings: Settings) -> None:
    redis = connect(settings.redis_url or "")
    controller = open_slot(settings)

    async def scenario() -> tuple[int, int]:
        async with api_side(settings) as side:
            controller.listener.open()
            await side.call()
            listening = redis.llen(PREFIX + "echo")
            controller.listener.close()
            await side.call()
            return listening, redis.llen(PREFIX + "echo")  # type: ignore[return-value]

    assert asyncio.run(scenario()) == (0, 1)
    controller.close()


def test_a_call_is_taken_while_redis_is_away(settings: Settings, tmp_path: Path) -> None:
    away = settings.model_copy(update={"redis_url": f"unix://{tmp_path}/nobody.sock"})

    async def scenario() -> int:
        async with api_side(away) as side:
            job_id = await side.call()
            await asyncio.to_thread(compute, settings)
            [item] = await side.answers.wait(job_id, 10)
            return item.status

    assert asyncio.run(scenario()) == 200
