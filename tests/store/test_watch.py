"""What is asked of running jobs again and again."""

from collections.abc import Callable
from typing import Any

import psycopg

from store import jobs, lifecycle, watch

Conn = psycopg.Connection[Any]


def test_a_note_says_why_open_jobs_wait(
    conn: Conn, wait_for: Callable[..., Any], new_job: Callable[..., int]
) -> None:
    job_ids = [new_job(1), new_job(1)]
    watch.set_note(conn, job_ids, "its model is being pulled")
    assert [wait_for(jobs.load, job_id).note for job_id in job_ids] == ["its model is being pulled"] * 2
    watch.set_note(conn, job_ids, None)
    assert wait_for(jobs.load, job_ids[0]).note is None


def test_parts_of_a_job_that_ended_or_is_gone_are_unwanted(
    conn: Conn, new_job: Callable[..., int], take: Callable[..., Any]
) -> None:
    running, failed = new_job(2), new_job(2)
    while take():
        pass
    lifecycle.fail(conn, failed, "model_load_failed", "no")
    assert watch.unwanted(conn, [running, failed, 99_999]) == [failed, 99_999]


def test_a_waiting_caller_learns_which_jobs_have_ended(
    conn: Conn, wait_for: Callable[..., Any], new_job: Callable[..., int]
) -> None:
    running, failed = new_job(1), new_job(1)
    lifecycle.fail(conn, failed, "model_load_failed", "no")
    assert wait_for(watch.ended, [running, failed]) == [failed]
