"""Recording: exactly once, fenced, counted, also from many threads and for items of several parts."""

import threading
from collections.abc import Callable
from typing import Any

import psycopg
import pytest

from store import counts as item_counts
from store import items, jobs, lifecycle, records, results, watch
from store.chunks import Claim
from store.items import NewItem
from store.records import Addition, PartResult

Conn = psycopg.Connection[Any]
Take = Callable[..., Claim]
NewJob = Callable[..., int]
WaitFor = Callable[..., Any]


def computed(*numbers: int, status: int = 200) -> list[PartResult]:
    return [PartResult(n, status, 10, b"result %d" % n) for n in numbers]


def record(conn: Conn, claim: Claim, rows: list[PartResult], **named: Any) -> records.Recorded:
    return records.record(conn, claim.ref, rows, **({"lease_seconds": 30.0, "chunk_done": False} | named))


def progress(conn: Conn, job: int) -> tuple[Any, ...]:
    row = conn.execute("SELECT done, failed, units FROM job_progress WHERE job_id = %s", (job,)).fetchone()
    assert row is not None
    return row


def test_a_part_is_recorded_once_however_often_it_is_computed(
    conn: Conn, take: Take, new_job: NewJob
) -> None:
    job = new_job(3)
    claim = take(default_size=3)
    record(conn, claim, computed(0, 1))
    record(conn, claim, [PartResult(1, 500, 99, b"another"), *computed(2)])
    assert progress(conn, job) == (3, 0, 30)
    kept = conn.execute("SELECT data FROM result WHERE job_id = %s AND n = 1", (job,)).fetchone()
    assert kept == (b"result 1",)


def test_the_last_part_of_a_batch_leaves_it_finalizing(conn: Conn, take: Take, new_job: NewJob) -> None:
    new_job(2)
    claim = take(default_size=2)
    assert record(conn, claim, computed(0)) == records.Recorded(
        fenced=False, job_finished=False, state="running", parts=2
    )
    last = record(conn, claim, computed(1, status=400), chunk_done=True)
    assert last == records.Recorded(fenced=False, job_finished=True, state="finalizing", parts=2)
    assert lifecycle.next_finalizing(conn) is not None


def test_the_last_part_of_a_call_completes_it(
    conn: Conn, take: Take, new_job: NewJob, wait_for: WaitFor
) -> None:
    job = new_job(1, view="call", lane="interactive")
    claim = take()
    assert wait_for(watch.ended, [job]) == []
    done = record(conn, claim, computed(0), chunk_done=True)
    assert done == records.Recorded(fenced=False, job_finished=True, state="completed", parts=1)
    assert wait_for(watch.ended, [job, job + 1]) == [job]


def test_a_chunk_that_is_done_takes_nothing_more(conn: Conn, take: Take, new_job: NewJob) -> None:
    new_job(2)
    claim = take(default_size=2)
    record(conn, claim, computed(0), chunk_done=True)
    assert record(conn, claim, computed(1)).fenced


def test_a_record_without_rows_ends_a_chunk_whose_parts_are_all_recorded(
    conn: Conn, take: Take, new_job: NewJob
) -> None:
    new_job(1)
    claim = take(lease_seconds=30)
    assert record(conn, claim, computed(0)).job_finished
    assert record(conn, claim, [], chunk_done=True) == records.Recorded(
        fenced=False, job_finished=False, state="finalizing", parts=1
    )


def test_a_record_renews_the_lease(conn: Conn, take: Take, new_job: NewJob) -> None:
    new_job(2)
    claim = take(default_size=2, lease_seconds=-1)
    record(conn, claim, computed(0), lease_seconds=30)
    live = conn.execute("SELECT lease_until > now() + interval '20 seconds' FROM chunk").fetchone()
    assert live == (True,)


@pytest.mark.parametrize("data", [b"", b"\x00", b"a\x00b\x00", bytes(range(256)) * 40])
def test_bodies_and_results_hold_any_bytes(
    conn: Conn, take: Take, new_job: NewJob, wait_for: WaitFor, data: bytes
) -> None:
    job = new_job([NewItem(custom_id="one", body=data, more_bodies=(data,))])
    claim = take(default_size=2)
    loaded = items.load_parts(conn, job, 0, 2)
    assert [part.body for part in loaded] == [data, data]
    record(conn, claim, [PartResult(0, 200, 1, data), PartResult(1, 200, 1, data)], chunk_done=True)
    (answer,) = wait_for(results.answer, job)
    assert (answer.body, answer.parts) == (data, [data, data])


