"""Recording: what a chunk's holder has computed becomes rows of `result`, exactly once.

A record is void (`fenced`) when the chunk has been taken over or its job closed. Each part is recorded
once however often it was computed: the first row stays.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from psycopg import Connection

from store.chunks import ChunkRef
from store.db import map_errors
from store.events import EMIT, ENDED
from store.ids import new_event_id


class PartResult(NamedTuple):
    """One computed part: HTTP status (200, or that of its error), units, and the encoded result or error."""

    n: int
    status: int
    units: int
    data: bytes


class Addition(NamedTuple):
    """Bodies of further parts that computing an item's first part has cut, and the units that they will
    count."""

    item: int
    bodies: list[bytes]
    foreseen: int = 0


@dataclass(frozen=True, kw_only=True)
class Recorded:
    """What became of a record. `state` and `parts` (how many) are the job's afterwards; `job_finished`:
    this record ended or finalized the job."""

    fenced: bool
    job_finished: bool
    state: str
    parts: int = 0


FENCED = Recorded(fenced=True, job_finished=False, state="")

# Seconds since the mark. NULL before the first one, which compares as neither: the first record sets it.
STRETCH = "extract(epoch FROM now() - marked_at)"

# The progress row is locked first: that is what a job is closed under (`store/lifecycle.py`), and what
# keeps two records of one job from both missing, or both seeing, the last part. `held` is the fence.
# The job is only touched by the record that completes it; its own lock rechecks `parts`, which a record
# that added parts may have raised since this statement began.
# `rate` is measured over stretches of five seconds or more. What added parts count was foreseen.
_RECORD = f"""
WITH progress AS (
    SELECT job_id FROM job_progress WHERE job_id = (SELECT job_id FROM chunk WHERE id = %(chunk)s)
    FOR NO KEY UPDATE
), held AS (
    UPDATE chunk SET lease_until = now() + make_interval(secs => %(lease)s),
                     state = CASE WHEN %(chunk_done)s THEN 'done' ELSE state END
    FROM progress
    WHERE chunk.id = %(chunk)s AND chunk.job_id = progress.job_id
      AND epoch = %(epoch)s AND token = %(token)s AND state = 'running'
    RETURNING chunk.job_id
), kept AS (
    INSERT INTO result (job_id, n, status, units, data)
    SELECT held.job_id, row.* FROM held CROSS JOIN
        unnest(%(ns)b::int[], %(statuses)b::smallint[], %(units)b::int[], %(datas)b::bytea[])
        AS row (n, status, units, data)
    ON CONFLICT DO NOTHING
    RETURNING n, status, units
), sums AS (
    SELECT count(*) AS done, count(*) FILTER (WHERE status <> 200) AS failed,
           coalesce(sum(units), 0) AS units,
           coalesce(sum(units) FILTER (WHERE n >= (
               SELECT parts - added FROM job WHERE id = (SELECT job_id FROM held))), 0) AS of_added
    FROM kept
), counted AS (
    UPDATE job_progress SET done = job_progress.done + sums.done, failed = job_progress.failed + sums.failed,
                            units = job_progress.units + sums.units, cpu_ms = cpu_ms + %(cpu_ms)s,
                            foreseen = greatest(0, foreseen - sums.of_added),
        rate = CASE WHEN {STRETCH} >= 5 THEN (job_progress.done + sums.done - marked_done) / {STRETCH}
               ELSE rate END,
        marked_done = CASE WHEN {STRETCH} < 5 THEN marked_done ELSE job_progress.done + sums.done END,
        marked_at = CASE WHEN {STRETCH} < 5 THEN marked_at ELSE now() END
    FROM held, sums WHERE job_progress.job_id = held.job_id
    RETURNING job_progress.job_id, job_progress.done
), finished AS (
    UPDATE job SET state = CASE WHEN view IN ('call', 'response') THEN 'completed' ELSE 'finalizing' END,
                   ready = false, finalizing_at = now(),
                   ended_at = CASE WHEN view IN ('call', 'response') THEN now() END
    FROM counted WHERE job.id = counted.job_id AND job.parts = counted.done AND job.state = 'running'
    RETURNING {ENDED}
), ended AS (SELECT * FROM finished), {EMIT}
SELECT coalesce(finished.state, job.state), finished.id IS NOT NULL, job.parts
FROM held JOIN job ON job.id = held.job_id LEFT JOIN finished ON finished.id = job.id
"""

_HOLD = """
SELECT chunk.job_id FROM chunk
WHERE id = %(chunk)s AND epoch = %(epoch)s AND token = %(token)s AND state = 'running'
FOR NO KEY UPDATE
"""
_LOCK_PROGRESS = """
SELECT FROM job_progress WHERE job_id = (SELECT job_id FROM chunk WHERE id = %(chunk)s) FOR NO KEY UPDATE
"""
_LOCK_JOB = (
    "SELECT parts FROM job WHERE id = (SELECT job_id FROM chunk WHERE id = %(chunk)s) FOR NO KEY UPDATE"
)
_IS_RECORDED = "SELECT FROM result WHERE job_id = %(job)s AND n = %(item)s"
_ADD_PARTS = """
WITH grown AS (
    UPDATE item SET parts = parts + %(count)s WHERE job_id = %(job)s AND n = %(item)s
    RETURNING parts - %(count)s AS before
), added AS (
    INSERT INTO item_part (job_id, n, item_n, position, body, added)
    SELECT %(job)s, %(first)s + at - 1, %(item)s, before + at - 1, body, true
    FROM grown CROSS JOIN unnest(%(bodies)b::bytea[]) WITH ORDINALITY AS new (body, at)
), told AS (
    UPDATE job_progress SET foreseen = foreseen + %(foreseen)s WHERE job_id = %(job)s
)
UPDATE job SET parts = parts + %(count)s, added = added + %(count)s WHERE id = %(job)s
"""

_STRIKE = """
INSERT INTO strike (job_id, n, count, reason) VALUES (%(job)s, %(n)s, 1, %(reason)s)
ON CONFLICT (job_id, n) DO UPDATE SET count = strike.count + 1, reason = excluded.reason, struck_at = now()
RETURNING count
"""


@map_errors()
def record(
    conn: Connection[Any],
    ref: ChunkRef,
    rows: Sequence[PartResult],
    *,
    lease_seconds: float,
    chunk_done: bool,
    more: Sequence[Addition] = (),
    cpu_ms: int = 0,
) -> Recorded:
    """Records parts of a chunk that the caller holds, renews its lease, and commits to disk.

    `chunk_done` ends the chunk. `more` is what the first parts of items, among `rows`, have added.
    `cpu_ms` is what computing `rows` took of a core. The record that completes a
    job ends it (views `call` and `response`) or sets it finalizing. `rows` may be empty, which renews the
    lease or ends the chunk.
    """
    values = {"chunk": ref[0], "epoch": ref[1], "token": ref[2], "cpu_ms": cpu_ms}
    if not more:
        return _record_rows(conn, values, rows, lease_seconds=lease_seconds, chunk_done=chunk_done)
    with conn.transaction():
        if not _add_parts(conn, values, more):
            return FENCED
        return _record_rows(conn, values, rows, lease_seconds=lease_seconds, chunk_done=chunk_done)


@map_errors()
def strike(conn: Connection[Any], job_id: int, n: int, reason: str) -> int:
    """Counts an engine's crash or hang against a part that was in flight; how many it has now."""
    row = conn.execute(_STRIKE, {"job": job_id, "n": n, "reason": reason}).fetchone()
    assert row is not None
    count: int = row[0]
    return count


