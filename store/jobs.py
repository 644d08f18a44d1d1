"""Jobs: handed in, found, listed, counted, cancelled. Asynchronous what the API asks for.

How a job is brought to its end (validated, completed, failed, expired …) is `store/lifecycle.py`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, NamedTuple

from psycopg import AsyncConnection
from psycopg.rows import class_row
from psycopg.types.json import Json

from store.events import EMIT, ENDED
from store.ids import View, new_event_id, public_id
from store.items import NewItem, as_columns
from store.states import JobState


@dataclass(frozen=True, kw_only=True)
class NewJob:
    """A job as it is handed in. Of a file that is yet to be read, family and model may be empty.

    `completion_window` is what the caller said, `deadline_seconds` what it means (None: no deadline). A job
    with a `run_window` begins closed; the dispatcher opens it.
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
    output_expires_seconds: int | None = None
    meta: dict[str, Any] | None = None
    retry_of: int | None = None
    webhook_url: str | None = None
    announced: bool = True
    waiters: int = 0
    idempotency_key: str | None = None
    fingerprint: bytes | None = None


@dataclass(kw_only=True)
class JobRow:
    """A job as it stands. `done`, `failed` and `units` count parts; `counts` counts items."""

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
    cpu_ms: int
    rate: float | None
    marked_at: datetime | None

    def __post_init__(self) -> None:
        self.state = JobState(self.state)

    @property
    def public_id(self) -> str:
        """`job_…` or `batch_…`."""
        return public_id(self.view, self.suffix)


class Counts(NamedTuple):
    """Items of a job: all, with a result, with an error."""

    total: int
    completed: int
    failed: int


# Selects JobRows; add WHERE. `job` and `job_progress` are what conditions may name.
SELECT_JOB = (
    "SELECT job.*, done, failed, units, cpu_ms, rate, marked_at FROM job JOIN job_progress ON job_id = id"
)

_NEW_JOB = """
job AS (
    INSERT INTO job (suffix, view, project_id, key_id, endpoint, family, model, cores, lane, priority,
                     expected_seconds, completion_window, deadline, not_before, run_window, timezone,
                     window_open, input_file_id, output_expires_seconds, meta, retry_of, webhook_url,
                     announced, waiters, idempotency_key, fingerprint, state, ready, items, parts)
    VALUES (%(suffix)s, %(view)s, %(project_id)s, %(key_id)s, %(endpoint)s, %(family)s, %(model)s, %(cores)s,
            %(lane)s, %(priority)s, %(expected_seconds)s, %(completion_window)s,
            now() + make_interval(secs => %(deadline_seconds)s::float8),
            %(not_before)s, %(run_window)s, %(timezone)s, %(run_window)s::text IS NULL, %(input_file_id)s,
            %(output_expires_seconds)s, %(meta)s, %(retry_of)s, %(webhook_url)s, %(announced)s, %(waiters)s,
            %(idempotency_key)s, %(fingerprint)s,
            %(state)s, %(ready)s AND coalesce(%(not_before)s <= now(), true) AND %(run_window)s::text IS NULL
                       AND NOT EXISTS (SELECT FROM model_pause WHERE model = %(model)s),
            %(items)s, %(parts)s)
    RETURNING id
), progress AS (
    INSERT INTO job_progress (job_id) SELECT id FROM job
)"""
_INSERT_VALIDATING = f"WITH {_NEW_JOB} SELECT id FROM job"
# One round trip; whoever waits for the answer also waits for this commit, so it does not wait for the
# disk. A crash of Postgres may forget the call, and the caller's connection is gone with it.
_INSERT_CALL = f"""
WITH {_NEW_JOB}, items AS (
    INSERT INTO item (job_id, n, custom_id, body, parts)
    SELECT job.id, new.* FROM job CROSS JOIN
        unnest(%(item_n)b::int[], %(custom_id)s::text[], %(body)b::bytea[], %(item_parts)b::int[]) AS new
), parts AS (
    INSERT INTO item_part (job_id, n, item_n, position, body)
    SELECT job.id, new.* FROM job CROSS JOIN
        unnest(%(part_n)b::int[], %(part_item_n)b::int[], %(part_position)b::int[], %(part_body)b::bytea[])
        AS new
)
SELECT id, set_config('synchronous_commit', 'off', true) FROM job
"""

