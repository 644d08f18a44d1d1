"""Which windows enter a native call together, and who goes first."""

from collections.abc import Generator
from math import ceil

import numpy as np
import pytest

from backends.types import Lane, Part, Source
from backends.whisper import desk as desk_module
from backends.whisper.desk import (
    AT_ONCE,
    CALLS_AT_HAND,
    EXPECTED_SECONDS,
    FIRST_GUESS_WINDOWS,
    PATIENCE_SECONDS,
    SHORTER,
    Desk,
)
from backends.whisper.opening import Opened, Plan
from backends.whisper.window import RATE, Asking, Window
from backends.whisper.work import Hearing, Work

SIZE = 8
AT_HAND = ceil(CALLS_AT_HAND * SIZE)


def never() -> Generator[int, None, Opened | Plan]:
    """An opening that a test does not step."""
    yield 0
    raise AssertionError


class Clock:
    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 100.0
        monkeypatch.setattr(desk_module, "monotonic", lambda: self.now)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


def work(
    key: int, *, urgent: bool = False, left_ms: int = 0, path: str = "", prompt: str | None = None
) -> Work:
    source = Source(path or f"/{key}", f"blob{key}", "name")
    lane = Lane.INTERACTIVE if urgent else Lane.BULK
    part = Part(key, "/v1/audio/transcriptions", b"{}", lane, source)
    asking = Asking(prompt=prompt)
    return Work(part=part, source=source, asking=asking, interactive=urgent, opening=never(), left_ms=left_ms)


