"""What the engine does next: which recording it opens, or which windows enter one native call together.

Interactive parts first, the one with the least audio left before the others. Windows of bulk parts are
pooled over parts and jobs; the one that has waited longest goes next, with those that are nearest in length.
"""

from collections.abc import Collection
from math import ceil, inf
from time import monotonic

from backends.whisper.pacing import Pace
from backends.whisper.work import Hearing, Work

# A first guess at the windows of a part, until some have been seen: it may be a clip or two minutes of talk.
FIRST_GUESS_WINDOWS = 8.0
# So long after an interactive part the next one is expected, and bulk batches are short.
EXPECTED_SECONDS = 3.0
SHORTER = 4  # a short batch has so many times fewer windows
# An interactive recording that got nothing for so long goes next, whatever is shorter.
PATIENCE_SECONDS = 10.0
# So many interactive windows of different recordings go together: that is cheaper, and while there are fewer,
# it takes little to open another clip.
AT_ONCE = 4
SHORT_MS = 30_000
RIDER_SECONDS = 2.0  # by so much a window may be longer that is heard along with another recording's
# Bulk windows at hand, in native calls: enough to choose those that are near in length (twice as many gain
# nothing), and no more, since others could compute them meanwhile and an end of the engine would cost them.
CALLS_AT_HAND = 1.5


