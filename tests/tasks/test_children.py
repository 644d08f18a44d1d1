"""How long a child that keeps ending has to wait."""

import pytest

from tasks import children
from tasks.children import Backoff


class Clock:
    now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(children, "time", clock)
    return clock


def test_the_pause_doubles_up_to_half_a_minute(clock: Clock) -> None:
    backoff = Backoff()
    pauses = []
    for _ in range(8):
        backoff.started()
        pauses.append(backoff.failed())
    assert pauses == [0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0]
    assert backoff.due_at == clock.now + 30.0


def test_a_good_while_makes_the_next_pause_short_again(clock: Clock) -> None:
    backoff = Backoff()
    for _ in range(5):
        backoff.started()
        backoff.failed()
    backoff.started()
    clock.now += 61
    assert backoff.failed() == 0.5
    assert backoff.failures == 1
