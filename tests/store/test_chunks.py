"""Claims: who gets which parts, in which order."""

import threading
from collections import Counter
from collections.abc import Callable
from typing import Any

import psycopg

from store import chunks, records
from store.records import PartResult

Take = Callable[..., chunks.Claim | None]
NewJob = Callable[..., int]


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


def test_the_same_epoch_with_another_token_is_fenced(
    take: Take, new_job: NewJob, conn: psycopg.Connection[Any]
) -> None:
    new_job(2)
    claim = take()
    assert claim is not None
    forged = claim.ref._replace(token=claim.token ^ 1)
    assert records.record(conn, forged, done(claim), lease_seconds=30, chunk_done=True).fenced
    assert conn.execute("SELECT count(*) FROM result").fetchone() == (0,)


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