def test_threads_that_record_the_same_parts_count_each_once_and_finish_once(
    conn: Conn, take: Take, new_job: NewJob, open_connection: Callable[[], Conn]
) -> None:
    """The holder may send a record again whose reply it never got, at the same moment."""
    job = new_job(200)
    claims = [take(default_size=10) for _ in range(20)]
    finished: list[str] = []
    barrier = threading.Barrier(4)

    def holder(order: list[Claim]) -> None:
        own = open_connection()
        barrier.wait()
        for claim in order:
            for n in range(claim.lo, claim.hi, 2):
                done = record(own, claim, computed(n, n + 1))
                if done.job_finished:
                    finished.append(done.state)

    orders = [claims, claims, claims[::-1], claims[10:] + claims[:10]]
    threads = [threading.Thread(target=holder, args=(order,)) for order in orders]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert progress(conn, job) == (200, 0, 2000)
    assert finished == ["finalizing"]


def test_records_and_takeovers_at_once_leave_every_part_recorded_once(
    conn: Conn, take: Take, take_over: Take, new_job: NewJob, open_connection: Callable[[], Conn]
) -> None:
    """Leases that run out at once make every holder a stale one now and then."""
    job = new_job(120)
    fenced: list[int] = []
    errors: list[Exception] = []

    def slot() -> None:
        own = open_connection()
        while True:
            asked = {"conn": own, "lease_seconds": 0.002}
            claim = take(default_size=4, **asked) or take_over(**asked)
            if claim is None:
                if conn_state(own, job) == "finalizing":
                    return
                continue
            for part in items.load_parts(own, job, claim.lo, claim.hi):
                if record(own, claim, computed(part.n), lease_seconds=0.002).fenced:
                    fenced.append(part.n)
                    break
            else:
                record(own, claim, [], chunk_done=True)

    def guarded() -> None:
        try:
            slot()
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=guarded) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert progress(conn, job) == (120, 0, 1200)
    assert conn.execute("SELECT count(*) FROM result WHERE job_id = %s", (job,)).fetchone() == (120,)


def conn_state(conn: Conn, job: int) -> str:
    row = conn.execute("SELECT state FROM job WHERE id = %s", (job,)).fetchone()
    assert row is not None
    return str(row[0])


# --- items of several parts ---------------------------------------------------------------------------


def test_further_parts_are_numbered_after_the_last_item(conn: Conn, new_job: NewJob) -> None:
    job = new_job(
        [
            NewItem(custom_id="large", body=b"L0", more_bodies=(b"L1", b"L2")),
            NewItem(custom_id="small", body=b"S"),
            NewItem(custom_id="medium", body=b"M0", more_bodies=(b"M1",)),
        ]
    )
    loaded = items.load_parts(conn, job, 0, 6)
    assert [(part.n, part.body) for part in loaded] == [
        (0, b"L0"), (1, b"S"), (2, b"M0"), (3, b"L1"), (4, b"L2"), (5, b"M1"),
    ]  # fmt: skip


def test_an_item_of_several_parts_counts_once_all_are_there_or_one_has_failed(
    conn: Conn, take: Take, new_job: NewJob, wait_for: WaitFor
) -> None:
    two = (NewItem(custom_id=name, body=b"0", more_bodies=(b"1",)) for name in "ab")
    job = new_job([*two, NewItem(custom_id="c", body=b"c")])
    claim = take(default_size=5)

    def counted() -> tuple[int, int]:
        found = wait_for(item_counts.counts, [wait_for(jobs.load, job)])[0]
        return found.succeeded, found.errored

    assert counted() == (0, 0)
    record(conn, claim, computed(0))
    assert counted() == (0, 0)
    record(conn, claim, computed(2, 3))
    assert counted() == (2, 0)
    record(conn, claim, computed(4, status=400))
    assert counted() == (2, 1)
    assert record(conn, claim, computed(1), chunk_done=True).job_finished
    assert counted() == (2, 1)


