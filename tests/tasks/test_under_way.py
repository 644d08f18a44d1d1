"""How far parts are that engines have in hand: told by slots, forgotten with them, and never in the way."""

import asyncio
import time
from pathlib import Path

import pytest
import redis

from tasks.signals import Signals, connect
from tasks.streams import JobStreams, connect_streams
from tasks.under_way import STALE_SECONDS, UnderWay, key_of, units_of

JOB = 7


def asked(url: str, *job_ids: int) -> list[int]:
    async def ask() -> list[int]:
        client = connect_streams(url)
        try:
            return await JobStreams(client).under_way(job_ids)
        finally:
            await client.aclose()

    return asyncio.run(ask())


@pytest.fixture
def client(redis_url: str) -> redis.Redis:
    return connect(redis_url)


def test_chunks_of_a_job_are_summed_and_leave_when_nothing_of_them_is_under_way(
    client: redis.Redis, redis_url: str
) -> None:
    slot, other = UnderWay(Signals(client)), UnderWay(Signals(client))
    slot.told(JOB, 1, 5_000)
    slot.told(JOB, 1, 7_000)
    other.told(JOB, 2, 500)
    slot.told(JOB + 1, 3, 1)
    assert asked(redis_url, JOB, JOB + 1, JOB + 2) == [7_500, 1, 0]
    slot.told(JOB, 1, 0)
    assert asked(redis_url, JOB) == [500]
    assert 0 < int(client.ttl(key_of(JOB))) <= STALE_SECONDS


def test_what_a_slot_that_is_gone_has_told_is_not_counted(
    client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    UnderWay(Signals(client)).told(JOB, 1, 5_000)
    client.hset(key_of(JOB), "2", b"of another version")
    fields = client.hgetall(key_of(JOB))
    assert units_of(fields) == 5_000
    later = time.time() + STALE_SECONDS + 1
    monkeypatch.setattr(time, "time", lambda: later)
    assert units_of(fields) == 0


def test_a_redis_that_is_away_costs_nothing_but_that(tmp_path: Path) -> None:
    url = f"unix://{tmp_path}/nobody.sock"
    UnderWay(Signals(connect(url))).told(JOB, 1, 5_000)
    assert asked(url, JOB, JOB) == [0, 0]
