"""Jobs: found, listed, counted, cancelled, within their project."""

from collections.abc import Callable
from typing import Any

import psycopg
import pytest

from store import jobs, records, watch
from store.chunks import Claim
from store.ids import new_suffix
from store.jobs import JobRow, NewJob
from store.states import JobState

Conn = psycopg.Connection[Any]
NewJobOf = Callable[..., int]
WaitFor = Callable[..., Any]


def test_a_job_is_found_by_its_suffix_in_its_project_alone(wait_for: WaitFor, new_job: NewJobOf) -> None:
    suffix = new_suffix()
    job_id = new_job(
        3, suffix=suffix, view="batch", completion_window="24h", deadline_seconds=86400.0, meta={"a": "\0"}
    )
    job: JobRow = wait_for(jobs.find, suffix, 1)
    assert (job.id, job.state, job.ready) == (job_id, JobState.QUEUED, True)
    assert (job.items, job.parts, job.next_part, job.done) == (3, 3, 0, 0)
    assert job.deadline is not None
    assert (job.deadline - job.created_at).total_seconds() == 86400
    assert job.meta == {"a": "\0"}
    assert job.public_id == f"batch_{suffix}"
    assert wait_for(jobs.find, suffix, 2) is None
    assert wait_for(jobs.find, suffix, 1, "job") is None
    assert wait_for(jobs.find, new_suffix(), 1) is None


def test_two_jobs_of_one_suffix_are_refused(wait_for: WaitFor, new_job: NewJobOf) -> None:
    suffix = new_suffix()
    new_job(1, suffix=suffix)
    with pytest.raises(psycopg.errors.UniqueViolation):
        new_job(1, suffix=suffix)


def test_a_call_that_is_refused_leaves_nothing(conn: Conn, new_job: NewJobOf) -> None:
    with pytest.raises(psycopg.errors.ForeignKeyViolation):
        new_job(1, key_id=999)
    for table in ("job", "job_progress", "item"):
        assert conn.execute(f"SELECT count(*) FROM {table}").fetchone() == (0,)  # type: ignore[arg-type]


def test_a_job_of_a_file_waits_to_be_validated(wait_for: WaitFor) -> None:
    suffix = new_suffix()
    job = NewJob(
        suffix=suffix, view="job", project_id=1, key_id=1, endpoint="/v1/embeddings", family="", model="",
        lane="bulk", input_file_id="file-x",
    )  # fmt: skip
    wait_for(jobs.insert_validating, job)
    row: JobRow = wait_for(jobs.find, suffix, 1)
    assert (row.state, row.ready, row.deadline) == (JobState.VALIDATING, False, None)


def test_a_call_that_nobody_computes_is_cancelled_at_once(wait_for: WaitFor, new_job: NewJobOf) -> None:
    job = wait_for(jobs.request_cancel, new_job(1, view="call"))
    assert job.state == JobState.CANCELLED
    assert job.cancelling_at == job.ended_at is not None


def test_a_job_in_work_is_cancelling_and_no_more_of_it_is_claimed(
    conn: Conn, wait_for: WaitFor, new_job: NewJobOf, take: Callable[..., Claim]
) -> None:
    job_id = new_job(4, view="call")
    claim = take(default_size=2)
    assert wait_for(jobs.request_cancel, job_id).state == JobState.CANCELLING
    assert take() is None
    assert watch.unwanted(conn, [job_id]) == [job_id]
    rows = [records.PartResult(0, 200, 0, b"")]
    kept = records.record(conn, claim.ref, rows, lease_seconds=30, chunk_done=False)
    assert (kept.fenced, kept.state) == (False, "cancelling")


def test_cancelling_twice_or_too_late_changes_nothing(
    conn: Conn, wait_for: WaitFor, new_job: NewJobOf, take: Callable[..., Claim]
) -> None:
    job_id = new_job(1)
    first = wait_for(jobs.request_cancel, job_id)
    assert wait_for(jobs.request_cancel, job_id) == first
    assert first.state == JobState.CANCELLING

    done = new_job(1, view="call")
    records.record(conn, take().ref, [records.PartResult(0, 200, 0, b"")], lease_seconds=30, chunk_done=True)
    assert wait_for(jobs.request_cancel, done).state == JobState.COMPLETED
    assert wait_for(jobs.request_cancel, -1) is None
