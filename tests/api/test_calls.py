"""Single calls whose answer is not waited for, that are sent again, joined and left."""

import asyncio
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest
from psycopg.rows import dict_row

from configs.settings import Settings
from tests.api.serving import BODY, EMBEDDINGS, api, compute, hang_up, running, until
from tests.tasks.slot import settings_for

ASYNC = {"prefer": "respond-async"}
RETRY = {"x-stainless-retry-count": "1"}
FIRST = {"x-stainless-retry-count": "0"}
HOOK = "http://127.0.0.1:9/hook"

Rows = Callable[..., list[dict[str, Any]]]


@pytest.fixture
def settings(database_url: str, redis_url: str, tmp_path: Path) -> Settings:
    return settings_for(tmp_path, database_url=database_url, redis_url=redis_url, webhook_allow="127.0.0.0/8")


@pytest.fixture
def rows(database_url: str) -> Iterator[Rows]:
    with psycopg.connect(database_url, autocommit=True, row_factory=dict_row) as conn:
        yield lambda statement: conn.execute(statement).fetchall()


def queued(rows: Rows, jobs: int, waiters: int) -> Callable[[], bool]:
    """Whether there are so many jobs, and so many who wait for them."""

    def look() -> bool:
        [row] = rows("SELECT count(*) AS jobs, coalesce(sum(waiters), 0) AS waiters FROM job")
        return (row["jobs"], row["waiters"]) == (jobs, waiters)

    return look


async def post(client: httpx.AsyncClient, body: Any = BODY, **headers: str) -> httpx.Response:
    return await client.post(EMBEDDINGS, json=body, headers=headers)


def error_of(reply: httpx.Response) -> tuple[int, str, str | None]:
    error = reply.json()["error"]
    return reply.status_code, error["code"], error["param"]


# --- answered with the job ------------------------------------------------------------------------------


def test_a_call_that_prefers_so_is_answered_with_its_job_whose_result_is_fetched(
    settings: Settings, rows: Rows
) -> None:
    async def scenario() -> None:
        async with api(settings) as client:
            reply = await post(client, prefer="wait=5, Respond-Async; x=1")
            assert reply.status_code == 202
            assert reply.headers["preference-applied"] == "respond-async"
            job = reply.json()
            assert (job["object"], job["status"]) == ("job", "queued")
            assert reply.headers["location"] == f"/v1/jobs/{job['id']}"
            await compute(settings)
            assert (await client.get(reply.headers["location"])).json()["status"] == "completed"
            [line] = (await client.get(f"/v1/jobs/{job['id']}/results")).text.splitlines()
            response = json.loads(line)["response"]
            assert response["status_code"] == 200
            assert len(response["body"]["data"]) == 1

    asyncio.run(scenario())
    assert rows("SELECT lane, announced, waiters FROM job") == [
        {"lane": "interactive", "announced": True, "waiters": 0}
    ]
    assert rows("SELECT type FROM webhook_event") == [{"type": "job.completed"}]


def test_the_error_of_an_async_call_is_its_result(settings: Settings) -> None:
    async def scenario() -> None:
        async with api(settings) as client:
            reply = await post(client, {**BODY, "dimensions": 4096}, **ASYNC)
            await compute(settings)
            [line] = (await client.get(f"/v1/jobs/{reply.json()['id']}/results")).text.splitlines()
            response = json.loads(line)["response"]
            assert response["status_code"] == 400
            assert response["body"]["error"]["code"] == "invalid_dimensions"

    asyncio.run(scenario())


