"""Jobs: handed in, found, cancelled. Asynchronous what the API asks for.

Lists are `store/job_pages.py`, counts `store/counts.py`; how a job is brought to its end (validated,
completed, failed, expired …) is `store/lifecycle.py`.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import psycopg
from psycopg import AsyncConnection
from psycopg.rows import class_row
from psycopg.types.json import Json

from store.errors import KeyTaken
from store.events import EMIT, ENDED
from store.ids import View, new_event_id, public_id
from store.states import JobState

KEY_INDEX = "uq_job_idempotency_key"


@dataclass(frozen=True, kw_only=True)
class NewJob:
    """A job as it is handed in. Of a file that is yet to be read, family and model may be empty.

    `completion_window` is what the caller said, `deadline_seconds` what it means (None: no deadline). A job
    with a `run_window` begins closed; the dispatcher opens it. `lines` of its input file stand for its items
    until they are there.
    """

    suffix: str
    view: View
    project_id: int
    key_id: int
    endpoint: str
    family: str
    model: str
    lane: str
    cores: int = 1
    priority: int = 0
    completion_window: str | None = None
    deadline_seconds: float | None = None
    not_before: datetime | None = None
    run_window: str | None = None
    timezone: str | None = None
    expected_seconds: float = 0.0
    input_file_id: str | None = None
    lines: int = 0
    output_expires_seconds: int | None = None
    meta: dict[str, Any] | None = None
    retry_of: int | None = None
    webhook_url: str | None = None
    announced: bool = True
    waiters: int = 0
    streamed: bool = False
    idempotency_key: str | None = None
    fingerprint: bytes | None = None


@dataclass(kw_only=True)
class JobRow:
    """A job as it stands. `done`, `failed` and `units` count parts (items: `store/counts.py`); `foreseen` are
    units of parts that computing added and that are not recorded: with `units` all that is known of so far.
    `rate` is parts per second as measured lately, None where nothing was."""

    id: int
    suffix: str
    view: View
    project_id: int
    key_id: int
    endpoint: str
    family: str
    model: str
    cores: int
    lane: str
    priority: int
    state: JobState
    ready: bool
    items: int
    parts: int
    next_part: int
    added: int
    next_added: int
    expected_seconds: float
    not_before: datetime | None
    run_window: str | None
    timezone: str | None
    window_open: bool
    deadline: datetime | None
    completion_window: str | None
    input_file_id: str | None
    output_file_id: str | None
    error_file_id: str | None
    output_expires_seconds: int | None
    meta: dict[str, Any] | None
    errors: dict[str, Any] | None
    note: str | None
    retry_of: int | None
    webhook_url: str | None
    announced: bool
    waiters: int
    streamed: bool
    idempotency_key: str | None
    fingerprint: bytes | None
    created_at: datetime
    started_at: datetime | None
    finalizing_at: datetime | None
    cancelling_at: datetime | None
    ended_at: datetime | None
    done: int
    failed: int
    units: int
    foreseen: int
    cpu_ms: int
    rate: float | None

    def __post_init__(self) -> None:
        self.state = JobState(self.state)

    @property
    def public_id(self) -> str:
        """`job_…` or `batch_…`."""
        return public_id(self.view, self.suffix)


# Selects JobRows; add WHERE. `job` and `job_progress` are what conditions may name.
# A rate is of now while records come, at the pace that it says itself, give or take: then it is old.
SELECT_JOB = """
SELECT job.*, done, failed, units, foreseen, cpu_ms,
       CASE WHEN state = 'running' AND marked_at > now() - make_interval(secs => 15 + 3 / nullif(rate, 0))
            THEN rate END AS rate
