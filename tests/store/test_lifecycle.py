"""How jobs end: validated, rejected, completed, failed, expired, cancelled; and what is void afterwards."""

import threading
from collections.abc import Callable
from typing import Any

import psycopg
import pytest

from store import files, jobs, leases, lifecycle, records, watch
from store.chunks import Claim
from store.files import OutputFile
from store.ids import new_suffix
from store.items import NewItem
from store.jobs import NewJob
from store.records import PartResult
from store.states import FINAL_JOB_STATES, JOB_TRANSITIONS, JobState

Conn = psycopg.Connection[Any]
NewJobOf = Callable[..., int]
WaitFor = Callable[..., Any]
Take = Callable[..., Claim]


@pytest.fixture
def validating(wait_for: WaitFor) -> Callable[..., int]:
    def put(**fields: Any) -> int:
        values: dict[str, Any] = {
            "suffix": new_suffix(), "view": "batch", "project_id": 1, "key_id": 1, "family": "", "model": "",
            "endpoint": "/v1/embeddings", "lane": "bulk", "input_file_id": "file-x",
        }  # fmt: skip
        job_id: int = wait_for(jobs.insert_validating, NewJob(**(values | fields)))
        return job_id

    return put


def state(conn: Conn, job: int) -> str:
    row = conn.execute("SELECT state FROM job WHERE id = %s", (job,)).fetchone()
    assert row is not None
    return str(row[0])


def record(conn: Conn, claim: Claim, *numbers: int, chunk_done: bool = False) -> records.Recorded:
    rows = [PartResult(n, 200, 1, b"") for n in numbers]
    return records.record(conn, claim.ref, rows, lease_seconds=30, chunk_done=chunk_done)


def test_files_are_validated_oldest_first(conn: Conn, validating: Callable[..., int]) -> None:
    first, second = validating(), validating()
    assert [job.id for job in [lifecycle.next_validating(conn)] if job] == [first]
    assert lifecycle.reject(conn, first, [{"code": "empty_file", "line": None, "message": "", "param": None}])
    assert [job.id for job in [lifecycle.next_validating(conn)] if job] == [second]
    assert lifecycle.validated(conn, second, 3, 4, model="echo", family="echo", cores=2)
    assert lifecycle.next_validating(conn) is None


def test_a_validated_job_is_what_its_file_says(
    conn: Conn, validating: Callable[..., int], wait_for: WaitFor
) -> None:
    job_id = validating()
    lifecycle.validated(conn, job_id, 3, 4, model="m", family="bert", cores=2)
    job = wait_for(jobs.load, job_id)
    assert (job.state, job.ready, job.items, job.parts) == ("queued", True, 3, 4)
    assert (job.model, job.family, job.cores) == ("m", "bert", 2)
    assert not lifecycle.validated(conn, job_id, 9, 9)
    assert not lifecycle.reject(conn, job_id, [])


def test_a_rejected_job_says_why(conn: Conn, validating: Callable[..., int], wait_for: WaitFor) -> None:
    job_id = validating()
    error = {"code": "invalid_url", "line": 3, "message": "The url …", "param": "url"}
    lifecycle.reject(conn, job_id, [error])
    job = wait_for(jobs.load, job_id)
    assert job.state == JobState.FAILED
    assert job.errors == {"object": "list", "data": [error]}
    assert job.ended_at is not None


def test_a_job_completes_with_the_files_that_have_lines(
    conn: Conn, new_job: NewJobOf, take: Take, wait_for: WaitFor
) -> None:
    job_id = new_job(1, output_expires_seconds=3600)
    assert not lifecycle.complete(conn, job_id, None, None)
    record(conn, take(), 0, chunk_done=True)
    assert [job.id for job in [lifecycle.next_finalizing(conn)] if job] == [job_id]
    assert lifecycle.complete(conn, job_id, OutputFile(filename="out.jsonl", size_bytes=17), None)
    job = wait_for(jobs.load, job_id)
    assert (job.state, job.error_file_id) == (JobState.COMPLETED, None)
    file = wait_for(files.find, job.output_file_id, 1)
    assert (file.job_id, file.blob, file.size_bytes, file.purpose) == (job_id, None, 17, "batch_output")
    assert (file.expires_at - file.created_at).total_seconds() == 3600
    assert not lifecycle.complete(conn, job_id, OutputFile(filename="again", size_bytes=1), None)
    assert conn.execute("SELECT count(*) FROM file").fetchone() == (1,)


def test_a_failed_job_says_why_and_takes_no_more_results(
    conn: Conn, new_job: NewJobOf, take: Take, wait_for: WaitFor
) -> None:
    job_id = new_job(4)
    claim = take(default_size=2)
    record(conn, claim, 0)
    watch.set_note(conn, [job_id], "waiting for its files")
    assert lifecycle.fail(conn, job_id, "model_load_failed", "no such tensor")
    assert record(conn, claim, 1).fenced
    assert take() is None
    job = wait_for(jobs.load, job_id)
    assert (job.state, job.done, job.note) == (JobState.FAILED, 1, None)
    assert job.errors["data"][0]["code"] == "model_load_failed"
    assert not lifecycle.fail(conn, job_id, "server_error", "again")


