"""Where a job stands: its place, the work before it, its claims."""

from collections.abc import Callable
from typing import Any

import psycopg
import pytest

from store import jobs, leases, queue
from store.chunks import Claim
from store.queue import Standing, Work

Conn = psycopg.Connection[Any]
WaitFor = Callable[..., Any]
NewJobOf = Callable[..., int]


@pytest.fixture
def place(wait_for: WaitFor) -> Callable[..., int | None]:
    def of(job_id: int, **asked: Any) -> int | None:
        found: int | None = wait_for(queue.position, wait_for(jobs.load, job_id), **asked)
        return found

    return of


@pytest.fixture
def slot(conn: Conn) -> None:
    """One live slot of two cores that serves echo."""
    conn.execute(
        """WITH slot AS (
               INSERT INTO slot (boot_id, host, pid, families, lease_until)
               VALUES ('test', 'test', 1, '{echo}', 'infinity') RETURNING id
           ) INSERT INTO slot_core SELECT 'test', core, id FROM slot, generate_series(0, 1) AS core"""
    )


def test_before_a_job_are_higher_priorities_and_older_jobs_of_any_key(
    new_job: NewJobOf, new_key: Callable[..., int], place: Callable[..., int | None]
) -> None:
    other = new_key()
    first, second = new_job(1), new_job(1, key_id=other)
    last = new_job(1)
    urgent = new_job(1, key_id=other, priority=1)
    new_job(1, priority=-1)
    new_job(1, lane="interactive")
    new_job(1, family="bert")
    assert [place(job) for job in (urgent, first, second, last)] == [1, 2, 3, 4]


def test_a_job_that_does_not_wait_has_no_place(
    conn: Conn, new_job: NewJobOf, take: Callable[..., Claim], place: Callable[..., int | None]
) -> None:
    running, held = new_job(4), new_job(1)
    take(default_size=1)
    conn.execute("UPDATE job SET ready = false WHERE id = %s", (held,))
    assert (place(running), place(held)) == (None, None)
    assert place(new_job(1)) == 2  # behind the rest of the first


def test_far_back_the_place_is_not_told(new_job: NewJobOf, place: Callable[..., int | None]) -> None:
    jobs_ = [new_job(1) for _ in range(5)]
    assert place(jobs_[3], most=4) == 4
    assert place(jobs_[4], most=4) is None


@pytest.mark.usefixtures("slot")
def test_the_work_before_a_job_is_told_by_whose_it_is(
    conn: Conn, new_job: NewJobOf, new_key: Callable[..., int], wait_for: WaitFor
) -> None:
    conn.execute("INSERT INTO model_pace (model, seconds) VALUES ('echo', 0.5), ('slow', 3)")
    other = new_key()
    new_job(4)
    new_job(2, priority=5, model="slow")
    job = new_job(10)
    new_job(8)  # the caller's own, but younger
    new_job(6, key_id=other)  # takes turns with it, though it is younger
    work = wait_for(queue.work_ahead, wait_for(jobs.load, job))
    assert work == Work(first=6.0, own=2.0, others=(3.0,), pace=0.5, slots=1)


@pytest.mark.usefixtures("slot")
@pytest.mark.parametrize("missing", ["own pace", "pace of another", "slot", "core", "the end"])
def test_work_that_cannot_be_measured_is_not_guessed(
    conn: Conn, new_job: NewJobOf, wait_for: WaitFor, missing: str
) -> None:
    conn.execute("INSERT INTO model_pace (model, seconds) VALUES ('echo', 0.5)")
    new_job(1, model="unmeasured" if missing == "pace of another" else "echo")
    job = new_job(
        1, model="unmeasured" if missing == "own pace" else "echo", cores=3 if missing == "core" else 1
    )
    if missing == "slot":
        conn.execute("UPDATE slot SET lease_until = now() - interval '1 s'")
    most = 1 if missing == "the end" else 10
    assert wait_for(queue.work_ahead, wait_for(jobs.load, job), most=most) is None


def test_attempts_are_the_claims_of_the_chunk_that_was_claimed_most(
    conn: Conn,
    new_job: NewJobOf,
    wait_for: WaitFor,
    take: Callable[..., Claim],
    take_over: Callable[..., Claim],
) -> None:
    def attempts(job_id: int) -> int:
        found: dict[int, Standing] = wait_for(queue.standings, [wait_for(jobs.load, job_id)])
        return found[job_id].attempts

    job = new_job(4)
    assert attempts(job) == 0
    claim = take(default_size=2)
    take(default_size=2)
    assert attempts(job) == 1
    leases.release(conn, [claim.ref])
    take_over()
    assert attempts(job) == 2


def test_a_job_knows_its_retries_and_they_know_it(new_job: NewJobOf, wait_for: WaitFor) -> None:
    first = new_job(1, suffix="first")
    again = new_job(1, suffix="again", retry_of=first)
    rows = [wait_for(jobs.load, job) for job in (first, again)]
    found = wait_for(queue.standings, rows)
    assert (found[first].retry_of, found[first].retries) == (None, ("again",))
    assert (found[again].retry_of, found[again].retries) == ("first", ())
