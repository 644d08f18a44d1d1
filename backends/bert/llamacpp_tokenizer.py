"""llama.cpp's own tokenizer, for a GGUF file that comes without a tokenizer.json.

Less exact than the model's own. Measured on all-MiniLM: 220 English texts have the same ids, and of 23 hard
ones four differ, namely Korean, Hindi, and words of more than 100 characters.
Importing this module loads the native library (see `llamacpp_library`).
"""

import weakref
from pathlib import Path

import llama_cpp.llama_cpp as native

from backends.bert.llamacpp_library import free_model, load_model
from backends.bert.tokenizer import BertTokenizer
from backends.errors import LoadFailed, PartFailed


class LlamaTokenizer(BertTokenizer):
    """Texts to token ids by the vocabulary in a GGUF file."""

    def __init__(self, path: Path) -> None:
        handle = load_model(path, vocabulary_only=True)
        weakref.finalize(self, free_model, handle)
        self._vocabulary = native.llama_model_get_vocab(handle)
        framed, bare = self.encode(["a"])[0], self._tokenize("a", special=False)
        if not bare or len(framed) != len(bare) + 2:
            raise LoadFailed(f"{path.name} has no tokenizer of an encoder", code="model_load_failed")
        self.opening, self.closing = framed[:1], framed[-1:]

    def encode(self, texts: list[str]) -> list[list[int]]:
        """As `BertTokenizer.encode`. A lone surrogate raises `UnicodeEncodeError`."""
        return [self._tokenize(text, special=True) for text in texts]

    def _tokenize(self, text: str, *, special: bool) -> list[int]:
        data = text.encode()
        room = len(data) + 8
        while True:
            tokens = (native.llama_token * room)()
            # Special tokens that a text spells out ("[SEP]") count as such, as they do for tokenizer.json.
            count = native.llama_tokenize(self._vocabulary, data, len(data), tokens, room, special, True)
            if count >= 0:
                return list(tokens[:count])
            if -count <= room:
                raise PartFailed("llama.cpp cannot tokenize this text", code="engine_error")
            room = -count
