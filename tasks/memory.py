"""The memory of a slot: idle engines stay loaded while they fit, the least recently used go first."""

from collections.abc import Iterable

import psutil
import structlog

from configs.models import ModelSpec
from configs.settings import Settings
from tasks.work import Work

log = structlog.get_logger(__name__)

MEGABYTE = 1024**2
SHARE = 0.8  # of what is free when a slot starts, unless the operator sets a bound
SLACK = 1.25  # by which an engine may outgrow what its model is said to need
UNKNOWN_MB = 512  # what a model is taken to need where its spec does not say


class MemoryBudget:
    """What the engines of all slots of this host may take together; each slot has an equal part of it."""

    def __init__(self, settings: Settings) -> None:
        free_mb = psutil.virtual_memory().available / MEGABYTE
        self._total_mb = settings.memory_mb or SHARE * free_mb

    def share_mb(self, work: Work, slots: int) -> float:
        """What one engine may take before it is begun anew: what its spec says, with some slack, or the
        slot's part of all. An engine that was larger when it was ready may grow by some: weights that are
        mapped count as resident, and a new one would have them too."""
        share = SLACK * work.spec.memory_mb if work.spec.memory_mb else self._total_mb / max(1, slots)
        return max(share, SLACK * work.ready_mb)

    def make_room(self, works: Iterable[Work], spec: ModelSpec, slots: int) -> list[Work]:
        """Shut idle engines until one for `spec` fits; returns those that were shut."""
        works = list(works)
        budget = self._total_mb / max(1, slots) - (spec.memory_mb or UNKNOWN_MB)
        sizes = {work.spec.name: resident_mb(work) for work in works}
        shut = []
        for work in sorted((w for w in works if w.idle), key=lambda w: w.used_at):
            if sum(sizes.values()) <= budget:
                break
            del sizes[work.spec.name]
            log.info("engine.unloaded", model=work.spec.name)
            work.shut()
            shut.append(work)
        return shut


def resident_mb(work: Work) -> float:
    """Resident memory of the engine; mapped weights count, as they do for the kernel. One that is being
    launched counts as its spec says."""
    if work.engine is None:
        return float(work.spec.memory_mb or UNKNOWN_MB) if work.launching else 0.0
    try:
        return float(psutil.Process(work.engine.pid).memory_info().rss) / MEGABYTE
    except psutil.Error:
        return 0.0
