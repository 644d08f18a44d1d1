"""A bootstep that wakes Celery's event loop when a drain ends.

With the threads pool and `worker_disable_prefetch` nothing tells the loop that the slot is free again:
the next wake-up waited up to a second for the loop's own tick. The request is taken off Celery's books
shortly after the task's last line, hence the two looks a few milliseconds later.
"""

import os
from typing import Any

from celery import Celery, bootsteps

LOOKS_SECONDS = (0.003, 0.02)


class Nudge:
    """An eventfd between the pool's thread and the loop of one worker process."""

    def __init__(self) -> None:
        self._fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)

    def __call__(self) -> None:
        os.eventfd_write(self._fd, 1)

    def install(self, app: Celery) -> None:
        """Add the bootstep to `app`'s workers."""
        fd = self._fd

        class Step(bootsteps.StartStopStep):  # type: ignore[misc]
            requires = ("celery.worker.consumer.tasks:Tasks",)

            def start(self, consumer: Any) -> None:
                if consumer.hub is not None:
                    consumer.hub.add_reader(fd, on_readable, consumer.hub)

        def on_readable(hub: Any) -> None:
            os.eventfd_read(fd)
            for seconds in LOOKS_SECONDS:
                hub.call_later(seconds, look)

        def look() -> None:
            """Nothing: that the loop turns is enough."""

        app.steps["consumer"].add(Step)
