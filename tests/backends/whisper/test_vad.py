"""Silero VAD on OpenVINO gives what ONNX Runtime gives, whatever the length."""

import numpy as np
import pytest

from backends.whisper.vad import BLOCK, FRAME, Vad
from backends.whisper.window import RATE, Samples
from tests.fixtures.silero import stored


def test_probabilities_are_those_of_onnx_runtime(vad: Vad, clips: Samples) -> None:
    found, wanted = vad.probabilities(clips), stored("probabilities")
    assert (found.shape, found.dtype) == (wanted.shape, np.float32)
    assert 0.2 < (wanted > 0.5).mean() < 0.95  # the clips have both speech and pauses
    assert np.abs(found - wanted).max() < 1e-4


def test_a_frame_does_not_depend_on_what_comes_after_it(vad: Vad, clips: Samples) -> None:
    whole = vad.probabilities(clips)
    for frames in (1, BLOCK - 1, BLOCK, BLOCK + 1, 3 * BLOCK):
        np.testing.assert_allclose(vad.probabilities(clips[: frames * FRAME]), whole[:frames], atol=1e-5)


@pytest.mark.parametrize("count", [0, 1, 63, 65, FRAME - 1, FRAME, FRAME + 1, BLOCK * FRAME + 1])
def test_a_last_frame_that_is_incomplete_counts_as_if_silence_followed(
    vad: Vad, clips: Samples, count: int
) -> None:
    samples = clips[RATE : RATE + count]
    found = vad.probabilities(samples)
    assert len(found) == -(-count // FRAME)
    np.testing.assert_array_equal(found, vad.probabilities(np.pad(samples, (0, -count % FRAME))))


def test_nobody_speaks_in_silence_noise_and_tones(vad: Vad) -> None:
    seconds = np.arange(5 * RATE, dtype=np.float32) / RATE
    noise = np.random.default_rng(0).normal(0, 0.05, len(seconds)).astype(np.float32)
    for samples in (np.zeros_like(seconds), noise, 0.3 * np.sin(2 * np.pi * 440 * seconds)):
        assert vad.probabilities(samples).max() < 0.5


def test_a_call_does_not_hear_the_one_before(vad: Vad, clips: Samples) -> None:
    first, other = clips[: 3 * RATE], clips[5 * RATE : 9 * RATE]
    alone = vad.probabilities(first)
    vad.probabilities(other)
    np.testing.assert_array_equal(vad.probabilities(first), alone)
