"""Spans of speech are faster-whisper's and Silero's, and lie inside the recording."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from backends.whisper.speech import PADDING, SHORTEST, spans_of
from backends.whisper.vad import FRAME, Vad
from backends.whisper.window import Samples, Span
from tests.fixtures.silero import stored


def spans(*levels: tuple[float, int], start: int = 0) -> list[Span]:
    """Of probabilities, each for so many frames."""
    found = np.concatenate([np.full(frames, level, np.float32) for level, frames in levels])
    return spans_of(found, len(found) * FRAME, start)


def test_the_clips_have_the_spans_that_faster_whisper_finds(vad: Vad, clips: Samples) -> None:
    wanted = stored("spans")
    found = spans_of(vad.probabilities(clips), len(clips))
    assert len(found) == len(wanted)
    assert np.abs(np.array([(span.start, span.end) for span in found]) - wanted).max() <= FRAME


def test_speech_begins_at_a_half_and_goes_on_above_a_third() -> None:
    assert spans((0.1, 10), (0.45, 10), (0.6, 10), (0.4, 30), (0.1, 10)) == [
        Span(20 * FRAME - PADDING, 60 * FRAME + PADDING)
    ]


def test_a_short_pause_is_part_of_speech_and_a_longer_one_is_not() -> None:
    assert len(spans((0.9, 20), (0.1, 5), (0.9, 20))) == 1
    first, second = spans((0.9, 20), (0.1, 6), (0.9, 20))
    assert second.start - first.end == 6 * FRAME - 2 * PADDING


def test_what_is_too_short_for_a_word_is_none() -> None:
    frames = SHORTEST // FRAME
    assert spans((0.1, 10), (0.9, frames), (0.1, 10)) == []
    assert len(spans((0.1, 10), (0.9, frames + 1), (0.1, 10))) == 1


def test_spans_are_positions_of_the_recording() -> None:
    [span] = spans((0.1, 10), (0.9, 20), (0.1, 10), start=160_000)
    assert span == Span(160_000 + 10 * FRAME - PADDING, 160_000 + 30 * FRAME + PADDING)


@given(st.lists(st.floats(0, 1, width=32), max_size=120), st.integers(0, FRAME - 1))
def test_whatever_the_probabilities_spans_increase_and_lie_inside(levels: list[float], lack: int) -> None:
    count = max(0, len(levels) * FRAME - lack)
    edges = [
        edge
        for span in spans_of(np.array(levels, np.float32), count, 1000)
        for edge in (span.start, span.end)
    ]
    assert edges == sorted(set(edges))
    assert not edges or (edges[0] >= 1000 and edges[-1] <= 1000 + count)
