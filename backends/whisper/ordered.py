"""Times that increase, whatever came in."""

from collections.abc import Sequence

import msgspec

from backends.types import Word


def in_order(times: Sequence[tuple[int, int]], low: int, high: int) -> list[tuple[int, int]]:
    """Starts and ends (whole milliseconds) moved as little as it takes so that they lie between `low` and
    `high`, none begins before the one before it has ended, and each lasts at least a millisecond.

    Times that are so already come back as they were. With fewer milliseconds than times, the last reach
    beyond `high`: there is no other way.
    """
    ordered: list[tuple[int, int]] = []
    for number, (start, end) in enumerate(times):
        latest = high - (len(times) - number - 1)  # the later ones need a millisecond each
        start = max(min(start, latest - 1), low)
        end = max(min(end, latest), start + 1)
        ordered.append((start, end))
        low = end
    return ordered


def words_in_order(words: Sequence[Word], low: int, high: int) -> list[Word]:
    """`in_order` for words."""
    times = in_order([(word.start_ms, word.end_ms) for word in words], low, high)
    return [
        msgspec.structs.replace(word, start_ms=start, end_ms=end)
        for word, (start, end) in zip(words, times, strict=True)
    ]
