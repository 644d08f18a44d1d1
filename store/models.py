"""Models that are held back. What a model is, its spec says (`configs/`); here is only that it is paused.

A pause is folded into `job.ready`, so that claims need not walk over its jobs; claims look at the pause
itself too, for the jobs that came in at the same moment.
"""

from typing import Any

from psycopg import AsyncConnection, Connection

from store.db import map_errors

_PAUSE = """
INSERT INTO model_pause (model, reason) VALUES (%(model)s, %(reason)s)
ON CONFLICT (model) DO UPDATE SET reason = excluded.reason
"""
_HOLD_JOBS = """
UPDATE job SET ready = false, note = %(reason)s
WHERE model = %(model)s AND state IN ('queued', 'running') AND ended_at IS NULL
"""
_FREE_JOBS = """
UPDATE job SET ready = true, note = NULL
WHERE model = %(model)s AND state IN ('queued', 'running') AND ended_at IS NULL
  AND coalesce(not_before <= now(), true) AND coalesce(deadline > now(), true)
"""


@map_errors()
def pause(conn: Connection[Any], model: str, reason: str) -> None:
    """Holds a model's jobs back; they say `reason`, a sentence, as their note."""
    with conn.transaction():
        conn.execute(_PAUSE, {"model": model, "reason": reason})
        conn.execute(_HOLD_JOBS, {"model": model, "reason": reason})


@map_errors()
def resume(conn: Connection[Any], model: str) -> bool:
    """Lets a model's jobs go on. False where it was not paused."""
    with conn.transaction():
        if conn.execute("DELETE FROM model_pause WHERE model = %s", (model,)).rowcount == 0:
            return False
        conn.execute(_FREE_JOBS, {"model": model})
        return True


async def paused_models(conn: AsyncConnection[Any]) -> dict[str, str]:
    """The paused models, each with the reason."""
    return dict(await (await conn.execute("SELECT model, reason FROM model_pause")).fetchall())
