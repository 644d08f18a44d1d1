"""What a slot holds: chunks under lease, and their parts on the way through an engine."""

import time
from collections import deque
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace

import msgspec

from backends.types import Done, ErrorInfo, Lane, Part, Progress, Source, encode_result
from configs.error_codes import status_of
from store.chunks import Claim
from store.items import ClaimedPart
from store.records import Addition, PartResult
from tasks.attachments import Found, Wanted
from tasks.breaker import STRIKES

NO_SOURCES: Mapping[int, Found] = {}


@dataclass(kw_only=True)
class HeldChunk:
    """A chunk that we hold. `open` are the keys of its unfinished parts, `rows` results not yet recorded,
    `cpu_ms` what computing took of a core and is not recorded yet. `news` are pieces of results to come, each
    with its part's number, that followers are still to be told. `under_way` is how far open parts are, in the
    unit of `Progress`; `told_units` and `told_at` are what of that was told last. `leaving`: nothing more of
    it is fed."""

    claim: Claim
    open: set[int] = field(default_factory=set)
    rows: list[PartResult] = field(default_factory=list)
    more: list[Addition] = field(default_factory=list)
    news: list[tuple[int, bytes]] = field(default_factory=list)
    under_way: dict[int, float] = field(default_factory=dict)
    told_units: int = 0
    told_at: float = field(default_factory=time.monotonic)
    cpu_ms: float = 0.0
    leaving: bool = False
    leased_at: float = field(default_factory=time.monotonic)  # last claim, record or renewal

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

    Suspects are parts that an engine may have died of (or whose chunk was lost often): they run alone, and
    stay suspects until they have a result. Parts with two strikes are put `aside`, each with what ended the
    engine ("" where another slot saw it), until it is known whether it is their fault. Parts in `fetching`
    wait for what they are about, each with its URL: nothing else waits for them.
    """

    def __init__(self) -> None:
        self.chunks: dict[int, HeldChunk] = {}
        self.parts: dict[int, HeldPart] = {}
        self.waiting: dict[Lane, deque[int]] = {lane: deque() for lane in Lane}
        self.suspects: deque[int] = deque()
        self.aside: dict[int, str] = {}
        self.fetching: dict[int, str] = {}
        self._suspected: set[int] = set()
        self._next_key = 1

    def __bool__(self) -> bool:
        return bool(self.chunks)

    def add(
        self,
        claim: Claim,
        parts: list[ClaimedPart],
        *,
        alone: bool,
        sources: Mapping[int, Found] = NO_SOURCES,
    ) -> HeldChunk:
        """Take in a claimed chunk. `alone`: all of its parts are suspects. `sources`: what they are about,
        by number."""
        chunk = HeldChunk(claim=claim)
        self.chunks[claim.chunk_id] = chunk
        for claimed in parts:
            key = self.new_key()
            part = Part(key=key, endpoint=claim.endpoint, body=claimed.body, lane=chunk.lane)
            self.parts[key] = HeldPart(n=claimed.n, chunk=chunk, part=part)
            chunk.open.add(key)
            if alone or claimed.strikes:
                self._suspected.add(key)
            if claimed.strikes >= STRIKES:
                self.aside[key] = ""
            source = sources.get(claimed.n)
            if isinstance(source, Wanted):
                self.fetching[key] = source.url
            else:
                self._provide(key, source)
        return chunk

    def arrived(self, key: int, source: Source | ErrorInfo) -> None:
        """What a part waited for is here, or cannot be had. Nothing happens where it is not ours any more."""
        if self.fetching.pop(key, None) is not None:
            self._provide(key, source)

    def _provide(self, key: int, source: Source | ErrorInfo | None) -> None:
        """A part can be fed, with what it is about; or has failed for want of it."""
        if isinstance(source, ErrorInfo):
            self.finish(key, status=status_of(source.code), units=0, data=encode_result(source))
            return
        held = self.parts[key]
        self.parts[key] = replace(held, part=msgspec.structs.replace(held.part, source=source))
        self._enqueue(key)

    def new_key(self) -> int:
        """A key that no part has had."""
        key, self._next_key = self._next_key, self._next_key + 1
        return key

    def take(self, lane: Lane, n: int) -> list[Part]:
        """Up to `n` waiting parts of `lane`, to be handed to the engine."""
        return self._take(self.waiting[lane], n)

    def take_suspect(self) -> list[Part]:
        """One suspect, or none."""
        return self._take(self.suspects, 1)

    def take_one(self) -> list[Part]:
        """One part, a suspect if there is one; or none."""
        for queue in (self.suspects, self.waiting[Lane.INTERACTIVE], self.waiting[Lane.BULK]):
            if taken := self._take(queue, 1):
                return taken
        return []

    def put_aside(self, key: int, reason: str) -> None:
        """A part is not tried for now."""
        self.aside[key] = reason

    def readmit(self) -> None:
        """Try what was put aside again, alone. Only while an engine has none of our parts."""
        again, self.aside = list(self.aside), {}
        self.requeue(again)

    @property
    def trying(self) -> bool:
        """Whether there are parts that are not put aside."""
        return len(self.parts) > len(self.aside)

    def done(self, event: Done) -> HeldChunk | None:
        """A part is computed. None: it is not ours any more."""
        held = self.parts.get(event.key)
        if held is not None and event.more:
            held.chunk.more.append(Addition(held.n, event.more, event.foreseen))
        return self.finish(event.key, status=200, units=event.units, data=event.data)

    def tell(self, key: int, data: bytes) -> None:
        """A piece of a result that is to come: for whoever follows the part's job."""
        held = self.parts.get(key)
        if held is not None and held.chunk.claim.followed:
            held.chunk.news.append((held.n, data))

    def came(self, event: Progress) -> None:
        """A part has come so far."""
        held = self.parts.get(event.key)
        if held is not None:
            held.chunk.under_way[event.key] = event.done

    def finish(self, key: int, *, status: int, units: int, data: bytes) -> HeldChunk | None:
        """A part has its result: move it to its chunk's rows. None: it is not ours any more."""
        held = self._forget(key)
        if held is None:
            return None
        held.chunk.open.discard(key)
        held.chunk.under_way.pop(key, None)
        held.chunk.rows.append(PartResult(n=held.n, status=status, units=units, data=data))
        return held.chunk

    def drop(self, chunk: HeldChunk) -> set[int]:
        """Let a chunk go (fenced, cancelled, released); returns the keys that the engine may still have."""
        self.chunks.pop(chunk.claim.chunk_id, None)
        for key in chunk.open:
            self._forget(key)
        return chunk.open

    def requeue(self, suspects: Collection[int]) -> None:
        """The engine is gone: everything that it had waits again, `suspects` and older ones to run alone,
        those of now after those of before."""
        self._suspected.update(key for key in suspects if key in self.parts)
        for queue in (*self.waiting.values(), self.suspects):
            queue.clear()
        for chunk in self.chunks.values():
            chunk.under_way.clear()
        for key in sorted(self.parts, key=lambda key: (key in suspects, key)):
            self._enqueue(key)

    def count(self, lane: Lane) -> int:
        """Unfinished parts of `lane`, but for those that wait for what they are about."""
        parts = sum(len(chunk.open) for chunk in self.chunks.values() if chunk.lane is lane)
        return parts - self.count_fetching(lane)

    def count_fetching(self, lane: Lane) -> int:
        """Parts of `lane` that wait for what they are about."""
        return sum(self.parts[key].chunk.lane is lane for key in self.fetching)

    def jobs_fetching(self, lane: Lane) -> set[int]:
        """The jobs of those parts."""
        chunks = [self.parts[key].chunk for key in self.fetching]
        return {chunk.claim.job_id for chunk in chunks if chunk.lane is lane}

    def jobs(self) -> list[int]:
        return sorted({chunk.claim.job_id for chunk in self.chunks.values()})

    def of_job(self, job_id: int) -> list[HeldChunk]:
        return [chunk for chunk in self.chunks.values() if chunk.claim.job_id == job_id]

    def _enqueue(self, key: int) -> None:
        if key in self.aside or key in self.fetching:
            return
        lane = self.parts[key].chunk.lane
        (self.suspects if key in self._suspected else self.waiting[lane]).append(key)

    def _take(self, queue: deque[int], n: int) -> list[Part]:
        taken: list[Part] = []
        while queue and len(taken) < n:
            key = queue.popleft()
            held = self.parts.get(key)
            if held is not None and not held.chunk.leaving and key not in self.aside:
                taken.append(held.part)
        return taken

    def _forget(self, key: int) -> HeldPart | None:
        self._suspected.discard(key)
        self.aside.pop(key, None)
        self.fetching.pop(key, None)
        return self.parts.pop(key, None)
