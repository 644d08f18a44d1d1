"""What is said in a recording is in its windows, however it was recorded."""

from pathlib import Path

import numpy as np

from backends.whisper.opening import Opened, Opener, Opening, Plan
from backends.whisper.vad import Vad
from backends.whisper.window import RATE, Samples
from tests.fixtures.speech import speech, write_wav


def speech_found(vad: Vad, path: Path, *channels: Samples) -> float:
    """Seconds of speech in the windows of a recording."""
    opening = Opener(vad=vad, window_seconds=15.0).whole(str(write_wav(path, *channels)), split=False)
    opened = run_to_end(opening)
    assert isinstance(opened, Opened)
    return sum(span.end - span.start for each in opened.windows for span in each.speech) / RATE


def run_to_end(opening: Opening) -> Opened | Plan:
    while True:
        try:
            next(opening)
        except StopIteration as end:
            found: Opened | Plan = end.value
            return found


def test_speech_is_found_however_quiet_it_is(vad: Vad, tmp_path: Path) -> None:
    loud = speech(20)
    wanted = speech_found(vad, tmp_path / "loud.wav", loud)
    for times in (0.01, 0.001):
        found = speech_found(vad, tmp_path / f"{times}.wav", loud * np.float32(times))
        assert abs(found - wanted) < 0.1 * wanted


def test_faint_noise_is_no_speech(vad: Vad, tmp_path: Path) -> None:
    noise = np.random.default_rng(0).normal(0, 0.001, 20 * RATE).astype(np.float32)
    assert speech_found(vad, tmp_path / "noise.wav", noise) == 0
