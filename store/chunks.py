"""Chunks: claiming parts of a job under a lease.

Whose turn it is: `store/turns.py`. Keeping a lease, and taking over a lost one: `store/leases.py`. What a
chunk's holder records: `store/records.py`. All functions are for the synchronous connection of a slot. The
clock is the database's.

Nobody waits in a circle, since whoever locks a job's row as well as chunks of it holds the job's progress
row first; a claim only inserts chunks, and takes the caller's share last.
"""

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from psycopg import Connection

from store.db import map_errors
from store.ids import new_token
from store.turns import TURN_OF_ANY_MODEL, TURN_OF_ONE_MODEL, asked

# Seconds of compute that a caller who has not asked for a while may catch up.
CREDIT_SECONDS = 60.0
# What a part of a model is charged with until the slot has measured one.
UNMEASURED_SECONDS = 0.1
# A head may be claimed empty by others while we wait for its lock: look again, so many times.
CLAIM_ATTEMPTS = 8


class ChunkRef(NamedTuple):
    """What names a chunk and proves that its holder has not been replaced."""

    chunk_id: int
    epoch: int
    token: int


@dataclass(frozen=True, kw_only=True)
class Claim:
    """Parts `lo` ≤ n < `hi` of a job, held by a slot. `losses` counts holders that went away. `trial`: its
    model is paused, and what becomes of these parts decides for how long."""

    chunk_id: int
    job_id: int
    suffix: str
    view: str
    project_id: int
    family: str
    model: str
    endpoint: str
    lane: str
    key_id: int
    streamed: bool
    expected_seconds: float
    lo: int
    hi: int
    epoch: int
    token: int
    losses: int
    trial: bool = False

    @property
    def ref(self) -> ChunkRef:
        return ChunkRef(self.chunk_id, self.epoch, self.token)

    @property
    def followed(self) -> bool:
        """Whether the job has events: nobody follows a call that is only awaited."""
        return self.view != "call" or self.streamed


# What a claim says of its job.
COLUMNS_OF_JOB = "suffix, view, project_id, family, model, endpoint, lane, key_id, streamed, expected_seconds"
# Of a paused model only a trial may start; the statement's `trial` holds a row if it is ours.
MAY_START = "(job.model <> ALL (ARRAY (SELECT model FROM model_pause)) OR EXISTS (SELECT FROM trial))"

# The head is locked with NO KEY UPDATE: recording results only needs the job's key and goes on meanwhile. No
# SKIP LOCKED: a second slot would see an empty queue and go idle. A trial of a paused model takes one part,
# once: the pause's row is asked again under its lock.
# What computing has added comes before what has not been begun: else a job of long recordings would begin
# them all before it ended one.
# One row when there was a head; its chunk is NULL when others emptied the head while we waited.
_CLAIM = f"""
, trial AS (
    UPDATE model_pause SET trial_job_id = NULL FROM chosen WHERE trial_job_id = chosen.id
    RETURNING model_pause.model
), locked AS (
    SELECT job.id, CASE WHEN job.next_added < job.added THEN job.parts - job.added + job.next_added
                        ELSE job.next_part - job.next_added END AS lo,
           CASE WHEN EXISTS (SELECT FROM trial) THEN 1
                ELSE least(coalesce(cut.size, %(size)s),
                           ceil((job.parts - job.next_part)::float8 / %(shares)s)::int,
                           CASE WHEN job.next_added < job.added THEN job.added - job.next_added
                                ELSE job.parts - job.added - (job.next_part - job.next_added) END)
                END AS size,
           coalesce(cut.seconds, %(unmeasured)s) AS seconds
    FROM chosen JOIN job USING (id)
    LEFT JOIN unnest(%(models)s::text[], %(sizes)s::int[], %(seconds)s::float8[])
        AS cut (model, size, seconds) ON cut.model = job.model
    WHERE job.ready AND job.next_part < job.parts AND {MAY_START}
    FOR NO KEY UPDATE OF job
), advanced AS (
    UPDATE job SET next_part = next_part + size,
                   next_added = next_added + CASE WHEN lo < parts - added THEN 0 ELSE size END,
                   started_at = coalesce(started_at, now()),
                   state = CASE state WHEN 'queued' THEN 'running' ELSE state END
    FROM locked WHERE job.id = locked.id
    RETURNING job.id, {COLUMNS_OF_JOB}, lo, lo + size AS hi, locked.seconds
), charged AS (
    INSERT INTO share (family, lane, key_id, vtime)
    SELECT family, lane, key_id,
           greatest(0, chosen.most - %(credit)s) + seconds * (hi - lo) / api_key.weight
    FROM advanced JOIN api_key ON api_key.id = key_id CROSS JOIN chosen
    ON CONFLICT (family, lane, key_id) DO UPDATE SET vtime = greatest(
        excluded.vtime, share.vtime + (SELECT seconds * (hi - lo) / api_key.weight
                                       FROM advanced JOIN api_key ON api_key.id = advanced.key_id))
), cut AS (
    INSERT INTO chunk (job_id, lo, hi, token, slot_id, lease_until)
    SELECT id, lo, hi, %(token)s, %(slot_id)s, now() + make_interval(secs => %(lease)s) FROM advanced
    RETURNING id, epoch, token, losses
)
SELECT cut.id AS chunk_id, advanced.id AS job_id, {COLUMNS_OF_JOB}, lo, hi,
       epoch, token, losses, EXISTS (SELECT FROM trial) AS trial,
       set_config('synchronous_commit', 'off', true)
FROM chosen LEFT JOIN advanced USING (id) LEFT JOIN cut ON true
"""
_CLAIM_ANY_MODEL = TURN_OF_ANY_MODEL + _CLAIM
_CLAIM_ONE_MODEL = TURN_OF_ONE_MODEL + _CLAIM