def test_a_job_past_its_deadline_is_closed_before_its_files_are_measured(
    conn: Conn, new_job: NewJobOf, take: Take
) -> None:
    job_id = new_job(4, deadline_seconds=0.0)
    claim = take(default_size=2)
    record(conn, claim, 0)
    (job,) = lifecycle.expire_due(conn)
    assert (job.id, job.state, job.done) == (job_id, JobState.EXPIRED, 1)
    assert state(conn, job_id) == "running"
    assert record(conn, claim, 1).fenced
    assert take() is None
    assert [again.id for again in lifecycle.expire_due(conn)] == [job_id]  # as after a crash
    assert lifecycle.expire(conn, job_id, OutputFile(filename="out", size_bytes=1), None)
    assert state(conn, job_id) == "expired"
    assert lifecycle.expire_due(conn) == []


def test_a_deadline_that_is_not_due_or_a_job_that_ended_is_let_be(
    conn: Conn, new_job: NewJobOf, take: Take
) -> None:
    new_job(1, deadline_seconds=3600.0)
    record(conn, take(), 0, chunk_done=True)
    new_job(1, deadline_seconds=3600.0)
    conn.execute("UPDATE job SET deadline = now() WHERE state = 'finalizing'")
    assert lifecycle.expire_due(conn) == []


def test_a_queued_job_that_expired_is_not_made_ready_again(conn: Conn, new_job: NewJobOf) -> None:
    new_job(1, deadline_seconds=0.0)
    assert len(lifecycle.expire_due(conn)) == 1
    assert lifecycle.release_due(conn) == 0


def test_cancelling_settles_once_no_slot_holds_a_live_lease(
    conn: Conn, new_job: NewJobOf, take: Take, wait_for: WaitFor
) -> None:
    job_id = new_job(4)
    claim = take(default_size=2)
    wait_for(jobs.request_cancel, job_id)
    assert lifecycle.settle_cancelling(conn) == []
    record(conn, claim, 0)
    leases.release(conn, [claim.ref])
    (job,) = lifecycle.settle_cancelling(conn)
    assert (job.id, job.state, job.done) == (job_id, JobState.CANCELLED, 1)
    assert record(conn, claim, 1).fenced
    assert lifecycle.finish_cancelled(conn, job_id, None, OutputFile(filename="err", size_bytes=5))
    assert state(conn, job_id) == "cancelled"
    assert not lifecycle.finish_cancelled(conn, job_id, None, None)


def test_cancelling_does_not_wait_for_a_holder_that_is_gone(
    conn: Conn, new_job: NewJobOf, take: Take, wait_for: WaitFor
) -> None:
    job_id = new_job(1)
    take(lease_seconds=-1)
    wait_for(jobs.request_cancel, job_id)
    assert [job.id for job in lifecycle.settle_cancelling(conn)] == [job_id]


def test_a_job_that_is_cancelled_while_its_file_is_read_is_not_queued(
    conn: Conn, validating: Callable[..., int], wait_for: WaitFor
) -> None:
    job_id = validating()
    wait_for(jobs.request_cancel, job_id)
    assert not lifecycle.validated(conn, job_id, 1, 1)
    assert [job.id for job in lifecycle.settle_cancelling(conn)] == [job_id]


def test_a_job_to_skip_is_neither_closed_nor_given(
    conn: Conn, new_job: NewJobOf, take: Take, wait_for: WaitFor
) -> None:
    due = [new_job(2, deadline_seconds=0.0) for _ in range(2)]
    assert [job.id for job in lifecycle.expire_due(conn, skip=due[:1])] == due[1:]
    assert take().job_id == due[0]
    quiet = [new_job(1) for _ in range(2)]
    for job_id in quiet:
        wait_for(jobs.request_cancel, job_id)
    assert [job.id for job in lifecycle.settle_cancelling(conn, skip=quiet[1:])] == quiet[:1]


def count(conn: Conn, table: str) -> int:
    row = conn.execute(f"SELECT count(*) FROM {table}").fetchone()
    assert row is not None
    return int(row[0])


def end(conn: Conn, claim: Claim, days_ago: float) -> None:
    record(conn, claim, *range(claim.lo, claim.hi), chunk_done=True)
    lifecycle.complete(conn, claim.job_id, OutputFile(filename="out", size_bytes=1), None)
    conn.execute(
        "UPDATE job SET ended_at = now() - make_interval(secs => %s) WHERE id = %s AND ended_at IS NOT NULL",
        (days_ago * 86400, claim.job_id),
    )


