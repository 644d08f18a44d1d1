"""Looking for work: which lane and model a slot claims next, and taking the claimed parts in."""

import time

import structlog

from backends.errors import LoadFailed
from backends.types import Lane
from store import chunks, items, lifecycle
from tasks.controller import Controller
from tasks.pace import CUT_UNMEASURED

log = structlog.get_logger(__name__)

LOOK_SECONDS = 1.0  # stands behind the pokes, on a clock of its own: a poll's timeout never fires while
# an engine talks
SHARES_PER_SLOT = 2  # of what is left of a job, a cut takes one share (guided self-scheduling)
INTERACTIVE_SECONDS = 2.0  # of interactive work in hand; more is left for other slots
UNMEASURED_SECONDS = 0.1
LOSSES_ALONE = 5  # a chunk lost so often is run part by part


class Looker:
    """Claims for one drain. A lane is `dry` after a claim found nothing, until a poke or the clock."""

    def __init__(self, controller: Controller) -> None:
        self._c = controller
        self._dry: dict[Lane, bool] = dict.fromkeys(Lane, False)
        self._reclaim_at = 0.0
        self.look_at = time.monotonic()
        self.found_at = self.look_at

    @property
    def nothing_found(self) -> bool:
        return all(self._dry.values())

    @property
    def hungry(self) -> bool:
        """There may be more to claim at once."""
        interactive = not self._dry[Lane.INTERACTIVE] and self._interactive_room()
        return interactive or (not self._dry[Lane.BULK] and self._bulk_room())

    def poked(self) -> None:
        self._dry = dict.fromkeys(Lane, False)

    def look(self) -> None:
        """Claim one chunk, if one is due: interactive ones first, bulk ones as far as there is room.

        Just one, so that it is fed before a look that may find nothing costs its time. Raises
        DatabaseUnavailable.
        """
        now = time.monotonic()
        if now >= self.look_at:
            self.poked()
            self.look_at = now + LOOK_SECONDS
        if not self._dry[Lane.INTERACTIVE] and self._interactive_room():
            self._dry[Lane.INTERACTIVE] = not self._claim(Lane.INTERACTIVE, None)
        elif not self._dry[Lane.BULK] and self._bulk_room():
            self._dry[Lane.BULK] = not self._claim(Lane.BULK, self._bulk_model())
        elif now >= self._reclaim_at and self._bulk_room():
            self._reclaim_at = 0.0 if self._reclaim() else now + LOOK_SECONDS

    def _interactive_room(self) -> bool:
        """Interactive parts are handed over at once, so no more are taken than soon get their turn."""
        seconds = self._c.pace.seconds
        in_hand = (
            work.holding.count(Lane.INTERACTIVE) * seconds.get(model, UNMEASURED_SECONDS)
            for model, work in self._c.works.items()
        )
        return sum(in_hand) < INTERACTIVE_SECONDS

    def _bulk_model(self) -> str | None:
        """The model whose bulk parts are in hand: only chunks of it may join them."""
        for model, work in self._c.works.items():
            if work.holding.count(Lane.BULK):
                return model
        return None

    def _bulk_room(self) -> bool:
        model = self._bulk_model()
        return model is None or self._c.works[model].room() > 0

    def _claim(self, lane: Lane, only_model: str | None) -> bool:
        """Claim one chunk of `lane`; False when there is none."""
        c = self._c
        claim = chunks.claim(
            c.conn.get(),
            slot_id=c.slot.slot_id,
            families=c.families,
            lanes=[lane],
            cores=len(c.slot.cores),
            lease_seconds=c.settings.lease_seconds,
            sizes=c.pace.sizes(lane),
            default_size=CUT_UNMEASURED[lane],
            seconds=c.pace.seconds,
            loaded=c.loaded(),
            only_model=only_model,
            shares=SHARES_PER_SLOT * c.peers if c.peers > 1 else 1,
        )
        if claim is not None:
            self._take_in(claim)
        return claim is not None

    def _reclaim(self) -> bool:
        """Take over one chunk whose holder gave no sign of life."""
        c = self._c
        claim = chunks.reclaim(
            c.conn.get(),
            slot_id=c.slot.slot_id,
            families=c.families,
            cores=len(c.slot.cores),
            lease_seconds=c.settings.lease_seconds,
            only_model=self._bulk_model(),
        )
        if claim is not None:
            log.info("chunk.reclaimed", chunk=claim.chunk_id, job=claim.suffix, losses=claim.losses)
            self._take_in(claim)
        return claim is not None

    def _take_in(self, claim: chunks.Claim) -> None:
        conn = self._c.conn.get()
        self.found_at = time.monotonic()
        try:
            work = self._c.work_for(claim.model)
        except LoadFailed as error:
            lifecycle.fail(conn, claim.job_id, error.code, error.message)
            return
        parts = items.load_parts(conn, claim.job_id, claim.lo, claim.hi)
        work.holding.add(claim, parts, alone=claim.losses >= LOSSES_ALONE)