@map_errors()
def struck_by(conn: Connection[Any], job_id: int, n: int) -> str:
    """What ended the engine at a part's last strike."""
    row = conn.execute("SELECT reason FROM strike WHERE job_id = %s AND n = %s", (job_id, n)).fetchone()
    return "" if row is None else str(row[0])


def _record_rows(
    conn: Connection[Any],
    values: dict[str, int],
    rows: Sequence[PartResult],
    *,
    lease_seconds: float,
    chunk_done: bool,
) -> Recorded:
    ns, statuses, units, datas = zip(*rows, strict=True) if rows else ((), (), (), ())
    columns = {"ns": list(ns), "statuses": list(statuses), "units": list(units), "datas": list(datas)}
    once = {"lease": lease_seconds, "chunk_done": chunk_done, "event_id": new_event_id()}
    row = conn.execute(_RECORD, values | columns | once).fetchone()
    if row is None:
        return FENCED
    return Recorded(fenced=False, state=row[0], job_finished=row[1], parts=row[2])


def _add_parts(conn: Connection[Any], values: dict[str, int], more: Sequence[Addition]) -> bool:
    """Adds the further parts before the first part is recorded, so that the job cannot complete between.

    False where the chunk is no longer ours. A first part that is recorded already has added its parts.
    """
    conn.execute(_LOCK_PROGRESS, values)
    job = conn.execute(_LOCK_JOB, values).fetchone()
    held = conn.execute(_HOLD, values).fetchone()
    if job is None or held is None:
        return False
    (job_id,), (first,) = held, job
    for item, bodies, foreseen in more:
        where = {"job": job_id, "item": item}
        if bodies and conn.execute(_IS_RECORDED, where).fetchone() is None:
            added = {"first": first, "count": len(bodies), "bodies": bodies, "foreseen": foreseen}
            conn.execute(_ADD_PARTS, where | added)
            first += len(bodies)
    return True
