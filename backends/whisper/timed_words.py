"""From where a runtime finds each token to words with times; the same for all runtimes."""

from collections.abc import Sequence

from backends.types import Word
from backends.whisper.ordered import in_order
from backends.whisper.pauses import between_pauses, pauses_of
from backends.whisper.segments import milliseconds
from backends.whisper.window import Heard, Window
from backends.whisper.words import first_tokens, words_of


def timed_words(window: Window, heard: Heard, token_starts: Sequence[int]) -> list[Word]:
    """The words of what was heard, whose times increase and lie inside the window; none where it is all
    space.

    `token_starts` says, in samples from the window's beginning, where each token begins. `heard` must have
    its `token_ends`.
    """
    texts = words_of(heard.text)
    if not texts:
        return []
    length = len(window.samples)
    starts = (token_starts[token] for token in first_tokens(texts, heard.token_ends)[1:])
    boundaries = [0, *(min(max(start, 0), length) for start in starts), length]
    times = [
        (milliseconds(window.start + start), milliseconds(window.start + end))
        for start, end in between_pauses(boundaries, pauses_of(window))
    ]
    times = in_order(times, milliseconds(window.start), milliseconds(window.end))
    return [Word(start, end, text) for text, (start, end) in zip(texts, times, strict=True)]
