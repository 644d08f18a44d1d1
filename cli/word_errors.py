"""How many words of a transcript are wrong: the usual measure, with a small normaliser of our own.

It does what Whisper's English normaliser does to text like that of our clips (case, punctuation, titles);
`tests/cli/test_word_errors.py` holds the two against each other.
"""

import re
from collections.abc import Sequence
from typing import NamedTuple

_SPOKEN = {"mr": "mister", "mrs": "missus", "dr": "doctor", "st": "saint", "prof": "professor"}
_TENDER = re.compile(r"[^\w\s']|_")


class WordErrors(NamedTuple):
    """Wrong, missing and added words, of so many that were said."""

    errors: int
    words: int

    @property
    def rate(self) -> float:
        return self.errors / self.words if self.words else 0.0


def word_errors(heard: str, said: str) -> WordErrors:
    """Errors of a transcript against what was said."""
    wanted = normalised(said)
    return WordErrors(edits(normalised(heard), wanted), len(wanted))


def normalised(text: str) -> list[str]:
    """The words of `text`, spelled alike: lower case, no punctuation but apostrophes, titles in full."""
    words = _TENDER.sub(" ", text.lower().replace("\u2019", "'")).split()
    return [_SPOKEN.get(word, word) for word in (word.strip("'") for word in words) if word]


def edits(one: Sequence[str], other: Sequence[str]) -> int:
    """The fewest words to replace, add or take out (Levenshtein), in time of the product of the lengths."""
    above = list(range(len(other) + 1))
    for row, word in enumerate(one, 1):
        here = [row]
        for column, wanted in enumerate(other, 1):
            replaced = above[column - 1] + (word != wanted)
            here.append(min(replaced, above[column] + 1, here[-1] + 1))
        above = here
    return above[-1]
