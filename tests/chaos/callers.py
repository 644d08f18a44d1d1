"""What runs beside the faults: a client that calls and awaits, and an observer that sees results come in."""

import threading
import time
from contextlib import suppress
from typing import NamedTuple

import httpx
import psycopg

CALL_SECONDS = 30.0  # a client's patience
LOOK_SECONDS = 0.03
# What a fault may do to a call: the connection breaks, or the service says that it is not there.
MAY_FAIL = (502, 503, 504)

_DONE = "SELECT coalesce(sum(done), 0)::bigint FROM job_progress"
_HELD = """
SELECT count(*) FROM chunk JOIN unnest(%s::bigint[], %s::int[]) AS held (id, epoch) USING (id, epoch)
WHERE state = 'running'
"""


class Call(NamedTuple):
    """One awaited call that was answered: when it was sent and when answered (monotonic seconds)."""

    sent_at: float
    answered_at: float


class Repeating(threading.Thread):
    """A thread that repeats a step until the end of the block."""

    def __init__(self, pause: float) -> None:
        super().__init__(daemon=True)
        self._pause = pause
        self._ending = threading.Event()

    def step(self) -> None:
        raise NotImplementedError

    def run(self) -> None:
        while not self._ending.wait(self._pause):
            self.step()

    def end(self) -> None:
        self._ending.set()
        self.join()


class Caller(Repeating):
    """Makes awaited calls one after the other; each tries again until it is answered."""

    def __init__(self, url: str, key: str) -> None:
        super().__init__(pause=0.1)
        self.calls: list[Call] = []
        self.failures = 0
        self.unexpected: list[str] = []
        self._client = httpx.Client(
            base_url=url, timeout=CALL_SECONDS, headers={"Authorization": f"Bearer {key}"}
        )

    def step(self) -> None:
        sent_at = time.monotonic()
        body = {"model": "quick", "input": f"call {len(self.calls)} {self.failures}"}
        try:
            reply = self._client.post("/v1/embeddings", json=body)
        except httpx.HTTPError:
            self.failures += 1
            return
        if reply.status_code == 200:
            self.calls.append(Call(sent_at, time.monotonic()))
            return
        self.failures += 1
        if reply.status_code not in MAY_FAIL:
            self.unexpected.append(f"a call got {reply.status_code}: {reply.text[:300]}")

    def end(self) -> None:
        super().end()
        self._client.close()


class Observer(Repeating):
    """Sees at which moments the number of recorded parts grew, and when held chunks were let go of."""

    def __init__(self, database_url: str) -> None:
        super().__init__(pause=LOOK_SECONDS)
        self.grew_at: list[float] = []
        self.freed_at: dict[int, float] = {}  # by fault: nothing is left as its victim held it
        self._held: dict[int, list[tuple[int, int]]] = {}
        self._done = 0
        self._url = database_url
        self._conn: psycopg.Connection | None = None

    def watch(self, fault: int, held: list[tuple[int, int]]) -> None:
        """Note when these (chunk, epoch) are no longer running."""
        if held:
            self._held[fault] = held

    def step(self) -> None:
        try:
            if self._conn is None:
                self._conn = psycopg.connect(self._url, autocommit=True, connect_timeout=5)
            self._look(self._conn)
        except psycopg.Error:
            if self._conn is not None:
                with suppress(psycopg.Error):
                    self._conn.close()
            self._conn = None

    def _look(self, conn: psycopg.Connection) -> None:
        (done,) = conn.execute(_DONE).fetchone() or (0,)
        if done > self._done:
            self.grew_at.append(time.monotonic())
        self._done = done
        for fault, held in list(self._held.items()):
            ids, epochs = zip(*held, strict=True)
            if conn.execute(_HELD, (list(ids), list(epochs))).fetchone() == (0,):
                self.freed_at[fault] = time.monotonic()
                del self._held[fault]

    def end(self) -> None:
        super().end()
        if self._conn is not None:
            self._conn.close()
