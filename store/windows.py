"""Jobs that may only run in a window of the day: opening and closing them, by groups of the same window.

When a window is open, `configs/windows.py` knows; the clock is the database's. A closed job is not ready, so
nothing more of it is claimed, and slots let go of what they have not begun.
"""

from datetime import datetime
from typing import Any, NamedTuple

from psycopg import Connection

from store.db import map_errors
from store.readiness import IS_DUE

# How many jobs of a group are opened or closed per call: each is a new version of a job's row.
JOBS_AT_ONCE = 1000


class WindowGroup(NamedTuple):
    """Unfinished jobs with the same window, as they stand: open or closed."""

    run_window: str
    timezone: str
    is_open: bool


# Walks the index from group to group.
_GROUPS = """
WITH RECURSIVE windowed AS (
    (SELECT run_window, timezone, window_open FROM job WHERE ended_at IS NULL AND run_window IS NOT NULL
     ORDER BY run_window, timezone, window_open LIMIT 1)
    UNION ALL
    SELECT next.* FROM windowed CROSS JOIN LATERAL (
        SELECT run_window, timezone, window_open FROM job
        WHERE ended_at IS NULL AND run_window IS NOT NULL
          AND (run_window, timezone, window_open)
            > (windowed.run_window, windowed.timezone, windowed.window_open)
        ORDER BY run_window, timezone, window_open LIMIT 1
    ) AS next
)
SELECT * FROM windowed
"""
# Rows that somebody has locked are left for the next turn, so that nobody waits in a circle.
_FLIP = """
WITH flipped AS (
    SELECT id FROM job
    WHERE ended_at IS NULL AND run_window = %(run_window)s AND timezone = %(timezone)s
      AND window_open = %(is_open)s
    LIMIT %(most)s FOR NO KEY UPDATE SKIP LOCKED
)
"""
_OPEN = f"""{_FLIP}
UPDATE job SET window_open = true, note = CASE WHEN note NOT LIKE 'waits for its window %%' THEN note END
FROM flipped WHERE job.id = flipped.id RETURNING job.id
"""
_MAKE_READY = f"""
UPDATE job SET ready = true WHERE id = ANY (%s) AND state IN ('queued', 'running') AND {IS_DUE}"""
_CLOSE = f"""{_FLIP}
UPDATE job SET window_open = false, ready = false,
               note = format('waits for its window %%s (%%s)', run_window, timezone)
FROM flipped WHERE job.id = flipped.id
"""


@map_errors()
def groups(conn: Connection[Any]) -> list[WindowGroup]:
    """The groups of unfinished jobs with a window. One window may be there twice, as open and as closed."""
    return [WindowGroup(*row) for row in conn.execute(_GROUPS).fetchall()]


@map_errors()
def flip(conn: Connection[Any], group: WindowGroup) -> int:
    """Opens the jobs of a closed group, and closes those of an open one; some at a time, how many.

    An opened job is ready unless something else holds it back. A closed one says what it waits for.
    """
    values = group._asdict() | {"most": JOBS_AT_ONCE}
    if group.is_open:
        return conn.execute(_CLOSE, values).rowcount
    with conn.transaction():
        opened = [row[0] for row in conn.execute(_OPEN, values).fetchall()]
        conn.execute(_MAKE_READY, (opened,))
    return len(opened)


@map_errors()
def clock(conn: Connection[Any]) -> datetime:
    """What time it is."""
    row = conn.execute("SELECT now()").fetchone()
    assert row is not None
    now: datetime = row[0]
    return now
