"""Requests per minute: exactly as many as a key may make in any 60 seconds, and no more."""

import pytest

from api import rates
from api.errors import ApiError
from api.rates import Rates
from tasks.submit import Caller

THREE = Caller(key_id=7, requests_per_minute=3)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time that it is, in its one element."""
    now = [1_000.0]
    monkeypatch.setattr(rates.time, "monotonic", lambda: now[0])
    return now


def test_the_request_over_the_limit_is_refused_and_told_when_to_come_back(clock: list[float]) -> None:
    counter = Rates()
    left = []
    for _ in range(3):
        left.append(counter.count(THREE)["x-ratelimit-remaining-requests"])
        clock[0] += 10
    assert left == ["2", "1", "0"]
    with pytest.raises(ApiError) as refused:
        counter.count(THREE)
    assert refused.value.code == "rate_limit_exceeded"
    assert refused.value.headers == {
        "x-ratelimit-limit-requests": "3",
        "x-ratelimit-remaining-requests": "0",
        "x-ratelimit-reset-requests": "30.000s",
        "retry-after": "30",
    }


def test_no_60_seconds_see_more_than_the_limit(clock: list[float]) -> None:
    counter, passed = Rates(), []
    for _ in range(400):
        clock[0] += 0.7
        try:
            counter.count(THREE)
        except ApiError:
            continue
        passed.append(clock[0])
    assert all(later - earlier >= 60 for earlier, later in zip(passed, passed[3:], strict=False))
    assert len(passed) >= 3 * (400 * 0.7 // 61)  # and what is refused costs nothing


def test_keys_do_not_count_for_each_other(clock: list[float]) -> None:
    counter = Rates()
    for _ in range(3):
        counter.count(THREE)
    counter.count(Caller(key_id=8, requests_per_minute=1))
    for _ in range(100):
        assert counter.count(Caller(key_id=9)) == {}