def test_a_job_that_ended_long_ago_goes_with_all_that_hangs_on_it(
    conn: Conn, new_job: NewJobOf, take: Take
) -> None:
    new_job([NewItem(custom_id="large", body=b"a", more_bodies=(b"b", b"c"))])
    claim = take(default_size=3)
    records.strike(conn, claim.job_id, 0, "SIGSEGV")
    end(conn, claim, days_ago=2)
    tables = ["job", "job_progress", "item", "item_part", "chunk", "result", "strike", "file"]
    assert all(count(conn, table) for table in tables)
    assert lifecycle.delete_ended(conn, "batch", 86400) == 1
    assert {table: count(conn, table) for table in tables} == dict.fromkeys(tables, 0)


def test_only_what_ended_that_long_ago_and_came_in_by_that_view_is_deleted(
    conn: Conn, new_job: NewJobOf, take: Take
) -> None:
    kept = [new_job(1) for _ in range(2)]
    for _ in kept:
        end(conn, take(), days_ago=0.9)
    kept.append(new_job(1, view="job"))
    end(conn, take(), days_ago=2)
    new_job(1)
    end(conn, take(), days_ago=2)
    open_job = new_job(1)
    conn.execute("UPDATE job SET created_at = now() - interval '9 days' WHERE id = %s", (open_job,))
    assert lifecycle.delete_ended(conn, "call", 86400) == 0
    assert lifecycle.delete_ended(conn, "batch", 86400) == 1
    left = [row[0] for row in conn.execute("SELECT id FROM job ORDER BY id").fetchall()]
    assert left == [*kept, open_job]


def test_jobs_are_deleted_oldest_first_and_as_many_as_have_not_too_many_parts(
    conn: Conn, new_job: NewJobOf, take: Take, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lifecycle, "DELETE_PARTS_AT_ONCE", 4)
    made = []
    for parts, days_ago in [(1, 2), (3, 3), (9, 4), (1, 1.5)]:
        made.append(new_job(parts))
        end(conn, take(default_size=9), days_ago)
    left = []
    while lifecycle.delete_ended(conn, "batch", 86400):
        left.append([row[0] for row in conn.execute("SELECT id FROM job ORDER BY id").fetchall()])
    assert left == [[made[0], made[1], made[3]], [made[3]], []]


def test_closing_and_recording_at_once_never_leaves_a_result_that_was_not_measured(
    conn: Conn, new_job: NewJobOf, take: Take, open_connection: Callable[[], Conn]
) -> None:
    """What a closed job had done is what it has done for ever; and nobody waits in a circle."""
    for _ in range(15):
        job_id = new_job(40)
        claims = [take(default_size=10) for _ in range(4)]
        conn.execute("UPDATE job SET deadline = now() WHERE id = %s", (job_id,))
        barrier = threading.Barrier(3)

        def holder(claims: list[Claim], barrier: threading.Barrier) -> None:
            own = open_connection()
            barrier.wait()
            for claim in claims:
                for n in range(claim.lo, claim.hi):
                    record(own, claim, n)
            own.close()

        threads = [threading.Thread(target=holder, args=(part, barrier)) for part in (claims[:2], claims[2:])]
        for thread in threads:
            thread.start()
        barrier.wait()
        closed = lifecycle.expire_due(conn)
        for thread in threads:
            thread.join()
        if closed:  # else the last record came first
            done = conn.execute("SELECT done FROM job_progress WHERE job_id = %s", (job_id,)).fetchone()
            kept = conn.execute("SELECT count(*) FROM result WHERE job_id = %s", (job_id,)).fetchone()
            assert done == kept == (closed[0].done,)
            lifecycle.expire(conn, job_id, None, None)


def test_every_state_is_reached_only_as_the_table_of_transitions_says(
    conn: Conn, new_job: NewJobOf, take: Take, wait_for: WaitFor
) -> None:
    """Puts a job into each state and tries all that moves jobs."""
    moves: list[Callable[[int], Any]] = [
        lambda job: lifecycle.validated(conn, job, 1, 1),
        lambda job: lifecycle.reject(conn, job, []),
        lambda job: lifecycle.fail(conn, job, "server_error", ""),
        lambda job: lifecycle.complete(conn, job, None, None),
        lambda job: lifecycle.expire(conn, job, None, None),
        lambda job: lifecycle.finish_cancelled(conn, job, None, None),
        lambda job: wait_for(jobs.request_cancel, job),
        lambda job: take(),
    ]
    seen: set[tuple[JobState, JobState]] = set()
    for before in JobState:
        for move in moves:
            conn.execute("DELETE FROM job")
            job = new_job(1)
            ready, ended = before in ("queued", "running"), before in FINAL_JOB_STATES
            conn.execute(
                "UPDATE job SET state = %s, ready = %s, ended_at = CASE WHEN %s THEN now() END",
                (before, ready, ended),
            )
            move(job)
            after = JobState(state(conn, job))
            assert after == before or after in JOB_TRANSITIONS[before], f"{before} became {after}"
            seen.add((before, after))
    recorded = {(JobState.RUNNING, JobState.FINALIZING), (JobState.RUNNING, JobState.COMPLETED)}
    table = {(before, after) for before, afters in JOB_TRANSITIONS.items() for after in afters}
    assert {pair for pair in seen if pair[0] != pair[1]} == table - recorded
