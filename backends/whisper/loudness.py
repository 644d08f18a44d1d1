"""Where a recording is quietest: the place to cut where nobody pauses."""

import numpy as np

from backends.whisper.window import RATE, Samples

WIDTH = RATE // 10  # of the stretch that is looked for: 0.1 s
STEP = RATE // 100


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
