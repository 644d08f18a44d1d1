"""What a slot holds: chunks under lease, and their parts on the way through an engine."""

import time
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from backends.types import Lane, Part
from store.chunks import Claim
from store.items import ClaimedPart
from store.records import PartResult


@dataclass(kw_only=True)
class HeldChunk:
    """A chunk that we hold. `open` are the keys of its unfinished parts, `rows` results not yet recorded."""

    claim: Claim
    open: set[int] = field(default_factory=set)
    rows: list[PartResult] = field(default_factory=list)
    more: list[tuple[int, list[bytes]]] = field(default_factory=list)
    touched_at: float = field(default_factory=time.monotonic)  # last claim, record or renewal

    @property
    def lane(self) -> Lane:
        return Lane(self.claim.lane)


@dataclass(frozen=True, kw_only=True)
class HeldPart:
    """A part of ours: its number in the job, and the chunk that it belongs to."""

    n: int
    chunk: HeldChunk
    part: Part


class Holding:
    """The parts of one model that a slot holds: waiting here, or handed to the engine.

    Suspects are parts that were in flight in a crash (or whose chunk was lost often): they run alone.
    """

    def __init__(self) -> None:
        self.chunks: dict[int, HeldChunk] = {}
        self.parts: dict[int, HeldPart] = {}
        self.waiting: dict[Lane, deque[int]] = {lane: deque() for lane in Lane}
        self.suspects: deque[int] = deque()
        self._next_key = 1

    def __bool__(self) -> bool:
        return bool(self.chunks)

    def add(self, claim: Claim, parts: list[ClaimedPart], *, alone: bool) -> HeldChunk:
        """Take in a claimed chunk. `alone`: all of its parts are suspects."""
        chunk = HeldChunk(claim=claim)
        self.chunks[claim.chunk_id] = chunk
        for claimed in parts:
            key, self._next_key = self._next_key, self._next_key + 1
            part = Part(key=key, endpoint=claim.endpoint, body=claimed.body, lane=chunk.lane)
            self.parts[key] = HeldPart(n=claimed.n, chunk=chunk, part=part)
            chunk.open.add(key)
            (self.suspects if alone or claimed.strikes else self.waiting[chunk.lane]).append(key)
        return chunk

    def take(self, lane: Lane, n: int) -> list[Part]:
        """Up to `n` waiting parts of `lane`, to be handed to the engine."""
        queue = self.waiting[lane]
        taken: list[Part] = []
        while queue and len(taken) < n:
            held = self.parts.get(queue.popleft())
            if held is not None:
                taken.append(held.part)
        return taken

    def take_suspect(self) -> list[Part]:
        while self.suspects:
            held = self.parts.get(self.suspects.popleft())
            if held is not None:
                return [held.part]
        return []

    def finish(
        self, key: int, *, status: int, units: int, data: bytes, more: Sequence[bytes] = ()
    ) -> HeldChunk | None:
        """A part has its result: move it to its chunk's rows. None: it is not ours any more."""
        held = self.parts.pop(key, None)
        if held is None:
            return None
        held.chunk.open.discard(key)
        held.chunk.rows.append(PartResult(n=held.n, status=status, units=units, data=data))
        if more:
            held.chunk.more.append((held.n, list(more)))
        return held.chunk

    def drop(self, chunk: HeldChunk) -> set[int]:
        """Let a chunk go (fenced, cancelled, released); returns the keys that the engine may still have."""
        self.chunks.pop(chunk.claim.chunk_id, None)
        for key in chunk.open:
            self.parts.pop(key, None)
        return chunk.open

    def requeue(self, in_flight: frozenset[int], *, suspect: bool) -> None:
        """The engine is gone: everything that it had waits again, what was in flight alone if `suspect`."""
        for queue in (*self.waiting.values(), self.suspects):
            queue.clear()
        for key, held in self.parts.items():
            if key in in_flight and suspect:
                self.suspects.append(key)
            else:
                self.waiting[held.chunk.lane].append(key)

    def count(self, lane: Lane) -> int:
        """Unfinished parts of `lane`."""
        return sum(len(chunk.open) for chunk in self.chunks.values() if chunk.lane is lane)

    def jobs(self) -> set[int]:
        return {chunk.claim.job_id for chunk in self.chunks.values()}

    def of_job(self, job_id: int) -> Iterator[HeldChunk]:
        return iter([chunk for chunk in self.chunks.values() if chunk.claim.job_id == job_id])
