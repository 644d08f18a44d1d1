"""A model's `tokenizer.json` as the vocabulary of a GGUF file.

The ids that we compute with come from `tokenizer.json` itself; the vocabulary in the file is there so that
llama.cpp loads it and so that other programs can use it. Formats: the `tokenizers` library's JSON, and
the `tokenizer.ggml.*` keys of ggml's docs/gguf.md with the conventions of llama.cpp's vocabulary loader.
"""

from base64 import b64decode
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gguf import TokenType

from backends.bert.json_files import read_object
from backends.bert.tokenizer import BertTokenizer
from backends.errors import LoadFailed

WORD_START = "▁"
CONTINUATION = "##"
UNUSED_SCORE = -10000.0


@dataclass(kw_only=True)
class Vocabulary:
    """Tokens in order of their ids, and what llama.cpp's tokenizer needs beside them.

    `kind` is llama.cpp's name of the algorithm: `bert` (WordPiece), `gpt2` (byte-level BPE), `t5`
    (unigram). `special` maps the names of `tokenizer.ggml.<name>_token_id`.
    """

    kind: str
    tokens: list[str]
    types: list[int]
    special: dict[str, int]
    pre: str = "default"
    scores: list[float] = field(default_factory=list)
    merges: list[str] = field(default_factory=list)
    charsmap: bytes = b""


def read_vocabulary(folder: Path, *, size: int, pad_id: int) -> Vocabulary:
    """The vocabulary of `folder`, filled up to `size` entries, as many as the embedding has rows.

    Raises `LoadFailed` for a tokenizer that llama.cpp has no counterpart of, or one that does not fit.
    """
    tokenizer = read_object(folder / "tokenizer.json")
    model = tokenizer.get("model")
    if not isinstance(model, dict):
        raise _refused("it has no 'model'")
    kind = str(model.get("type") or ("WordPiece" if "continuing_subword_prefix" in model else None))
    if kind not in _READERS:
        raise _refused(f"llama.cpp has no counterpart of a {kind} tokenizer")
    added = [entry for entry in tokenizer.get("added_tokens") or [] if isinstance(entry, dict)]
    try:
        vocabulary = _READERS[kind](tokenizer, _Table(model, added, size))
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        raise _refused(f"its {kind} model is not as expected ({error!r})") from None
    own = BertTokenizer.from_folder(folder)
    vocabulary.special |= _framing(own, pad_id)
    if vocabulary.kind != "bert":  # WordPiece closes an input with its separator, the others with this
        vocabulary.special["eos"] = own.closing[0]
    _check_distinct(vocabulary)
    return vocabulary


class _Table:
    """Tokens by id: text, type and score. Ids that nothing names are marked unused, as llama.cpp wants
    an entry for each."""

    def __init__(self, model: dict[str, Any], added: list[dict[str, Any]], size: int) -> None:
        self.model = model
        self.texts = [f"[PAD{number}]" for number in range(size)]
        self.types = [int(TokenType.UNUSED)] * size
        self.scores = [UNUSED_SCORE] * size
        self._added = added

    def put(self, number: int, text: str, score: float = 0.0) -> None:
        if not 0 <= number < len(self.texts):
            raise _refused(f"token {number} lies outside the model's {len(self.texts)} embeddings")
        self.texts[number], self.types[number], self.scores[number] = text, int(TokenType.NORMAL), score

    def put_added(self, unknown: int | None) -> None:
        for entry in self._added:
            self.put(int(entry["id"]), str(entry["content"]))
            special = bool(entry.get("special"))
            self.types[int(entry["id"])] = int(TokenType.CONTROL if special else TokenType.USER_DEFINED)
        if unknown is not None:
            self.types[unknown] = int(TokenType.UNKNOWN)

    def number_of(self, text: str | None) -> int | None:
        return self.texts.index(text) if text is not None and text in self.texts else None


def _word_piece(tokenizer: dict[str, Any], table: _Table) -> Vocabulary:
    """llama.cpp marks the start of a word where WordPiece marks its continuation."""
    for text, number in table.model["vocab"].items():
        inner = text.startswith(CONTINUATION)
        table.put(number, text.removeprefix(CONTINUATION) if inner else WORD_START + text)
    unknown = table.model["vocab"].get(table.model.get("unk_token"))
    table.put_added(None)  # [UNK] stays a control token, as in every BERT GGUF
    return _vocabulary("bert", table, unknown)


def _byte_pairs(tokenizer: dict[str, Any], table: _Table) -> Vocabulary:
    if "ByteLevel" not in str(tokenizer.get("pre_tokenizer")):
        raise _refused("llama.cpp knows byte-level BPE only")
    for text, number in table.model["vocab"].items():
        table.put(number, text)
    table.put_added(None)
    merges = [pair if isinstance(pair, str) else " ".join(pair) for pair in table.model["merges"]]
    unknown = table.number_of(table.model.get("unk_token") or "<unk>")
    vocabulary = _vocabulary("gpt2", table, unknown)
    vocabulary.pre, vocabulary.merges = "roberta-bpe", merges
    return vocabulary


def _unigram(tokenizer: dict[str, Any], table: _Table) -> Vocabulary:
    for number, (text, score) in enumerate(table.model["vocab"]):
        table.put(number, text, float(score))
    unknown = table.model.get("unk_id")
    table.put_added(unknown)
    vocabulary = _vocabulary("t5", table, unknown)
    vocabulary.scores = table.scores
    vocabulary.charsmap = _charsmap(tokenizer.get("normalizer"))
    return vocabulary


_READERS: dict[str, Callable[[dict[str, Any], _Table], Vocabulary]] = {
    "WordPiece": _word_piece,
    "BPE": _byte_pairs,
    "Unigram": _unigram,
}


def _vocabulary(kind: str, table: _Table, unknown: int | None) -> Vocabulary:
    special = {} if unknown is None else {"unknown": unknown}
    mask = next((at for text in ("[MASK]", "<mask>") if (at := table.number_of(text)) is not None), None)
    if mask is not None:
        special["mask"] = mask
    return Vocabulary(kind=kind, tokens=table.texts, types=table.types, special=special)


def _framing(tokenizer: BertTokenizer, pad_id: int) -> dict[str, int]:
    """The ids around every input. llama.cpp puts one before and one after, and aborts without them."""
    if len(tokenizer.opening) != 1 or len(tokenizer.closing) != 1:
        raise _refused("llama.cpp wants exactly one special token before and one after each input")
    opening, closing = tokenizer.opening[0], tokenizer.closing[0]
    # "seperator" is how the key is spelt.
    return {"bos": opening, "cls": opening, "seperator": closing, "padding": pad_id}


def _charsmap(normalizer: Any) -> bytes:
    """The precompiled character map of a SentencePiece model, wherever it is nested."""
    if not isinstance(normalizer, dict):
        return b""
    if "precompiled_charsmap" in normalizer:
        return b64decode(normalizer["precompiled_charsmap"] or "")
    return next(filter(None, map(_charsmap, normalizer.get("normalizers") or [])), b"")


def _check_distinct(vocabulary: Vocabulary) -> None:
    """llama.cpp ends the process when two tokens read the same."""
    seen: dict[str, int] = {}
    for number, text in enumerate(vocabulary.tokens):
        if not text or seen.setdefault(text, number) != number:
            raise _refused(f"token {number} is empty or reads as token {seen.get(text)} does ({text!r})")


def _refused(why: str) -> LoadFailed:
    return LoadFailed(f"tokenizer.json cannot be put into a GGUF file: {why}", code="model_load_failed")
