"""What becomes of the parts on which an engine ended, and of a model whose engine keeps ending.

Counting strikes, failing items, pausing and resuming models: the breaker's verdicts, carried out in the
database.
"""

import msgspec
import structlog

from backends import transcription
from backends.errors import EngineDied
from backends.types import ErrorInfo, Lane, Part, encode_result
from configs.error_codes import status_of
from store import models, records
from tasks.breaker import Verdict
from tasks.controller import Controller
from tasks.work import Work

log = structlog.get_logger(__name__)

TIMEOUT = "engine_timeout"


class Strikes:
    """For one drain. Methods may raise DatabaseUnavailable; a strike that cannot be written is forgotten:
    its part is a suspect all the same."""

    def __init__(self, controller: Controller) -> None:
        self._c = controller

    def died(self, work: Work, error: EngineDied, *, hung: bool = False) -> None:
        """The engine of `work` has ended. Raises LoadFailed when it keeps ending before a part is in
        flight."""
        death = work.died(error, hung=hung)
        for key in sorted(death.struck):
            self._strike(work, key, death.end)
        if work.trial is not None and death.at_fault:
            self._pause(
                work, f"its engine ended on different items in a row, and again on trial ({death.end})"
            )
        elif work.breaker.tripped and work.holding.parts:
            self._pause(work, _why(work.breaker.row, death.end))

    def settle(self, work: Work) -> None:
        """Draw the conclusions from what has been computed since, or could not be tried."""
        computed = work.computed
        if work.trial is not None:
            if computed:
                self._resume(work)
            elif work.idle:
                work.trial = None  # its part was not one that could tell
            elif not work.trial.ready:
                work.trial.begin(self._witness(work))
        elif work.holding.aside and (computed or not work.holding.trying):
            for key, end in list(work.holding.aside.items()):
                self._fail(work, key, end)
        work.computed = False  # not where the database went away: it is concluded again

    def _strike(self, work: Work, key: int, end: str) -> None:
        held = work.holding.parts[key]
        job_id = held.chunk.claim.job_id
        strikes = records.strike(self._c.conn.get(), job_id, held.n, end)
        [item] = work.items([key])
        log.warning("item.struck", item=item, model=work.spec.name, strikes=strikes, end=end)
        verdict = work.breaker.struck(key, (job_id, held.n), strikes)
        if work.trial is None and verdict is Verdict.FAIL:
            self._fail(work, key, end)
        elif verdict is not Verdict.RETRY:
            work.holding.put_aside(key, end)

    def _fail(self, work: Work, key: int, end: str) -> None:
        """The part's error is its result; recorded like any other."""
        held = work.holding.parts[key]
        end = end or records.struck_by(self._c.conn.get(), held.chunk.claim.job_id, held.n)
        code = TIMEOUT if end == TIMEOUT else "engine_crashed"
        info = ErrorInfo(code, f"the native library ended twice on this item ({end})")
        work.holding.finish(key, status=status_of(code), units=0, data=encode_result(info))

    def _pause(self, work: Work, reason: str) -> None:
        """Hold the model back before its items burn: those in hand wait with all others."""
        log.error("model.paused", model=work.spec.name, reason=reason)
        models.pause(self._c.conn.get(), work.spec.name, reason)
        work.breaker.reset()
        work.trial = None
        self._c.recorder.record_due(work.holding, work.cancel, all_rows=True)
        self._c.recorder.release(work.holding, work.cancel)

    def _resume(self, work: Work) -> None:
        resumed = models.passed(self._c.conn.get(), work.spec.name)
        work.trial = None
        if resumed:
            log.info("model.resumed", model=work.spec.name)
            self._c.signals.poke(work.spec.family)

    def _witness(self, work: Work) -> Part | None:
        """A part that the model has computed before, under a key of its own."""
        claim = next(iter(work.holding.chunks.values())).claim
        known, key = work.passed, work.holding.new_key()
        if known is not None and known.endpoint == claim.endpoint:
            return msgspec.structs.replace(known, key=key, lane=Lane.INTERACTIVE)
        body = models.passed_body(self._c.conn.get(), work.spec.name, claim.endpoint)
        if body is None or claim.endpoint in transcription.ENDPOINTS:  # whose bodies do not say it all
            return None
        return Part(key=key, endpoint=claim.endpoint, body=body, lane=Lane.INTERACTIVE)


def _why(items: int, end: str) -> str:
    """A sentence for `model_pause.reason`."""
    what = "made no progress" if end == TIMEOUT else "crashed"
    how = "" if end == TIMEOUT else f" ({end})"
    return f"its engine {what} on {items} different items in a row{how}"
