"""Slots: the worker processes that are alive, and the cores that each owns.

Cores are owned per host, known by its boot id: containers share it, so replicas never pin the same core.
"""

import socket
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

import psutil
from psycopg import AsyncConnection, Connection
from psycopg.rows import class_row

from store.db import map_errors
from store.errors import CoresTaken


@dataclass(frozen=True, kw_only=True)
class SlotLease:
    """What a slot owns while it renews."""

    slot_id: int
    cores: list[int]


@dataclass(frozen=True, kw_only=True)
class SlotStatus:
    """What a slot is doing: the model and runtime that it used last, the models that it has `loaded`, an
    item in flight (`job_…:number`), parts per second, megabytes of its engines."""

    model: str | None = None
    runtime: str | None = None
    loaded: Sequence[str] = ()
    working_on: str | None = None
    rate: float | None = None
    memory_mb: int | None = None


IDLE = SlotStatus()


@dataclass(frozen=True, kw_only=True)
class SlotRow:
    """A slot that is alive. What it does (see `SlotStatus`) is as of its last renewal."""

    id: int
    boot_id: str
    host: str
    pid: int
    families: list[str]
    model: str | None
    runtime: str | None
    loaded: list[str]
    working_on: str | None
    rate: float | None
    memory_mb: int | None
    cores: list[int]
    started_at: datetime


_REGISTER = """
INSERT INTO slot (boot_id, host, pid, families, lease_until)
VALUES (%(boot_id)s, %(host)s, %(pid)s, %(families)s, now() + make_interval(secs => %(lease)s))
RETURNING id
"""
# In order of cores, so that two slots that want the same ones wait for each other, not in a circle.
_TAKE_CORES = """
INSERT INTO slot_core (boot_id, core, slot_id)
SELECT %(boot_id)s, core, %(slot)s FROM unnest(%(cores)s::int[]) AS core
WHERE core NOT IN (SELECT core FROM slot_core WHERE boot_id = %(boot_id)s)
ORDER BY core LIMIT %(most)s
ON CONFLICT DO NOTHING
RETURNING core
"""
_HOLDERS = """
SELECT core, host || ':' || pid FROM slot_core JOIN slot ON slot.id = slot_id
WHERE slot_core.boot_id = %s AND core = ANY (%s)
"""
_LAPSED = "SELECT id FROM slot WHERE boot_id = %s AND lease_until < now() FOR UPDATE"
_OF_HOST = """
SELECT id, pid, extract(epoch FROM now() - started_at)::float8 FROM slot WHERE boot_id = %s AND host = %s
"""
# The chunks of a slot that is gone are claimable at once; that is a loss, unlike a release.
_FREE_CHUNKS = """
UPDATE chunk SET lease_until = now() - interval '1 microsecond'
FROM (
    SELECT id FROM chunk WHERE state = 'running' AND slot_id = ANY (%(slots)s) AND lease_until >= now()
    ORDER BY id FOR NO KEY UPDATE
) AS held
WHERE chunk.id = held.id
"""
_RENEW = """
UPDATE slot SET lease_until = now() + make_interval(secs => %(lease)s), model = %(model)s,
                runtime = %(runtime)s, loaded = %(loaded)s, working_on = %(working_on)s, rate = %(rate)s,
                memory_mb = %(memory_mb)s
WHERE id = %(slot)s
"""
_LIVE = """
SELECT id, slot.boot_id, host, pid, families, model, runtime, loaded, working_on, rate, memory_mb,
       started_at,
       ARRAY (SELECT core FROM slot_core WHERE slot_id = slot.id ORDER BY core) AS cores
FROM slot WHERE lease_until >= now() ORDER BY id
"""

# A process that began later than its slot by more than this is another one, under a reused pid.
START_SLACK_SECONDS = 5.0


