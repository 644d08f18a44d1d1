"""A drain: claim → feed → record, until nothing is left for a while or its time is up.

The body of every wake-up. One thread, one poll set: the engines' pipes and ends, pokes, the stop signal.
"""

import select
import time

import structlog

from backends.errors import EngineDied, LoadFailed
from store import watch
from store.errors import DatabaseUnavailable
from tasks.controller import Controller
from tasks.looking import Looker
from tasks.strikes import Strikes
from tasks.sweep import Sweep
from tasks.work import Work

log = structlog.get_logger(__name__)

LAUNCH_POLL_SECONDS = 0.1  # while files are pulled there is nothing to poll
STOP_POLL_SECONDS = 0.05
STOPPED_SECONDS = 5.0  # a round so late means that this process was stopped, and its engines with it


class Drain:
    """One run. The engines and what they hold belong to the controller and outlive it."""

    def __init__(self, controller: Controller) -> None:
        self.c = controller
        self._looker = Looker(controller)
        self._strikes = Strikes(controller)
        self._sweep = Sweep(controller)
        self._until = time.monotonic() + controller.settings.drain_seconds
        self._round_at = time.monotonic()

    def run(self) -> None:
        """Drain. Afterwards the engine may go on computing what it holds: the next drain records it."""
        c = self.c
        try:
            c.listener.open()
            while not c.stopping.is_set():
                self._round()
                if time.monotonic() >= self._until:
                    break
                if self._lingered() and self._really_nothing():
                    return
                self._wait()
            if c.stopping.is_set():
                self.finish()
            elif c.in_hand() or not self._looker.nothing_found:
                c.wake_later()
        finally:  # a slot that seems to listen and does not would swallow pokes
            self._sweep.tell()
            c.listener.close()

    def _round(self) -> None:
        """One turn: take events, record, look for work, feed."""
        now, last = time.monotonic(), self._round_at
        self._round_at = now
        for work in list(self.c.works.values()):
            if now - last > STOPPED_SECONDS:
                work.excuse()
            self._receive(work)
            work.end_unwanted()
        self.c.lanes.update(bulk_waits=self._looker.bulk_waits)
        if not self.c.conn.away:
            try:
                self._conclude()
                self._looker.look()
            except DatabaseUnavailable as error:
                log.warning("database.lost", error=str(error))
                self.c.conn.lost(error)
        for work in list(self.c.works.values()):
            self._launch(work)
            work.feed()

    def _conclude(self) -> None:
        """Settle strikes and trials, hand out what was fetched, record what is due, sweep if it is time."""
        for work in self.c.works.values():
            self._strikes.settle(work)
        self.c.arrivals.step(self.c.conn.get())
        for work in self.c.works.values():
            if work.holding:
                self.c.recorder.record_due(work.holding, work.cancel)
        self._sweep.step()
        self._sweep.release_left()

    # --- engines: launch, events, ends ----------------------------------------------------------------

    def _launch(self, work: Work) -> None:
        note = work.note
        try:
            work.ensure_engine()
        except LoadFailed as error:
            self._give_up(work, error)
        if work.note != note and not self.c.conn.away:
            self._tell(work)

    def _tell(self, work: Work) -> None:
        """Let the jobs say why they wait."""
        try:
            watch.set_note(self.c.conn.get(), work.holding.jobs(), work.note)
        except DatabaseUnavailable as error:
            self.c.conn.lost(error)

    def _give_up(self, work: Work, error: LoadFailed) -> None:
        """The model cannot be loaded: its jobs fail with the reason."""
        log.error("model.not_loaded", model=work.spec.name, code=error.code, error=error.message)
        work.shut()
        try:
            self.c.recorder.fail_jobs(work.holding, error, work.cancel)
        except DatabaseUnavailable as unavailable:
            self.c.conn.lost(unavailable)

    def _receive(self, work: Work) -> None:
        try:
            if done := work.receive():
                self.c.meter.add(done)
            if work.stalled() and work.engine is not None:
                work.engine.kill()
                in_flight = work.engine.in_flight
                error = EngineDied("no progress within the limit", signal=None, in_flight=in_flight)
                self._died(work, error, hung=True)
        except EngineDied as error:
            self._died(work, error)

    def _died(self, work: Work, error: EngineDied, *, hung: bool = False) -> None:
        try:
            self._strikes.died(work, error, hung=hung)
        except LoadFailed as failed:
            self._give_up(work, failed)
        except DatabaseUnavailable as unavailable:
            self.c.conn.lost(unavailable)

    # --- waiting and ending ----------------------------------------------------------------------------

    def _wait(self) -> None:
        """Sleep until an engine speaks or ends, a poke or the stop signal comes, or a clock is due."""
        c = self.c
        c.listener.open()
        poke_fd = c.listener.fileno()
        now, due = time.monotonic(), [self._until]
        if any(not work.idle and work.engine is None for work in c.works.values()):
            due.append(now + LAUNCH_POLL_SECONDS)
        if c.conn.away:  # nothing can be looked for, nor be known not to be there
            due.append(c.conn.retry_at)
        else:
            due.append(now if self._looker.hungry else self._looker.look_at)
            due.append(self._sweep.due_at)
            if not c.in_hand():
                due.append(self._looker.found_at + c.settings.linger_seconds)
        due += [at for at in (work.let_go.due_at for work in c.works.values()) if at is not None]
        ready = self._poll(min(due) - now, c.stop_fd, poke_fd, None if c.conn.away else c.arrivals.fileno())
        if poke_fd in ready and c.listener.read():
            self._looker.poked()
            self._sweep.poked()

    def _poll(self, seconds: float, *others: int | None) -> set[int]:
        poller = select.poll()
        engines = [work.fileno() for work in self.c.works.values()]
        for fd in (*others, *engines):
            if fd is not None:
                poller.register(fd, select.POLLIN)
        return {fd for fd, _ in poller.poll(max(0, round(seconds * 1000)))}

    def _lingered(self) -> bool:
        """Nothing is in hand or found, and has not been for a while."""
        if self.c.in_hand():
            self._looker.found_at = time.monotonic()
            return False
        quiet = time.monotonic() - self._looker.found_at
        return self._looker.nothing_found and quiet > self.c.settings.linger_seconds

    def _really_nothing(self) -> bool:
        """Unsubscribe, then look once more: a poke that came between would have woken nobody."""
        self.c.listener.close()
        self._looker.start_over()
        while self._looker.hungry and not self.c.conn.away:
            self._round()
        return not self.c.in_hand()

    def finish(self) -> None:
        """The slot stops: what is in flight gets its time, then everything else is handed back."""
        until = time.monotonic() + self.c.settings.stop_seconds
        for work in self.c.works.values():
            if work.engine is not None:
                work.cancel(set(work.engine.held))
        while time.monotonic() < until and self._in_flight():
            self._poll(STOP_POLL_SECONDS)
            for work in list(self.c.works.values()):
                self._receive(work)
        try:
            for work in self.c.works.values():
                self.c.recorder.record_due(work.holding, work.cancel, all_rows=True)
                self.c.recorder.release(work.holding, work.cancel)
        except DatabaseUnavailable as error:
            self.c.conn.lost(error)

    def _in_flight(self) -> bool:
        return any(w.engine is not None and w.engine.in_flight for w in self.c.works.values())


def drain(controller: Controller) -> None:
    """The plain body of a wake-up. A second one that arrives meanwhile finds nothing to do."""
    if not controller.lock.acquire(blocking=False):
        return
    try:
        with structlog.contextvars.bound_contextvars(slot=controller.slot.slot_id):
            Drain(controller).run()
    except Exception:  # an error of ours must cost a start of engines, not the slot
        log.exception("drain.failed", slot=controller.slot.slot_id)  # no longer bound
        controller.reset()
    finally:
        controller.lock.release()