_RECHARGE = """
UPDATE share SET vtime = greatest(0, vtime + %(seconds)s / api_key.weight)
FROM api_key WHERE api_key.id = key_id AND family = %(family)s AND lane = %(lane)s AND key_id = %(key_id)s
"""


@map_errors()
def claim(
    conn: Connection[Any],
    *,
    slot_id: int,
    families: Sequence[str],
    lanes: Sequence[str],
    cores: int,
    lease_seconds: float,
    sizes: Mapping[str, int],
    default_size: int,
    seconds: Mapping[str, float],
    loaded: str | None,
    only_model: str | None,
    shorter_than: float = math.inf,
    but: Collection[int] = (),
    shares: int = 1,
) -> Claim | None:
    """Cuts the next chunk off a job's head; None where there is nothing for this slot.

    Order: `lanes` as given, then priority, then the caller (API key) that has had the least compute, then
    age; the model `loaded` counts as `turns.AFFINITY_SECONDS` less. Of one caller's interactive jobs the one
    that is expected to be the shortest goes first, but the oldest once it has waited
    `turns.AGE_BOUND_SECONDS`. `sizes` (parts) and `seconds` (per part) go by model; a cut takes at most one
    of `shares` of what is left of its job, so that several slots come to its end together. Jobs that want
    more than `cores`, and paused models but for a trial, are left alone; so is every model but `only_model`,
    where given, and then every job that is not expected to be `shorter_than` this, in seconds; so are the
    jobs `but`. The commit does not wait for the disk: a claim that a crash forgets is fenced by its token.
    """
    models = sorted({*sizes, *seconds})
    turn = asked(
        families=families,
        lanes=lanes,
        cores=cores,
        loaded=loaded,
        only_model=only_model,
        shorter_than=shorter_than,
        but=but,
    )
    values = turn | {
        "credit": CREDIT_SECONDS,
        "size": default_size,
        "unmeasured": UNMEASURED_SECONDS,
        "models": models,
        "sizes": [sizes.get(model, default_size) for model in models],
        "seconds": [seconds.get(model, UNMEASURED_SECONDS) for model in models],
        "slot_id": slot_id,
        "lease": lease_seconds,
        "shares": shares,
    }
    statement = _CLAIM_ANY_MODEL if only_model is None else _CLAIM_ONE_MODEL
    for _ in range(CLAIM_ATTEMPTS):
        row = conn.execute(statement, values | {"token": new_token()}).fetchone()
        if row is None:
            return None
        *columns, _ = row
        if columns[0] is not None:
            return Claim(**dict(zip(Claim.__dataclass_fields__, columns, strict=True)))
    return None


@map_errors()
def recharge(conn: Connection[Any], claim: Claim, seconds_per_part: float) -> None:
    """Corrects the charge for a claim of a model that was not measured then, and was charged at
    `UNMEASURED_SECONDS`."""
    seconds = (seconds_per_part - UNMEASURED_SECONDS) * (claim.hi - claim.lo)
    values = {"family": claim.family, "lane": claim.lane, "key_id": claim.key_id, "seconds": seconds}
    conn.execute(_RECHARGE, values)
