"""The log-mel spectrogram, against that of faster-whisper (tests/references/whisper_mel.py)."""

from pathlib import Path

import numpy as np
import pytest

from backends.whisper.mel import filters, log_mel
from backends.whisper.window import RATE, Samples
from tests.fixtures.recordings import read
from tests.fixtures.speech import CLIPS

STORED = Path(__file__).parents[2] / "data" / "whisper" / "mel.npz"
EVERY = 11  # frames of which one is stored


@pytest.fixture(scope="module")
def stored() -> dict[str, np.ndarray]:
    with np.load(STORED) as file:
        return dict(file)


@pytest.fixture(scope="module")
def samples(stored: dict[str, np.ndarray]) -> Samples:
    return read(CLIPS / str(stored["clip"]))


def test_it_is_that_of_another_implementation(stored: dict[str, np.ndarray], samples: Samples):
    found = log_mel(samples, 3000, 80)
    np.testing.assert_allclose(found[:, ::EVERY], stored["frames"], atol=1e-4)


def test_so_are_the_bands_of_the_largest_models(stored: dict[str, np.ndarray]):
    np.testing.assert_allclose(filters(128), stored["filters"], atol=1e-6)


def test_silence_behind_the_audio_is_as_silence_in_it(samples: Samples):
    silent = np.concatenate([samples, np.zeros(RATE, np.float32)])
    np.testing.assert_allclose(log_mel(samples, 800, 80), log_mel(silent, 800, 80), atol=1e-6)


def test_what_is_longer_than_the_frames_is_cut(samples: Samples):
    assert log_mel(samples, 100, 80).shape == (80, 100)
    np.testing.assert_allclose(log_mel(samples, 100, 80), log_mel(samples[:RATE], 100, 80))


@pytest.mark.parametrize("count", [0, 1, 150, 399])
def test_audio_shorter_than_a_fourier_window_has_its_frames_too(count: int):
    found = log_mel(np.full(count, 0.5, np.float32), 20, 80)
    assert found.shape == (80, 20)
    assert np.isfinite(found).all()
