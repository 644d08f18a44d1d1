"""Calls that are sent again, joined and left: found by key or by what they ask, cancelled with the last who
waits."""

import asyncio
from collections.abc import Callable
from typing import Any

import psycopg
import pytest

from store import calls, jobs
from store.errors import KeyTaken
from store.states import JobState

PLAIN = {"view": "call", "lane": "interactive", "announced": False, "waiters": 1}

Await = Callable[..., Any]
NewJob = Callable[..., int]


def state_of(wait_for: Await, job_id: int) -> JobState:
    state: JobState = wait_for(jobs.load, job_id).state
    return state


def test_the_last_who_leaves_a_plain_call_cancels_it(new_job: NewJob, wait_for: Await) -> None:
    job_id = new_job(**PLAIN)
    assert wait_for(calls.join, job_id)
    assert wait_for(calls.leave, job_id) is None
    assert state_of(wait_for, job_id) == "queued"
    assert wait_for(calls.leave, job_id) == "echo"
    assert state_of(wait_for, job_id) == "cancelled"


def test_a_call_in_work_is_cancelling_once_it_has_been_left(
    new_job: NewJob, take: Await, wait_for: Await
) -> None:
    job_id = new_job(**PLAIN)
    assert take() is not None
    assert wait_for(calls.leave, job_id) == "echo"
    assert state_of(wait_for, job_id) == "cancelling"
    assert not wait_for(calls.join, job_id)


@pytest.mark.parametrize("promise", [{"announced": True}, {"idempotency_key": "a key"}])
def test_a_call_whose_end_somebody_will_hear_of_outlives_its_waiters(
    new_job: NewJob, wait_for: Await, promise: dict[str, Any]
) -> None:
    job_id = new_job(**(PLAIN | promise))
    assert wait_for(calls.leave, job_id) is None
    assert state_of(wait_for, job_id) == "queued"
    assert wait_for(calls.leave, job_id) is None
    assert wait_for(jobs.load, job_id).waiters == 0


def test_a_call_that_has_ended_is_neither_joined_nor_left(new_job: NewJob, wait_for: Await) -> None:
    job_id = new_job(**PLAIN)
    wait_for(jobs.request_cancel, job_id)
    assert not wait_for(calls.join, job_id)
    assert wait_for(calls.leave, job_id) is None
    assert wait_for(jobs.load, job_id).waiters == 1


def test_who_joins_while_the_last_one_leaves_has_a_job_that_runs_or_none(
    new_job: NewJob, database_url: str
) -> None:
    async def race(job_id: int) -> tuple[bool, str | None]:
        async with (
            await psycopg.AsyncConnection.connect(database_url, autocommit=True) as one,
            await psycopg.AsyncConnection.connect(database_url, autocommit=True) as other,
        ):
            return tuple(await asyncio.gather(calls.join(one, job_id), calls.leave(other, job_id)))  # type: ignore[return-value]

    for _ in range(20):
        joined, cancelled = asyncio.run(race(new_job(**PLAIN)))
        assert joined == (cancelled is None)


def test_an_identical_call_in_flight_is_found_until_it_ends(
    new_job: NewJob, new_key: Callable[..., int], wait_for: Await
) -> None:
    print_ = b"p" * 32
    job_id = new_job(**PLAIN, fingerprint=print_)
    new_job(**PLAIN, fingerprint=print_)
    found = wait_for(calls.find_in_flight, 1, print_, announced=False)
    assert (found.id, found.ended) == (job_id, False)
    assert wait_for(calls.find_in_flight, 1, print_, announced=True) is None
    assert wait_for(calls.find_in_flight, 1, b"q" * 32, announced=False) is None
    assert wait_for(calls.find_in_flight, new_key(), print_, announced=False) is None
    wait_for(jobs.request_cancel, job_id)
    assert wait_for(calls.find_in_flight, 1, print_, announced=False).id == job_id + 1


def test_a_key_belongs_to_one_job_of_its_api_key_for_as_long_as_that_is_kept(
    new_job: NewJob, new_key: Callable[..., int], wait_for: Await
) -> None:
    job_id = new_job(**PLAIN, idempotency_key="mine", fingerprint=b"p")
    with pytest.raises(KeyTaken):
        new_job(**PLAIN, idempotency_key="mine")
    other = new_job(**(PLAIN | {"key_id": new_key()}), idempotency_key="mine")
    assert other != job_id
    wait_for(jobs.request_cancel, job_id)
    found = wait_for(calls.find_by_key, 1, "mine")
    assert (found.id, found.fingerprint, found.ended) == (job_id, b"p", True)
