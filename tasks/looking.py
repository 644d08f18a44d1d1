"""Looking for work: which lane and model a slot claims next, and taking the claimed parts in."""

import math
import time
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import structlog

from backends.errors import LoadFailed
from backends.types import Lane
from store import chunks, items, leases, lifecycle, turns, watch
from tasks.attachments import find_sources, hears
from tasks.controller import Controller
from tasks.pace import CUT_UNMEASURED
from tasks.signals import Answered

log = structlog.get_logger(__name__)

# Stands behind the pokes, on a clock of its own: a poll's timeout never fires while an engine talks.
LOOK_SECONDS = 1.0
SHARES_PER_SLOT = 2  # of what is left of a job, a cut takes one share (guided self-scheduling)
INTERACTIVE_SECONDS = 2.0  # of interactive work in hand; more is left for other slots
LOSSES_ALONE = 5  # a chunk lost so often is run part by part
POOLED = 2  # parts of recordings, of which the engine computes bits together
FETCHED_AHEAD = 16  # bulk parts that wait for what they are about; of their jobs no more are claimed
FETCHED_MOST = 128  # such parts; beyond, no bulk parts at all are claimed
SHORTER = 0.5  # by so much a job must be expected to be shorter, to go into an engine that has enough to do
SHORT_MOST = 16  # interactive parts of a model in hand, beyond which no shorter ones are added


class Question(NamedTuple):
    """What to claim: of a lane, of one model alone perhaps, and of it the shorter jobs alone; of no job
    `but`."""

    lane: Lane
    only_model: str | None = None
    shorter_than: float = math.inf
    but: tuple[int, ...] = ()


