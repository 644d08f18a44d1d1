"""How fast models are: seconds of compute per part, as slots measure them. A new slot begins with what is
known, and queues are judged by it."""

from collections.abc import Mapping, Sequence
from typing import Any

from psycopg import AsyncConnection, Connection

from store.db import map_errors

# Rows are locked by model, as several slots save several models at once.
_SAVE = """
INSERT INTO model_pace (model, seconds)
SELECT * FROM unnest(%(models)s::text[], %(seconds)s::float8[]) AS new (model, seconds) ORDER BY model
ON CONFLICT (model) DO UPDATE SET seconds = excluded.seconds, measured_at = now()
"""
_LOAD = "SELECT model, seconds FROM model_pace"


@map_errors()
def save(conn: Connection[Any], paces: Mapping[str, float]) -> None:
    """Keeps seconds per part by model. The last one to save decides: slots of a kind measure alike."""
    if paces:
        conn.execute(_SAVE, {"models": list(paces), "seconds": list(paces.values())})


@map_errors()
def load(conn: Connection[Any]) -> dict[str, float]:
    """Seconds per part of every model that was ever measured."""
    return dict(conn.execute(_LOAD).fetchall())


async def seconds_per_part(conn: AsyncConnection[Any], models: Sequence[str]) -> dict[str, float]:
    """Seconds per part of one slot, of those of the models that were measured."""
    return dict(await (await conn.execute(f"{_LOAD} WHERE model = ANY (%s)", (list(models),))).fetchall())
