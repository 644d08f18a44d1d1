"""From the probabilities of speech to the spans of it: Silero's own rule.

A span begins where speech is probable (0.5) and ends where it has been improbable (0.35) for a while; in
between it goes on. What is too short to be a word is none.
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from backends.whisper.vad import FRAME
from backends.whisper.window import RATE, Span

SPEECH, SILENCE = 0.5, 0.35
# The frames after which speech has ended: 160 ms, as in faster-whisper's batched pipeline. The pauses between
# clauses are as long; a window may be cut there.
ENDED_FRAMES = 5
# 128 ms; what is no longer is no word. Of words of 200 to 300 ms, each cut out of a clip of LibriSpeech and
# put into silence, Silero's own 250 ms lose 46 of 91, and 128 ms lose one.
SHORTEST = 4 * FRAME
PADDING = RATE * 30 // 1000  # before and after: the first and last sounds are weak


def spans_of(probabilities: NDArray[np.float32], samples_count: int, start: int = 0) -> list[Span]:
    """Spans of speech, increasing and apart, in a stretch of `samples_count` samples that begins at `start`.

    `probabilities`: one per 512 samples, as `Vad.probabilities` gives them.
    """
    spans = []
    for first, after in _runs(probabilities):
        low, high = first * FRAME, min(after * FRAME, samples_count)
        if high - low > SHORTEST:
            padded = max(0, low - PADDING), min(samples_count, high + PADDING)
            spans.append(Span(start + padded[0], start + padded[1]))
    return spans


def _runs(probabilities: NDArray[np.float32]) -> Iterator[tuple[int, int]]:
    """First frame of each run of speech, and the one after its last."""
    first = quiet = None
    for number, probability in enumerate(probabilities.tolist()):
        if probability >= SPEECH:
            first, quiet = number if first is None else first, None
        elif first is not None and probability < SILENCE:
            quiet = number if quiet is None else quiet
            if number - quiet >= ENDED_FRAMES:
                yield first, quiet
                first = quiet = None
    if first is not None:
        yield first, len(probabilities)
