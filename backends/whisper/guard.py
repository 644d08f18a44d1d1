"""Whether what was heard in a window can be believed, and what to do where it cannot.

Whisper may loop, stop early or make something up. A window that looks like it is heard again as if it were 30
seconds long, as the model was trained; one that still does is cut in its quietest place, and the halves are
heard; what cannot be halved is heard with some randomness.

Bounds: the ratio of zlib, the mean log-probability and the silence rule are Whisper's own (Radford et al.
2022, §4.5) or stricter, as windows are short: a sentence said three times has a ratio of 2.1. English read
aloud has 2 to 5 tokens a second; other scripts have several times as many, as their letters may be tokens or
less. The bound for windows heard short is measured: five of the demo's 29 clips are below it; hearing those
in full leaves 40 of 46 wrong words.
"""

import zlib
from dataclasses import dataclass

from backends.whisper.window import RATE, Heard, Window

MOST_COMPRESSION = 2.0  # text's length over that of its zlib form
LEAST_LOGPROB = -1.0  # mean over tokens
LEAST_SHORT_LOGPROB = -0.55  # the same, of a window that is not heard as 30 seconds yet
SILENT_PROB = 0.6  # of no speech, from which on improbable text is none
MOST_TOKENS, MOST_TOKENS_OTHERS, LEAST_TOKENS = 7.0, 18.0, 1.5  # a second; the first in English
JUDGED_SECONDS = 2.0  # of speech, from which on a low rate means something
LEAST_SPLIT_SECONDS, MOST_SPLITS = 4.0, 2
WARMER_BY, WARMEST = 0.4, 0.8


@dataclass(frozen=True)
class Ok:
    """To be believed, or the best that can be had."""


@dataclass(frozen=True)
class Silent:
    """There is no speech in it."""


@dataclass(frozen=True)
class Full:
    """Hear it again as if it were 30 seconds long."""


@dataclass(frozen=True)
class Split:
    """Hear its halves."""


@dataclass(frozen=True)
class Warmer:
    """Hear it again at a temperature."""

    temperature: float


Verdict = Ok | Silent | Full | Split | Warmer


def judge(window: Window, heard: Heard, *, full: bool, depth: int) -> Verdict:
    """What to do with a window. `full`: it was heard as 30 seconds; `depth`: how often it was split."""
    if heard.no_speech_prob > SILENT_PROB and heard.avg_logprob < LEAST_LOGPROB:
        return Silent()
    if not doubtful(window, heard) and (full or heard.avg_logprob >= LEAST_SHORT_LOGPROB):
        return Ok() if heard.text.strip() else Silent()
    if not full:
        return Full()
    if depth < MOST_SPLITS and window.seconds >= LEAST_SPLIT_SECONDS:
        return Split()
    if heard.temperature < WARMEST:
        return Warmer(min(WARMEST, heard.temperature + WARMER_BY))
    return Ok() if heard.text.strip() else Silent()


def doubtful(window: Window, heard: Heard) -> bool:
    """Whether it looks looping, cut short or made up."""
    spoken = sum(span.end - span.start for span in window.speech) / RATE
    too_few = spoken >= JUDGED_SECONDS and len(heard.tokens) < LEAST_TOKENS * spoken
    most = MOST_TOKENS if heard.language in (None, "en") else MOST_TOKENS_OTHERS
    too_many = len(heard.tokens) > most * max(window.seconds, 1.0)
    looping = heard.compression_ratio > MOST_COMPRESSION
    return heard.capped or too_few or too_many or looping or heard.avg_logprob < LEAST_LOGPROB


def compression_ratio(text: str) -> float:
    """How many times longer a text is than its zlib form: high where it repeats itself."""
    encoded = text.encode()
    return len(encoded) / len(zlib.compress(encoded))
