"""How fast models are, and the cut that follows."""

import pytest

from backends.types import Lane
from tasks.pace import CUT_MOST, Pace


def test_the_first_measurement_counts_whole() -> None:
    pace = Pace()
    pace.measured("m", parts=1, seconds=0.5)
    assert pace.seconds["m"] == 0.5


def test_a_measurement_on_many_parts_weighs_more_than_one_on_few() -> None:
    few, many = Pace(), Pace()
    for pace in (few, many):
        pace.measured("m", parts=32, seconds=32.0)
    few.measured("m", parts=4, seconds=8.0)
    many.measured("m", parts=128, seconds=256.0)
    assert 1.0 < few.seconds["m"] < many.seconds["m"] <= 2.0


@pytest.mark.parametrize(
    ("lane", "seconds", "size"),
    [
        (Lane.BULK, 0.05, 100),  # five seconds' worth
        (Lane.INTERACTIVE, 0.05, 20),  # one second's worth
        (Lane.BULK, 60.0, 1),  # never less than one
        (Lane.BULK, 0.0, CUT_MOST[Lane.BULK]),  # nor more than the bound, however fast
    ],
)
def test_a_chunk_holds_a_bounded_time_of_work(lane: Lane, seconds: float, size: int) -> None:
    pace = Pace()
    pace.measured("m", parts=10, seconds=10 * seconds)
    assert pace.sizes(lane) == {"m": size}


def test_an_unmeasured_model_has_no_size() -> None:
    assert Pace().sizes(Lane.BULK) == {}


def test_a_part_of_a_slow_model_weighs_more_than_one_of_a_quick_one() -> None:
    quick, slow = Pace(), Pace()
    for pace, seconds in ((quick, 0.01), (slow, 10.0)):
        pace.measured("m", parts=1, seconds=seconds)
        pace.measured("m", parts=1, seconds=2 * seconds)
    assert quick.seconds["m"] / 0.01 < 1.01
    assert slow.seconds["m"] / 10.0 > 1.3


def test_a_moment_in_which_the_machine_stood_still_says_little_of_a_quick_model() -> None:
    pace = Pace()
    pace.measured("m", parts=100, seconds=0.1)
    pace.measured("m", parts=1, seconds=1.0)
    assert pace.seconds["m"] < 0.01


def test_few_parts_are_cut_of_models_whose_parts_are_uneven() -> None:
    pace = Pace()
    pace.measured("known", parts=100, seconds=1.0)
    pace.measured("slow", parts=1, seconds=4.0)
    uneven = ["known", "slow", "new"]
    assert pace.sizes(Lane.BULK, uneven) == {"known": 8, "slow": 1, "new": 8}
    assert pace.sizes(Lane.INTERACTIVE, uneven) == dict.fromkeys(uneven, 1)


def test_what_others_measured_is_where_a_slot_begins() -> None:
    pace = Pace()
    pace.measured("own", parts=1, seconds=1.0)
    pace.learn({"own": 9.0, "other": 2.0})
    assert pace.seconds == {"own": 1.0, "other": 2.0}
    pace.measured("other", parts=1, seconds=4.0)
    assert 2.0 < pace.seconds["other"] < 4.0


def test_only_what_was_measured_anew_is_passed_on() -> None:
    pace = Pace()
    pace.learn({"other": 2.0})
    assert pace.take_fresh() == {}
    pace.measured("own", parts=1, seconds=1.0)
    assert pace.take_fresh() == {"own": 1.0}
    assert pace.take_fresh() == {}
