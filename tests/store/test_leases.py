"""Leases: who keeps what it has claimed, and who takes over what was lost."""

import threading
from collections.abc import Callable
from typing import Any

import psycopg
import pytest

from store import chunks, items, leases, records
from store.records import PartResult

Take = Callable[..., chunks.Claim | None]
NewJob = Callable[..., int]
OTHER = 2  # the slot that takes over


def done(claim: chunks.Claim) -> list[PartResult]:
    return [PartResult(n, 200, 1, b"result %d" % n) for n in range(claim.lo, claim.hi)]


def test_a_lease_that_ran_out_is_taken_over_and_fences_the_last_holder(
    take: Take, take_over: Take, new_job: NewJob, conn: psycopg.Connection[Any]
) -> None:
    new_job(2)
    first = take(lease_seconds=0.0)
    assert first is not None
    second = take_over(slot_id=OTHER)
    assert second is not None
    assert (second.lo, second.hi, second.epoch, second.losses) == (0, 2, 2, 1)
    assert second.token != first.token

    assert leases.renew(conn, [first.ref], 30) == set()
    assert records.record(conn, first.ref, done(first), lease_seconds=30, chunk_done=True).fenced
    assert not records.record(conn, second.ref, done(second), lease_seconds=30, chunk_done=True).fenced


def test_a_lease_that_holds_is_not_taken_over(
    take: Take, take_over: Take, new_job: NewJob, conn: psycopg.Connection[Any]
) -> None:
    new_job(2)
    claim = take()
    assert claim is not None
    assert take_over(slot_id=OTHER) is None
    conn.execute("UPDATE chunk SET lease_until = now() + interval '50 milliseconds'")
    assert leases.renew(conn, [claim.ref], 30) == {claim.chunk_id}
    conn.execute("SELECT pg_sleep(0.06)")
    assert take_over(slot_id=OTHER) is None


def test_a_released_chunk_is_free_at_once_and_counts_no_loss(
    take: Take, take_over: Take, new_job: NewJob, conn: psycopg.Connection[Any]
) -> None:
    new_job(3)
    claim = take(default_size=3)
    assert claim is not None
    records.record(conn, claim.ref, done(claim)[:1], lease_seconds=30, chunk_done=False)
    leases.release(conn, [claim.ref])
    again = take_over(slot_id=OTHER)
    assert again is not None
    assert (again.losses, again.epoch) == (0, 2)
    left = items.load_parts(conn, again.job_id, again.lo, again.hi)
    assert [part.n for part in left] == [1, 2]


def test_who_waits_is_taken_over_first(
    take: Take, take_over: Take, new_job: NewJob, conn: psycopg.Connection[Any]
) -> None:
    new_job(1)
    take(lease_seconds=-60)
    waiting = new_job(1, lane="interactive")
    take(lease_seconds=-1)
    claim = take_over(slot_id=OTHER)
    assert claim is not None
    assert claim.job_id == waiting


@pytest.mark.parametrize(
    "other",
    [{"families": ["bert"]}, {"lanes": ["interactive"]}, {"cores": 0}, {"only_model": "another"}],
    ids=lambda value: next(iter(value)),
)
def test_what_a_slot_cannot_serve_it_does_not_take_over(
    take: Take, take_over: Take, new_job: NewJob, conn: psycopg.Connection[Any], other: dict[str, Any]
) -> None:
    new_job(1)
    take(lease_seconds=-1)
    assert take_over(slot_id=OTHER, **other) is None
    assert take_over(slot_id=OTHER) is not None


def test_chunks_of_a_paused_model_are_not_taken_over(
    take: Take, take_over: Take, new_job: NewJob, conn: psycopg.Connection[Any]
) -> None:
    new_job(1)
    take(lease_seconds=-1)
    conn.execute("INSERT INTO model_pause VALUES ('echo', 'crashes')")
    assert take_over(slot_id=OTHER) is None


def test_a_trial_may_take_over_a_chunk_that_was_lost(
    take: Take, take_over: Take, new_job: NewJob, conn: psycopg.Connection[Any]
) -> None:
    for _ in range(2):
        new_job(2)
        take(lease_seconds=-1)
    tried = new_job(2)
    take(lease_seconds=-1)
    conn.execute(
        "INSERT INTO model_pause (model, reason, trial_job_id) VALUES ('echo', 'crashes', %s)", (tried,)
    )
    claim = take_over(slot_id=OTHER)
    assert claim is not None
    assert (claim.job_id, claim.trial) == (tried, True)
    assert take_over(slot_id=OTHER) is None
    conn.execute("DELETE FROM model_pause")
    after = take_over(slot_id=OTHER)
    assert after is not None
    assert not after.trial


def test_two_slots_never_take_over_the_same_chunk(
    take: Take, take_over: Take, new_job: NewJob, open_connection: Callable[[], Any]
) -> None:
    new_job(40)
    for _ in range(20):
        take(lease_seconds=-1)
    taken: list[int] = []

    def slot() -> None:
        conn = open_connection()
        while claim := take_over(conn=conn, slot_id=OTHER):
            taken.append(claim.chunk_id)

    threads = [threading.Thread(target=slot) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(taken) == sorted(set(taken))
    assert len(taken) == 20


def test_renewing_and_releasing_nothing_is_fine(conn: psycopg.Connection[Any]) -> None:
    assert leases.renew(conn, [], 30) == set()
    leases.release(conn, [])
