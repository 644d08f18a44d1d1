"""Leases of chunks: keeping them, giving them back, taking over a lost one.

All functions are for the synchronous connection of a slot. The clock is the database's. In which order rows
are locked: `store/chunks.py`.
"""

from collections.abc import Sequence
from typing import Any

from psycopg import Connection
from psycopg.rows import class_row

from store.chunks import COLUMNS_OF_JOB, MAY_START, ChunkRef, Claim
from store.db import map_errors
from store.ids import new_token
from store.turns import IS_ADMITTED

# SKIP LOCKED is right here: a chunk that is locked is being taken over, or recorded by its holder.
# Lost chunks look up their jobs, and not the other way round: LIMIT 1 leaves the planner no choice.
# A released chunk (its lease is -infinity) was given back politely, which is no loss.
_RECLAIM = f"""
WITH lost AS (
    SELECT chunk.id, chunk.job_id FROM chunk CROSS JOIN LATERAL (
        SELECT lane FROM job
        WHERE id = chunk.job_id AND state = 'running' AND ready
          AND family = ANY (%(families)s) AND lane = ANY (%(lanes)s) AND cores <= %(cores)s
          AND (%(only_model)s::text IS NULL OR model = %(only_model)s) AND {IS_ADMITTED}
        LIMIT 1
    ) AS owner
    WHERE chunk.state = 'running' AND chunk.lease_until < now()
    ORDER BY owner.lane = 'interactive' DESC, chunk.lease_until
    LIMIT 1
    FOR NO KEY UPDATE OF chunk SKIP LOCKED
), trial AS (
    UPDATE model_pause SET trial_job_id = NULL FROM lost WHERE trial_job_id = lost.job_id
    RETURNING model_pause.model
)
UPDATE chunk SET epoch = epoch + 1, token = %(token)s, slot_id = %(slot_id)s, claimed_at = now(),
                 losses = losses + (lease_until > '-infinity')::int,
                 lease_until = now() + make_interval(secs => %(lease)s)
FROM lost, job
WHERE chunk.id = lost.id AND job.id = chunk.job_id AND {MAY_START}
RETURNING chunk.id AS chunk_id, job.id AS job_id, {COLUMNS_OF_JOB}, lo, hi,
          epoch, token, losses, EXISTS (SELECT FROM trial) AS trial
"""

_IS_LOST = f"""
SELECT EXISTS (
    SELECT FROM chunk CROSS JOIN LATERAL (
        SELECT FROM job
        WHERE id = chunk.job_id AND state = 'running' AND ready
          AND family = ANY (%(families)s) AND lane = ANY (%(lanes)s) AND cores <= %(cores)s
          AND model <> %(but)s AND {IS_ADMITTED}
        LIMIT 1
    ) AS owner
    WHERE chunk.state = 'running' AND chunk.lease_until < now())
"""

# Rows are locked by id, as everywhere that several chunks are locked at once.
_HELD = """
WITH held AS (
    SELECT chunk.id FROM chunk
    JOIN unnest(%(ids)s::bigint[], %(epochs)s::int[], %(tokens)s::bigint[]) AS ref (id, epoch, token)
        USING (id, epoch, token)
    WHERE state = 'running' ORDER BY id FOR NO KEY UPDATE OF chunk
)
"""
_RENEW = f"""{_HELD}
UPDATE chunk SET lease_until = now() + make_interval(secs => %(lease)s)
FROM held WHERE chunk.id = held.id
RETURNING chunk.id, set_config('synchronous_commit', 'off', true)
"""
_RELEASE = f"{_HELD} UPDATE chunk SET lease_until = '-infinity' FROM held WHERE chunk.id = held.id"


@map_errors()
def reclaim(
    conn: Connection[Any],
    *,
    slot_id: int,
    families: Sequence[str],
    lanes: Sequence[str],
    cores: int,
    lease_seconds: float,
    only_model: str | None,
) -> Claim | None:
    """Takes over one chunk whose lease has run out or was released, under the next epoch and a new token.

    What its last holder recorded stays recorded (`items.load_parts` leaves it out); what it still writes
    is void. Somebody who waits goes first.
    """
    values = {
        "slot_id": slot_id,
        "families": list(families),
        "lanes": list(lanes),
        "cores": cores,
        "lease": lease_seconds,
        "only_model": only_model,
        "token": new_token(),
    }
    with conn.cursor(row_factory=class_row(Claim)) as cursor:
        return cursor.execute(_RECLAIM, values).fetchone()


@map_errors()
def is_lost(
    conn: Connection[Any], *, families: Sequence[str], lanes: Sequence[str], cores: int, but: str
) -> bool:
    """Whether a chunk of any model `but` this one could be taken over."""
    values = {"families": list(families), "lanes": list(lanes), "cores": cores, "but": but}
    row = conn.execute(_IS_LOST, values).fetchone()
    return row is not None and bool(row[0])


@map_errors()
def renew(conn: Connection[Any], refs: Sequence[ChunkRef], lease_seconds: float) -> set[int]:
    """Extends the leases of chunks that nothing is recorded for meanwhile; the ids that are still ours."""
    rows = conn.execute(_RENEW, _columns(refs) | {"lease": lease_seconds}).fetchall()
    return {row[0] for row in rows}


@map_errors()
def release(conn: Connection[Any], refs: Sequence[ChunkRef]) -> None:
    """Gives chunks back at once, what is unrecorded of them; no loss is counted."""
    conn.execute(_RELEASE, _columns(refs))


def _columns(refs: Sequence[ChunkRef]) -> dict[str, list[int]]:
    ids, epochs, tokens = zip(*refs, strict=True) if refs else ((), (), ())
    return {"ids": list(ids), "epochs": list(epochs), "tokens": list(tokens)}
