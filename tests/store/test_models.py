"""Paused models: what waits, what is put on trial, and what a resume forgets."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest

from store import leases, lifecycle, models, records, watch
from store.chunks import Claim
from store.records import PartResult

Conn = psycopg.Connection[Any]
Take = Callable[..., Claim | None]
NewJob = Callable[..., int]


def test_a_paused_model_holds_its_jobs_back_until_it_resumes(
    conn: Conn, new_job: Callable[..., int], take: Callable[..., Claim | None], wait_for: Callable[..., Any]
) -> None:
    before = new_job(1)
    models.pause(conn, "echo", "crashed on many items")
    models.pause(conn, "echo", "crashed again")
    new_job(1)
    assert wait_for(models.paused_models) == {"echo": "crashed again"}
    assert conn.execute("SELECT ready, note FROM job WHERE id = %s", (before,)).fetchone() == (
        False,
        "crashed again",
    )
    assert conn.execute("SELECT bool_or(ready) FROM job").fetchone() == (False,)
    assert take() is None
    assert models.resume(conn, "echo")
    assert not models.resume(conn, "echo")
    assert [claim.job_id for claim in (take(), take()) if claim] == [before, before + 1]


def seconds_to_trial(conn: Conn) -> float:
    row = conn.execute("SELECT extract(epoch FROM probe_at - now())::float8 FROM model_pause").fetchone()
    assert row is not None
    return float(row[0])


def due(conn: Conn) -> None:
    conn.execute("UPDATE model_pause SET probe_at = now()")


def test_trials_come_later_each_time_up_to_ten_minutes(conn: Conn, new_job: NewJob) -> None:
    new_job(1)
    models.pause(conn, "echo", "crashes")
    waits = [seconds_to_trial(conn)]
    for _ in range(8):
        assert models.start_trials(conn) == []  # its time has not come
        due(conn)
        assert len(models.start_trials(conn)) == 1
        models.pause(conn, "echo", "crashes still")
        waits.append(seconds_to_trial(conn))
    assert waits == pytest.approx([10, 20, 40, 80, 160, 320, 600, 600, 600], abs=2)


def test_open_jobs_whose_time_has_come_take_turns_on_trial(conn: Conn, new_job: NewJob) -> None:
    models.pause(conn, "echo", "crashes")
    first = new_job(1)
    new_job(1, not_before=datetime.now(UTC) + timedelta(hours=1))
    new_job(1, model="another")
    last = new_job(1)
    tried = []
    for _ in range(3):
        due(conn)
        tried += [trial.job_id for trial in models.start_trials(conn)]
    assert tried == [first, last, first]
    assert conn.execute("SELECT trial_job_id FROM model_pause").fetchone() == (first,)
    assert conn.execute("SELECT ready FROM job WHERE id = %s", (first,)).fetchone() == (True,)


def test_a_job_that_others_compute_is_not_tried_and_one_that_was_released_is(
    conn: Conn, new_job: NewJob, take: Take
) -> None:
    job = new_job(1)
    claim = take()
    assert claim is not None
    models.pause(conn, "echo", "crashes")
    due(conn)
    assert models.start_trials(conn) == []
    leases.release(conn, [claim.ref])
    assert [trial.job_id for trial in models.start_trials(conn)] == [job]


def test_a_job_that_is_cancelled_while_it_is_chosen_for_a_trial_is_not_made_ready(
    conn: Conn, new_job: NewJob, take: Take, overtake: Callable[..., Any]
) -> None:
    new_job(1)
    models.pause(conn, "echo", "crashes")
    due(conn)
    overtake(lambda ahead: ahead.execute("UPDATE job SET state = 'cancelling'"), models.start_trials)
    assert conn.execute("SELECT ready FROM job").fetchone() == (False,)
    models.passed(conn, "echo")
    assert take() is None


def test_a_resume_by_an_operator_forgets_the_strikes_of_open_jobs_and_a_passed_trial_does_not(
    conn: Conn, new_job: NewJob, take: Take
) -> None:
    ended, opened = new_job(1), new_job(1)
    for job in (ended, opened):
        records.strike(conn, job, 0, "SIGSEGV")
    lifecycle.fail(conn, ended, "model_load_failed", "no")
    models.pause(conn, "echo", "crashes")
    assert models.passed(conn, "echo")
    assert conn.execute("SELECT count(*) FROM strike").fetchone() == (2,)
    models.pause(conn, "echo", "crashes")
    assert models.resume(conn, "echo")
    assert conn.execute("SELECT job_id FROM strike").fetchall() == [(ended,)]
    assert conn.execute("SELECT ready, note FROM job WHERE id = %s", (opened,)).fetchone() == (True, None)


def test_the_api_resumes_alike(conn: Conn, new_job: NewJob, wait_for: Callable[..., Any]) -> None:
    job = new_job(1)
    records.strike(conn, job, 0, "SIGSEGV")
    models.pause(conn, "echo", "crashes")
    assert wait_for(models.resume_async, "echo")
    assert not wait_for(models.resume_async, "echo")
    assert conn.execute("SELECT count(*) FROM strike").fetchone() == (0,)
    assert conn.execute("SELECT ready FROM job").fetchone() == (True,)


def test_a_resume_leaves_jobs_outside_their_window_alone(conn: Conn, new_job: NewJob) -> None:
    new_job(1)
    models.pause(conn, "echo", "crashes")
    conn.execute("UPDATE job SET window_open = false")
    models.resume(conn, "echo")
    assert conn.execute("SELECT ready FROM job").fetchone() == (False,)


def test_jobs_that_come_in_during_a_pause_say_its_reason_too(conn: Conn, new_job: NewJob) -> None:
    models.pause(conn, "echo", "crashes")
    new_job(1)
    new_job(1, model="another")
    assert models.tell_held(conn) == 1
    assert models.tell_held(conn) == 0
    assert conn.execute("SELECT note FROM job ORDER BY id").fetchall() == [("crashes",), (None,)]


def test_running_jobs_that_are_not_ready_are_held_back(conn: Conn, new_job: NewJob, take: Take) -> None:
    held, going, queued = new_job(2), new_job(2), new_job(2)
    assert take()
    assert take()
    conn.execute("UPDATE job SET ready = false WHERE id = ANY (%s)", ([held, queued],))
    assert watch.held_back(conn, [held, going, queued]) == [held]


def test_a_part_that_the_model_has_computed_is_found_again(conn: Conn, new_job: NewJob, take: Take) -> None:
    assert models.passed_body(conn, "echo", "/v1/embeddings") is None
    new_job(2)
    claim = take()
    assert claim is not None
    failed, done = PartResult(0, 500, 0, b"e"), PartResult(1, 200, 0, b"r")
    records.record(conn, claim.ref, [failed, done], lease_seconds=30, chunk_done=True)
    new_job(1)
    assert models.passed_body(conn, "echo", "/v1/embeddings") == b"body 1"
    assert models.passed_body(conn, "echo", "/v1/audio/speech") is None
