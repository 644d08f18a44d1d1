import pytest

from backends.engine_books import CANCELLED, Books
from backends.types import Delta, Done, ErrorInfo, Failed, Part, Started

ERROR = ErrorInfo("engine_error", "so it is")


def books(*keys: int) -> Books:
    books = Books()
    books.hand_out(Part(key, "e", b"") for key in keys)
    return books


def test_events_of_parts_that_were_handed_out_pass() -> None:
    ours = books(1, 2)
    for event in (Started([1, 2]), Delta(1, b"d"), Done(1, b"r"), Failed(2, ERROR)):
        assert ours.check(event) == event
    assert len(ours) == 0


def test_a_second_answer_and_unknown_parts_are_dropped_and_told(capsys: pytest.CaptureFixture[str]) -> None:
    ours = books(1)
    assert ours.check(Done(1, b"r")) is not None
    assert ours.check(Done(1, b"r")) is None
    assert ours.check(Delta(7, b"d")) is None
    assert "Done of part 1" in (told := capsys.readouterr().err)
    assert "Delta of part 7" in told


def test_a_start_keeps_only_the_parts_that_are_known() -> None:
    ours = books(1)
    assert ours.check(Started([1, 9])) == Started([1])
    assert ours.check(Started([9])) is None


def test_a_cancelled_part_is_answered_at_once_and_may_be_answered_late_in_silence(
    capsys: pytest.CaptureFixture[str],
) -> None:
    ours = books(1, 2)
    assert ours.cancel([1, 5]) == [Failed(1, CANCELLED)]
    assert ours.cancelled == {1}
    assert ours.check(Started([1, 2])) == Started([2])
    assert ours.check(Done(1, b"late")) is None
    assert ours.cancelled == frozenset()
    assert ours.check(Done(2, b"r")) is not None
    assert capsys.readouterr().err == ""


def test_giving_up_fails_what_was_in_flight_and_saves_the_rest() -> None:
    ours = books(1, 2, 3)
    ours.check(Started([2]))
    failures, again = ours.give_up(ERROR)
    assert failures == [Failed(2, ERROR)]
    assert [part.key for part in again] == [1, 3]
    assert len(ours) == 0


def test_giving_up_with_nothing_in_flight_fails_all_so_that_no_part_comes_back_for_ever() -> None:
    failures, again = books(1, 2).give_up(ERROR)
    assert failures == [Failed(1, ERROR), Failed(2, ERROR)]
    assert again == []
