import time

import pytest

from tasks.meter import Meter


def test_a_rate_counts_the_last_ten_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    meter = Meter()
    assert meter.rate() == 0
    meter.add(30)
    now += 6
    meter.add(20)
    assert meter.rate() == 5
    now += 6
    assert meter.rate() == 2
    now += 6
    assert meter.rate() == 0
