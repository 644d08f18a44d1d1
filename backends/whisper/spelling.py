"""How tokens spell a text. Whisper's tokens are pieces of UTF-8 bytes: a character may take several."""

from codecs import getincrementaldecoder
from collections.abc import Sequence


def text_of(pieces: Sequence[bytes]) -> str:
    """The text; bytes that are no UTF-8 become U+FFFD."""
    return b"".join(pieces).decode("utf-8", "replace")


def token_ends(pieces: Sequence[bytes]) -> list[int]:
    """How many characters of `text_of(pieces)` are complete with each token: a character that several tokens
    spell is complete with the last of them."""
    decoder = getincrementaldecoder("utf-8")("replace")
    ends: list[int] = []
    length = 0
    for number, piece in enumerate(pieces, 1):
        length += len(decoder.decode(piece, final=number == len(pieces)))
        ends.append(length)
    return ends
