"""Times come out in order."""

import random

from backends.whisper.ordered import in_order


def test_times_in_order_stay_as_they_are():
    times = [(5, 10), (10, 11), (20, 40)]
    assert in_order(times, 5, 40) == times


def test_whatever_comes_in_each_lasts_a_millisecond_between_the_bounds_after_the_one_before():
    dice = random.Random(1)
    for _ in range(300):
        count = dice.randint(1, 20)
        times = [(dice.randrange(-50, 150), dice.randrange(-50, 150)) for _ in range(count)]
        ordered = in_order(times, 10, 40)
        assert all(start < end for start, end in ordered)
        edges = [edge for time in ordered for edge in time]
        assert edges == sorted(edges)
        assert edges[0] >= 10
        assert edges[-1] <= 40


def test_more_times_than_milliseconds_reach_beyond_the_end():
    assert in_order([(0, 0)] * 3, 0, 2) == [(0, 1), (1, 2), (2, 3)]
