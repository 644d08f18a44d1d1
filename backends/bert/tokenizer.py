"""The model's own tokenizer, from its `tokenizer.json`.

The file may ask for truncation and padding (all-MiniLM's asks for 128 of both): these are switched off,
since what to do with a long input is the request's choice and padding is the batch's.
"""

from pathlib import Path
from typing import Self

from tokenizers import Tokenizer

from backends.errors import LoadFailed


class BertTokenizer:
    """Texts to token ids. `opening` and `closing` are the special tokens around every input."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        tokenizer.no_truncation()
        tokenizer.no_padding()
        self._tokenizer = tokenizer
        probe = tokenizer.encode("a")
        content = [at for at, special in enumerate(probe.special_tokens_mask) if not special]
        if not content:
            raise LoadFailed("tokenizer.json makes no token of the letter 'a'", code="model_load_failed")
        self.opening: list[int] = probe.ids[: content[0]]
        self.closing: list[int] = probe.ids[content[-1] + 1 :]

    @classmethod
    def from_folder(cls, folder: Path) -> Self:
        """Read `tokenizer.json`. Raises `LoadFailed` (missing or broken)."""
        path = folder / "tokenizer.json"
        if not path.exists():
            raise LoadFailed("the model's folder has no tokenizer.json", code="model_load_failed")
        try:
            return cls(Tokenizer.from_file(str(path)))
        except LoadFailed:
            raise
        except Exception as error:  # the library raises the bare Exception
            raise LoadFailed(f"tokenizer.json cannot be read: {error}", code="model_load_failed") from None

    def encode(self, texts: list[str]) -> list[list[int]]:
        """Ids of each text, special tokens included, whole however long.

        A text must be valid Unicode: a lone surrogate raises `TypeError`.
        """
        return [encoding.ids for encoding in self._tokenizer.encode_batch_fast(texts)]
