"""What a drain looks after once a second, and at a poke: jobs that were cancelled or must wait, the memory of
engines, and what the slot says that it does."""

import time

from store import watch
from tasks.controller import Controller
from tasks.memory import resident_mb
from tasks.work import Work

SWEEP_SECONDS = 1.0
POKED_SECONDS = 0.2  # at the most so often, however many pokes come


class Sweep:
    """For one drain."""

    def __init__(self, controller: Controller) -> None:
        self._c = controller
        self._last = time.monotonic()
        self.due_at = self._last + SWEEP_SECONDS

    def poked(self) -> None:
        """Something has changed: look at once."""
        self.due_at = min(self.due_at, self._last + POKED_SECONDS)

    def step(self) -> None:
        """Sweep if it is time. Raises DatabaseUnavailable."""
        if time.monotonic() < self.due_at:
            return
        self._last = time.monotonic()
        self.due_at = self._last + SWEEP_SECONDS
        for work in self._c.works.values():
            self._watch_memory(work)
        self.tell()
        for work in self._c.works.values():
            if work.holding:
                self._c.recorder.drop_unwanted(work.holding, work.cancel)
                self._hold_back(work)

    def release_left(self) -> None:
        """Give back what is held back, once nothing of it is in flight. Raises DatabaseUnavailable."""
        for work in self._c.works.values():
            for chunk in work.left():
                self._c.recorder.hand_back(work.holding, chunk, work.cancel)

    def tell(self) -> None:
        """Say what the slot does, for the next renewal of its lease."""
        works = list(self._c.works.values())
        items = [item for work in works if work.engine for item in work.items(work.engine.in_flight)]
        self._c.working_on = items[0] if items else None
        self._c.memory_mb = round(sum(work.memory_mb for work in works))

    def _hold_back(self, work: Work) -> None:
        for job_id in watch.held_back(self._c.conn.get(), work.holding.jobs()) if work.holding else ():
            for chunk in work.holding.of_job(job_id):
                work.leave(chunk)

    def _watch_memory(self, work: Work) -> None:
        work.memory_mb = 0.0 if work.engine is None else resident_mb(work)
        if work.engine is not None:
            work.ready_mb = work.ready_mb or work.memory_mb
            # For good: what its engine has been told to let go of, the next one computes.
            work.too_large |= work.memory_mb > self._c.memory.share_mb(work, self._c.neighbours)
