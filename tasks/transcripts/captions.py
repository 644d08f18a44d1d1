"""From segments to captions: a few short lines each, shown for a few seconds.

A caption holds words of one segment. It is as long as its lines and its time allow, and rather ends where a
clause does. Those of a channel come one after the other; two channels may be shown together, as two people
may speak together.
"""

from collections.abc import Iterator, Sequence
from itertools import accumulate, pairwise
from typing import NamedTuple

from backends.transcription import Captions
from backends.types import Segment

CLAUSE_ENDS = tuple(",;:.!?…，、；：。！？")  # noqa: RUF001 (Chinese and Japanese ones)


class Caption(NamedTuple):
    """Lines of text and when they are shown, in milliseconds. `channel` is the speaker's, where channels are
    transcribed apart."""

    start_ms: int
    end_ms: int
    lines: tuple[str, ...]
    channel: int | None = None


class _Timed(NamedTuple):
    """A word without spaces around it; `spaced`: it stands apart from the one before."""

    start_ms: int
    end_ms: int
    text: str
    spaced: bool


def captions_of(segments: Sequence[Segment], rules: Captions) -> list[Caption]:
    """Captions by start, then by channel. Each is shown for at least a millisecond, and none when the next
    of its channel begins."""
    by_channel: dict[int | None, list[Caption]] = {}
    for segment in segments:
        by_channel.setdefault(segment.channel, []).extend(_of_segment(segment, rules))
    placed = [caption for captions in by_channel.values() for caption in _one_by_one(captions)]
    return sorted(placed, key=lambda caption: (caption.start_ms, caption.channel or 0))


def _of_segment(segment: Segment, rules: Captions) -> Iterator[Caption]:
    words = [piece for word in _words(segment) for piece in _pieces(word, rules.max_line_chars)]
    while words:
        count = _fitting(words, rules)
        taken, words = words[:count], words[count:]
        start = taken[0].start_ms
        end = min(taken[-1].end_ms, start + int(rules.max_seconds * 1000))  # one word may be longer
        yield Caption(start, end, _balanced(taken, rules.max_line_chars), segment.channel)


def _words(segment: Segment) -> list[_Timed]:
    """The segment's words with their times; where it has none, times in proportion to characters."""
    if segment.words and "".join(word.text for word in segment.words).strip() == segment.text.strip():
        return [
            _Timed(word.start_ms, word.end_ms, text, number > 0 or word.text[:1].isspace())
            for word in segment.words
            for number, text in enumerate(word.text.split())
        ]
    texts = segment.text.split()
    ends = list(accumulate(len(text) + 1 for text in texts))
    length = segment.end_ms - segment.start_ms
    times = [segment.start_ms + length * end // max(1, ends[-1]) for end in [0, *ends]] if texts else []
    return [_Timed(start, end, text, True) for (start, end), text in zip(pairwise(times), texts, strict=True)]


def _pieces(word: _Timed, width: int) -> Iterator[_Timed]:
    """A word that is longer than a line (a language without spaces), in pieces."""
    count = len(word.text)
    length = word.end_ms - word.start_ms
    for low in range(0, count, width):
        high = min(low + width, count)
        start, end = word.start_ms + length * low // count, word.start_ms + length * high // count
        yield _Timed(start, end, word.text[low:high], word.spaced and low == 0)


def _fitting(words: Sequence[_Timed], rules: Captions) -> int:
    """How many of the words make the next caption: at least one."""
    most = 1
    while most < len(words):
        taken = words[: most + 1]
        long = taken[-1].end_ms - taken[0].start_ms > rules.max_seconds * 1000
        if long or len(_wrapped(taken, rules.max_line_chars)) > rules.max_lines:
            break
        most += 1
    if most == len(words):
        return most
    if len(words) - most < most // 2:  # the next caption would be a word or two
        most = (len(words) + 1) // 2
    ends = [number for number in range(most, most // 2, -1) if words[number - 1].text.endswith(CLAUSE_ENDS)]
    return ends[0] if ends else most


def _wrapped(words: Sequence[_Timed], width: int) -> list[str]:
    """Lines of at most `width` characters, filled one after the other."""
    lines = [words[0].text]
    for word in words[1:]:
        line = lines[-1] + (" " if word.spaced else "") + word.text
        if len(line) <= width:
            lines[-1] = line
        else:
            lines.append(word.text)
    return lines


def _balanced(words: Sequence[_Timed], width: int) -> tuple[str, ...]:
    """As few lines as `width` allows, of about the same length."""
    best = _wrapped(words, width)
    for narrower in range(width - 1, max(len(word.text) for word in words) - 1, -1):
        lines = _wrapped(words, narrower)
        if len(lines) > len(best):
            break
        best = lines
    return tuple(best)


def _one_by_one(captions: Sequence[Caption]) -> list[Caption]:
    """The same by start, each beginning after the one before it, which is gone by then."""
    placed: list[Caption] = []
    for caption in sorted(captions, key=lambda caption: caption.start_ms):
        start = caption.start_ms
        if placed:
            start = max(start, placed[-1].start_ms + 1)
            placed[-1] = placed[-1]._replace(end_ms=min(placed[-1].end_ms, start))
        placed.append(caption._replace(start_ms=start, end_ms=max(caption.end_ms, start + 1)))
    return placed