class Desk:
    """The parts in hand and their windows. A native call takes `batch_windows` of them at most, fewer where
    `pace` says so."""

    def __init__(self, batch_windows: int, pace: Pace | None = None) -> None:
        self._size = batch_windows
        self._pace = pace
        self._works: dict[int, Work] = {}
        self._pool: list[Hearing] = []  # of bulk parts, the oldest first
        self._batch: list[Hearing] = []  # taken from the pool, to be heard next
        self._windows_per_part = FIRST_GUESS_WINDOWS
        self._expected_until = -inf
        self._served: dict[str, float] = {}  # when an interactive recording got something, by its path
        self._unheard: set[str] = set()  # interactive recordings of which no window has been heard, by path
        self._late: Work | None = None
        self._late_turn = False

    @property
    def busy(self) -> bool:
        return bool(self._works)

    @property
    def room(self) -> int:
        """How many more bulk parts should be at hand, going by the windows of those before."""
        opening = sum(1 for work in self._works.values() if work.opening and not work.interactive)
        lack = self._wanted - len(self._pool) - len(self._batch)
        return max(0, ceil(lack / self._windows_per_part) - opening)

    def add(self, work: Work) -> None:
        """Put a part in line, to be opened."""
        self._works[work.key] = work
        if work.interactive:
            now = monotonic()
            self._expected_until = now + EXPECTED_SECONDS
            if work.source.path not in self._served:
                self._unheard.add(work.source.path)
            self._served.setdefault(work.source.path, now)

    def opened(self, work: Work) -> None:
        """A part has its windows."""
        if not work.interactive:
            self._pool += work.hearings
            self._windows_per_part += (max(1, len(work.hearings)) - self._windows_per_part) / 4

    def next_step(self) -> Work | list[Hearing] | None:
        """A part that is to be opened further, or the windows of the next native call; None: nothing is in
        hand. Windows stay at the desk until they are settled, or others take their place."""
        urgent = self._urgent()
        if urgent:
            step = self._urgent_step(urgent)
            first = step if isinstance(step, Work) else step[0].work
            self._served[first.source.path] = monotonic()
            return step
        if len(self._pool) < self._wanted and not self._batch:
            opening = next((work for work in self._works.values() if work.opening), None)
            if opening is not None:
                return opening
        return self._bulk_batch()

    def settled(self, hearing: Hearing, instead: Collection[Hearing] = ()) -> None:
        """A window has its answer, or others to be heard in its place."""
        if hearing.work.interactive:
            self._unheard.discard(hearing.work.source.path)
            return
        if hearing in self._batch:
            self._batch.remove(hearing)
        self._pool[:0] = instead  # they have waited already

    def end(self, work: Work) -> None:
        """Forget a part that has its answer, with whatever it has left."""
        work.ended = True
        work.opening = None
        self._works.pop(work.key, None)
        self._pool = [hearing for hearing in self._pool if hearing.work is not work]
        self._batch = [hearing for hearing in self._batch if hearing.work is not work]
        if self._late is work:
            self._late = None
        path = work.source.path
        if work.interactive and not any(
            one.interactive and one.source.path == path for one in self._works.values()
        ):
            self._served.pop(path, None)
            self._unheard.discard(path)

    def drop(self, keys: Collection[int]) -> None:
        """Forget parts that are not wanted any more."""
        for key in [key for key in keys if key in self._works]:
            self.end(self._works[key])

    def _urgent(self) -> list[Work]:
        """Interactive parts in order: the shortest first, but every other time one that was kept waiting.

        Parts of one recording stay together and in order, as it may be read while it is heard."""
        works = [work for work in self._works.values() if work.interactive]
        least: dict[str, int] = {}
        for work in works:
            least[work.source.path] = min(work.left_ms, least.get(work.source.path, work.left_ms))
        works.sort(key=lambda work: least[work.source.path])  # stable: by arrival between equals
        if len(works) > 1:
            self._late = self._late or self._find_late(works)
            self._late_turn = self._late is not None and not self._late_turn
            if self._late is not None and self._late_turn:
                works.remove(self._late)
                works.insert(0, self._late)
        return works

    def _find_late(self, works: list[Work]) -> Work | None:
        now = monotonic()
        late = (work for work in works if now - self._served[work.source.path] > PATIENCE_SECONDS)
        return min(late, key=lambda work: self._served[work.source.path], default=None)

    def _urgent_step(self, works: list[Work]) -> Work | list[Hearing]:
        first = works[0]
        if first.opening:
            return first
        if (other := self._also_opened(works)) is not None:
            return other
        path = first.source.path
        own = [hearing for work in works if work.source.path == path for hearing in work.hearings]
        others = [hearing for work in works if work.source.path != path for hearing in work.hearings]
        together = [hearing for hearing in own if _shares(hearing, own[0])]
        longest = own[0].window.seconds + RIDER_SECONDS
        riders = [one for one in others if _shares(one, own[0]) and one.window.seconds <= longest]
        return (together + riders[: max(0, AT_ONCE - len(together))])[: self._most_of(path)]

    def _also_opened(self, works: list[Work]) -> Work | None:
        """A part that is opened before the first one is heard: another clip, or another piece of the same
        recording, as long as few windows are at hand."""
        at_hand = sum(len(work.hearings) for work in works)
        path = works[0].source.path
        for work in works:
            if work.opening and (
                at_hand < AT_ONCE
                if work.left_ms <= SHORT_MS
                else at_hand < (AT_ONCE if path in self._unheard else self._size) and work.source.path == path
            ):
                return work
        return None

    def _most_of(self, path: str) -> int:
        """How many windows of an interactive recording go together: few at first, since whoever reads it live
        has nothing until they are heard."""
        return min(AT_ONCE, self._allowed) if path in self._unheard else self._allowed

    def _bulk_batch(self) -> list[Hearing] | None:
        if not self._batch and self._pool:
            self._batch = _nearest(self._pool)[: self._allowed]
            chosen = set(map(id, self._batch))
            self._pool = [hearing for hearing in self._pool if id(hearing) not in chosen]
        if not self._batch:
            return None
        short = monotonic() < self._expected_until
        return self._batch[: max(1, self._allowed // SHORTER) if short else self._allowed]

    @property
    def _wanted(self) -> int:
        """Bulk windows that should be at hand."""
        return ceil(CALLS_AT_HAND * self._allowed)

    @property
    def _allowed(self) -> int:
        return self._size if self._pace is None else self._pace.windows


def _nearest(hearings: list[Hearing]) -> list[Hearing]:
    """Those that may share a native call with the first, by how near they are to it in length."""
    first = len(hearings[0].window.samples)
    shared = [hearing for hearing in hearings if _shares(hearing, hearings[0])]
    return sorted(shared, key=lambda hearing: abs(len(hearing.window.samples) - first))


def _shares(one: Hearing, other: Hearing) -> bool:
    return one.asking == other.asking and one.full == other.full
