"""How many windows a native call holds."""

import pytest

from backends.whisper.pacing import CALL_SECONDS, FIRST_WINDOWS, Pace


@pytest.mark.parametrize(("seconds_per_window", "windows"), [(0.01, 16), (0.1, 9), (0.4, 2), (7.0, 1)])
def test_a_call_holds_as_many_windows_as_take_a_second(seconds_per_window: float, windows: int) -> None:
    pace = Pace(16)
    for _ in range(20):
        called = pace.windows
        pace.took(called, called * seconds_per_window)
    assert pace.windows in (windows, windows + 1)
    assert pace.windows == 1 or pace.windows * seconds_per_window <= CALL_SECONDS


def test_the_first_call_is_careful_and_one_slow_window_changes_little() -> None:
    pace = Pace(16)
    assert pace.windows == FIRST_WINDOWS
    pace.took(4, 0.2)
    assert pace.windows == 16
    pace.took(16, 4.0)
    assert pace.windows >= 9
    assert Pace(2).windows == 2
