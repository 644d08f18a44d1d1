"""Dynamic time warping of a batch finds what trying every path finds."""

from itertools import combinations

import numpy as np

from backends.whisper.warping import first_frames


def test_the_cheapest_of_all_paths_is_found_in_every_window_of_a_batch():
    dice = np.random.default_rng(5)
    tokens, frames = np.array([1, 3, 5, 4]), np.array([6, 3, 9, 8])
    costs = dice.standard_normal((4, 5, 9)).astype(np.float32)
    starts = first_frames(costs, tokens, frames)
    for window, (count, length) in enumerate(zip(tokens, frames, strict=True)):
        assert starts[window, :count].tolist() == cheapest(costs[window, :count, :length])
        assert set(starts[window, count:].tolist()) <= {length}


def test_more_tokens_than_frames_are_spread_evenly_and_disturb_no_other_window():
    costs = np.random.default_rng(6).standard_normal((2, 6, 8))
    starts = first_frames(costs, np.array([6, 4]), np.array([3, 8]))
    assert starts[0].tolist() == [0, 0, 1, 1, 2, 2]
    assert starts[1, :4].tolist() == cheapest(costs[1, :4])


def cheapest(costs: np.ndarray) -> list[int]:
    """By trying all ways to begin each token but the first."""
    tokens, frames = costs.shape

    def cost_of(starts: tuple[int, ...]) -> float:
        bounds = [*starts, frames]
        return sum(float(costs[row, bounds[row] : bounds[row + 1]].sum()) for row in range(tokens))

    ways = [(0, *starts) for starts in combinations(range(1, frames), tokens - 1)]
    return list(min(ways, key=cost_of))
