"""The texts of a Whisper tokenizer's base tokens, as bytes.

`tokenizer.json` (the `tokenizers` library) writes each byte of a token as one printable character: bytes that
are printable in Latin-1 as themselves, the others from U+0100 on, in order (GPT-2's `bytes_to_unicode`).
"""

from functools import cache
from pathlib import Path

import msgspec

from backends.errors import LoadFailed
from backends.whisper.ggml_file import Sizes


class BytePairs(msgspec.Struct, frozen=True):
    """The model inside tokenizer.json: token → number."""

    vocab: dict[str, int]


class TokenizerFile(msgspec.Struct, frozen=True):
    model: BytePairs


def read_texts(folder: Path, sizes: Sizes) -> list[bytes]:
    """The bytes of each token below the end token. Raises `LoadFailed` for a tokenizer that does not fit the
    model."""
    path = folder / "tokenizer.json"
    try:
        vocabulary = msgspec.json.decode(path.read_bytes(), type=TokenizerFile).model.vocab
    except FileNotFoundError:
        raise _refused("the model's folder has none") from None
    except (OSError, msgspec.MsgspecError) as error:
        raise _refused(str(error)) from None
    texts: list[bytes | None] = [None] * sizes.end
    for text, number in vocabulary.items():
        if 0 <= number < sizes.end:
            texts[number] = _bytes_of(text)
    named = [text for text in texts if text is not None]
    if len(named) < sizes.end:
        raise _refused(f"{len(named)} of {sizes.end} base tokens are named")
    return named


def _bytes_of(text: str) -> bytes:
    table = _bytes_by_character()
    try:
        return bytes(table[character] for character in text)
    except KeyError:
        raise _refused(f"token '{text}' is not byte-level") from None


@cache
def _bytes_by_character() -> dict[str, int]:
    printable = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    others = (byte for byte in range(0x100) if byte not in printable)
    table = {chr(byte): byte for byte in printable}
    return table | {chr(0x100 + position): byte for position, byte in enumerate(others)}


def _refused(reason: str) -> LoadFailed:
    return LoadFailed(f"tokenizer.json cannot be used: {reason}", code="model_load_failed")
