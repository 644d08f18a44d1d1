"""Where a recording is quietest: the place to cut where nobody pauses; and what is all too quiet, raised."""

import numpy as np

from backends.whisper.window import RATE, Samples

WIDTH = RATE // 10  # of the stretch that is looked for: 0.1 s
STEP = RATE // 100
# With a peak below 0.05 the detector of speech misses more and more of it, with 0.001 all; Whisper does not.
# It is raised to 0.25, by 40 decibels at most: below that there is noise alone.
QUIET, RAISED, MOST_RAISED = 0.05, 0.25, 100.0


def quietest(samples: Samples, low: int, high: int) -> int:
    """The middle of the quietest 0.1 s between `low` and `high`, of several the one nearest their middle.

    Where fewer samples are, the middle between the two.
    """
    middle = (low + high) // 2
    if high - low <= WIDTH:
        return middle
    total = np.concatenate([[0.0], np.cumsum(np.square(samples[low:high], dtype=np.float64))])
    starts = np.arange(0, high - low - WIDTH + 1, STEP)
    # to six places, as sums of the same samples differ in the last ones
    energies = np.round((total[starts + WIDTH] - total[starts]) / max(total[-1], 1e-12), 6)
    centres = low + starts + WIDTH // 2
    return int(centres[np.lexsort((np.abs(centres - middle), energies))[0]])


def audible(samples: Samples) -> Samples:
    """The same, loud enough for speech to be detected in it."""
    peak = float(max(samples.max(initial=0.0), -samples.min(initial=0.0)))
    if not 0.0 < peak < QUIET:
        return samples
    return np.asarray(samples * np.float32(min(RAISED / peak, MOST_RAISED)), dtype=np.float32)
