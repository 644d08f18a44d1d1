"""The self-test at load: does this build, on this CPU, hear anything at all and give numbers that are finite?

It hears noise, a tone and silence; with random weights as well as with real ones, no text is known that must
come out. Precisions are compared where they are chosen, by the runtime.
"""

from math import isfinite

import numpy as np
import structlog

from backends.errors import LoadFailed
from backends.whisper.recognizer import Recognizer
from backends.whisper.vad import Vad
from backends.whisper.window import RATE, Asking, Samples, Span, Window

log = structlog.get_logger(__name__)


def check_hearing(recognizer: Recognizer, vad: Vad, model: str) -> None:
    """Raises `LoadFailed` (bad_native_build) for numbers that are not finite."""
    sounds = [_tone(440), _tone(220) + _noise(), np.zeros(RATE, dtype=np.float32)]
    windows = [Window(start=0, samples=each, speech=(Span(0, len(each)),)) for each in sounds]
    heard = recognizer.recognize(windows, recognizer.prepare(windows), Asking())
    numbers = [number for one in heard for number in (one.avg_logprob, one.no_speech_prob)]
    numbers += [float(vad.probabilities(each).sum()) for each in sounds]
    log.info("selftest.run", model=model, heard=[one.text for one in heard])
    if not all(map(isfinite, numbers)):
        raise LoadFailed(
            f"the runtime gives numbers that are not finite for model '{model}'; see: batchyard doctor",
            code="bad_native_build",
        )


def _tone(hertz: float) -> Samples:
    seconds = np.arange(2 * RATE, dtype=np.float32) / RATE
    return np.asarray(0.2 * np.sin(2 * np.pi * hertz * seconds), dtype=np.float32)


def _noise() -> Samples:
    return np.random.default_rng(4).normal(0, 0.05, 2 * RATE).astype(np.float32)
