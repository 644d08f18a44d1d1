"""Windows hold all the speech, are no longer than they may be, and are cut where people pause."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.whisper.window import RATE, Samples, Span, Window
from backends.whisper.windows import MARGIN, cut, halves

LONGEST = 15.0


def spans(*seconds: tuple[float, float], start: int = 0) -> list[Span]:
    return [Span(start + int(low * RATE), start + int(high * RATE)) for low, high in seconds]


def audio(seconds: float) -> Samples:
    return np.random.default_rng(0).normal(0, 0.1, int(seconds * RATE)).astype(np.float32)


def edges(windows: list[Window]) -> list[tuple[float, float]]:
    return [(window.start / RATE, window.end / RATE) for window in windows]


def test_neighbours_are_heard_together_with_a_margin() -> None:
    speech = spans((1, 3), (3.3, 5))
    [window] = cut(audio(10), 0, speech, LONGEST)
    assert edges([window]) == [(1 - MARGIN / RATE, 5 + MARGIN / RATE)]
    assert window.speech == tuple(speech)


def test_a_window_is_the_audio_between_its_ends() -> None:
    samples, start = audio(10), 7 * RATE
    [window] = cut(samples, start, spans((1, 3), start=start), LONGEST, channel=1)
    assert window.start == start + RATE - MARGIN
    np.testing.assert_array_equal(window.samples, samples[RATE - MARGIN : 3 * RATE + MARGIN])
    assert window.channel == 1


def test_there_are_no_windows_without_speech() -> None:
    assert cut(audio(5), 0, [], LONGEST) == []


def test_margins_end_where_the_recording_does_and_in_the_middle_of_a_short_pause() -> None:
    windows = cut(audio(20), 0, spans((0, 14.8), (15, 20)), LONGEST)
    assert edges(windows) == [(0, 14.9), (14.9, 20)]


def test_of_several_pauses_the_longest_is_cut_in() -> None:
    windows = cut(audio(24), 0, spans((0, 6), (6.2, 11), (11.8, 14), (14.2, 24)), LONGEST)
    assert [len(window.speech) for window in windows] == [2, 2]


def test_a_long_silence_is_not_heard() -> None:
    windows = cut(audio(12), 0, spans((0, 2), (9, 11)), LONGEST)
    assert edges(windows) == [(0, 2.2), (8.8, 11.2)]


def test_speech_without_a_pause_is_split_where_it_is_quietest() -> None:
    samples = audio(25)
    samples[int(11.95 * RATE) : int(12.05 * RATE)] = 0
    first, second = cut(samples, 0, spans((0, 25)), LONGEST)
    assert first.end == second.start == pytest.approx(12 * RATE, abs=160)
    assert first.speech + second.speech == (Span(0, first.end), Span(first.end, 25 * RATE))


@given(
    st.lists(st.tuples(st.integers(1, 40_000), st.integers(1, 90_000)), max_size=30),
    st.integers(0, 10**8),
    st.sampled_from([1.0, 2.5, 15.0]),
)
def test_whatever_the_spans_all_speech_is_in_windows_that_are_short_and_apart(
    steps: list[tuple[int, int]], start: int, longest: float
) -> None:
    speech, at = [], start
    for pause, length in steps:
        speech.append(Span(at + pause, at + pause + length))
        at += pause + length
    samples = np.zeros(at - start, np.float32)
    windows = cut(samples, start, speech, longest)
    assert sum(span.end - span.start for window in windows for span in window.speech) == sum(
        span.end - span.start for span in speech
    )
    after = start
    for window in windows:
        assert after <= window.start <= window.speech[0].start
        assert window.speech[-1].end <= window.end <= at
        assert window.seconds <= longest
        after = window.end


def test_halves_are_cut_at_the_quietest_place_of_the_middle_half() -> None:
    samples = audio(10)
    samples[: RATE // 2] = 0  # quieter still, and too near the beginning
    samples[6 * RATE : 6 * RATE + 1600] *= 0.1
    window = Window(start=1000, samples=samples, speech=(Span(1000, 1000 + 10 * RATE),), channel=1)
    first, second = halves(window)
    assert first.start == 1000
    assert first.end == second.start == pytest.approx(1000 + 6 * RATE + 800, abs=160)
    np.testing.assert_array_equal(np.concatenate([first.samples, second.samples]), samples)
    assert first.speech + second.speech == (Span(1000, first.end), Span(first.end, 1000 + 10 * RATE))
    assert first.channel == second.channel == 1


def test_a_half_has_the_speech_that_lies_in_it() -> None:
    samples = np.zeros(10 * RATE, np.float32)
    early = spans((0.5, 1))[0]
    first, second = halves(Window(start=0, samples=samples, speech=(early,)))
    assert (first.speech, second.speech) == ((early,), ())


def test_the_shortest_windows_can_be_halved_too() -> None:
    for count in (0, 1, 2, 100):
        window = Window(start=5, samples=np.zeros(count, np.float32), speech=(Span(5, 5 + count),))
        first, second = halves(window)
        assert len(first.samples) + len(second.samples) == count
