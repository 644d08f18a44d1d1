"""Work that waits for a slot: which families have some, and what no slot that is alive could ever take.

A slot takes work of the families that it serves, of jobs that want at most as many cores as it owns.
"""

from typing import Any

from psycopg import Connection

from store.db import map_errors

# What live slots serve, each family with the cores of the widest of them.
_SERVED = """
served AS (
    SELECT family, max(width)::int AS widest
    FROM (
        SELECT families, (SELECT count(*) FROM slot_core WHERE slot_id = slot.id) AS width
        FROM slot WHERE lease_until >= now()
    ) AS live CROSS JOIN unnest(families) AS family
    GROUP BY family
)"""
# Walks the index from (family, lane) to the next, like a claim from key to key.
_QUEUE = """
queue AS (
    (SELECT family, lane FROM job WHERE ready AND next_part < parts ORDER BY family, lane LIMIT 1)
    UNION ALL
    SELECT next.* FROM queue CROSS JOIN LATERAL (
        SELECT family, lane FROM job
        WHERE ready AND next_part < parts AND (family, lane) > (queue.family, queue.lane)
        ORDER BY family, lane LIMIT 1
    ) AS next
)"""
# Lost chunks look up their jobs, not the other way round (hence LIMIT 1, which keeps the planner from
# choosing).
_LOST = """
lost AS (
    SELECT owner.* FROM chunk CROSS JOIN LATERAL (
        SELECT id, family, lane, cores, note FROM job
        WHERE id = chunk.job_id AND state = 'running' AND ready LIMIT 1
    ) AS owner
    WHERE chunk.state = 'running' AND lease_until < now()
)"""
_WAITING = f"""
WITH RECURSIVE {_SERVED}, {_QUEUE}, {_LOST}
SELECT family, lane FROM queue JOIN served USING (family) CROSS JOIN LATERAL (
    SELECT FROM job
    WHERE ready AND next_part < parts AND family = queue.family AND lane = queue.lane AND cores <= widest
    ORDER BY key_id, priority DESC, id LIMIT 1
) AS head
UNION
SELECT family, lane FROM lost JOIN served USING (family) WHERE cores <= widest
ORDER BY family, lane
"""

_NOTE = """
CASE WHEN widest IS NULL THEN 'no live slot serves family ' || family
     WHEN cores > widest
     THEN format('needs %%s cores; the widest slot that serves family %%s has %%s', cores, family, widest)
END"""
_IS_OURS = """
(note LIKE 'no live slot serves family %%' OR note LIKE 'needs %% cores; the widest slot that serves %%')"""
# A note of anybody else stays. Rows that somebody has locked are left for the next time, so that nobody
# waits in a circle. Ids are compared as arrays, which leaves the planner only the primary key.
_EXPLAIN = f"""
WITH RECURSIVE {_SERVED}, {_QUEUE}, {_LOST}, looked AS (
    SELECT head.* FROM queue CROSS JOIN LATERAL (
        SELECT id, family, cores, ready, note FROM job
        WHERE ready AND next_part < parts AND family = queue.family AND lane = queue.lane AND note IS NULL
        ORDER BY key_id, priority DESC, id LIMIT %(most)s
    ) AS head
    WHERE queue.family NOT IN (SELECT family FROM served)
    UNION
    SELECT wide.* FROM served CROSS JOIN LATERAL (
        SELECT id, family, cores, ready, note FROM job
        WHERE ready AND next_part < parts AND cores > 1
          AND family = served.family AND cores > served.widest AND note IS NULL
        ORDER BY family, cores LIMIT %(most)s
    ) AS wide
    UNION
    SELECT id, family, cores, true, note FROM lost WHERE note IS NULL
    UNION
    (SELECT id, family, cores, ready, note FROM job WHERE note IS NOT NULL AND {_IS_OURS} ORDER BY id)
), wanted AS (
    SELECT id, note AS old, CASE WHEN ready THEN {_NOTE} END AS new
    FROM looked LEFT JOIN served USING (family)
), changed AS (
    SELECT id, new FROM wanted WHERE new IS DISTINCT FROM old ORDER BY new IS NOT NULL, id LIMIT %(most)s
), locked AS (
    SELECT id FROM job WHERE id = ANY (ARRAY (SELECT id FROM changed)) FOR NO KEY UPDATE SKIP LOCKED
)
UPDATE job SET note = new FROM changed
WHERE job.id = ANY (ARRAY (SELECT id FROM locked)) AND job.id = changed.id AND (note IS NULL OR {_IS_OURS})
"""

# How many notes are written per call, wrong ones first, then by age: each is a new version of a job's row.
NOTES_AT_ONCE = 1000


@map_errors()
def waiting_families(conn: Connection[Any]) -> list[tuple[str, str]]:
    """(family, lane) of all work that a live slot could claim now, lost chunks included."""
    return conn.execute(_WAITING).fetchall()


@map_errors()
def explain(conn: Connection[Any]) -> int:
    """Writes on jobs that no live slot could take why they wait, and takes it off those that one could.

    Some at a time; how many. Never touches what somebody else has noted.
    """
    return conn.execute(_EXPLAIN, {"most": NOTES_AT_ONCE}).rowcount
