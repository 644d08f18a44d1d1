"""From the boundaries between words, roughly known, to the words' times: what is quiet is no word's.

Where nobody speaks the decoder looks anywhere, so that words reach far into pauses. Cutting them there takes
the mean error of word starts on cli/clips from 98 to 62 ms.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from backends.whisper.window import RATE, Samples, Window

STEP, WIDTH = RATE // 100, RATE // 40  # loudness is that of 25 ms, every 10 ms
QUIET = 0.3  # of the way from the window's background to its speech, in decibels
BACKGROUND, SPEECH = 10, 90  # percentiles of loudness
LEAST_CONTRAST = 3  # decibels between the two; with less, all is equally loud
SHORTEST = RATE * 15 // 100  # what is quiet for less time may be inside a word
NEAR = RATE // 5  # a pause that is further from a boundary lies inside a word

Stretch = tuple[int, int]  # first sample and the one after the last, from the window's beginning


def between_pauses(boundaries: Sequence[int], pauses: Sequence[Stretch]) -> list[Stretch]:
    """Start and end of each word, `boundaries` being where the words begin and where the last one ends.

    Each pause parts the words at the boundary that it is nearest to.
    """
    starts, ends = list(boundaries[:-1]), list(boundaries[1:])
    places = np.asarray(boundaries)
    for begin, end in pauses:
        away = np.maximum(np.maximum(begin - places, places - end), 0)
        nearest = int(np.argmin(away))
        if away[nearest] > NEAR:
            continue
        if nearest < len(starts):
            starts[nearest] = end
        if nearest > 0:
            ends[nearest - 1] = begin
    return list(zip(starts, ends, strict=True))


def pauses_of(window: Window) -> list[Stretch]:
    """Stretches of a window in which nobody speaks, by start: between its spans, and where it is quiet."""
    edges = [0, *(edge - window.start for span in window.speech for edge in (span.start, span.end))]
    edges.append(len(window.samples))
    silent = list(zip(edges[::2], edges[1::2], strict=True)) if window.speech else []
    found: list[Stretch] = []
    for begin, end in sorted([*silent, *_quiet(window.samples)]):
        if found and begin <= found[-1][1]:
            found[-1] = found[-1][0], max(found[-1][1], end)
        elif begin < end:
            found.append((begin, end))
    return found


def _quiet(samples: Samples) -> list[Stretch]:
    loudness = _loudness(samples)
    if not len(loudness):
        return []
    background, speech = np.percentile(loudness, [BACKGROUND, SPEECH])
    if speech - background < LEAST_CONTRAST:
        return []
    quiet = np.concatenate([[False], loudness < background + QUIET * (speech - background), [False]])
    changes = np.flatnonzero(np.diff(quiet.astype(np.int8))) * STEP
    runs = ((int(begin), int(end)) for begin, end in zip(changes[::2], changes[1::2], strict=True))
    last = len(loudness) * STEP
    return [(begin, end) for begin, end in runs if end - begin >= SHORTEST or begin == 0 or end == last]


def _loudness(samples: Samples) -> NDArray[np.float64]:
    """Decibels of the 25 ms around each step."""
    count = len(samples) // STEP
    total = np.concatenate([[0.0], np.cumsum(np.square(samples, dtype=np.float64))])
    centres = np.arange(count) * STEP
    low, high = np.maximum(centres - WIDTH // 2, 0), np.minimum(centres + WIDTH // 2, len(samples))
    return np.asarray(10 * np.log10((total[high] - total[low]) / (high - low) + 1e-10))
