"""Words end where a pause begins."""

import numpy as np

from backends.whisper.pauses import between_pauses, pauses_of
from backends.whisper.window import RATE, Span, Window


def test_words_are_parted_at_the_boundary_that_a_pause_is_nearest_to():
    boundaries = [0, 10_000, 20_000, 30_000]
    assert between_pauses(boundaries, [(11_000, 13_000)]) == [(0, 11_000), (13_000, 20_000), (20_000, 30_000)]
    assert between_pauses(boundaries, [(9_000, 16_000)]) == [(0, 9_000), (16_000, 20_000), (20_000, 30_000)]


def test_a_pause_far_from_every_boundary_is_inside_a_word():
    assert between_pauses([0, 20_000], [(9_000, 12_000)]) == [(0, 20_000)]


def test_pauses_at_the_ends_move_the_first_start_and_the_last_end():
    assert between_pauses([0, 16_000], [(0, 4_000), (14_000, 16_000)]) == [(4_000, 14_000)]


def test_pauses_are_where_it_is_quiet_and_between_spans_of_speech():
    dice = np.random.default_rng(1)
    samples = dice.normal(0, 0.001, 3 * RATE)
    for start, end in [(0.5, 1.0), (1.4, 1.9), (2.0, 2.5)]:
        samples[int(start * RATE) : int(end * RATE)] *= 100
    # detection missed the pause before 1.4, and heard one before 2.0 that is too short to be told by loudness
    spans = (Span(10 * RATE + 4800, 10 * RATE + 31_000), Span(10 * RATE + 32_000, 10 * RATE + 40_000))
    window = Window(start=10 * RATE, samples=samples.astype(np.float32), speech=spans)
    expected = [(0.0, 0.5), (1.0, 1.4), (1.9375, 2.0), (2.5, 3.0)]
    found = [(begin / RATE, end / RATE) for begin, end in pauses_of(window)]
    assert np.abs(np.array(found) - expected).max() < 0.03


def test_a_window_of_digital_silence_is_one_pause_at_most():
    window = Window(start=0, samples=np.zeros(RATE, dtype=np.float32), speech=())
    assert pauses_of(window) in ([], [(0, RATE)])
    assert pauses_of(Window(start=0, samples=np.zeros(0, dtype=np.float32), speech=())) == []