def test_a_call_may_name_a_webhook_and_metadata_which_its_backend_does_not_see(
    settings: Settings, rows: Rows
) -> None:
    async def scenario() -> None:
        async with api(settings) as client:
            named = {"input": "a", "webhook_url": HOOK, "metadata": {"webhook_url": "http://x", "a": "b"}}
            assert (await post(client, {"model": "echo", **named}, **ASYNC)).status_code == 202
            only = {**BODY, "metadata": {"webhook_url": HOOK}}
            answers = asyncio.create_task(post(client, only))
            await until(queued(rows, jobs=2, waiters=1), "both are submitted")
            await compute(settings)
            assert (await answers).status_code == 200

    asyncio.run(scenario())
    made = rows("SELECT webhook_url, meta, announced, body FROM job JOIN item ON job_id = id ORDER BY id")
    assert [json.loads(row.pop("body")) for row in made] == [{"model": "echo", "input": "a"}, BODY]
    assert made == [
        {"webhook_url": HOOK, "meta": {"webhook_url": "http://x", "a": "b"}, "announced": True},
        {"webhook_url": HOOK, "meta": {"webhook_url": HOOK}, "announced": True},
    ]
    assert rows("SELECT url FROM delivery") == [{"url": HOOK}, {"url": HOOK}]


@pytest.mark.parametrize(
    ("fields", "code", "param"),
    [
        ({"webhook_url": 7}, "invalid_type", "webhook_url"),
        ({"webhook_url": "http://10.0.0.1/"}, "invalid_webhook_url", "webhook_url"),
        ({"metadata": {"webhook_url": "ftp://127.0.0.1/"}}, "invalid_webhook_url", "metadata.webhook_url"),
        ({"metadata": {str(n): "x" for n in range(17)}}, "invalid_value", "metadata"),
        ({"metadata": {"a": 1}}, "invalid_type", "metadata"),
    ],
)
def test_what_is_wrong_with_them_is_said_and_nothing_is_submitted(
    settings: Settings, rows: Rows, fields: dict[str, Any], code: str, param: str
) -> None:
    async def scenario() -> None:
        async with api(settings) as client:
            assert error_of(await post(client, BODY | fields, **ASYNC)) == (400, code, param)

    asyncio.run(scenario())
    assert rows("SELECT id FROM job") == []


# --- sent again -----------------------------------------------------------------------------------------


def test_the_same_key_and_body_find_the_first_job_while_it_waits_and_once_it_has_ended(
    settings: Settings, rows: Rows
) -> None:
    async def scenario() -> None:
        async with api(settings) as client, api(settings) as other:
            calls = [asyncio.create_task(post(one, **{"idempotency-key": "k"})) for one in (client, other)]
            await until(queued(rows, jobs=1, waiters=2), "the second joined the first")
            await compute(settings)
            first, second = await asyncio.gather(*calls)
            assert first.status_code == 200
            assert (await post(other, **{"idempotency-key": "k"})).content == first.content == second.content
            job = (await post(client, **{"idempotency-key": "k"}, **ASYNC)).json()
            assert job["status"] == "completed"

    asyncio.run(scenario())
    assert len(rows("SELECT id FROM job")) == 1


def test_the_same_key_with_another_body_is_a_conflict_that_no_retry_heals(
    settings: Settings, rows: Rows
) -> None:
    async def scenario() -> None:
        async with api(settings) as client:
            await post(client, **{"idempotency-key": "k"}, **ASYNC)
            reply = await post(client, {**BODY, "input": "other"}, **{"idempotency-key": "k"}, **ASYNC)
            assert error_of(reply) == (409, "idempotency_mismatch", "Idempotency-Key")
            assert reply.headers["x-should-retry"] == "false"
            for key in ("", "x" * 256):
                reply = await post(client, **{"idempotency-key": key})
                assert error_of(reply) == (400, "invalid_value", "Idempotency-Key")

    asyncio.run(scenario())
    assert len(rows("SELECT id FROM job")) == 1


def test_many_at_once_with_one_key_make_one_job(settings: Settings, rows: Rows) -> None:
    async def scenario() -> None:
        async with api(settings) as client, api(settings) as other:
            posts = [post(one, **{"idempotency-key": "k"}, **ASYNC) for one in (client, other) * 8]
            replies = await asyncio.gather(*posts)
            assert {reply.status_code for reply in replies} == {202}
            assert len({reply.json()["id"] for reply in replies}) == 1

    asyncio.run(scenario())
    assert len(rows("SELECT id FROM job")) == 1


