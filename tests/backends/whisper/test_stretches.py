"""A long recording is cut into like stretches, in pauses near the boundaries between them."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.whisper.stretches import LONGEST_MS, NEAR_MS, USUAL_MS, best_cut, nominal, region
from backends.whisper.vad import Vad
from backends.whisper.window import RATE, Samples
from tests.fixtures.silero import stored

SECOND = 1000


def test_a_short_recording_is_one_stretch() -> None:
    assert nominal(0) == nominal(LONGEST_MS) == []


@given(st.integers(LONGEST_MS + 1, 100 * 3600 * SECOND))
def test_wherever_cuts_fall_in_their_regions_stretches_are_short_and_in_order(total_ms: int) -> None:
    boundaries = [0, *nominal(total_ms), total_ms]
    lengths = np.diff(boundaries)
    assert lengths.max() <= USUAL_MS
    assert lengths.min() > 3 * NEAR_MS
    assert lengths.max() + 2 * NEAR_MS <= LONGEST_MS
    assert all(low <= at <= high for at in boundaries[1:-1] for low, high in [region(at)])
    assert all(region(at) == (at - NEAR_MS, at + NEAR_MS) for at in boundaries[1:-1])


def test_the_cut_is_in_the_middle_of_the_longest_pause(vad: Vad, clips: Samples) -> None:
    spans = stored("spans")
    number = int((spans[1:, 0] - spans[:-1, 1]).argmax())
    low, high = spans[number, 1], spans[number + 1, 0]
    start = max(0, low - 5 * RATE)
    found = best_cut(vad, clips[start : start + 20 * RATE], 60 * SECOND)
    wanted = 60 * SECOND + ((low + high) // 2 - start) * SECOND // RATE
    assert found == pytest.approx(wanted, abs=100)


def test_of_pauses_that_are_long_enough_the_nearest_to_the_middle_is_taken(vad: Vad, clips: Samples) -> None:
    speech, silence = clips[: 4 * RATE], np.zeros(3 * RATE, np.float32)
    samples = np.concatenate([silence, speech, silence[: 5 * RATE // 2], speech, silence, silence])
    found = best_cut(vad, samples, 0)
    assert 7.0 * SECOND < found < 9.5 * SECOND


def test_in_silence_the_cut_is_in_the_middle(vad: Vad) -> None:
    assert best_cut(vad, np.zeros(20 * RATE, np.float32), 110 * SECOND) == 120 * SECOND


def test_where_nobody_pauses_the_quietest_place_is_taken(vad: Vad, clips: Samples) -> None:
    spans = stored("spans")
    longest = int((spans[:, 1] - spans[:, 0]).argmax())
    samples = clips[spans[longest, 0] + 3200 : spans[longest, 1] - 3200].copy()
    assert len(samples) > 3 * RATE
    middle = len(samples) // 2
    samples[middle - 1000 : middle + 1000] = 0  # too short for a pause
    assert best_cut(vad, samples, 0) == pytest.approx(middle * SECOND / RATE, abs=20)
