"""The words of a text, and which tokens spell them.

Words are what spaces part; in scripts that are written without spaces, letters. Marks that stand alone belong
to the word before them, or at the beginning to the one after.
"""

import re
from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate

# Kana, Han, Thai, Lao, Burmese and Khmer letters: scripts that Whisper's languages write without spaces.
_LETTER = (
    r"[\u0e01-\u0eff\u1000-\u109f\u1780-\u17ff\u3005-\u3007\u3041-\u30ff\u3400-\u4dbf\u4e00-\u9fff"
    r"\uf900-\ufaff\uff66-\uff9f\U00020000-\U0003ffff]"
)
# Vowel signs and tone marks of these, which follow the letter that they are written on.
_SIGN = r"[\u0e30-\u0e3a\u0e45-\u0e4e\u0eb0-\u0ebc\u0ec8-\u0ece\u102b-\u103e\u17b4-\u17d3\u3099\u309a\u30fc]"
_OPENING, _CLOSING = r"[「『（〈《【〔“‘(\[]", r"[、。！？：；，．」』）〉》】〕”’)\],.!?:;]"  # noqa: RUF001
_WORD = re.compile(rf"\s*(?:{_OPENING}*{_LETTER}{_SIGN}*{_CLOSING}*|(?:(?!{_LETTER})\S)+)")


def words_of(text: str) -> list[str]:
    """The words of `text` with the spaces before them: joined they are the text. None if it is all space."""
    words: list[str] = []
    for match in _WORD.finditer(text):
        word = match.group()
        if words and not (_has_letters(word) and _has_letters(words[-1])):
            words[-1] += word
        else:
            words.append(word)
    if words:
        words[-1] += text[sum(map(len, words)) :]
    return words


def _has_letters(word: str) -> bool:
    return any(map(str.isalnum, word))


def first_tokens(words: Sequence[str], token_ends: Sequence[int]) -> list[int]:
    """The number of the token that each word's first letter is in. `token_ends`: how many characters are
    complete with each token, as `spelling.token_ends` gives them."""
    starts = [0, *accumulate(map(len, words))]
    letters = (start + len(word) - len(word.lstrip()) for start, word in zip(starts, words, strict=False))
    return [bisect_right(token_ends, letter) for letter in letters]