def opened(desk: Desk, one: Work, *seconds: float) -> Work:
    """Put a part in line and open it: windows of so many seconds."""
    windows, start = [], 0
    for length in seconds:
        windows.append(Window(start=start, samples=np.zeros(int(length * RATE), np.float32), speech=()))
        start = windows[-1].end
    desk.add(one)
    one.open_with(Opened(start_ms=0, end_ms=start * 1000 // RATE, windows=windows, warnings=[]))
    desk.opened(one)
    return one


def begun(desk: Desk, one: Work) -> Work:
    """Something of its recording has been heard."""
    desk.settled(one.hearings[0])
    return one


def batch(desk: Desk) -> list[Hearing]:
    step = desk.next_step()
    assert isinstance(step, list), step
    return step


def take(desk: Desk) -> list[Hearing]:
    """The next batch, answered."""
    heard = batch(desk)
    for hearing in heard:
        hearing.work.hearings.remove(hearing)
        desk.settled(hearing)
        if not hearing.work.hearings:
            desk.end(hearing.work)
    return heard


def seconds(hearings: list[Hearing]) -> list[float]:
    return [hearing.window.seconds for hearing in hearings]


def test_windows_of_like_length_go_together_over_parts() -> None:
    desk = Desk(SIZE)
    for key in range(SIZE):
        opened(desk, work(key), 15, 2)
    assert seconds(take(desk)) == [15.0] * SIZE
    assert seconds(take(desk)) == [2.0] * SIZE
    assert desk.next_step() is None


def test_the_oldest_window_is_always_in_the_next_batch_with_those_that_are_nearest_in_length() -> None:
    desk = Desk(SIZE)
    dice = np.random.default_rng(3)
    waiting: list[Hearing] = []
    for key in range(30):
        lengths = dice.uniform(1, 15, size=SIZE)
        waiting += opened(desk, work(key), *lengths).hearings
        away = {id(one): abs(one.window.seconds - waiting[0].window.seconds) for one in waiting}
        heard = take(desk)
        assert heard[0] is waiting[0]
        assert [away[id(one)] for one in heard] == sorted(away.values())[:SIZE]
        waiting = [hearing for hearing in waiting if hearing not in heard]


def test_a_batch_is_asked_one_thing() -> None:
    desk = Desk(SIZE)
    opened(desk, work(1, prompt="Kyiv"), 9, 9)
    opened(desk, work(2), 9, 9)
    again = opened(desk, work(3), 9).hearings[0]
    again.full = True
    assert [hearing.work.key for hearing in take(desk)] == [1, 1]
    assert [hearing.work.key for hearing in take(desk)] == [2, 2]
    assert take(desk) == [again]


def test_recordings_are_opened_until_a_batch_and_a_half_is_at_hand() -> None:
    desk = Desk(SIZE)
    desk.add(ahead := work(1))
    opened(desk, work(2), *[9] * (AT_HAND - 1))
    assert desk.next_step() is ahead
    opened(desk, work(3), 9)
    assert isinstance(desk.next_step(), list)


def test_room_is_for_as_many_parts_as_fill_a_batch_and_a_half() -> None:
    desk = Desk(SIZE)
    assert desk.room == ceil(AT_HAND / FIRST_GUESS_WINDOWS)
    for key in range(12):
        opened(desk, work(key), 3)  # clips
        take(desk)
    assert AT_HAND / 2 <= desk.room <= AT_HAND
    for key in range(100, 105):
        desk.add(work(key))
    before = desk.room
    opened(desk, work(200), 3, 3)
    assert desk.room < before <= AT_HAND - 5
    opened(desk, work(201), *[9] * AT_HAND)
    assert desk.room == 0


def test_the_interactive_part_with_the_least_left_goes_first_and_bulk_last() -> None:
    desk = Desk(SIZE)
    opened(desk, work(1), 4, 4)
    long = begun(desk, opened(desk, work(2, urgent=True), *[15] * 12))
    first = batch(desk)
    assert [hearing.work.key for hearing in first] == [2] * SIZE
    clip = opened(desk, work(3, urgent=True), 3)
    assert batch(desk) == clip.hearings
    take(desk)
    assert clip.ended
    assert batch(desk) == first
    desk.end(long)
    assert {hearing.work.key for hearing in batch(desk)} == {1}


def test_a_part_of_unknown_length_is_looked_at_before_others_are_heard() -> None:
    desk = Desk(SIZE)
    opened(desk, work(1, urgent=True), 15, 15)
    desk.add(unknown := work(2, urgent=True))
    assert desk.next_step() is unknown
    unknown.left_ms = 600_000
    assert isinstance(desk.next_step(), list)


def test_clips_that_wait_together_are_opened_and_heard_together() -> None:
    desk = Desk(SIZE)
    opened(desk, work(1, urgent=True), 3)
    desk.add(other := work(2, urgent=True, left_ms=4000))
    assert desk.next_step() is other
    opened(desk, other, 4)
    assert [hearing.work.key for hearing in batch(desk)] == [1, 2]


def test_a_long_window_does_not_ride_along_with_a_clip() -> None:
    desk = Desk(SIZE)
    opened(desk, work(1, urgent=True), 15, 4, 15)
    opened(desk, work(2, urgent=True), 3)
    assert [(hearing.work.key, hearing.window.seconds) for hearing in batch(desk)] == [(2, 3.0), (1, 4.0)]


def test_few_windows_of_others_ride_along_with_a_clip() -> None:
    desk = Desk(SIZE)
    opened(desk, work(1, urgent=True), *[4] * SIZE)
    opened(desk, work(2, urgent=True), 3)
    assert [hearing.work.key for hearing in batch(desk)] == [2] + [1] * (AT_ONCE - 1)


def test_pieces_of_one_recording_are_opened_and_heard_together() -> None:
    desk = Desk(SIZE)
    begun(desk, opened(desk, work(1, urgent=True, left_ms=120_000, path="/long"), *[14] * (SIZE - 2)))
    desk.add(other := work(2, urgent=True, left_ms=120_000, path="/long"))
    desk.add(work(3, urgent=True, left_ms=120_000, path="/another"))
    assert desk.next_step() is other
    opened(desk, other, *[14] * 8)
    assert [hearing.work.key for hearing in batch(desk)] == [1] * (SIZE - 2) + [2, 2]


def test_few_windows_of_a_recording_are_heard_at_first_so_that_a_live_reader_soon_has_some() -> None:
    desk = Desk(SIZE)
    one = opened(desk, work(1, urgent=True, path="/long"), *[14] * SIZE)
    desk.add(work(2, urgent=True, left_ms=120_000, path="/long"))
    first = batch(desk)
    assert [hearing.work.key for hearing in first] == [1] * AT_ONCE
    desk.settled(first[0])
    assert len(batch(desk)) == SIZE
    desk.end(one)
    desk.drop([2])
    opened(desk, work(3, urgent=True, path="/long"), *[14] * SIZE)
    assert len(batch(desk)) == AT_ONCE


def test_pieces_of_one_recording_are_heard_in_order_however_short_a_later_one_is() -> None:
    desk = Desk(SIZE)
    begun(desk, opened(desk, work(1, urgent=True, path="/long"), *[14] * SIZE))
    opened(desk, work(2, urgent=True, path="/long"), 3)
    assert [hearing.work.key for hearing in take(desk)] == [1] * SIZE
    assert [hearing.work.key for hearing in take(desk)] == [2]


def test_a_recording_that_short_ones_keep_waiting_gets_every_other_call(clock: Clock) -> None:
    desk = Desk(SIZE)
    opened(desk, work(1, urgent=True, path="/long"), *[15] * 40)
    clock.now += 1.0
    for key in range(2, 400):
        opened(desk, work(key, urgent=True), 3)
    got = []
    for _ in range(40):
        got.append(take(desk)[0].work.key == 1)
        clock.now += 1.0
    waited = int(PATIENCE_SECONDS)
    assert not any(got[:waited])
    assert sum(got[waited : waited + 8]) == 4


def test_pieces_of_a_recording_that_gets_its_share_are_not_late(clock: Clock) -> None:
    desk = Desk(SIZE)
    opened(desk, work(1, urgent=True, path="/long"), *[15] * 100)
    opened(desk, work(2, urgent=True, path="/long"), *[15] * 100)
    for _ in range(20):
        take(desk)
        clock.now += 1.0
    opened(desk, work(3, urgent=True), 3)
    assert batch(desk)[0].work.key == 3


def test_bulk_batches_are_short_for_a_while_after_somebody_has_asked(clock: Clock) -> None:
    desk = Desk(SIZE)
    opened(desk, work(1), *[9] * 4 * SIZE)
    opened(desk, clip := work(2, urgent=True), 3)
    desk.end(clip)
    assert len(take(desk)) == SIZE // SHORTER
    clock.now += EXPECTED_SECONDS + 0.1
    take(desk)  # what is left of the batch that was begun
    assert len(take(desk)) == SIZE


def test_a_window_that_is_heard_again_goes_next_and_stays_with_its_part() -> None:
    desk = Desk(SIZE)
    one = opened(desk, work(1), *[9] * (SIZE + 3))
    heard = batch(desk)
    for hearing in heard[1:]:
        one.hearings.remove(hearing)
        desk.settled(hearing)
    again = heard[0].again_in_full()
    one.redo(heard[0], [again])
    desk.settled(heard[0], [again])
    assert take(desk) == [again]
    assert len(take(desk)) == 3
    assert desk.next_step() is None


def test_parts_that_are_not_wanted_leave_nothing_behind() -> None:
    desk = Desk(SIZE)
    gone, kept = opened(desk, work(1), *[9] * SIZE), opened(desk, work(2), 9, 9)
    desk.add(opening := work(3))
    urgent = opened(desk, work(4, urgent=True), 3)
    desk.drop([1, 3, 4, 77])
    assert gone.ended
    assert opening.ended
    assert urgent.ended
    assert [hearing.work.key for hearing in take(desk)] == [2, 2]
    assert kept.ended
    assert not desk.busy
