"""Followers of a job over real Postgres and Redis, without a service around them: what they are told, and
when a snapshot stands for what they may have missed."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest
import redis

from api.following import Event, Follower, Following
from backends.types import encode_segments
from store import db, following
from tasks.signals import Signals, connect
from tasks.streams import MOST_ENTRIES, EntryId, EventWriter, JobStreams, connect_streams, key_of
from tasks.under_way import UnderWay
from tests.api.test_transcripts_live import segment
from tests.tasks.slot import submit, submit_in_parts, text


@dataclass
class Scene:
    """A job of four items, whoever computes it, and who follows it."""

    conn: psycopg.Connection[Any]
    redis: redis.Redis
    writer: EventWriter
    shared: Following
    job_id: int

    def record(self, *parts: int, status: int = 200, told: bool = True) -> None:
        for n in parts:
            self.conn.execute(
                "INSERT INTO result (job_id, n, status, data) VALUES (%s, %s, %s, '')",
                (self.job_id, n, status),
            )
        self.conn.execute(
            "UPDATE job_progress SET done = done + %s, failed = failed + %s WHERE job_id = %s",
            (len(parts), len(parts) if status != 200 else 0, self.job_id),
        )
        if told:
            self.writer.recorded(self.job_id, parts)
            self.writer.flush(at_once=True)

    def come_to(self, state: str, *, told: bool = True) -> None:
        self.conn.execute("UPDATE job SET state = %s WHERE id = %s", (state, self.job_id))
        if told:
            self.writer.state(self.job_id, state)

    def follow(self, after: EntryId | None = None) -> "Reader":
        return Reader(Follower(self.shared, self.job_id, after).events())


class Reader:
    """Takes events one by one."""

    def __init__(self, turns: AsyncIterator[list[Event]]) -> None:
        self._turns = turns
        self._waiting: list[Event] = []
        self.last = EntryId(0, 0)

    async def next(self) -> tuple[str, Any]:
        async with asyncio.timeout(30):
            while not self._waiting:
                self._waiting = await anext(self._turns)
        event = self._waiting.pop(0)
        assert event.id > self.last, "ids grow"
        self.last = event.id
        return event.kind, json.loads(event.data)

    async def until(self, kind: str, **fields: Any) -> Any:
        """The next event of this kind, with these fields."""
        while True:
            found, data = await self.next()
            if found == kind and fields.items() <= data.items():
                return data

    async def rest(self) -> list[tuple[str, Any]]:
        """All events up to the end."""
        events = []
        while True:
            try:
                events.append(await self.next())
            except StopAsyncIteration:
                return events


Play = Callable[[Scene], Awaitable[None]]


@pytest.fixture
def play(database_url: str, redis_url: str) -> Callable[..., None]:
    """Runs a scene; with `url`, over a Redis of another URL."""

    def run(scenario: Play, *, job_id: int | None = None, url: str = redis_url) -> None:
        job = job_id or submit(database_url, [text(n) for n in range(4)])

        async def scene() -> None:
            async with shared_by_readers(database_url, url) as shared:
                with psycopg.connect(database_url, autocommit=True) as conn, connect(url) as client:
                    await scenario(Scene(conn, client, EventWriter(Signals(connect(url))), shared, job))

        asyncio.run(scene())

    return run


@asynccontextmanager
async def shared_by_readers(database_url: str, redis_url: str) -> AsyncIterator[Following]:
    pool = db.open_pool(database_url, name="test", size=4)
    await pool.open()
    client = connect_streams(redis_url)
    try:
        yield Following(pool, JobStreams(client))
    finally:
        await client.aclose()
        await pool.close()


def test_a_reader_is_told_the_whole_way_of_a_job(play: Callable[..., None]) -> None:
    async def scenario(scene: Scene) -> None:
        reader = scene.follow()
        kind, snapshot = await reader.next()
        assert (kind, snapshot["status"], snapshot["request_counts"]["total"]) == ("snapshot", "queued", 4)
        scene.come_to("running")
        await reader.until("state", status="running")
        scene.record(0)
        scene.record(2, status=400)
        items = [*(await reader.until("items"))["items"], *(await reader.until("items"))["items"]]
        assert items == [
            {"id": 0, "custom_id": "0", "state": "succeeded"},
            {"id": 2, "custom_id": "2", "state": "errored"},
        ]
        counts = {"total": 4, "completed": 1, "failed": 1}
        await reader.until("progress", request_counts=counts)
        scene.record(1, 3)
        scene.come_to("completed")
        kind, last = (await reader.rest())[-1]
        assert (kind, last["status"], last["request_counts"]["completed"]) == ("state", "completed", 3)

    play(scenario)


def test_a_reader_that_was_cut_off_goes_on_where_it_was(play: Callable[..., None]) -> None:
    async def scenario(scene: Scene) -> None:
        reader = scene.follow()
        await reader.next()
        scene.record(0)
        await reader.until("items")
        await reader.until("progress")
        scene.record(1)
        scene.record(3)
        again = scene.follow(reader.last)
        again.last = reader.last
        kind, data = await again.next()
        assert (kind, [item["id"] for item in data["items"]]) == ("items", [1])
        kind, data = await again.next()
        assert (kind, [item["id"] for item in data["items"]]) == ("items", [3])
        assert (await again.until("state"))["request_counts"]["completed"] == 3

    play(scenario)


@pytest.mark.parametrize("after", [None, EntryId(5, 0)])
def test_a_job_that_has_ended_is_a_snapshot_and_the_end(
    play: Callable[..., None], after: EntryId | None
) -> None:
    async def scenario(scene: Scene) -> None:
        scene.record(0, 1, 2, 3)
        scene.come_to("completed")
        [(kind, data)] = await scene.follow(after).rest()
        assert (kind, data["status"], data["counts"]["succeeded"]) == ("snapshot", "completed", 4)

    play(scenario)


def test_an_emptied_redis_costs_a_snapshot(play: Callable[..., None]) -> None:
    async def scenario(scene: Scene) -> None:
        reader = scene.follow()
        await reader.next()
        scene.record(0)
        await reader.until("items")
        scene.redis.flushall()
        scene.record(1)  # the new stream begins with it, or with the one after, which is all the same
        await reader.until("snapshot", request_counts={"total": 4, "completed": 2, "failed": 0})
        scene.record(2)
        assert [item["id"] for item in (await reader.until("items"))["items"]] == [2]

    play(scenario)


def test_a_stream_that_was_cut_behind_a_reader_costs_a_snapshot(play: Callable[..., None]) -> None:
    async def scenario(scene: Scene) -> None:
        reader = scene.follow()
        await reader.next()
        scene.record(0)
        await reader.until("items")
        for _ in range(2 * MOST_ENTRIES):
            scene.writer.recorded(scene.job_id, [1])
            scene.writer.flush(at_once=True)
        assert scene.redis.xlen(key_of(scene.job_id)) < 2 * MOST_ENTRIES
        again = scene.follow(reader.last)
        assert (await again.next())[0] == "snapshot"

    play(scenario)


def test_what_nobody_told_is_seen_within_a_look(play: Callable[..., None]) -> None:
    async def scenario(scene: Scene) -> None:
        reader = scene.follow()
        await reader.next()
        scene.record(0, told=False)
        await reader.until("progress", request_counts={"total": 4, "completed": 1, "failed": 0})
        scene.record(told=True)  # a record without parts is no news
        scene.come_to("cancelled", told=False)
        assert [kind for kind, _ in await reader.rest()] == ["state"]

    play(scenario)


def test_without_redis_a_job_is_followed_by_looks_alone(play: Callable[..., None], tmp_path: Path) -> None:
    async def scenario(scene: Scene) -> None:
        reader = scene.follow()
        assert (await reader.next())[0] == "snapshot"
        scene.record(0)
        await reader.until("progress", request_counts={"total": 4, "completed": 1, "failed": 0})
        scene.come_to("completed")
        assert [kind for kind, _ in await reader.rest()] == ["state"]

    play(scenario, url=f"unix://{tmp_path}/nobody.sock")


def test_an_item_in_parts_ends_with_the_last_of_them(play: Callable[..., None], database_url: str) -> None:
    async def scenario(scene: Scene) -> None:
        reader = scene.follow()
        await reader.next()
        scene.record(0, 2)
        scene.record(1)
        assert (await reader.until("items"))["items"] == [
            {"id": 0, "custom_id": "large", "state": "succeeded"}
        ]

    play(scenario, job_id=submit_in_parts(database_url, 3))


def test_what_is_heard_of_a_recording_is_told_with_its_item(
    play: Callable[..., None], database_url: str
) -> None:
    async def scenario(scene: Scene) -> None:
        reader = scene.follow()
        _, snapshot = await reader.next()
        assert snapshot["audio"] is None  # its endpoint is another
        spoken = encode_segments([segment(60_500, " Good morning."), segment(62_000, " Who is there?", 1)])
        scene.writer.heard(scene.job_id, [(2, spoken)])
        scene.writer.flush(at_once=True)
        assert await reader.until("segments") == {
            "id": 0,
            "custom_id": "large",
            "segments": [
                {"start": 60.5, "end": 61.4, "text": "Good morning."},
                {"start": 62.0, "end": 62.9, "text": "Who is there?", "speaker": "channel_1"},
            ],
        }

    play(scenario, job_id=submit_in_parts(database_url, 3))


def test_how_far_recordings_are_is_progress(play: Callable[..., None]) -> None:
    async def scenario(scene: Scene) -> None:
        scene.conn.execute("UPDATE job SET endpoint = '/v1/audio/transcriptions'")
        reader = scene.follow()
        await reader.next()
        scene.conn.execute("UPDATE job_progress SET units = 120000, foreseen = 480000")
        audio = (await reader.until("progress"))["audio"]
        assert audio == {"done_seconds": 120.0, "known_seconds": 600.0}
        UnderWay(Signals(scene.redis)).told(scene.job_id, 1, 30_000)
        audio = (await reader.until("progress"))["audio"]
        assert audio == {"done_seconds": 150.0, "known_seconds": 600.0}

    play(scenario)


def test_a_deleted_job_is_the_end(play: Callable[..., None]) -> None:
    async def scenario(scene: Scene) -> None:
        reader = scene.follow()
        await reader.next()
        scene.conn.execute("DELETE FROM job WHERE id = %s", (scene.job_id,))
        assert await reader.rest() == []

    play(scenario)


def test_readers_of_one_job_share_what_they_ask(
    play: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = 0
    look = following.look

    async def counted(*args: Any) -> Any:
        nonlocal looks
        looks += 1
        return await look(*args)

    monkeypatch.setattr("store.following.look", counted)

    async def scenario(scene: Scene) -> None:
        readers = [scene.follow() for _ in range(20)]
        await asyncio.gather(*(reader.next() for reader in readers))
        before = looks
        scene.record(0, told=False)
        await asyncio.gather(*(reader.until("progress") for reader in readers))
        assert looks - before <= 6

    play(scenario)
