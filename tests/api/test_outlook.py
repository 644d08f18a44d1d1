"""ETAs: from what is measured, or none."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from api import outlook
from api.outlook import seconds_to_go
from store.jobs import JobRow
from store.queue import Work
from store.states import JobState

NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)
IDLE = Work(first=0, own=0, others=(), pace=0.5, slots=1)


def job(**fields: Any) -> JobRow:
    row: dict[str, Any] = dict.fromkeys(JobRow.__dataclass_fields__)
    row |= {
        "state": JobState.QUEUED,
        "ready": True,
        "items": 100,
        "parts": 100,
        "done": 0,
        "window_open": True,
    }
    return JobRow(**(row | fields))


@pytest.mark.parametrize(
    ("work", "seconds"),
    [
        (IDLE, 50),
        (replace(IDLE, slots=4), 12.5),
        (replace(IDLE, first=30, own=20), 100),
        (replace(IDLE, others=(10, 1000)), 110),  # of the long one as much as of its own
        (replace(IDLE, own=50, others=(1000,)), 200),
    ],
)
def test_callers_of_one_priority_take_turns_until_they_have_what_they_asked_for(
    work: Work, seconds: float
) -> None:
    assert seconds_to_go(job(), work) == seconds


def test_one_part_is_not_shared_by_slots() -> None:
    assert seconds_to_go(job(items=1, parts=1), replace(IDLE, slots=4, own=8)) == 2.5


def test_what_is_done_is_not_done_again() -> None:
    assert seconds_to_go(job(done=90), IDLE) == 5


@pytest.mark.parametrize(
    ("end", "stays"),
    [
        (NOON + timedelta(hours=2), True),
        (NOON + timedelta(hours=7), False),
        (NOON + timedelta(hours=23), False),  # it closes and opens again before
        (NOON + timedelta(hours=25), False),
    ],
)
def test_a_window_that_closes_before_the_end_gives_no_eta(end: datetime, stays: bool) -> None:
    windowed = job(run_window="11:00-18:00", timezone="UTC")
    assert outlook._stays_open(windowed, NOON, end) is stays
    assert outlook._stays_open(job(), NOON, end)
