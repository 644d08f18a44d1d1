"""The quietest place is found, and of several the one in the middle."""

import numpy as np

from backends.whisper.loudness import STEP, WIDTH, quietest
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
