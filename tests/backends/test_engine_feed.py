"""The engine's feed against a hand-driven pipe."""

import socket
import threading
import time
from collections.abc import Iterator

import pytest

from backends.engine_feed import PipeFeed
from backends.pipe import (
    Cancel,
    Close,
    Closed,
    FromEngine,
    Give,
    Happened,
    Inbox,
    Open,
    ToEngine,
    Want,
    frame,
    from_engine,
)
from backends.types import Done, ErrorInfo, Failed, Lane, Part, Started


class Controller:
    """The other end."""

    def __init__(self, stream: socket.socket) -> None:
        self._stream = stream
        self._inbox = Inbox(stream)

    def say(self, *messages: ToEngine) -> None:
        for message in messages:
            self._stream.send(frame(message))

    def give(self, *keys: int, lane: Lane = Lane.BULK) -> None:
        self.say(Give([Part(key, "e", b"", lane) for key in keys]))

    def hang_up(self) -> None:
        self._stream.shutdown(socket.SHUT_WR)

    def heard(self) -> list[FromEngine]:
        return [from_engine.decode(body) for body in self._inbox.read()]


@pytest.fixture
def ends() -> Iterator[tuple[PipeFeed, Controller]]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.setblocking(False)
        theirs.setblocking(False)
        yield PipeFeed(ours), Controller(theirs)


def keys(parts: list[Part]) -> list[int]:
    return [part.key for part in parts]


def test_it_asks_once_for_what_it_lacks(ends: tuple[PipeFeed, Controller]) -> None:
    feed, controller = ends
    assert feed.take(4) == []
    assert feed.take(4) == []
    assert controller.heard() == [Want(4)]
    controller.give(1, 2, 3)
    assert keys(feed.take(2)) == [1, 2]
    assert controller.heard() == []  # one waits here, one is still owed
    assert keys(feed.take(4)) == [3]
    assert controller.heard() == [Want(2)]


def test_interactive_parts_come_first_and_on_top_of_the_room(ends: tuple[PipeFeed, Controller]) -> None:
    feed, controller = ends
    controller.give(1, 2, 3)
    controller.give(8, 9, lane=Lane.INTERACTIVE)
    assert keys(feed.take(1)) == [8, 9]
    assert keys(feed.take(2)) == [1, 2]
    controller.give(10, lane=Lane.INTERACTIVE)
    assert keys(feed.take(0)) == [10]


def test_interactive_parts_use_up_no_credit(ends: tuple[PipeFeed, Controller]) -> None:
    feed, controller = ends
    feed.take(2)
    controller.give(8, lane=Lane.INTERACTIVE)
    feed.take(2)
    assert controller.heard() == [Want(2)]


def test_taking_waits_no_longer_than_it_is_told(ends: tuple[PipeFeed, Controller]) -> None:
    feed, _ = ends
    began = time.monotonic()
    assert feed.take(1, wait=0.05) == []
    assert 0.04 < time.monotonic() - began < 5


def test_waiting_without_bound_ends_with_the_first_part(ends: tuple[PipeFeed, Controller]) -> None:
    feed, controller = ends
    timer = threading.Timer(0.05, controller.give, [1])
    timer.start()
    assert keys(feed.take(8, wait=None)) == [1]
    timer.join()


def test_without_room_it_does_not_wait_for_bulk_parts_that_are_there(
    ends: tuple[PipeFeed, Controller],
) -> None:
    feed, controller = ends
    controller.give(1)
    assert feed.take(0, wait=0.01) == []
    assert keys(feed.take(1, wait=None)) == [1]


def test_a_closed_feed_still_gives_what_had_come(ends: tuple[PipeFeed, Controller]) -> None:
    feed, controller = ends
    controller.give(1, 2)
    controller.say(Close(1))
    assert keys(feed.take(1)) == [1]
    assert not feed.closed
    assert keys(feed.take(1)) == [2]
    assert feed.closed
    assert feed.take(8, wait=None) == []
    assert not any(isinstance(message, Want) and message.room == 8 for message in controller.heard())


def test_a_closed_feed_rests_until_it_is_opened(ends: tuple[PipeFeed, Controller]) -> None:
    feed, controller = ends
    controller.say(Close(7))
    feed.take(0)
    timer = threading.Timer(0.05, controller.say, [Open()])
    timer.start()
    assert feed.rest()
    timer.join()
    assert not feed.closed
    assert controller.heard() == [Closed(7)]


def test_a_resting_engine_learns_that_nobody_needs_it(ends: tuple[PipeFeed, Controller]) -> None:
    feed, controller = ends
    controller.say(Close(1))
    feed.take(0)
    controller.hang_up()
    assert not feed.rest()


def test_a_running_engine_ends_when_its_controller_is_gone(ends: tuple[PipeFeed, Controller]) -> None:
    feed, controller = ends
    controller.hang_up()
    with pytest.raises(SystemExit):
        feed.take(1, wait=None)


def test_answers_travel_together_and_starts_at_once(ends: tuple[PipeFeed, Controller]) -> None:
    feed, controller = ends
    controller.give(1, 2)
    feed.take(2)
    controller.heard()
    feed.report(Started([1, 2]))
    assert controller.heard() == [Happened([Started([1, 2])])]
    feed.report(Done(1, b"a"))
    feed.report(Done(2, b"b"))
    assert controller.heard() == []
    feed.take(2)
    assert controller.heard()[0] == Happened([Done(1, b"a"), Done(2, b"b")])


def test_cancelled_parts_are_answered_wherever_they_are(ends: tuple[PipeFeed, Controller]) -> None:
    feed, controller = ends
    controller.give(1, 2, 3)
    feed.take(1)
    controller.heard()
    controller.say(Cancel([1, 3, 99]))
    assert keys(feed.take(2)) == [2]
    assert feed.cancelled() == {1}
    (happened, *_) = controller.heard()
    assert isinstance(happened, Happened)
    assert {event.key for event in happened.events if isinstance(event, Failed)} == {1, 3}


def test_parts_that_are_taken_back_come_again_in_their_order(ends: tuple[PipeFeed, Controller]) -> None:
    feed, controller = ends
    controller.give(1, 2, 3, 4)
    feed.take(3)
    feed.report(Started([1]))
    assert feed.give_up(ErrorInfo("engine_error", "so")) == 3
    assert keys(feed.take(9)) == [2, 3, 4]
