"""What is to be expected of a job: its rate, its place in the queue, when it should be done.

Only measured numbers count: the job's own rate of late, or the paces of the models whose work is before it.
Where one is missing, or something but work holds the job back, nothing is said.
"""

import math
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from psycopg import AsyncConnection

from api.schemas.jobs import Outlook
from configs.windows import parse_window
from store.jobs import JobRow
from store.queue import MOST_AHEAD, Work, position, work_ahead
from store.states import JobState

# A window is looked at so often, for as long as a job needs: it may close before.
WINDOW_STEP = timedelta(minutes=15)


async def outlooks(conn: AsyncConnection[Any], jobs: Sequence[JobRow]) -> list[Outlook]:
    """The outlook of each of `jobs`. What is read does not grow with their number."""
    waiting = sum(job.ready for job in jobs)
    most = MOST_AHEAD // max(waiting, 1)
    return [await _outlook(conn, job, most) if job.ready else Outlook() for job in jobs]


async def _outlook(conn: AsyncConnection[Any], job: JobRow, most: int) -> Outlook:
    rate = job.rate * job.items / job.parts if job.rate and job.parts else None
    seconds = (job.parts - job.done) / job.rate if job.rate else None
    if seconds is None:
        work = await work_ahead(conn, job, most=most)
        seconds = seconds_to_go(job, work) if work is not None else None
    return Outlook(
        rate=round(rate, 3) if rate is not None else None,
        queue_position=await position(conn, job, most=most) if job.state == JobState.QUEUED else None,
        eta=_eta(job, seconds),
    )


def seconds_to_go(job: JobRow, work: Work) -> float:
    """From the work before and beside a job to its last result, all slots that could take it at work.

    Callers of one priority get equal shares of compute until they have what they asked for: of another
    caller's work so much comes first as this caller has itself.
    """
    own = (job.parts - job.done) * work.pace
    mine = work.own + own
    before = work.first + work.own + sum(min(other, mine) for other in work.others)
    return before / work.slots + max(own / work.slots, min(own, work.pace))


def _eta(job: JobRow, seconds: float | None) -> int | None:
    if seconds is None:
        return None
    now = datetime.now(UTC)
    try:
        end = now + timedelta(seconds=seconds)
    except OverflowError:
        return None
    return math.ceil(end.timestamp()) if _stays_open(job, now, end) else None


def _stays_open(job: JobRow, now: datetime, end: datetime) -> bool:
    """Whether the job's window, if it has one, is open from `now` to `end`."""
    if job.run_window is None:
        return True
    if end - now >= timedelta(days=1):  # no window is that long
        return False
    window = parse_window(job.run_window, job.timezone)
    steps = (end - now) // WINDOW_STEP
    return all(window.is_open(now + step * WINDOW_STEP) for step in range(steps + 1)) and window.is_open(end)
