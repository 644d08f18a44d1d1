"""How jobs get from state to state without a caller, and are forgotten in the end: what the dispatcher
does, and a slot that cannot.

Ending a job before all its parts are recorded takes two steps. It is *closed* first: nothing more of it is
claimed, and what holders of its chunks still record is void. Then its files are measured, and only then
does it end, with them. A crash between the two repeats the first, which changes nothing.
"""

from collections.abc import Collection, Sequence
from typing import Any

from psycopg import Connection, Rollback
from psycopg.rows import class_row
from psycopg.types.json import Json

from store.db import map_errors
from store.events import EMIT, ENDED
from store.files import OutputFile, insert_output
from store.ids import View, new_event_id
from store.jobs import SELECT_JOB, JobRow
from store.readiness import IS_DUE
from store.states import JobState
from store.usage import ROLLED_UP, roll_up

_VALIDATED = """
UPDATE job SET state = 'queued', items = %(items)s, parts = %(parts)s, model = coalesce(%(model)s, model),
               family = coalesce(%(family)s, family), cores = coalesce(%(cores)s, cores)
WHERE id = %(job)s AND state = 'validating'
"""
_MAKE_READY = f"UPDATE job SET ready = true WHERE id = %(job)s AND {IS_DUE}"
_RELEASE_DUE = f"UPDATE job SET ready = true WHERE state IN ('queued', 'running') AND NOT ready AND {IS_DUE}"
_FAILED = f"""
WITH ended AS (
    UPDATE job SET state = 'failed', errors = %(errors)s, ended_at = now(), note = NULL,
                   items = CASE state WHEN 'validating' THEN 0 ELSE items END,
                   parts = CASE state WHEN 'validating' THEN 0 ELSE parts END
    WHERE id = %(job)s AND state = ANY (%(states)s) RETURNING {ENDED}
), {EMIT}
SELECT FROM ended
"""

# The progress row first: see `store/records.py`.
_LOCK_PROGRESS = "SELECT FROM job_progress WHERE job_id = %(job)s FOR NO KEY UPDATE"
_CLOSE = "UPDATE job SET ready = false WHERE id = %(job)s AND state = ANY (%(states)s)"
_CLOSE_CHUNKS = """
UPDATE chunk SET state = 'done'
FROM (
    SELECT id FROM chunk WHERE job_id = %(job)s AND state = 'running' ORDER BY id FOR NO KEY UPDATE
) AS held
WHERE chunk.id = held.id
"""
# Says which open states do not expire, so that only the index of deadlines fits.
_DUE = """
WHERE deadline <= now() AND ended_at IS NULL AND state NOT IN ('validating', 'finalizing', 'cancelling')
  AND NOT id = ANY (%(skip)s::bigint[])
ORDER BY deadline, id LIMIT %(most)s
"""
_QUIET = """
WHERE state = 'cancelling' AND ended_at IS NULL AND NOT id = ANY (%(skip)s::bigint[]) AND NOT EXISTS (
    SELECT FROM chunk WHERE job_id = job.id AND chunk.state = 'running' AND lease_until >= now())
ORDER BY id LIMIT %(most)s
"""
_END = f"""
WITH ended AS (
    UPDATE job SET state = %(state)s, ended_at = now(), ready = false, note = NULL,
                   output_file_id = %(output)s, error_file_id = %(error)s
    WHERE id = %(job)s AND state = ANY (%(states)s) RETURNING {ENDED}
), {EMIT}
SELECT FROM ended
"""

# Of %(view)s, jobs that are past what retention keeps.
IS_PAST = "view = %(view)s AND ended_at < now() - make_interval(secs => %(keep)s)"
# The oldest that fit, by their parts: a large job goes alone, since what hangs on it goes with it.
_DELETE_ENDED = f"""
WITH gone AS (
    DELETE FROM job WHERE id = ANY (ARRAY (
        SELECT id FROM (
            SELECT id, sum(parts) OVER (ORDER BY ended_at, id) - parts AS parts_before FROM (
                SELECT id, parts, ended_at FROM job
                WHERE {IS_PAST}
                ORDER BY ended_at, id LIMIT %(jobs)s
            ) AS oldest
        ) AS counted
        WHERE parts_before < %(parts)s
    ))
    RETURNING {ROLLED_UP}
), {roll_up("gone")}
SELECT FROM gone
"""

# How many jobs are settled per call: the dispatcher has other things to do, and comes back at once.
SETTLE_AT_ONCE = 100
DELETE_JOBS_AT_ONCE = 1000
DELETE_PARTS_AT_ONCE = 20_000


@map_errors()
def next_validating(conn: Connection[Any]) -> JobRow | None:
    """The oldest job whose file is yet to be read."""
    return _oldest(conn, JobState.VALIDATING)


@map_errors()
def validated(
    conn: Connection[Any],
    job_id: int,
    items: int,
    parts: int,
    *,
    model: str | None = None,
    family: str | None = None,
    cores: int | None = None,
) -> bool:
    """Queues a job whose items have been stored (in the same transaction, best); with what its file said.

    False where it is no longer validating, as it has been cancelled: the items are then not wanted.
    """
    values = {"job": job_id, "items": items, "parts": parts, "model": model, "family": family, "cores": cores}
    with conn.transaction():
        queued = conn.execute(_VALIDATED, values).rowcount == 1
        if queued:
            conn.execute(_MAKE_READY, values)
    return queued


@map_errors()
def reject(conn: Connection[Any], job_id: int, errors: Sequence[dict[str, Any]]) -> bool:
    """Fails a job at validation: `errors` are {code, line, message, param}. False where it was cancelled."""
    return _fail(conn, job_id, (JobState.VALIDATING,), errors)