@map_errors()
def register(
    conn: Connection[Any],
    *,
    boot_id: str,
    host: str,
    pid: int,
    families: Sequence[str],
    cores: Sequence[int] | None,
    available: Sequence[int],
    lease_seconds: float,
) -> SlotLease:
    """Makes a slot that owns `cores`, or with None one free core of `available`. Raises `CoresTaken`.

    Slots of this host whose lease has run out lose theirs.
    """
    wanted, most = (available, 1) if cores is None else (cores, len(cores))
    values = {"boot_id": boot_id, "host": host, "pid": pid, "families": list(families)}
    with conn.transaction():
        _remove(conn, [row[0] for row in conn.execute(_LAPSED, (boot_id,)).fetchall()])
        row = conn.execute(_REGISTER, values | {"lease": lease_seconds}).fetchone()
        assert row is not None
        taken = _take_cores(conn, boot_id, row[0], wanted, most)
    return SlotLease(slot_id=row[0], cores=taken)


@map_errors()
def renew(conn: Connection[Any], slot_id: int, lease_seconds: float, status: SlotStatus = IDLE) -> bool:
    """Extends a slot's lease, and says what it does. False where the slot was removed, having been silent
    for too long: another may own its cores."""
    values = asdict(status) | {"loaded": list(status.loaded), "lease": lease_seconds, "slot": slot_id}
    return conn.execute(_RENEW, values).rowcount == 1


@map_errors()
def leave(conn: Connection[Any], slot_id: int) -> None:
    """Removes a slot: its cores are free, and chunks that it did not release are claimable."""
    with conn.transaction():
        _remove(conn, [slot_id])


@map_errors()
def free_dead(conn: Connection[Any], boot_id: str) -> list[int]:
    """Removes the slots of this host and boot whose process is gone: their ids.

    Only those that bear this host's name: a process of another container cannot be seen from here.
    """
    with conn.transaction():
        rows = conn.execute(_OF_HOST, (boot_id, socket.gethostname())).fetchall()
        dead = [slot_id for slot_id, pid, age_seconds in rows if not _is_alive(pid, age_seconds)]
        _remove(conn, dead)
    return dead


@map_errors()
def count(conn: Connection[Any], family: str) -> int:
    """How many live slots serve a family."""
    statement = "SELECT count(*) FROM slot WHERE lease_until >= now() AND %s = ANY (families)"
    row = conn.execute(statement, (family,)).fetchone()
    return int(row[0]) if row is not None else 0


@map_errors()
def count_on(conn: Connection[Any], host: str) -> int:
    """How many live slots bear a host's name; a container has its own."""
    statement = "SELECT count(*) FROM slot WHERE lease_until >= now() AND host = %s"
    row = conn.execute(statement, (host,)).fetchone()
    return int(row[0]) if row is not None else 0


async def live(conn: AsyncConnection[Any]) -> list[SlotRow]:
    """The slots that are alive, oldest first."""
    async with conn.cursor(row_factory=class_row(SlotRow)) as cursor:
        await cursor.execute(_LIVE)
        return await cursor.fetchall()


def _take_cores(
    conn: Connection[Any], boot_id: str, slot_id: int, wanted: Sequence[int], most: int
) -> list[int]:
    """`most` of the cores that are wanted, in order. Raises `CoresTaken`."""
    taken: list[int] = []
    for _ in wanted:  # another slot may take the free core that we saw, so look again
        ask = {"boot_id": boot_id, "slot": slot_id, "cores": list(wanted), "most": most - len(taken)}
        taken += [core for (core,) in conn.execute(_TAKE_CORES, ask).fetchall()]
        if len(taken) == most:
            return sorted(taken)
    missing = [core for core in wanted if core not in taken]
    raise CoresTaken(dict(conn.execute(_HOLDERS, (boot_id, missing)).fetchall()))


def _remove(conn: Connection[Any], slot_ids: list[int]) -> None:
    if slot_ids:
        conn.execute(_FREE_CHUNKS, {"slots": slot_ids})
        conn.execute("DELETE FROM slot WHERE id = ANY (%s)", (slot_ids,))


def _is_alive(pid: int, slot_age_seconds: float) -> bool:
    """Whether the process that made a slot of this age still runs. Ages, not times, are compared: the
    database's clock need not agree with ours."""
    try:
        process = psutil.Process(pid)
        age_seconds = time.time() - process.create_time()
        return (
            process.status() != psutil.STATUS_ZOMBIE and age_seconds > slot_age_seconds - START_SLACK_SECONDS
        )
    except psutil.Error:
        return False