@pytest.mark.parametrize("path", ["/v1/jobs", "/v1/batches"])
def test_jobs_and_batches_are_submitted_once_too(settings: Settings, rows: Rows, path: str) -> None:
    work = {"endpoint": EMBEDDINGS, "model": "echo", "requests": [{"body": {"input": "a"}}]}
    other = {**work, "requests": [{"body": {"input": "b"}}]}

    async def scenario() -> None:
        async with api(settings) as client:
            for headers in ({"idempotency-key": "k"}, RETRY):
                made = [await client.post(path, json=work, headers=headers) for _ in range(2)]
                assert len({reply.json()["id"] for reply in made}) == 1
            reply = await client.post(path, json=other, headers={"idempotency-key": "k"})
            assert error_of(reply)[:2] == (409, "idempotency_mismatch")

    asyncio.run(scenario())
    assert len(rows("SELECT id FROM job")) == 2 - 1  # the retry found the first, which is still open


def test_a_retry_of_the_official_client_joins_the_call_in_flight_at_another_process(
    settings: Settings, rows: Rows
) -> None:
    async def scenario() -> None:
        async with api(settings) as client, api(settings) as other:
            first = asyncio.create_task(post(client, **FIRST))
            await until(queued(rows, jobs=1, waiters=1), "the first is submitted")
            again = asyncio.create_task(post(other, **RETRY))
            await until(queued(rows, jobs=1, waiters=2), "the retry joined it")
            twice = asyncio.create_task(post(client, **FIRST))  # the same, but no retry
            await until(queued(rows, jobs=2, waiters=3), "an equal call is a call of its own")
            await compute(settings)
            replies = await asyncio.gather(first, again, twice)
            assert {reply.status_code for reply in replies} == {200}
            late = asyncio.create_task(post(other, **RETRY))  # nothing is in flight any more
            await until(queued(rows, jobs=3, waiters=4), "it is computed anew")
            await compute(settings)
            assert (await late).status_code == 200

    asyncio.run(scenario())


# --- callers who go away --------------------------------------------------------------------------------


def test_a_call_is_cancelled_with_the_last_who_waited_for_it_at_any_process(
    settings: Settings, rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("api.awaiting.GRACE_SECONDS", 0.2)
    body = json.dumps(BODY).encode()

    async def scenario() -> None:
        async with running(settings) as app, running(settings) as other:
            leave, leave_too = asyncio.Event(), asyncio.Event()
            one = asyncio.create_task(hang_up(app, body, [(b"x-stainless-retry-count", b"0")], leave))
            await until(queued(rows, jobs=1, waiters=1), "the first waits")
            two = asyncio.create_task(hang_up(other, body, [(b"x-stainless-retry-count", b"1")], leave_too))
            await until(queued(rows, jobs=1, waiters=2), "the second joined")
            leave.set()
            await one
            await until(queued(rows, jobs=1, waiters=1), "the first has left")
            assert rows("SELECT state FROM job") == [{"state": "queued"}]
            leave_too.set()
            await two
            await until(lambda: rows("SELECT state FROM job") == [{"state": "cancelled"}], "it is cancelled")

    asyncio.run(scenario())


def test_a_call_with_a_key_goes_on_without_its_caller(
    settings: Settings, rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("api.awaiting.GRACE_SECONDS", 0.1)
    body = json.dumps(BODY).encode()

    async def scenario() -> None:
        async with running(settings) as app, api(settings) as client:
            leave = asyncio.Event()
            headers = [(b"idempotency-key", b"k"), (b"content-type", b"application/json")]
            gone = asyncio.create_task(hang_up(app, body, headers, leave))
            await until(queued(rows, jobs=1, waiters=1), "it waits")
            leave.set()
            await gone
            await until(queued(rows, jobs=1, waiters=0), "it has left")
            await compute(settings)
            reply = await client.post(EMBEDDINGS, content=body, headers={"idempotency-key": "k"})
            assert reply.status_code == 200

    asyncio.run(scenario())
    assert len(rows("SELECT id FROM job")) == 1
