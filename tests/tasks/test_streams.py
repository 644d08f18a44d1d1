"""A job's stream: gathered, capped, and silent while Redis is."""

import time
from pathlib import Path

import pytest
import redis

from tasks.signals import Signals, connect
from tasks.streams import (
    KEEP_ENDED_SECONDS,
    KEEP_SECONDS,
    MOST_PARTS,
    EntryId,
    EventWriter,
    decode_news,
    key_of,
)

JOB = 7


@pytest.fixture
def client(redis_url: str) -> redis.Redis:
    return connect(redis_url)


@pytest.fixture
def writer(client: redis.Redis) -> EventWriter:
    return EventWriter(Signals(client))


def length(client: redis.Redis) -> int:
    return int(client.xlen(key_of(JOB)))


def test_records_are_gathered_and_go_out_before_a_state(client: redis.Redis, writer: EventWriter) -> None:
    writer.recorded(JOB, [0, 1])
    writer.recorded(JOB, [2])
    writer.recorded(JOB + 1, [0])
    assert length(client) == 0
    writer.state(JOB, "completed")
    assert length(client) == 2  # the three parts, and the state
    assert client.xlen(key_of(JOB + 1)) == 1


def test_what_was_heard_goes_out_with_the_parts_and_before_them(
    client: redis.Redis, writer: EventWriter
) -> None:
    writer.heard(JOB, [(0, b"a")])
    writer.recorded(JOB, [0, *range(2, MOST_PARTS + 2)])
    writer.heard(JOB, [(1, b"b")])
    writer.state(JOB, "completed")
    news = [decode_news(fields) for _, fields in client.xrange(key_of(JOB))]
    assert [(len(one.parts), one.heard, one.state) for one in news] == [
        (MOST_PARTS, [(0, b"a"), (1, b"b")], None),
        (1, [], None),
        (0, [], "completed"),
    ]


def test_what_was_gathered_goes_out_in_time_and_in_portions(client: redis.Redis, writer: EventWriter) -> None:
    writer.recorded(JOB, list(range(MOST_PARTS + 1)))
    writer.flush()
    assert length(client) == 0
    time.sleep(0.25)
    writer.flush()
    assert length(client) == 2
    writer.flush(at_once=True)
    assert length(client) == 2


def test_a_stream_is_kept_for_a_day_and_after_the_end_for_a_while(
    client: redis.Redis, writer: EventWriter
) -> None:
    writer.state(JOB, "running")
    assert 0 < int(client.ttl(key_of(JOB))) - KEEP_ENDED_SECONDS <= KEEP_SECONDS
    writer.state(JOB, "expired")
    assert 0 < int(client.ttl(key_of(JOB))) <= KEEP_ENDED_SECONDS


def test_a_redis_that_is_away_costs_nothing_but_the_news(tmp_path: Path) -> None:
    writer = EventWriter(Signals(connect(f"unix://{tmp_path}/nobody.sock")))
    for n in range(1000):
        writer.recorded(JOB, [n])
        writer.flush(at_once=True)
        writer.state(JOB, "running")


@pytest.mark.parametrize("text", ["", "-", "a-1", "1-2-3", "-1-0", "²-0", str(2**63), "1" * 40])
def test_a_position_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is no position"):
        EntryId.parse(text)
