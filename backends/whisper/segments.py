"""From what was heard in a window to the segments of a transcript.

Whisper can be asked for times of its own, at three points of word error rate (16.7 % in place of 13.3 % on 60
clips of LibriSpeech test-other). So segments are cut here: at the ends of sentences, and between words that
lie far apart. Their times are those of their words, or, where there are none, places on the line of speech
that voice detection found, in proportion to characters.

What holds for any input: the texts joined are the heard text, times increase, never overlap, and lie inside
the window.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from itertools import accumulate, pairwise

from backends.types import Segment, Word
from backends.whisper.ordered import in_order, words_in_order
from backends.whisper.sentences import sentence_ends
from backends.whisper.window import RATE, Heard, Span, Window

PAUSE_MS = 700  # two words that lie so far apart are not of one segment
NEAR = RATE  # samples by which the end of a sentence is moved to a pause at most

Times = tuple[int, int]  # start and end in milliseconds


def segments_of(window: Window, heard: Heard) -> list[Segment]:
    """Segments by start; none where no text was heard. Words that do not spell the text are left out."""
    if not heard.text.strip():
        return []
    low, high = milliseconds(window.start), milliseconds(window.end)
    words = words_in_order(heard.words or [], low, high)
    if "".join(word.text for word in words) == heard.text:
        cuts, times = _by_words(heard.text, words)
    else:
        words = []
        cuts, times = _by_speech(heard.text, window)
    times = in_order(times, low, high)
    texts = [heard.text[start:end] for start, end in pairwise((0, *cuts))]
    token_slices = _slices(_token_ends(heard), cuts)
    word_slices = _slices(list(accumulate(len(word.text) for word in words)), cuts)
    return [
        _segment(window, heard, text, time, tokens, words[inside])
        for text, time, tokens, inside in zip(texts, times, token_slices, word_slices, strict=True)
    ]


def _segment(
    window: Window, heard: Heard, text: str, times: Times, tokens: slice, words: list[Word]
) -> Segment:
    logprobs = heard.token_logprobs
    return Segment(
        start_ms=times[0],
        end_ms=times[1],
        text=text,
        tokens=heard.tokens[tokens],
        seek_ms=milliseconds(window.start),
        temperature=heard.temperature,
        avg_logprob=heard.avg_logprob,
        compression_ratio=heard.compression_ratio,
        no_speech_prob=heard.no_speech_prob,
        words=words,
        token_logprobs=None if logprobs is None else logprobs[tokens],
        token_texts=None if logprobs is None else _token_texts(heard)[tokens],
        channel=window.channel,
    )


def milliseconds(position: int) -> int:
    """A position in samples as whole milliseconds, rounded down."""
    return position * 1000 // RATE


def _by_words(text: str, words: Sequence[Word]) -> tuple[list[int], list[Times]]:
    """Where segments end in the text, and their times: cut behind a word that is the last of its sentence, or
    that a long pause follows."""
    ends = list(accumulate(len(word.text) for word in words))
    last = {bisect_left(ends, end) for end in sentence_ends(text)}
    pairs = enumerate(pairwise(words))
    last |= {number for number, (word, later) in pairs if later.start_ms - word.end_ms >= PAUSE_MS}
    numbers = sorted(last | {len(words) - 1})
    firsts = [0, *(number + 1 for number in numbers)]
    times = [(words[a].start_ms, words[b].end_ms) for a, b in zip(firsts, numbers, strict=False)]
    return [ends[number] for number in numbers], times


def _by_speech(text: str, window: Window) -> tuple[list[int], list[Times]]:
    """Where segments end in the text, and their times: cut where sentences end, in proportion to characters
    along the window's speech."""
    spans = window.speech or (Span(window.start, window.end),)
    spoken = sum(span.end - span.start for span in spans)
    inner = sentence_ends(text)
    starts, stops = [spans[0].start], []
    for end in inner:
        stop, start = _cut_at(spans, spoken * end // len(text), starts[-1])
        stops.append(stop)
        starts.append(start)
    stops.append(spans[-1].end)
    times = [(milliseconds(start), milliseconds(stop)) for start, stop in zip(starts, stops, strict=True)]
    return [*inner, len(text)], times


def _cut_at(spans: Sequence[Span], spoken: int, after: int) -> tuple[int, int]:
    """Where one sentence stops and the next starts, if `spoken` samples of speech lie before: around the
    nearest pause, or, if none is near, right there. Not before the position `after`."""
    ends = list(accumulate(span.end - span.start for span in spans))  # speech up to each span's end
    pauses = [(abs(end - spoken), number) for number, end in enumerate(ends[:-1])]
    away, number = min(pauses, default=(NEAR + 1, 0))
    if away <= NEAR and spans[number].end > after:
        return spans[number].end, spans[number + 1].start
    number = bisect_left(ends, spoken)
    position = max(spans[number].end - (ends[number] - spoken), after)
    return position, position


def _token_ends(heard: Heard) -> Sequence[int]:
    """Where each token ends in the text; in proportion where the runtime does not say."""
    count = len(heard.tokens)
    if len(heard.token_ends) == count:
        return heard.token_ends
    return [len(heard.text) * number // count for number in range(1, count + 1)]


def _token_texts(heard: Heard) -> list[str]:
    return [heard.text[start:end] for start, end in pairwise((0, *_token_ends(heard)))]


def _slices(ends: Sequence[int], cuts: Sequence[int]) -> list[slice]:
    """Which of the things that end at `ends` belong to the pieces of text that `cuts` end."""
    bounds = [0, *(bisect_right(ends, cut) for cut in cuts[:-1]), len(ends)]
    return [slice(first, last) for first, last in pairwise(bounds)]
