"""How far the parts have come that engines have in hand, for whoever looks at their job.

A Redis hash per job with a field per chunk, which the chunk's slot writes anew every second. It may be lost,
and is old where its slot is gone: nothing hangs on it but what is shown.
"""

import time
from collections.abc import Mapping
from typing import Any

import msgspec
import redis

from tasks.signals import PREFIX, Signals

TELL_SECONDS = 1.0
STALE_SECONDS = 15.0  # what is older is of a slot that is gone, or has stopped


class Entry(msgspec.Struct, frozen=True, array_like=True):
    """The units that a chunk's unfinished parts have come to, as of a time (Unix seconds)."""

    units: int
    at: float


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Entry).decode


def key_of(job_id: int) -> str:
    return f"{PREFIX}under_way:{job_id}"


class UnderWay:
    """Writes for one slot. Never raises, and is silent when `Signals` is."""

    def __init__(self, signals: Signals) -> None:
        self._signals = signals

    def told(self, job_id: int, chunk_id: int, units: int) -> None:
        """What is unfinished of the chunk has come to so many units; none at all takes it out."""
        entry, key = _encode(Entry(units, time.time())), key_of(job_id)

        def send(client: redis.Redis) -> None:
            if not units:
                client.hdel(key, str(chunk_id))
                return
            pipeline = client.pipeline(transaction=False)
            pipeline.hset(key, str(chunk_id), entry)
            pipeline.expire(key, round(STALE_SECONDS))
            pipeline.execute()

        self._signals.ask(send)


def units_of(fields: Mapping[bytes, Any]) -> int:
    """The sum over the fields of a job's hash that are not old."""
    since, units = time.time() - STALE_SECONDS, 0
    for field in fields.values():
        try:
            entry = _decode(field)
        except msgspec.MsgspecError:  # of another version of ours
            continue
        units += entry.units if entry.at >= since else 0
    return units