FROM job JOIN job_progress ON job_id = id"""

# A CTE that inserts a job with its progress, of `job_values`.
NEW_JOB = """
job AS (
    INSERT INTO job (suffix, view, project_id, key_id, endpoint, family, model, cores, lane, priority,
                     expected_seconds, completion_window, deadline, not_before, run_window, timezone,
                     window_open, input_file_id, output_expires_seconds, meta, retry_of, webhook_url,
                     announced, waiters, streamed, idempotency_key, fingerprint, state, ready, items, parts,
                     note)
    VALUES (%(suffix)s, %(view)s, %(project_id)s, %(key_id)s, %(endpoint)s, %(family)s, %(model)s, %(cores)s,
            %(lane)s, %(priority)s, %(expected_seconds)s, %(completion_window)s,
            now() + make_interval(secs => %(deadline_seconds)s::float8),
            %(not_before)s, %(run_window)s, %(timezone)s, %(run_window)s::text IS NULL, %(input_file_id)s,
            %(output_expires_seconds)s, %(meta)s, %(retry_of)s, %(webhook_url)s, %(announced)s, %(waiters)s,
            %(streamed)s, %(idempotency_key)s, %(fingerprint)s,
            %(state)s, %(ready)s AND coalesce(%(not_before)s <= now(), true) AND %(run_window)s::text IS NULL
                       AND NOT EXISTS (SELECT FROM model_pause WHERE model = %(model)s),
            %(items)s, %(parts)s,
            'waits for its window ' || %(run_window)s::text || ' (' || %(timezone)s::text || ')')
    RETURNING id
), progress AS (
    INSERT INTO job_progress (job_id) SELECT id FROM job
)"""
_INSERT_VALIDATING = f"WITH {NEW_JOB} SELECT id FROM job"

_REQUEST_CANCEL = f"""
WITH ended AS (
    UPDATE job SET ready = false, cancelling_at = now(),
        items = CASE state WHEN 'validating' THEN 0 ELSE items END,
        parts = CASE state WHEN 'validating' THEN 0 ELSE parts END,
        state = CASE WHEN view IN ('call', 'response') AND next_part = 0 THEN 'cancelled'
                     ELSE 'cancelling' END,
        ended_at = CASE WHEN view IN ('call', 'response') AND next_part = 0 THEN now() END
    WHERE id = %(job)s AND state IN ('validating', 'queued', 'running') RETURNING {ENDED}
), {EMIT}
SELECT FROM ended
"""


async def insert_validating(conn: AsyncConnection[Any], job: NewJob) -> int:
    """A job whose items are in `input_file_id`, for the dispatcher to validate: its id.

    Raises `KeyTaken` when a job of the same API key has its `idempotency_key`.
    """
    values = job_values(job, state=JobState.VALIDATING, items=job.lines, parts=job.lines)
    return await insert(conn, _INSERT_VALIDATING, values)


async def find(
    conn: AsyncConnection[Any], suffix: str, project_id: int, view: View | None = None
) -> JobRow | None:
    """The job of this suffix, if it is this project's and (where given) came in by this view."""
    condition = "WHERE suffix = %s AND project_id = %s AND (%s::text IS NULL OR view = %s)"
    async with conn.cursor(row_factory=class_row(JobRow)) as cursor:
        await cursor.execute(f"{SELECT_JOB} {condition}", (suffix, project_id, view, view))
        return await cursor.fetchone()


async def load(conn: AsyncConnection[Any], job_id: int) -> JobRow | None:
    """The job of this id, whosever it is."""
    async with conn.cursor(row_factory=class_row(JobRow)) as cursor:
        await cursor.execute(f"{SELECT_JOB} WHERE id = %s", (job_id,))
        return await cursor.fetchone()


async def request_cancel(conn: AsyncConnection[Any], job_id: int) -> JobRow | None:
    """Asks for a job's end, and gives it as it is then; None where there is no such job.

    Nothing more of it is claimed. A call that no slot has touched is cancelled at once; otherwise the job
    is cancelling until the dispatcher has settled it. A job that is finalizing or has ended stays so.
    """
    await conn.execute(_REQUEST_CANCEL, {"job": job_id, "event_id": new_event_id()})
    return await load(conn, job_id)


async def insert(conn: AsyncConnection[Any], statement: str, values: dict[str, Any]) -> int:
    """Runs a statement that inserts a job by `NEW_JOB`: the job's id. Raises `KeyTaken`."""
    try:
        row = await (await conn.execute(statement, values)).fetchone()
    except psycopg.errors.UniqueViolation as error:
        if error.diag.constraint_name == KEY_INDEX:
            raise KeyTaken from None
        raise
    assert row is not None
    job_id: int = row[0]
    return job_id


def job_values(job: NewJob, *, state: JobState, items: int, parts: int) -> dict[str, Any]:
    """What `NEW_JOB` inserts."""
    values = dict(vars(job))
    values["meta"] = None if job.meta is None else Json(job.meta)
    return values | {"state": state, "ready": state is JobState.QUEUED, "items": items, "parts": parts}