def test_computing_may_add_parts_which_are_then_claimed_and_joined_in_order(
    conn: Conn, take: Take, new_job: NewJob, wait_for: WaitFor
) -> None:
    job = new_job(2, view="job")
    claim = take(default_size=2)
    grown = record(
        conn, claim, computed(0, 1), chunk_done=True, more=[Addition(1, [b"1b", b"1c"]), Addition(0, [b"0b"])]
    )
    assert (grown.fenced, grown.job_finished) == (False, False)
    following = take(default_size=9)
    assert (following.lo, following.hi) == (2, 5)
    loaded = items.load_parts(conn, job, 2, 5)
    assert [part.body for part in loaded] == [b"1b", b"1c", b"0b"]
    assert record(conn, following, computed(4, 3, 2), chunk_done=True).job_finished
    assert [result.parts for result in wait_for(results.answer, job)] == [
        [b"result 0", b"result 4"],
        [b"result 1", b"result 2", b"result 3"],
    ]


def test_parts_are_added_once_however_often_their_first_part_is_recorded(
    conn: Conn, take: Take, new_job: NewJob
) -> None:
    job = new_job(1)
    claim = take()
    for _ in range(2):
        record(conn, claim, computed(0), more=[Addition(0, [b"again"])])
    row = conn.execute("SELECT parts FROM job WHERE id = %s", (job,)).fetchone()
    assert row == (2,)


def test_units_that_added_parts_will_count_are_foreseen_until_they_are_recorded(
    conn: Conn, take: Take, new_job: NewJob
) -> None:
    job = new_job([NewItem(custom_id="long", body=b""), NewItem(custom_id="short", body=b"")])
    claim = take(default_size=2)

    def progress() -> Any:
        return conn.execute("SELECT units, foreseen FROM job_progress WHERE job_id = %s", (job,)).fetchone()

    for _ in range(2):  # also where the answer to the first record was lost
        records.record(
            conn, claim.ref, [PartResult(0, 200, 0, b"")], lease_seconds=30, chunk_done=False,
            more=[Addition(0, [b"1", b"2"], 300)],
        )  # fmt: skip
    assert progress() == (0, 300)
    records.record(conn, claim.ref, [PartResult(1, 200, 50, b"")], lease_seconds=30, chunk_done=True)
    assert progress() == (50, 300)
    rows = [PartResult(2, 200, 100, b""), PartResult(3, 200, 205, b"")]
    following = take(default_size=9)
    records.record(conn, following.ref, rows[:1], lease_seconds=30, chunk_done=False)
    assert progress() == (150, 200)
    records.record(conn, following.ref, rows[1:], lease_seconds=30, chunk_done=True)
    assert progress() == (355, 0)  # a little more than was foreseen


def test_a_stale_holder_adds_no_parts(conn: Conn, take: Take, take_over: Take, new_job: NewJob) -> None:
    job = new_job(1)
    stale = take(lease_seconds=-1)
    assert take_over(slot_id=2)
    assert record(conn, stale, computed(0), more=[Addition(0, [b"more"])]).fenced
    assert conn.execute("SELECT parts FROM job WHERE id = %s", (job,)).fetchone() == (1,)


def test_a_job_that_grows_while_its_last_part_is_recorded_does_not_finish_early(
    take: Take, new_job: NewJob, open_connection: Callable[[], Conn]
) -> None:
    """A record that waited for one that added parts must see them."""
    for _ in range(20):
        job = new_job(2)
        grower, other = take(default_size=1), take(default_size=1)
        barrier = threading.Barrier(2)
        done: dict[str, records.Recorded] = {}

        def run(name: str, claim: Claim, more: list[Addition]) -> None:
            own = open_connection()
            barrier.wait()  # noqa: B023
            done[name] = record(own, claim, computed(claim.lo), chunk_done=True, more=more)  # noqa: B023
            own.close()

        threads = [
            threading.Thread(target=run, args=("grower", grower, [Addition(grower.lo, [b"more"])])),
            threading.Thread(target=run, args=("other", other, [])),
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not done["grower"].job_finished
        assert not done["other"].job_finished
        last = take(default_size=1)
        assert (last.job_id, last.lo, last.hi) == (job, 2, 3)
        assert record(open_connection(), last, computed(2), chunk_done=True).job_finished


def test_strikes_count_per_part_and_come_with_the_part(conn: Conn, take: Take, new_job: NewJob) -> None:
    job = new_job(2)
    assert records.strike(conn, job, 1, "SIGSEGV") == 1
    assert records.strike(conn, job, 1, "SIGABRT") == 2
    assert [part.strikes for part in items.load_parts(conn, job, 0, 2)] == [0, 2]
