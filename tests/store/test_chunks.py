"""Claims: who gets which parts, in which order, and who takes over what was lost."""

import threading
from collections import Counter
from collections.abc import Callable
from typing import Any

import psycopg
import pytest

from store import chunks, items, records
from store.records import PartResult

Take = Callable[..., chunks.Claim | None]
NewJob = Callable[..., int]
RECLAIM: dict[str, Any] = {
    "slot_id": 2, "families": ["echo"], "lanes": ["interactive", "bulk"], "cores": 1, "lease_seconds": 30.0,
    "only_model": None,
}  # fmt: skip


def done(claim: chunks.Claim) -> list[PartResult]:
    return [PartResult(n, 200, 1, b"result %d" % n) for n in range(claim.lo, claim.hi)]


def test_an_empty_store_has_nothing_to_claim(take: Take) -> None:
    assert take() is None


def test_claims_cut_a_job_from_its_head_without_gap_or_overlap(take: Take, new_job: NewJob) -> None:
    job = new_job(5)
    cut = [take(default_size=2) for _ in range(3)]
    assert [(claim.job_id, claim.lo, claim.hi) for claim in cut if claim] == [
        (job, 0, 2),
        (job, 2, 4),
        (job, 4, 5),
    ]
    assert take() is None


def test_the_size_of_the_cut_goes_by_model(take: Take, new_job: NewJob) -> None:
    new_job(10, model="large")
    new_job(10, model="small")
    first = take(sizes={"small": 7}, default_size=1, loaded="small")
    second = take(sizes={"small": 7}, default_size=1, loaded="large")
    assert first is not None
    assert second is not None
    assert (first.model, first.hi - first.lo) == ("small", 7)
    assert (second.model, second.hi - second.lo) == ("large", 1)


def test_the_first_claim_starts_the_job(take: Take, new_job: NewJob, conn: psycopg.Connection[Any]) -> None:
    job = new_job(5)
    take()
    first = conn.execute("SELECT state, started_at FROM job WHERE id = %s", (job,)).fetchone()
    take()
    second = conn.execute("SELECT state, started_at FROM job WHERE id = %s", (job,)).fetchone()
    assert first is not None
    assert first[0] == "running"
    assert first == second


