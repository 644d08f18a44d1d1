"""A Whisper model's vocabulary: text, and the special tokens around it.

Which special tokens come before the text says what is asked (Radford et al. 2022, §2.3). English-only models
have no language or task tokens in front. They are found by name in the model's `tokenizer.json`.
"""

import re
from pathlib import Path
from typing import Self

from tokenizers import Tokenizer

from backends.errors import LoadFailed
from backends.whisper.window import Asking

FILE = "tokenizer.json"
ENGLISH = "en"
_LANGUAGE = re.compile(r"<\|([a-z]{2,3})\|>")
_MULTILINGUAL_END = 50257  # where the text ends in the multilingual vocabulary; one less in GPT-2's


def _bytes_by_letter() -> dict[str, int]:
    """Which byte each letter of a token's name is: printable ones are themselves, the others, in order,
    letters from U+0100 on (GPT-2's byte-level encoding)."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(0x100) if byte not in printable]
    return {chr(byte): byte for byte in printable} | {
        chr(0x100 + place): byte for place, byte in enumerate(others)
    }


_BYTES = _bytes_by_letter()


class Vocabulary:
    """`end` is the token that ends a text, all after it are special; `languages` are codes by token."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        tokenizer.no_truncation()
        tokenizer.no_padding()
        self._tokenizer = tokenizer
        self.end = self._special("endoftext")
        self.start = self._special("startoftranscript")
        self.multilingual = self.end >= _MULTILINGUAL_END
        self.languages = self._languages() if self.multilingual else {}
        self._no_times = self._special("notimestamps")
        self._previous = self._special("startofprev")
        self.no_speech = self._no_times - 1  # its name differs between models, its place does not

    @classmethod
    def read(cls, folder: Path) -> Self:
        """That of the model in `folder`. Raises `LoadFailed`."""
        path = folder / FILE
        if not path.exists():
            raise LoadFailed(f"the model's folder has no {FILE}", code="model_load_failed")
        try:
            return cls(Tokenizer.from_file(str(path)))
        except LoadFailed:
            raise
        except Exception as error:  # the library raises the bare Exception
            raise LoadFailed(f"{FILE} cannot be read: {error}", code="model_load_failed") from None

    def pieces(self, tokens: list[int]) -> list[bytes]:
        """The bytes that each token of a text stands for."""
        names = (self._tokenizer.id_to_token(token) or "" for token in tokens)
        return [bytes(_BYTES.get(letter, ord("?")) for letter in name) for name in names]

    def spoken(self, tokens: list[int]) -> list[int]:
        """Those of `tokens` that are text."""
        return [token for token in tokens if token < self.end]

    def opening(self, language: str | None, task: str) -> list[int]:
        """What comes right before a text without time tokens."""
        if not self.multilingual:
            return [self.start, self._no_times]
        spoken = self._special(language or ENGLISH)
        return [self.start, spoken, self._special(task), self._no_times]

    def before(self, asking: Asking, most: int) -> list[int]:
        """The text that comes before a window, its last `most` tokens, as Whisper cuts it too."""
        text = (asking.prompt or "").strip()
        if not text:
            return []
        tokens = self._tokenizer.encode(f" {text}", add_special_tokens=False).ids
        return [self._previous, *self.spoken(tokens)[-most:]]

    def _special(self, name: str) -> int:
        found = self._tokenizer.token_to_id(f"<|{name}|>")
        if found is None:
            raise LoadFailed(f"{FILE} has no token <|{name}|>", code="model_load_failed")
        return int(found)

    def _languages(self) -> dict[int, str]:
        vocabulary = self._tokenizer.get_vocab(with_added_tokens=True)
        found = ((token, _LANGUAGE.fullmatch(name)) for name, token in vocabulary.items())
        return {token: match[1] for token, match in found if match and token > self.start}
