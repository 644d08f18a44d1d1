"""Faults, and what each hits."""

import signal
import time
from collections.abc import Callable, Sequence
from contextlib import suppress

import psycopg
import redis

from tests.chaos.plan import FaultPlan
from tests.chaos.running import Running

Chunk = tuple[int, int]  # id and epoch

_CHUNKS = """
SELECT chunk.id, epoch, slot.pid FROM chunk JOIN slot ON slot.id = slot_id
WHERE state = 'running' AND chunk.lease_until > now()
"""


class Fault:
    """One fault as it happened: hit `at`, `over_at` once all that we do is done (monotonic seconds)."""

    def __init__(self, service: Running, plan: FaultPlan, lease_seconds: float) -> None:
        self.kind = plan.kind
        self.at = self.over_at = 0.0
        self.held: list[Chunk] = []  # what the victim held
        self.happened = True
        self._service, self._plan, self._lease_seconds = service, plan, lease_seconds

    def strike(self) -> None:
        """Do it; returns once it is over."""
        verb, _, noun = self.kind.partition(" ")
        action: dict[str, Callable[[str], None]] = {
            "kill": self._kill, "stop": self._stop, "empty": self._empty, "restart": self._restart,
        }  # fmt: skip
        action[verb](noun)
        self.over_at = time.monotonic()

    def _kill(self, noun: str) -> None:
        service = self._service
        if noun == "all":
            self.held = [(chunk, epoch) for chunk, epoch, _ in self._chunks()]
            self._now()
            service.kill()
            service.start()
            return
        pids = service.engines() if noun == "engine" else service.pids(noun)
        if noun == "slot":
            pids = self._busiest(pids)
        if victim := self._pick(pids):
            service.send(victim, signal.SIGKILL)

    def _stop(self, noun: str) -> None:
        if noun == "postgres":  # immediate stop: no checkpoint, sessions cut
            if victim := self._pick(self._service.pids("postgres")):
                self._service.send(victim, signal.SIGQUIT)
            return
        if victim := self._pick(self._busiest(self._service.pids("slot"))):
            self._service.send(victim, signal.SIGSTOP)
            time.sleep(self._lease_seconds + self._plan.seconds)
            self._service.send(victim, signal.SIGCONT)

    def _empty(self, _noun: str) -> None:
        self._now()
        with suppress(redis.RedisError), redis.Redis.from_url(self._service.redis_url) as client:
            client.flushall()

    def _restart(self, _noun: str) -> None:
        self._now()
        self._service.stop()
        self._service.start()

    def _pick(self, pids: Sequence[int]) -> int | None:
        self._now()
        self.happened = bool(pids)
        return pids[int(self._plan.pick * len(pids))] if pids else None

    def _busiest(self, slots: list[int]) -> list[int]:
        """Those slots that hold chunks, if any does; what the chosen one holds is remembered."""
        chunks = self._chunks()
        busy = [pid for pid in slots if any(pid == holder for _, _, holder in chunks)]
        if not busy:
            return slots
        victim = busy[int(self._plan.pick * len(busy))]
        self.held = [(chunk, epoch) for chunk, epoch, holder in chunks if holder == victim]
        return [victim]

    def _chunks(self) -> list[tuple[int, int, int]]:
        try:
            with psycopg.connect(self._service.database_url, autocommit=True) as conn:
                return conn.execute(_CHUNKS).fetchall()
        except psycopg.Error:  # an earlier fault has it down
            return []

    def _now(self) -> None:
        self.at = time.monotonic()
