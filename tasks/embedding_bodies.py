"""Embeddings as they are answered."""

from base64 import b64encode
from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np

from backends.embeddings import EncodingFormat
from backends.types import decode_embedding
from store.results import ItemResult


class _Asked(msgspec.Struct):
    """What a request says about the form of its result."""

    encoding_format: EncodingFormat | None = None


_read_asked = msgspec.json.Decoder(_Asked).decode


def body_of_embedding(item: ItemResult, model: str, encoding_format: EncodingFormat | None) -> dict[str, Any]:
    """`encoding_format` overrides what the item's request asked for."""
    wanted = encoding_format or _read_asked(item.body).encoding_format or "float"
    return embedding_body(item.parts, model, wanted)


def embedding_body(parts: Sequence[bytes], model: str, encoding_format: EncodingFormat) -> dict[str, Any]:
    """The body of an embeddings reply: `parts` are encoded `EmbeddingResult`s whose rows follow each other.

    A float is written with the fewest digits that read back as the same float32.
    """
    tokens, rows = 0, list[Any]()
    for part in parts:
        result = decode_embedding(part)
        tokens += result.tokens
        vectors = np.frombuffer(result.vectors, dtype="<f4").reshape(-1, result.dimensions)
        rows.extend(
            [b64encode(row.data).decode() for row in vectors] if encoding_format == "base64" else vectors
        )
    return {
        "object": "list",
        "model": model,
        "data": [{"object": "embedding", "index": index, "embedding": row} for index, row in enumerate(rows)],
        "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
    }
