"""Dynamic time warping for many windows at once, in numpy.

Sakoe and Chiba 1978. Each frame is of one token, each token has a frame at least, and they come in order:
on token i the path enters at frame k, right after frame k - 1 on token i - 1, and stays up to frame j. With S
the running sum of the costs of token i that is

    D[i, j] = S[i, j] + min over k <= j of (D[i-1, k-1] - S[i, k-1])

whose minimum is a running one too: a row takes a few vector operations over all windows and frames, and only
tokens are looped over. (Whisper lets several tokens share a frame, which leaves words without length; their
times are the same otherwise.)
"""

import numpy as np
from numpy.typing import NDArray

Costs = NDArray[np.float64]
Integers = NDArray[np.int64]


def first_frames(costs: NDArray[np.floating], tokens: Integers, frames: Integers) -> Integers:
    """The frame at which the cheapest path enters each token, int64 (windows, width).

    `costs` (windows, width, frames) is what it costs to be on a token at a frame; of window w the first
    `tokens[w]` rows and `frames[w]` columns count, at least one of each. Rows behind a window's tokens get
    the number of its frames. A window of fewer frames than tokens has them spread evenly.
    """
    offers = _offers(costs)
    starts = np.repeat(frames[:, None], costs.shape[1], axis=1)
    places = np.arange(costs.shape[2])
    at = frames - 1  # where each window's path is, on its way back
    for row in reversed(range(costs.shape[1])):
        inside = row < tokens
        entered = np.argmin(np.where(places <= at[:, None], offers[row], np.inf), axis=1)
        starts[inside, row] = entered[inside]
        at = np.where(inside, entered - 1, at)
    for window in np.flatnonzero(tokens > frames):
        count = tokens[window]
        starts[window, :count] = np.arange(count) * frames[window] // count
    return starts


def _offers(costs: NDArray[np.floating]) -> list[Costs]:
    """Per row, for each window and frame: what it costs to enter there, less the row's costs before it."""
    windows, width, columns = costs.shape
    offer = np.full((windows, columns), np.inf)
    offer[:, 0] = 0.0
    offers = [offer]
    for row in range(1, width):
        before = np.cumsum(costs[:, row - 1], axis=1, dtype=np.float64) + np.minimum.accumulate(offer, axis=1)
        offer = np.full((windows, columns), np.inf)
        offer[:, 1:] = before[:, :-1] - np.cumsum(costs[:, row, :-1], axis=1, dtype=np.float64)
        offers.append(offer)
    return offers
