"""The native calls that hear windows.

If a call on several windows raises, each goes alone, so that only the one at fault fails.
"""

from collections.abc import Sequence
from math import isfinite

import structlog

from backends.types import ErrorInfo
from backends.whisper.recognizer import Recognizer
from backends.whisper.window import Heard
from backends.whisper.work import Hearing

log = structlog.get_logger(__name__)
NOT_FINITE = ErrorInfo("non_finite_output", "the model gave a probability that is not finite")


Failure = tuple[Hearing, ErrorInfo]


def prepare(recognizer: Recognizer, hearings: Sequence[Hearing]) -> list[Failure]:
    """Prepare windows; those that cannot be are returned with the reason."""
    windows = [hearing.window for hearing in hearings]
    try:
        prepared = recognizer.prepare(windows, full=hearings[0].full)
    except Exception as error:
        if len(hearings) > 1:
            return [failure for hearing in hearings for failure in prepare(recognizer, [hearing])]
        log.exception("window.failed", seconds=windows[0].seconds)
        return [(hearings[0], refusal(error))]
    for hearing, each in zip(hearings, prepared, strict=True):
        hearing.prepared = each
    return []


def recognize(
    recognizer: Recognizer, hearings: Sequence[Hearing]
) -> tuple[list[tuple[Hearing, Heard]], list[Failure]]:
    """What is heard in windows that are prepared, and those that cannot be heard with the reason."""
    windows, prepared = [one.window for one in hearings], [one.prepared for one in hearings]
    try:
        heard = recognizer.recognize(windows, prepared, hearings[0].asking)
    except Exception as error:
        if len(hearings) == 1:
            log.exception("window.failed", seconds=windows[0].seconds)
            return [], [(hearings[0], refusal(error))]
        alone = [recognize(recognizer, [hearing]) for hearing in hearings]
        return [one for answers, _ in alone for one in answers], [one for _, bad in alone for one in bad]
    answers, failures = [], []
    for hearing, answer in zip(hearings, heard, strict=True):
        if isfinite(answer.avg_logprob + answer.no_speech_prob + answer.compression_ratio):
            answers.append((hearing, answer))
        else:
            failures.append((hearing, NOT_FINITE))
    return answers, failures


def refusal(error: Exception) -> ErrorInfo:
    return ErrorInfo("engine_error", f"the native library refused this recording: {error}")