# Items with several parts are complete with all of them, failed with one. All others are one part.
_COUNT_ITEMS = """
SELECT count(*) FILTER (WHERE failed = 0 AND done = parts), count(*) FILTER (WHERE failed > 0)
FROM (
    SELECT coalesce(item_part.item_n, result.n) AS n,
           count(*) AS done, count(*) FILTER (WHERE status <> 200) AS failed
    FROM result LEFT JOIN item_part USING (job_id, n)
    WHERE result.job_id = %(job)s GROUP BY 1
) AS recorded
JOIN item ON item.job_id = %(job)s AND item.n = recorded.n
"""

_REQUEST_CANCEL = f"""
WITH ended AS (
    UPDATE job SET ready = false, cancelling_at = now(),
        state = CASE WHEN view IN ('call', 'response') AND next_part = 0 THEN 'cancelled'
                     ELSE 'cancelling' END,
        ended_at = CASE WHEN view IN ('call', 'response') AND next_part = 0 THEN now() END
    WHERE id = %(job)s AND state IN ('validating', 'queued', 'running') RETURNING {ENDED}
), {EMIT}
SELECT FROM ended
"""


async def insert_call(conn: AsyncConnection[Any], job: NewJob, items: Sequence[NewItem]) -> int:
    """A job whose items are at hand, queued at once: its id. One statement, one round trip."""
    columns = as_columns(items)
    parts = len(items) + len(columns["part_n"])
    values = _values(job, state=JobState.QUEUED, items=len(items), parts=parts)
    return await _insert(conn, _INSERT_CALL, values | columns)


async def insert_validating(conn: AsyncConnection[Any], job: NewJob) -> int:
    """A job whose items are in `input_file_id`, for the dispatcher to validate: its id."""
    return await _insert(conn, _INSERT_VALIDATING, _values(job, state=JobState.VALIDATING, items=0, parts=0))


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


async def page(
    conn: AsyncConnection[Any],
    project_id: int,
    view: View | None,
    after_suffix: str | None,
    limit: int,
    order: Literal["asc", "desc"] = "desc",
) -> tuple[list[JobRow], bool]:
    """Up to `limit` jobs by age, after the one of `after_suffix`, and whether there are more.

    An unknown `after_suffix` gives an empty page. None for `view` is every view.
    """
    beyond = ">" if order == "asc" else "<"
    statement = f"""{SELECT_JOB}
        WHERE project_id = %(project)s AND (%(view)s::text IS NULL OR view = %(view)s)
          AND (%(after)s::text IS NULL
               OR id {beyond} (SELECT id FROM job WHERE suffix = %(after)s AND project_id = %(project)s))
        ORDER BY id {order} LIMIT %(rows)s"""
    values = {"project": project_id, "view": view, "after": after_suffix, "rows": limit + 1}
    async with conn.cursor(row_factory=class_row(JobRow)) as cursor:
        await cursor.execute(statement, values)
        rows = await cursor.fetchall()
    return rows[:limit], len(rows) > limit


async def counts(conn: AsyncConnection[Any], job: JobRow) -> Counts:
    """How many items there are, have a result, have an error."""
    if job.parts == job.items:
        return Counts(job.items, job.done - job.failed, job.failed)
    row = await (await conn.execute(_COUNT_ITEMS, {"job": job.id})).fetchone()
    assert row is not None
    return Counts(job.items, *row)


async def request_cancel(conn: AsyncConnection[Any], job_id: int) -> JobRow | None:
    """Asks for a job's end, and gives it as it is then; None where there is no such job.

    Nothing more of it is claimed. A call that no slot has touched is cancelled at once; otherwise the job
    is cancelling until the dispatcher has settled it. A job that is finalizing or has ended stays so.
    """
    await conn.execute(_REQUEST_CANCEL, {"job": job_id, "event_id": new_event_id()})
    return await load(conn, job_id)


async def _insert(conn: AsyncConnection[Any], statement: str, values: dict[str, Any]) -> int:
    row = await (await conn.execute(statement, values)).fetchone()
    assert row is not None
    job_id: int = row[0]
    return job_id


def _values(job: NewJob, *, state: JobState, items: int, parts: int) -> dict[str, Any]:
    values = dict(vars(job))
    values["meta"] = None if job.meta is None else Json(job.meta)
    return values | {"state": state, "ready": state is JobState.QUEUED, "items": items, "parts": parts}
