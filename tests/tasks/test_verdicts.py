"""What follows from an attempt."""

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from store.states import DeliveryState
from tasks.sending import Outcome, retry_after
from tasks.verdicts import HOUR, JITTER, SCHEDULE, judge, quiet_seconds


def failed(status: int | None = 500, wait: float | None = None) -> Outcome:
    return Outcome(status_code=status, latency_ms=1, error="failed", retry_after_seconds=wait)


def test_ten_attempts_are_made_over_some_three_days() -> None:
    delays, tries = [0.0], 0
    while (attempted := judge(failed(), tries)).state is DeliveryState.PENDING:
        delays.append(attempted.delay_seconds)
        tries += 1
    assert attempted.state is DeliveryState.EXHAUSTED
    assert len(delays) == 10
    assert all(
        abs(delay - planned) <= planned * JITTER for delay, planned in zip(delays, SCHEDULE, strict=True)
    )
    assert 71 * HOUR < sum(delays) < 80 * HOUR


def test_what_failed_together_does_not_come_back_together() -> None:
    assert len({judge(failed(), 1).delay_seconds for _ in range(20)}) > 1


@pytest.mark.parametrize(
    ("status", "state"), [(410, "disabled"), (404, "pending"), (302, "pending"), (None, "pending")]
)
def test_only_410_says_that_nothing_more_is_wanted(status: int | None, state: str) -> None:
    assert judge(failed(status), 0).state == state


def test_success_is_the_end() -> None:
    done = judge(Outcome(status_code=299, latency_ms=1, error=None), 9)
    assert (done.state, done.delay_seconds) == (DeliveryState.DELIVERED, 0)


@pytest.mark.parametrize(("asked", "delay"), [(600.0, 600.0), (1e9, 24 * HOUR)])
def test_retry_after_puts_the_next_attempt_off_within_bounds(asked: float, delay: float) -> None:
    assert judge(failed(429, asked), 0).delay_seconds == delay


def test_retry_after_never_brings_an_attempt_forward() -> None:
    assert judge(failed(429, 1.0), 4).delay_seconds > 4 * HOUR


def test_a_receiver_with_too_much_to_do_is_left_alone() -> None:
    assert quiet_seconds(failed(429, 90.0)) == 90.0
    assert quiet_seconds(failed(502)) > 0
    assert quiet_seconds(failed(500, 90.0)) == 0.0


def test_retry_after_is_read_in_both_its_forms() -> None:
    moment = datetime.now(UTC) + timedelta(minutes=10)
    assert retry_after("120") == 120.0
    assert 590 < (retry_after(format_datetime(moment, usegmt=True)) or 0) <= 600
    assert retry_after("-5") == 0.0
    assert retry_after(format_datetime(moment - timedelta(days=1), usegmt=True)) == 0.0
    assert [retry_after(text) for text in (None, "", "soon", "1.5", "9" * 400, "9" * 5000)] == [None] * 6