@map_errors()
def fail(conn: Connection[Any], job_id: int, code: str, message: str) -> bool:
    """Fails a queued or running job as a whole. What is recorded stays; nothing more is, or computed.

    False where the job is in another state.
    """
    errors = [{"code": code, "line": None, "message": message, "param": None}]
    with conn.transaction():
        if not _close(conn, job_id, JobState.QUEUED, JobState.RUNNING):
            raise Rollback
        return _fail(conn, job_id, (JobState.QUEUED, JobState.RUNNING), errors)
    return False


@map_errors()
def next_finalizing(conn: Connection[Any], *, skip: Collection[int] = ()) -> JobRow | None:
    """The oldest job, but for those to `skip`, that has all its results and waits for its files to be
    measured."""
    return _oldest(conn, JobState.FINALIZING, skip)


@map_errors()
def complete(
    conn: Connection[Any], job_id: int, output_file: OutputFile | None, error_file: OutputFile | None
) -> bool:
    """Ends a finalizing job with its files (None: it would be empty). False where it is in another state."""
    return _end(conn, job_id, JobState.COMPLETED, (JobState.FINALIZING,), output_file, error_file)


@map_errors()
def expire_due(conn: Connection[Any], *, skip: Collection[int] = ()) -> list[JobRow]:
    """Closes jobs past their deadline, but for those to `skip`, and gives them as they will be: state
    `expired`. End with `expire`."""
    return _close_all(conn, _DUE, skip, JobState.EXPIRED, JobState.QUEUED, JobState.RUNNING)


@map_errors()
def expire(
    conn: Connection[Any], job_id: int, output_file: OutputFile | None, error_file: OutputFile | None
) -> bool:
    """Ends a job that `expire_due` closed, with its files."""
    before = (JobState.QUEUED, JobState.RUNNING)
    return _end(conn, job_id, JobState.EXPIRED, before, output_file, error_file)


@map_errors()
def settle_cancelling(conn: Connection[Any], *, skip: Collection[int] = ()) -> list[JobRow]:
    """Closes the cancelling jobs that no slot holds a live lease of, but for those to `skip`, and gives them
    as they will be: state `cancelled`. End with `finish_cancelled`."""
    return _close_all(conn, _QUIET, skip, JobState.CANCELLED, JobState.CANCELLING)


@map_errors()
def finish_cancelled(
    conn: Connection[Any], job_id: int, output_file: OutputFile | None, error_file: OutputFile | None
) -> bool:
    """Ends a job that `settle_cancelling` closed, with its files."""
    return _end(conn, job_id, JobState.CANCELLED, (JobState.CANCELLING,), output_file, error_file)


@map_errors()
def release_due(conn: Connection[Any]) -> int:
    """Makes jobs ready whose time has come, or that nothing holds back any more; how many."""
    return conn.execute(_RELEASE_DUE).rowcount


@map_errors()
def delete_ended(conn: Connection[Any], view: View, keep_seconds: float) -> int:
    """Deletes jobs of a view that ended longer ago than this, with all that hangs on them, output files too;
    what they used is kept (`store/usage.py`).

    Some at a time, the oldest first; how many.
    """
    values = {"view": view, "keep": keep_seconds, "jobs": DELETE_JOBS_AT_ONCE, "parts": DELETE_PARTS_AT_ONCE}
    return conn.execute(_DELETE_ENDED, values).rowcount


def _oldest(conn: Connection[Any], state: JobState, skip: Collection[int] = ()) -> JobRow | None:
    statement = f"""{SELECT_JOB}
        WHERE state = %s AND ended_at IS NULL AND NOT id = ANY (%s::bigint[]) ORDER BY id LIMIT 1"""
    with conn.cursor(row_factory=class_row(JobRow)) as cursor:
        return cursor.execute(statement, (state, list(skip))).fetchone()


def _close_all(
    conn: Connection[Any], where: str, skip: Collection[int], end: JobState, *before: JobState
) -> list[JobRow]:
    values = {"skip": list(skip), "most": SETTLE_AT_ONCE}
    rows = conn.execute(f"SELECT id FROM job {where}", values).fetchall()
    closed = []
    for (job_id,) in rows:
        with conn.transaction(), conn.cursor(row_factory=class_row(JobRow)) as cursor:
            if _close(conn, job_id, *before):
                closed += cursor.execute(f"{SELECT_JOB} WHERE id = %s", (job_id,)).fetchall()
    for job in closed:
        job.state = end
    return closed


def _close(conn: Connection[Any], job_id: int, *states: JobState) -> bool:
    """Within a transaction: after it no part of the job can be claimed or recorded."""
    values = {"job": job_id, "states": list(states)}
    conn.execute(_LOCK_PROGRESS, values)
    if conn.execute(_CLOSE, values).rowcount == 0:
        return False
    conn.execute(_CLOSE_CHUNKS, values)
    return True


def _end(
    conn: Connection[Any],
    job_id: int,
    state: JobState,
    before: tuple[JobState, ...],
    output_file: OutputFile | None,
    error_file: OutputFile | None,
) -> bool:
    values = {"job": job_id, "state": state, "states": list(before), "event_id": new_event_id()}
    with conn.transaction():
        ids = {
            "output": insert_output(conn, job_id, output_file) if output_file else None,
            "error": insert_output(conn, job_id, error_file) if error_file else None,
        }
        if conn.execute(_END, values | ids).rowcount == 0:
            raise Rollback
        return True
    return False


def _fail(
    conn: Connection[Any], job_id: int, before: tuple[JobState, ...], errors: Sequence[dict[str, Any]]
) -> bool:
    error_list = Json({"object": "list", "data": list(errors)})
    values = {"job": job_id, "states": list(before), "errors": error_list, "event_id": new_event_id()}
    return conn.execute(_FAILED, values).rowcount == 1
