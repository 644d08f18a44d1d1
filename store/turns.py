"""Whose turn it is: the SQL that finds the job which a claim cuts its chunk from.

It costs a few index probes for each API key with work, whatever the number of jobs.
"""

import math
from collections.abc import Collection, Sequence
from typing import Any

from psycopg import Connection

from store.db import map_errors

# Seconds of compute by which a slot prefers the model it has loaded over a caller who has had less.
AFFINITY_SECONDS = 30.0
# An interactive job that has waited so long goes before shorter ones, and counts as if its model was loaded.
AGE_BOUND_SECONDS = 10.0
# How many of a caller's shortest jobs are looked at for one of the loaded model.
SHORTEST_LOOKED_AT = 64

# Pauses are compared as an array: joined, they would have all jobs of the caller read and sorted. Of a paused
# model only the job of its trial may run, until somebody has claimed from it.
IS_ADMITTED = """
(model <> ALL (ARRAY (SELECT model FROM model_pause))
 OR id = ANY (ARRAY (SELECT trial_job_id FROM model_pause WHERE trial_job_id IS NOT NULL)))"""
_WAITS = "ready AND next_part < parts"
_FITS = f"cores <= %(cores)s AND id <> ALL (%(but)s::bigint[]) AND {IS_ADMITTED}"
_COLUMNS = """id, priority, model, expected_seconds,
    lane = 'interactive' AND created_at <= now() - make_interval(secs => %(age_bound)s) AS aged"""


def _head(condition: str = "") -> str:
    """The first job of a caller that this slot could serve: one index probe."""
    return f"""
    SELECT {_COLUMNS} FROM job
    WHERE {_WAITS} AND family = caller.family AND lane = caller.lane AND key_id = caller.key_id
      AND {_FITS} {condition}
    ORDER BY priority DESC, id LIMIT 1"""


def _turn(of_model: str, warm_heads: str) -> str:
    """`caller` walks the index from key to key (a skip scan), so that its cost is the number of keys with
    work and not the number of jobs, and brings each key's first job along. `best` is the head whose turn it
    is; among jobs that somebody waits for, `chosen` takes the shortest of that key and priority instead,
    unless the head has waited too long."""
    next_caller = f"SELECT key_id, {_COLUMNS}, {_FITS} {of_model} AS fits FROM job WHERE {_WAITS}"
    first = "ORDER BY key_id, priority DESC, id LIMIT 1"
    return f"""
WITH RECURSIVE caller AS (
    SELECT wanted.rank, family, wanted.lane, next.*
    FROM unnest(%(families)s::text[]) AS families (family)
    CROSS JOIN unnest(%(lanes)s::text[]) WITH ORDINALITY AS wanted (lane, rank)
    CROSS JOIN LATERAL ({next_caller} AND family = families.family AND lane = wanted.lane {first}) AS next
    UNION ALL
    SELECT rank, family, lane, next.* FROM caller CROSS JOIN LATERAL (
        {next_caller} AND family = caller.family AND lane = caller.lane AND key_id > caller.key_id {first}
    ) AS next
), first AS (
    SELECT rank, family, lane, key_id, id, priority, model, expected_seconds, aged FROM caller WHERE fits
    UNION ALL
    SELECT rank, family, lane, key_id, head.*
    FROM caller CROSS JOIN LATERAL ({_head(of_model)}) AS head WHERE NOT fits
), heads AS (
    SELECT * FROM first {warm_heads}
), head AS (
    SELECT heads.*, coalesce((
        SELECT vtime FROM share
        WHERE family = heads.family AND lane = heads.lane AND key_id = heads.key_id), 0) AS vtime
    FROM heads
), best AS (
    SELECT head.*, (SELECT max(vtime) FROM head AS other WHERE other.rank = head.rank) AS most FROM head
    ORDER BY rank, priority DESC,
             vtime - CASE WHEN aged OR model = %(loaded)s THEN %(affinity)s ELSE 0 END,
             aged DESC, CASE WHEN NOT aged THEN expected_seconds END, id
    LIMIT 1
), chosen AS (
    SELECT coalesce(quick.id, best.id) AS id, best.most
    FROM best LEFT JOIN LATERAL (
        SELECT id FROM (
            SELECT id, model, expected_seconds FROM job
            WHERE {_WAITS} AND {_FITS} AND best.lane = 'interactive' AND NOT best.aged
              AND lane = 'interactive' AND family = best.family AND key_id = best.key_id
              AND priority = best.priority
            ORDER BY expected_seconds, id LIMIT %(looked_at)s
        ) AS short
        WHERE (best.model IS DISTINCT FROM %(loaded)s OR model = %(loaded)s) {of_model}
        ORDER BY expected_seconds, id LIMIT 1
    ) AS quick ON true
)"""


# Where a caller's head is of another model than the loaded one, the first of that is a head too.
_WARM_HEADS = f"""
    UNION ALL
    SELECT rank, family, lane, key_id, head.* FROM first AS caller CROSS JOIN LATERAL (
        {_head("AND model = %(loaded)s AND caller.model <> %(loaded)s")}
    ) AS head"""
TURN_OF_ANY_MODEL = _turn("", _WARM_HEADS)
TURN_OF_ONE_MODEL = _turn("AND model = %(only_model)s AND expected_seconds < %(shorter_than)s", "")
_NEXT_MODEL = f"{TURN_OF_ANY_MODEL} SELECT model FROM chosen JOIN job USING (id)"


def asked(
    *,
    families: Sequence[str],
    lanes: Sequence[str],
    cores: int,
    loaded: str | None,
    only_model: str | None,
    shorter_than: float = math.inf,
    but: Collection[int] = (),
) -> dict[str, Any]:
    """What the statements above want to know. Only those of one model want `only_model` and `shorter_than`
    (of a job's expected seconds). Jobs `but` are left alone."""
    return {
        "families": list(families),
        "lanes": list(lanes),
        "cores": cores,
        "loaded": loaded,
        "only_model": only_model,
        "shorter_than": shorter_than,
        "but": list(but),
        "affinity": AFFINITY_SECONDS,
        "age_bound": AGE_BOUND_SECONDS,
        "looked_at": SHORTEST_LOOKED_AT,
    }


@map_errors()
def next_model(
    conn: Connection[Any],
    *,
    families: Sequence[str],
    lanes: Sequence[str],
    cores: int,
    loaded: str | None,
    but: Collection[int] = (),
) -> str | None:
    """The model of the job, none of `but`, whose turn it is; None where nothing waits. Claims nothing."""
    values = asked(families=families, lanes=lanes, cores=cores, loaded=loaded, only_model=None, but=but)
    row = conn.execute(_NEXT_MODEL, values).fetchone()
    return row[0] if row is not None else None
