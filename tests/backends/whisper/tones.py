"""A language of tones, and those who know it: the run loop's tests need no model.

A word is a tone of half a second, its pitch in steps of 100 Hz; between words is a pause. The detector hears
whatever is loud, the recognizer names the pitches. What a recording says is known, wherever it is cut.
"""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from backends.errors import InvalidBody
from backends.types import Word
from backends.whisper.segments import milliseconds
from backends.whisper.vad import FRAME
from backends.whisper.window import RATE, Asking, Heard, Samples, Window

WORD_SECONDS = 0.5


def tone(pitch: int, seconds: float = WORD_SECONDS) -> Samples:
    positions = np.arange(int(seconds * RATE), dtype=np.float32)
    return np.asarray(0.3 * np.sin(2 * np.pi * 100 * pitch * positions / RATE), dtype=np.float32)


def silence(seconds: float) -> Samples:
    return np.zeros(int(seconds * RATE), np.float32)


def spoken(pitches: Sequence[int], *, pause: float = 0.3) -> Samples:
    """The words, each with a pause behind it."""
    parts = [part for pitch in pitches for part in (tone(pitch), silence(pause))]
    return np.concatenate([silence(0.2), *parts])


def text_of(pitches: Sequence[int]) -> str:
    return "".join(f" {pitch}" for pitch in pitches)


class LoudnessDetector:
    """Speech is what is loud."""

    def probabilities(self, samples: Samples) -> NDArray[np.float32]:
        count = -(-len(samples) // FRAME)
        padded = np.zeros(count * FRAME, np.float32)
        padded[: len(samples)] = samples
        loud = np.abs(padded.reshape(count, FRAME)).max(axis=1, initial=0.0) > 0.05
        return loud.astype(np.float32)

    def close(self) -> None:
        """Nothing to free."""


class ToneRecognizer:
    """Hears tones, and keeps what it was called with. `misheard` may replace what it heard in a window."""

    window_seconds, batch_windows, encode_windows = 6.0, 8, 4
    multilingual, precision = False, "f32"

    def __init__(self, misheard: Callable[[Window, Asking, bool], Heard | None] | None = None) -> None:
        self.prepared: list[int] = []  # windows per call
        self.recognized: list[list[Window]] = []
        self._misheard = misheard

    def check(self, asking: Asking) -> None:
        if asking.language not in (None, "en"):
            raise InvalidBody("it knows English alone", code="unsupported_language", param="language")

    def prepare(self, windows: Sequence[Window], *, full: bool = False) -> list[tuple[Window, bool]]:
        self.prepared.append(len(windows))
        return [(window, full) for window in windows]

    def recognize(
        self, windows: Sequence[Window], prepared: Sequence[tuple[Window, bool]], asking: Asking
    ) -> list[Heard]:
        assert [window for window, _ in prepared] == list(windows)
        self.recognized.append(list(windows))
        return [self._hear(window, full, asking) for window, full in prepared]

    def close(self) -> None:
        """Nothing to free."""

    def _hear(self, window: Window, full: bool, asking: Asking) -> Heard:
        wrong = self._misheard(window, asking, full) if self._misheard else None
        return wrong or heard(words_in(window), timed=True)


def words_in(window: Window) -> list[Word]:
    """The tones of a window, by the strongest pitch of each span."""
    words = []
    for span in window.speech:
        samples = window.samples[span.start - window.start : span.end - window.start]
        spectrum = np.abs(np.fft.rfft(samples * np.hanning(len(samples))))
        hertz = float(np.argmax(spectrum)) * RATE / len(samples)
        words.append(Word(milliseconds(span.start), milliseconds(span.end), f" {round(hertz / 100)}"))
    return words


def heard(words: Sequence[Word], *, timed: bool = False, **other: object) -> Heard:
    """What one may believe: the words, two tokens each; `timed`: with their times."""
    values: dict[str, object] = {
        "text": "".join(word.text for word in words),
        "tokens": list(range(2 * len(words))),
        "avg_logprob": -0.2,
        "no_speech_prob": 0.01,
        "temperature": 0.0,
        "compression_ratio": 1.2,
        "language": "en",
        "words": list(words) if timed else None,
    }
    return Heard(**{**values, **other})  # type: ignore[arg-type]