class Looker:
    """Claims for one drain. A question is dry after a claim found nothing, until a poke or the clock."""

    def __init__(self, controller: Controller) -> None:
        self._c = controller
        self._dry: set[Question] = set()
        self._yields = False  # to another model, whose turn it is
        self._guessed: list[chunks.Claim] = []  # of models whose pace was not known
        self.look_at = self.found_at = self._reclaim_at = time.monotonic()

    @property
    def nothing_found(self) -> bool:
        return all(Question(lane) in self._dry for lane in Lane)

    @property
    def hungry(self) -> bool:
        """There may be more to claim at once."""
        return next(self._open_questions(), None) is not None

    @property
    def bulk_waits(self) -> bool:
        """There is bulk work that could be computed now, as far as is known."""
        holding_bulk = [work for work in self._c.works.values() if work.holding.count(Lane.BULK)]
        if holding_bulk:
            return any(work.engine is not None for work in holding_bulk)
        return Question(Lane.BULK) not in self._dry

    def poked(self) -> None:
        self._dry.clear()

    def start_over(self) -> None:
        """Ask everything again, what is lost too: there may have been no room for it."""
        self.poked()
        self._reclaim_at = time.monotonic()

    def look(self) -> None:
        """Claim one chunk, if one is due: interactive ones first, bulk ones as far as there is room.

        Just one, so that it is fed before a look that may find nothing costs its time. Raises
        DatabaseUnavailable.
        """
        now = time.monotonic()
        if now >= self.look_at:
            self.poked()
            self.look_at = now + LOOK_SECONDS
            self._yields = self._is_anothers_turn()
        self._recharge()
        yielded = self._yields and self._bulk_model() is None  # perhaps to a lost chunk: that goes first
        if (yielded or now >= self._reclaim_at) and self._reclaim():
            return
        question = next(self._open_questions(), None)
        if question is not None and not self._claim(question):
            self._dry.add(question)

    def _open_questions(self) -> Iterator[Question]:
        """What to ask next, most urgent first."""
        wanted = [Question(Lane.INTERACTIVE, model) for model in self._interactive_models()]
        wanted += self._shorter_ones()
        model = self._bulk_model()
        wanted += [Question(Lane.BULK, model, but=self._slow_jobs())] if self._bulk_room(model) else []
        yield from (question for question in wanted if question not in self._dry)

    def _interactive_models(self) -> list[str | None]:
        """Of which models interactive parts may be claimed: any (None), or none.

        They are handed over at once, so no more are taken than soon get their turn; in a turn of bulk, none.
        Parts that wait for an engine, for a download perhaps, keep nobody from those that are there. An
        engine that computes bits of several parts together gets two in any case.
        """
        works = self._c.works
        if self._c.lanes.bulk_turn:
            return []
        if self._interactive_seconds(works) < INTERACTIVE_SECONDS:
            return [None]
        ready = [model for model, work in works.items() if work.engine is not None]
        if self._interactive_seconds(ready) < INTERACTIVE_SECONDS:
            return [*ready]
        return [m for m in ready if works[m].uneven and works[m].holding.count(Lane.INTERACTIVE) < POOLED]

    def _shorter_ones(self) -> list[Question]:
        """Where a long recording that somebody waits for is enough to do for a while, a short one must not
        wait for it: the engine begins it before the next native call."""
        if self._c.lanes.bulk_turn or self._interactive_seconds(self._c.works) < INTERACTIVE_SECONDS:
            return []
        found = []
        for model, work in self._c.works.items():
            claims = [c.claim for c in work.holding.chunks.values() if c.lane is Lane.INTERACTIVE]
            longest = max((claim.expected_seconds for claim in claims), default=0.0)
            if longest > 0 and work.engine is not None and work.holding.count(Lane.INTERACTIVE) < SHORT_MOST:
                found.append(Question(Lane.INTERACTIVE, model, SHORTER * longest))
        return found

    def _interactive_seconds(self, models: Iterable[str]) -> float:
        """How long the interactive parts in hand of these models take."""
        seconds = self._c.pace.seconds
        return sum(
            self._c.works[model].holding.count(Lane.INTERACTIVE) * seconds.get(model, INTERACTIVE_SECONDS)
            for model in models
        )

    def _bulk_model(self) -> str | None:
        """The model whose bulk parts are in hand: only chunks of it may join them."""
        for model, work in self._c.works.items():
            if work.holding.count(Lane.BULK):
                return model
        return None

    def _bulk_room(self, model: str | None) -> bool:
        if self._count_fetching() >= FETCHED_MOST:
            return False
        return model is None or (self._c.works[model].room() > 0 and not self._yields)

    def _slow_jobs(self) -> tuple[int, ...]:
        """Jobs of which no more is claimed, as enough of them waits for recordings. Others do not wait for
        those: their servers may be slow, or dead."""
        if self._count_fetching() < FETCHED_AHEAD:
            return ()
        works = self._c.works.values()
        return tuple(sorted({job_id for work in works for job_id in work.holding.jobs_fetching(Lane.BULK)}))

    def _count_fetching(self) -> int:
        return sum(work.holding.count_fetching(Lane.BULK) for work in self._c.works.values())

    def _is_anothers_turn(self) -> bool:
        """Whether bulk work of another model than the one in hand goes next: then nothing is added to that,
        so that it ends. Else a model would keep a slot for as long as there is work for it; what another slot
        has lost would wait as long."""
        model = self._bulk_model()
        if model is None:
            return self._yields
        c, bulk = self._c, [Lane.BULK]
        conn, cores = c.conn.get(), len(c.slot.cores)
        following = turns.next_model(
            conn, families=c.families, lanes=bulk, cores=cores, loaded=model, but=self._slow_jobs()
        )
        return following not in (None, model) or leases.is_lost(
            conn, families=c.families, lanes=bulk, cores=cores, but=model
        )

    def _claim(self, question: Question) -> bool:
        """Claim one chunk; False when there is none."""
        c, (lane, only_model, shorter_than, but) = self._c, question
        claim = chunks.claim(
            c.conn.get(),
            slot_id=c.slot.slot_id,
            families=c.families,
            lanes=[lane],
            cores=len(c.slot.cores),
            lease_seconds=c.settings.lease_seconds,
            sizes=c.pace.sizes(lane, self._uneven()),
            default_size=CUT_UNMEASURED[lane],
            seconds=c.pace.seconds,
            loaded=c.loaded(),
            only_model=only_model,
            shorter_than=shorter_than,
            but=but,
            shares=SHARES_PER_SLOT * c.peers if c.peers > 1 else 1,
        )
        if lane is Lane.BULK and only_model is None:  # the other model's turn has come
            self._yields = False
        if claim is not None:
            self._guessed += [] if claim.model in c.pace.seconds else [claim]
            self._take_in(claim)
        return claim is not None

    def _uneven(self) -> list[str]:
        """The models that hear recordings: some are short, some long, and of some a part only says where to
        cut them."""
        return [spec.name for spec in self._c.catalogue.specs.values() if hears(spec)]

    def _recharge(self) -> None:
        """Callers pay what their first chunks of a model have cost, once that is known."""
        pace = self._c.pace.seconds
        for claim in [claim for claim in self._guessed if claim.model in pace]:
            chunks.recharge(self._c.conn.get(), claim, pace[claim.model])
            self._guessed.remove(claim)

    def _reclaim(self) -> bool:
        """Take over one chunk whose holder gave no sign of life; when there is none, not for a second.

        Before new work: what is lost has waited longest, and somebody may wait for it.
        """
        model = self._bulk_model()
        wanted = [Question(Lane.INTERACTIVE, asked) for asked in self._interactive_models()]
        wanted += [Question(Lane.BULK, model)] if self._bulk_room(model) else []
        for lane, only_model, *_ in wanted:
            claim = leases.reclaim(
                self._c.conn.get(),
                slot_id=self._c.slot.slot_id,
                families=self._c.families,
                lanes=[lane],
                cores=len(self._c.slot.cores),
                lease_seconds=self._c.settings.lease_seconds,
                only_model=only_model,
            )
            if claim is not None:
                log.info("chunk.reclaimed", chunk=claim.chunk_id, job=claim.suffix, losses=claim.losses)
                watch.set_note(self._c.conn.get(), [claim.job_id], None)  # what its last holder waited for
                self._take_in(claim)
                return True
        self._reclaim_at = time.monotonic() + LOOK_SECONDS
        return False

    def _take_in(self, claim: chunks.Claim) -> None:
        conn = self._c.conn.get()
        self.found_at = time.monotonic()
        try:
            work = self._c.work_for(claim.model)
        except LoadFailed as error:
            lifecycle.fail(conn, claim.job_id, error.code, error.message)
            self._c.signals.answered(Answered(claim.job_id))
            return
        parts = items.load_parts(conn, claim.job_id, claim.lo, claim.hi)
        sources = find_sources(conn, self._c.blobs, claim, work.spec, parts)
        work.take_in(claim, parts, alone=claim.losses >= LOSSES_ALONE, sources=sources)
        self._c.arrivals.begin(work.holding)
