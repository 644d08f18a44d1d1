"""Engines that end again and again: when the model is given up, and how long is waited."""

import signal
import time

import pytest

from tasks.deaths import SILENT_DEATHS, Deaths, end_of


def test_an_engine_that_never_begins_is_given_up_unless_something_is_computed_between() -> None:
    deaths = Deaths()
    assert [deaths.count(silent=True) for _ in range(SILENT_DEATHS + 1)] == [True] * SILENT_DEATHS + [False]
    for _ in range(3 * SILENT_DEATHS):
        assert deaths.count(silent=True)
        deaths.computed(alone=False)


def test_ends_with_parts_in_flight_give_no_model_up_but_pause_longer_each_time() -> None:
    deaths, pauses = Deaths(), []
    for _ in range(12):
        assert deaths.count(silent=False)
        pauses.append(deaths.pause_seconds())
    assert pauses[0] == 0
    assert pauses[1:] == sorted(pauses[1:])
    assert pauses[-1] == 30
    deaths.computed(alone=False)
    deaths.count(silent=False)
    assert deaths.pause_seconds() == 0


def test_a_suspect_waits_longer_each_time_until_one_is_computed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "monotonic", lambda: 100.0)
    deaths, waits = Deaths(), []
    for alone in (False, False, True, False):
        deaths.defer_suspects()
        waits.append(deaths.suspects_at - 100)
        deaths.computed(alone=alone)  # others do not count
    assert waits == pytest.approx([0.4, 0.8, 1.6, 0.4])


def test_an_end_is_named_by_its_signal() -> None:
    assert end_of(signal.SIGSEGV) == "SIGSEGV"
    assert end_of(None) == "it ended by itself"
    assert end_of(40) == "signal 40"