def test_claims_at_once_never_overlap_and_nobody_goes_idle(
    take: Take, new_job: NewJob, open_connection: Callable[[], Any]
) -> None:
    """Many slots on few heads: every part is claimed once, and no slot sees nothing while there is work."""
    total = sum(items for items in (400, 200, 1, 1, 1) if new_job(items))
    taken: list[chunks.Claim] = []
    idle_at: list[int] = []

    def slot() -> None:
        conn = open_connection()
        while True:
            claim = take(conn=conn, default_size=3)
            if claim is None:
                idle_at.append(sum(c.hi - c.lo for c in taken))
                return
            taken.append(claim)

    threads = [threading.Thread(target=slot) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    parts = Counter((claim.job_id, n) for claim in taken for n in range(claim.lo, claim.hi))
    assert len(parts) == total
    assert set(parts.values()) == {1}
    assert min(idle_at) >= total - 3 * 4  # others may still be appending their last claim


def test_a_lease_that_ran_out_is_taken_over_and_fences_the_last_holder(
    take: Take, new_job: NewJob, conn: psycopg.Connection[Any]
) -> None:
    new_job(2)
    first = take(lease_seconds=0.0)
    assert first is not None
    second = chunks.reclaim(conn, **RECLAIM)
    assert second is not None
    assert (second.lo, second.hi, second.epoch, second.losses) == (0, 2, 2, 1)
    assert second.token != first.token

    assert chunks.renew(conn, [first.ref], 30) == set()
    assert records.record(conn, first.ref, done(first), lease_seconds=30, chunk_done=True).fenced
    assert not records.record(conn, second.ref, done(second), lease_seconds=30, chunk_done=True).fenced


def test_the_same_epoch_with_another_token_is_fenced(
    take: Take, new_job: NewJob, conn: psycopg.Connection[Any]
) -> None:
    new_job(2)
    claim = take()
    assert claim is not None
    forged = claim.ref._replace(token=claim.token ^ 1)
    assert records.record(conn, forged, done(claim), lease_seconds=30, chunk_done=True).fenced
    assert conn.execute("SELECT count(*) FROM result").fetchone() == (0,)


def test_a_lease_that_holds_is_not_taken_over(
    take: Take, new_job: NewJob, conn: psycopg.Connection[Any]
) -> None:
    new_job(2)
    claim = take()
    assert claim is not None
    assert chunks.reclaim(conn, **RECLAIM) is None
    conn.execute("UPDATE chunk SET lease_until = now() + interval '50 milliseconds'")
    assert chunks.renew(conn, [claim.ref], 30) == {claim.chunk_id}
    conn.execute("SELECT pg_sleep(0.06)")
    assert chunks.reclaim(conn, **RECLAIM) is None


def test_a_released_chunk_is_free_at_once_and_counts_no_loss(
    take: Take, new_job: NewJob, conn: psycopg.Connection[Any]
) -> None:
    new_job(3)
    claim = take(default_size=3)
    assert claim is not None
    records.record(conn, claim.ref, done(claim)[:1], lease_seconds=30, chunk_done=False)
    chunks.release(conn, [claim.ref])
    again = chunks.reclaim(conn, **RECLAIM)
    assert again is not None
    assert (again.losses, again.epoch) == (0, 2)
    left = items.load_parts(conn, again.job_id, again.lo, again.hi)
    assert [part.n for part in left] == [1, 2]


def test_who_waits_is_taken_over_first(take: Take, new_job: NewJob, conn: psycopg.Connection[Any]) -> None:
    new_job(1)
    take(lease_seconds=-60)
    waiting = new_job(1, lane="interactive")
    take(lease_seconds=-1)
    claim = chunks.reclaim(conn, **RECLAIM)
    assert claim is not None
    assert claim.job_id == waiting


@pytest.mark.parametrize(
    "other",
    [{"families": ["bert"]}, {"lanes": ["interactive"]}, {"cores": 0}, {"only_model": "another"}],
    ids=lambda value: next(iter(value)),
)
def test_what_a_slot_cannot_serve_it_does_not_take_over(
    take: Take, new_job: NewJob, conn: psycopg.Connection[Any], other: dict[str, Any]
) -> None:
    new_job(1)
    take(lease_seconds=-1)
    assert chunks.reclaim(conn, **(RECLAIM | other)) is None
    assert chunks.reclaim(conn, **RECLAIM) is not None


def test_chunks_of_a_paused_model_are_not_taken_over(
    take: Take, new_job: NewJob, conn: psycopg.Connection[Any]
) -> None:
    new_job(1)
    take(lease_seconds=-1)
    conn.execute("INSERT INTO model_pause VALUES ('echo', 'crashes')")
    assert chunks.reclaim(conn, **RECLAIM) is None


def test_a_trial_of_a_paused_model_claims_one_part_of_one_job_once(
    take: Take, new_job: NewJob, conn: psycopg.Connection[Any]
) -> None:
    other, tried = new_job(5), new_job(5)
    conn.execute(
        "INSERT INTO model_pause (model, reason, trial_job_id) VALUES ('echo', 'crashes', %s)", (tried,)
    )
    claim = take(default_size=4)
    assert claim is not None
    assert (claim.job_id, claim.lo, claim.hi, claim.trial) == (tried, 0, 1, True)
    assert take() is None
    conn.execute("DELETE FROM model_pause")
    after = take()
    assert after is not None
    assert (after.job_id, after.trial) == (other, False)


def test_a_trial_may_take_over_a_chunk_that_was_lost(
    take: Take, new_job: NewJob, conn: psycopg.Connection[Any]
) -> None:
    for _ in range(2):
        new_job(2)
        take(lease_seconds=-1)
    tried = new_job(2)
    take(lease_seconds=-1)
    conn.execute(
        "INSERT INTO model_pause (model, reason, trial_job_id) VALUES ('echo', 'crashes', %s)", (tried,)
    )
    claim = chunks.reclaim(conn, **RECLAIM)
    assert claim is not None
    assert (claim.job_id, claim.trial) == (tried, True)
    assert chunks.reclaim(conn, **RECLAIM) is None
    conn.execute("DELETE FROM model_pause")
    after = chunks.reclaim(conn, **RECLAIM)
    assert after is not None
    assert not after.trial


def test_slots_at_once_try_a_paused_model_with_one_part(
    take: Take, new_job: NewJob, conn: psycopg.Connection[Any], open_connection: Callable[[], Any]
) -> None:
    tried = new_job(50)
    taken: list[chunks.Claim] = []
    start = threading.Barrier(5)

    def slot() -> None:
        own = open_connection()
        for _ in range(5):
            start.wait()
            if claim := take(conn=own, default_size=1):
                taken.append(claim)
            start.wait()

    threads = [threading.Thread(target=slot) for _ in range(4)]
    for thread in threads:
        thread.start()
    conn.execute("INSERT INTO model_pause (model, reason) VALUES ('echo', 'crashes')")
    for count in range(1, 6):
        conn.execute("UPDATE model_pause SET trial_job_id = %s", (tried,))
        start.wait()
        start.wait()
        assert len(taken) == count
    for thread in threads:
        thread.join()


def test_two_slots_never_take_over_the_same_chunk(
    take: Take, new_job: NewJob, open_connection: Callable[[], Any]
) -> None:
    new_job(40)
    for _ in range(20):
        take(lease_seconds=-1)
    taken: list[int] = []

    def slot() -> None:
        conn = open_connection()
        while claim := chunks.reclaim(conn, **RECLAIM):
            taken.append(claim.chunk_id)

    threads = [threading.Thread(target=slot) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(taken) == sorted(set(taken))
    assert len(taken) == 20


def test_renewing_and_releasing_nothing_is_fine(conn: psycopg.Connection[Any]) -> None:
    assert chunks.renew(conn, [], 30) == set()
    chunks.release(conn, [])
