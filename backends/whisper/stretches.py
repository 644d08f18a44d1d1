"""Where a long recording is cut into stretches, each of which is a part that any slot may compute.

Places are milliseconds from the recording's beginning. The boundaries depend on its length alone; each is
moved to a pause near it.
"""

from itertools import pairwise

from backends.whisper.loudness import audible, quietest
from backends.whisper.speech import spans_of
from backends.whisper.vad import Vad
from backends.whisper.window import RATE, Samples

LONGEST_MS = 150_000  # what is longer is cut
USUAL_MS = 120_000  # a stretch is no longer, but for what its boundaries move
NEAR_MS = 10_000  # how far a boundary moves at most
LONG_PAUSE = 2 * RATE  # of pauses that long, the nearest is as good as the longest
EDGE_PAUSE = RATE // 2  # at a region's edges the detector has not heard enough: less is no pause


def nominal(total_ms: int) -> list[int]:
    """The boundaries between stretches of equal length, increasing; none for a short recording."""
    if total_ms <= LONGEST_MS:
        return []
    count = -(-total_ms // USUAL_MS)
    return [total_ms * number // count for number in range(1, count)]


def region(boundary_ms: int) -> tuple[int, int]:
    """From where to where a cut is looked for. It may end after the recording does."""
    return max(0, boundary_ms - NEAR_MS), boundary_ms + NEAR_MS


def best_cut(vad: Vad, samples: Samples, region_start_ms: int) -> int:
    """The place to cut in a region of which `samples` are the audio: the middle of its longest pause, of
    several the one nearest the region's middle; where nobody pauses, the quietest 0.1 s."""
    pauses = _pauses(vad, samples)
    if not pauses:
        place = quietest(samples, 0, len(samples))
    else:
        low, high = max(pauses, key=lambda pause: _worth(pause, len(samples)))
        place = (low + high) // 2
    return region_start_ms + place * 1000 // RATE


def _pauses(vad: Vad, samples: Samples) -> list[tuple[int, int]]:
    spans = spans_of(vad.probabilities(audible(samples)), len(samples))
    edges = [0, *(edge for span in spans for edge in (span.start, span.end)), len(samples)]
    gaps = list(pairwise(edges))[::2]
    return [
        (low, high)
        for low, high in gaps
        if high - low >= EDGE_PAUSE or (low > 0 and high < len(samples) and high > low)
    ]


def _worth(pause: tuple[int, int], count: int) -> tuple[int, int]:
    low, high = pause
    return min(high - low, LONG_PAUSE), -abs((low + high - count) // 2)
