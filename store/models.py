"""Models that are held back. What a model is, its spec says (`configs/`); here is only that it is paused.

A pause is folded into `job.ready`, so that claims need not walk over its jobs; claims look at the pause
itself too, for the jobs that came in at the same moment. From time to time one job of a paused model is
put on trial: it alone may be claimed from, once.
"""

from dataclasses import dataclass
from typing import Any

from psycopg import AsyncConnection, Connection
from psycopg.rows import class_row

from store.db import map_errors
from store.readiness import IS_DUE, IS_TIMELY

TRIAL_SECONDS = 10.0  # from a pause to the first trial; each further one takes twice as long to come
TRIAL_MOST_SECONDS = 600.0
CANDIDATES = 100  # oldest jobs of a model that take turns on trial

_UNTIL_TRIAL = f"""
make_interval(secs => least({TRIAL_MOST_SECONDS}, {TRIAL_SECONDS} * 2.0 ^ least({{probes}}, 20)))"""
_PAUSE = f"""
INSERT INTO model_pause AS pause (model, reason, probe_at)
VALUES (%(model)s, %(reason)s, now() + {_UNTIL_TRIAL.format(probes="0")})
ON CONFLICT (model) DO UPDATE SET reason = excluded.reason, trial_job_id = NULL,
    probe_at = now() + {_UNTIL_TRIAL.format(probes="pause.probes")}
"""
_IS_OPEN = "model = %(model)s AND state IN ('queued', 'running') AND ended_at IS NULL"
_HOLD_JOBS = f"UPDATE job SET ready = false, note = %(reason)s WHERE {_IS_OPEN}"
_RESUME = "DELETE FROM model_pause WHERE model = %(model)s"
_FREE_JOBS = f"UPDATE job SET ready = {IS_DUE}, note = NULL WHERE {_IS_OPEN}"
_FORGIVE = f"DELETE FROM strike USING job WHERE job.id = strike.job_id AND {_IS_OPEN}"

# Jobs take turns, by the number of the trial: where the oldest is all poison, a younger one may pass. Whether
# it is open is asked again under its lock: a job that was cancelled just now must not be ready.
_START_TRIALS = f"""
WITH due AS (
    SELECT model, probes FROM model_pause WHERE probe_at <= now() FOR NO KEY UPDATE SKIP LOCKED
), candidate AS (
    SELECT due.model, due.probes, waiting.id, family, suffix, count(*) OVER (PARTITION BY due.model) AS jobs,
           row_number() OVER (PARTITION BY due.model ORDER BY waiting.id) - 1 AS place
    FROM due CROSS JOIN LATERAL (
        SELECT id, family, suffix FROM job
        WHERE model = due.model AND state IN ('queued', 'running') AND ended_at IS NULL AND {IS_TIMELY}
          AND (next_part < parts OR EXISTS (
              SELECT FROM chunk WHERE job_id = job.id AND chunk.state = 'running' AND lease_until < now()))
        ORDER BY id LIMIT {CANDIDATES}
    ) AS waiting
), chosen AS (
    SELECT model, id, family, suffix FROM candidate WHERE place = mod(probes, jobs)
), readied AS (
    UPDATE job SET ready = true FROM chosen
    WHERE job.id = chosen.id AND state IN ('queued', 'running') AND {IS_TIMELY}
)
UPDATE model_pause SET trial_job_id = chosen.id, probes = model_pause.probes + 1,
                       probe_at = now() + {_UNTIL_TRIAL.format(probes="model_pause.probes + 1")}
FROM chosen WHERE model_pause.model = chosen.model
RETURNING model_pause.model, chosen.id AS job_id, chosen.family, chosen.suffix
"""
_TELL_HELD = f"""
UPDATE job SET note = reason FROM (
    SELECT held.id, reason FROM model_pause AS pause CROSS JOIN LATERAL (
        SELECT id FROM job
        WHERE model = pause.model AND state IN ('queued', 'running') AND NOT ready AND note IS NULL
        LIMIT {CANDIDATES}
    ) AS held
) AS untold
WHERE job.id = untold.id AND job.note IS NULL
"""
# Any part that the model has computed, of a job that is still there: the youngest of them first.
_PASSED_BODY = """
SELECT coalesce(
    (SELECT body FROM item WHERE job_id = passed.job_id AND item.n = passed.n),
    (SELECT body FROM item_part WHERE job_id = passed.job_id AND item_part.n = passed.n))
FROM (
    SELECT id FROM job WHERE model = %(model)s AND endpoint = %(endpoint)s ORDER BY id DESC LIMIT 1000
) AS young
CROSS JOIN LATERAL (SELECT job_id, n FROM result WHERE job_id = young.id AND status = 200 LIMIT 1) AS passed
ORDER BY young.id DESC LIMIT 1
"""


@dataclass(frozen=True, kw_only=True)
class Trial:
    """A job of a paused model from which a slot may claim, once."""

    model: str
    job_id: int
    suffix: str
    family: str


@map_errors()
def pause(conn: Connection[Any], model: str, reason: str) -> None:
    """Holds a model's jobs back; they say `reason`, a sentence, as their note. Sets the time of the next
    trial: later, the more trials there have been."""
    values = {"model": model, "reason": reason}
    with conn.transaction():
        conn.execute(_PAUSE, values)
        conn.execute(_HOLD_JOBS, values)


@map_errors()
def start_trials(conn: Connection[Any]) -> list[Trial]:
    """Puts a job on trial for every paused model whose time for one has come and that has a job."""
    with conn.cursor(row_factory=class_row(Trial)) as cursor:
        return cursor.execute(_START_TRIALS).fetchall()


@map_errors()
def tell_held(conn: Connection[Any]) -> int:
    """Has jobs that came in during a pause say its reason too, some at a time; how many."""
    return conn.execute(_TELL_HELD).rowcount


@map_errors()
def passed_body(conn: Connection[Any], model: str, endpoint: str) -> bytes | None:
    """The body of a part that the model has computed before; None where none is kept."""
    row = conn.execute(_PASSED_BODY, {"model": model, "endpoint": endpoint}).fetchone()
    return None if row is None or row[0] is None else bytes(row[0])


@map_errors()
def passed(conn: Connection[Any], model: str) -> bool:
    """Lets a model's jobs go on, as a trial has passed: strikes stay. False where it was not paused."""
    values = {"model": model}
    with conn.transaction():
        if conn.execute(_RESUME, values).rowcount == 0:
            return False
        conn.execute(_FREE_JOBS, values)
        return True


@map_errors()
def resume(conn: Connection[Any], model: str) -> bool:
    """Lets a model's jobs go on, as an operator says who has mended it: the strikes of its open jobs are
    forgotten. False where it was not paused."""
    values = {"model": model}
    with conn.transaction():
        if conn.execute(_RESUME, values).rowcount == 0:
            return False
        conn.execute(_FORGIVE, values)
        conn.execute(_FREE_JOBS, values)
        return True


async def resume_async(conn: AsyncConnection[Any], model: str) -> bool:
    """`resume`, for the API."""
    values = {"model": model}
    async with conn.transaction():
        if (await conn.execute(_RESUME, values)).rowcount == 0:
            return False
        await conn.execute(_FORGIVE, values)
        await conn.execute(_FREE_JOBS, values)
        return True


async def paused_models(conn: AsyncConnection[Any]) -> dict[str, str]:
    """The paused models, each with the reason."""
    return dict(await (await conn.execute("SELECT model, reason FROM model_pause")).fetchall())
