"""The share of bulk: kept while both lanes have work, in turns that are short."""

import pytest

from backends.types import Lane
from tasks.lane_clock import MEMORY_SECONDS, TURN_MOST_SECONDS, TURN_SECONDS, LaneClock

CALL = 0.01  # seconds of one native call


class Slot:
    """A slot whose interactive lane never runs empty, in a time of its own."""

    def __init__(self, share: float = 0.2) -> None:
        self.now = 1000.0
        self.clock = LaneClock(share, clock=lambda: self.now)
        self.order: list[Lane] = []

    def compute(self, seconds: float, *, bulk_waits: bool = True) -> None:
        until = self.now + seconds
        while self.now < until:
            self.clock.update(bulk_waits=bulk_waits)
            lane = Lane.BULK if self.clock.bulk_turn else Lane.INTERACTIVE
            self.now += CALL
            self.clock.took(lane, CALL)
            self.order.append(lane)

    @property
    def bulk_share(self) -> float:
        return self.order.count(Lane.BULK) / len(self.order)

    def longest_turn(self) -> float:
        longest = run = 0
        for lane in self.order:
            run = run + 1 if lane is Lane.BULK else 0
            longest = max(longest, run)
        return longest * CALL


@pytest.mark.parametrize("share", [0.05, 0.2, 0.5])
def test_bulk_gets_its_share_of_a_saturated_slot_in_short_turns(share: float) -> None:
    slot = Slot(share)
    slot.compute(60)
    assert slot.bulk_share == pytest.approx(share, abs=0.02)
    assert slot.longest_turn() <= TURN_SECONDS + 2 * CALL


def test_without_a_share_bulk_has_no_turn() -> None:
    slot = Slot(0.0)
    slot.compute(60)
    assert slot.bulk_share == 0


def test_time_that_bulk_did_not_want_is_not_owed_to_it() -> None:
    slot = Slot()
    slot.compute(50, bulk_waits=False)
    assert slot.bulk_share == 0
    slot.order.clear()
    slot.compute(10)
    assert slot.bulk_share == pytest.approx(0.2, abs=0.03)


def test_what_bulk_had_before_somebody_came_counts_as_its_share() -> None:
    slot = Slot()
    for _ in range(3000):  # thirty seconds alone: the share of two minutes and more
        slot.now += CALL
        slot.clock.took(Lane.BULK, CALL)
    slot.compute(25)
    assert slot.bulk_share == 0
    slot.compute(MEMORY_SECONDS)  # by and by it is forgotten
    assert slot.bulk_share > 0.1


def test_a_turn_that_bulk_cannot_use_ends() -> None:
    slot = Slot()
    slot.compute(5)
    while not slot.clock.bulk_turn:
        slot.compute(CALL)
    slot.clock.update(bulk_waits=False)
    assert not slot.clock.bulk_turn
    while not slot.clock.bulk_turn:
        slot.compute(CALL)
    slot.now += TURN_MOST_SECONDS  # nothing was heard of it
    slot.clock.update(bulk_waits=True)
    assert not slot.clock.bulk_turn


def test_turns_that_bulk_cannot_use_cost_calls_no_more_than_its_share() -> None:
    """Its engine hangs, say, or what it has waits to be tried again."""
    slot, until, blocked = Slot(), 1060.0, 0.0
    while slot.now < until:
        slot.clock.update(bulk_waits=True)
        slot.now += CALL
        if slot.clock.bulk_turn:
            blocked += CALL
        else:
            slot.clock.took(Lane.INTERACTIVE, CALL)
    assert 0 < blocked < 0.25 * 60


def test_bulk_whose_calls_are_longer_than_a_turn_has_its_share_all_the_same() -> None:
    slot, bulk, until, long_call = Slot(), 0.0, 1600.0, 10.0
    while slot.now < until:
        slot.clock.update(bulk_waits=True)
        if slot.clock.bulk_turn:
            slot.now += TURN_MOST_SECONDS
            slot.clock.update(bulk_waits=True)
            slot.now += long_call - TURN_MOST_SECONDS
            slot.clock.took(Lane.BULK, long_call)
            bulk += long_call
        else:
            slot.now += CALL
            slot.clock.took(Lane.INTERACTIVE, CALL)
    assert 0.15 < bulk / 600 < 0.35  # few calls, as long as they are: it cannot be exact
