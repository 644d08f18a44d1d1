"""Back-pressure: nobody queues more items than a limit allows, nobody is refused for what is done."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from fastapi.testclient import TestClient

from api import limits
from api.app import create_app
from api.errors import ApiError
from api.limits import Limits
from configs.settings import Settings
from store.db import open_pool
from tasks.submit import Caller

LIMITED = Caller(key_id=1, max_queued_items=100)
ANOTHER = Caller(key_id=2)


def with_limits(url: str, use: Callable[[Limits, Any], Awaitable[Any]], **settings: Any) -> Any:
    """Run `use(limits, pool)` with limits over the database at `url`."""

    async def run() -> Any:
        async with open_pool(url, name="test") as pool:
            return await use(Limits(Settings(home=Path("unused"), **settings), pool), pool)

    return asyncio.run(run())


def queue(url: str, items: int, *, key: int = 1, done: int = 0) -> None:
    """Put a running job of so many items in, without its items."""
    with psycopg.connect(url, autocommit=True) as conn:
        conn.execute(
            "INSERT INTO api_key (id, project_id, name) VALUES (%s, 1, 'test') ON CONFLICT DO NOTHING", (key,)
        )
        conn.execute(
            "WITH job AS (INSERT INTO job (suffix, view, project_id, key_id, endpoint, family, model, lane, "
            "state, items, parts) VALUES (gen_random_uuid()::text, 'job', 1, %(key)s, '/v1/embeddings', "
            "'echo', 'echo', 'bulk', 'running', %(items)s, %(items)s) RETURNING id) "
            "INSERT INTO job_progress (job_id, done) SELECT id, %(done)s FROM job",
            {"key": key, "items": items, "done": done},
        )


async def admit(door: Limits, caller: Caller, items: int) -> None:
    """Submit what needs no time."""
    async with door.room(caller, items):
        pass


async def refusal(door: Limits, caller: Caller, items: int) -> ApiError:
    with pytest.raises(ApiError) as caught:
        await admit(door, caller, items)
    return caught.value


def test_a_key_at_its_limit_is_told_the_numbers_and_when_to_come_back(database_url: str) -> None:
    queue(database_url, 100, done=15)

    async def use(door: Limits, pool: Any) -> None:
        refused = await refusal(door, LIMITED, 16)
        assert refused.code == "too_many_queued_items"
        assert refused.headers == {"retry-after": "10"}
        assert "85 items queued; 16 more would exceed its limit of 100" in refused.message
        await admit(door, LIMITED, 15)
        await admit(door, ANOTHER, 1_000)

    with_limits(database_url, use)


def test_what_is_being_submitted_counts_until_it_is_seen_in_the_database(database_url: str) -> None:
    async def use(door: Limits, pool: Any) -> None:
        async with door.room(LIMITED, 60):
            refused = await refusal(door, LIMITED, 41)  # counted anew, which finds nothing in the database
            assert "60 items queued; 41 more would exceed its limit of 100" in refused.message
            queue(database_url, 60)
        assert "60 items" in (await refusal(door, LIMITED, 41)).message  # and not 120
        await admit(door, LIMITED, 40)

    with_limits(database_url, use)


def test_a_submission_that_fails_leaves_no_trace(database_url: str) -> None:
    async def use(door: Limits, pool: Any) -> None:
        with pytest.raises(ZeroDivisionError):
            async with door.room(LIMITED, 100):
                raise ZeroDivisionError
        await pool.close()  # the numbers at hand must do
        await admit(door, LIMITED, 100)

    with_limits(database_url, use)


def test_callers_at_once_share_what_is_left(database_url: str) -> None:
    """Each holds its room while others ask, so that together they stay within the limit."""
    queue(database_url, 50)

    async def submit(door: Limits) -> int:
        try:
            async with door.room(LIMITED, 5):
                await asyncio.to_thread(queue, database_url, 5)
        except ApiError:
            return 0
        return 5

    async def use(door: Limits, pool: Any) -> int:
        return sum(await asyncio.gather(*(submit(door) for _ in range(30))))

    assert with_limits(database_url, use) == 50


def test_who_calls_one_after_the_other_is_never_refused_for_what_is_done(database_url: str) -> None:
    async def use(door: Limits, pool: Any) -> None:
        for _ in range(30):  # far more than the limit within a second, each done before the next
            await admit(door, Caller(key_id=1, max_queued_items=2), 1)

    with_limits(database_url, use)


def test_a_call_costs_no_query_while_the_numbers_are_fresh(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "FRESH_SECONDS", 60.0)
    monkeypatch.setattr(limits, "STALE_SECONDS", 60.0)

    async def use(door: Limits, pool: Any) -> None:
        await admit(door, ANOTHER, 1)
        await pool.close()  # nothing can be asked any more
        for _ in range(1_000):
            await admit(door, ANOTHER, 1)

    with_limits(database_url, use)


def test_numbers_are_refreshed_behind_a_call_and_before_a_large_submission(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "FRESH_SECONDS", 0.0)
    monkeypatch.setattr(limits, "USUAL_SHARE", float("inf"))

    async def use(door: Limits, pool: Any) -> None:
        await admit(door, ANOTHER, 1)
        begun, go_on = asyncio.Event(), asyncio.Event()

        async def count(conn: Any) -> dict[int, int]:
            begun.set()
            await go_on.wait()
            return {1: 60}

        monkeypatch.setattr(limits, "queued_items", count)
        await admit(door, ANOTHER, 1)  # returns while counting is yet to end
        await asyncio.wait_for(begun.wait(), 30)
        large = asyncio.create_task(admit(door, LIMITED, 41))
        await asyncio.sleep(0)
        assert not large.done()
        go_on.set()
        with pytest.raises(ApiError, match="60 items queued"):
            await large

    with_limits(database_url, use)


def test_the_whole_service_has_a_limit_too(database_url: str) -> None:
    queue(database_url, 900, key=2)

    async def use(door: Limits, pool: Any) -> None:
        await admit(door, ANOTHER, 100)
        refused = await refusal(door, LIMITED, 101)
        assert "This API key" in refused.message  # its own limit is named first
        assert "The service has 900 items queued" in (await refusal(door, ANOTHER, 101)).message

    with_limits(database_url, use, max_queued_items=1_000)


def test_keys_without_a_limit_of_their_own_get_that_of_the_settings(database_url: str) -> None:
    async def use(door: Limits, pool: Any) -> None:
        assert "limit of 10" in (await refusal(door, ANOTHER, 11)).message
        await admit(door, LIMITED, 11)

    with_limits(database_url, use, max_queued_items_per_key=10)


def test_more_than_ever_fits_is_not_worth_a_retry(database_url: str) -> None:
    async def use(door: Limits, pool: Any) -> None:
        refused = await refusal(door, LIMITED, 101)
        assert refused.headers is not None
        assert refused.headers["x-should-retry"] == "false"
        assert "never fit" in refused.message

    with_limits(database_url, use)


@pytest.fixture
def limited(database_url: str, redis_url: str, tmp_path: Path) -> Iterator[TestClient]:
    """An API, called with a key that may have three items queued. Nobody computes."""
    settings = Settings(home=tmp_path, database_url=database_url, redis_url=redis_url)
    with TestClient(create_app(settings)) as client:
        for wanted in ({"name": "first"}, {"name": "limited", "max_queued_items": 3}):
            key = client.post("/v1/keys", json=wanted).json()["key"]
            client.headers["authorization"] = f"Bearer {key}"
        yield client


def test_a_key_with_too_much_queued_is_refused_on_every_way_in(limited: TestClient) -> None:
    work = {"endpoint": "/v1/embeddings", "model": "echo"}
    requests = [{"body": {"input": "x"}}] * 4
    lines = b'{"custom_id": "a", "body": {"input": "x"}}\n' * 4
    file = limited.post("/v1/files", files={"file": ("in.jsonl", lines)}, data={"purpose": "batch"}).json()
    for path in ("/v1/jobs", "/v1/batches"):
        for source in ({"requests": requests}, {"input_file_id": file["id"]}):
            refused = limited.post(path, json={**work, **source})
            assert (refused.status_code, refused.json()["error"]["code"]) == (429, "too_many_queued_items")
            assert "4 more would exceed its limit of 3" in refused.json()["error"]["message"]
            assert refused.headers["retry-after"].isdecimal()
    made = limited.post("/v1/jobs", json={**work, "requests": requests[:3]})
    assert made.status_code == 200, made.text
    call, later = {"model": "echo", "input": "x"}, {"prefer": "respond-async"}
    assert limited.post("/v1/embeddings", json=call, headers=later).status_code == 429
    limited.post(f"/v1/jobs/{made.json()['id']}/cancel")  # makes room at once
    assert limited.post("/v1/embeddings", json=call, headers=later).status_code == 202
