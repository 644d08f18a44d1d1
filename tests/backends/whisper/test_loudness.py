"""The quietest place is found, and of several the one in the middle."""

import numpy as np

from backends.whisper.loudness import MOST_RAISED, RAISED, STEP, WIDTH, audible, quietest
from backends.whisper.window import RATE


def noise(seconds: float) -> np.ndarray:
    return np.random.default_rng(1).normal(0, 0.1, int(seconds * RATE)).astype(np.float32)


def test_a_dip_in_noise_is_found() -> None:
    samples = noise(4)
    samples[30_000 : 30_000 + WIDTH] *= 0.1
    assert abs(quietest(samples, 0, len(samples)) - (30_000 + WIDTH // 2)) <= STEP


def test_only_the_range_that_is_asked_for_counts() -> None:
    samples = noise(4)
    samples[: 2 * WIDTH] = 0
    samples[30_000 : 30_000 + WIDTH] *= 0.5
    assert abs(quietest(samples, 8000, 60_000) - (30_000 + WIDTH // 2)) <= STEP


def test_in_even_sound_and_in_silence_it_is_the_middle() -> None:
    for samples in (np.zeros(RATE, np.float32), np.full(RATE, 0.3, np.float32)):
        assert abs(quietest(samples, 2000, 14_000) - 8000) <= STEP


def test_of_two_equal_places_the_nearer_to_the_middle_is_taken() -> None:
    samples = noise(2)
    samples[2000 : 2000 + WIDTH] = samples[20_000 : 20_000 + WIDTH] = 0
    assert quietest(samples, 0, len(samples)) > 16_000


def test_a_range_that_is_too_short_has_its_middle() -> None:
    assert quietest(noise(1), 100, 100 + WIDTH) == 100 + WIDTH // 2
    assert quietest(noise(1), 7, 7) == 7


def test_what_is_quiet_is_raised_within_bounds_and_all_else_stays_as_it_is() -> None:
    loud = noise(1)
    assert audible(loud) is loud
    quiet, faint = audible(loud * np.float32(0.01)), audible(loud * np.float32(1e-6))
    assert np.abs(quiet).max() == np.float32(RAISED)
    np.testing.assert_allclose(quiet, loud * (RAISED / np.abs(loud).max()), rtol=1e-5)
    np.testing.assert_allclose(faint, loud * 1e-6 * MOST_RAISED, rtol=1e-5)
    assert quiet.dtype == np.float32
    assert not audible(np.zeros(RATE, np.float32)).any()
    assert not len(audible(np.zeros(0, np.float32)))
