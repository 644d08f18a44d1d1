"""The embeddings request, as every family that serves `/v1/embeddings` reads it.

Wire facts: OpenAI's API reference; `overlong` is ours. Needs no native library, so that the API can
refuse a wrong body before it queues it.
"""

from typing import Literal

import msgspec

from backends.errors import InvalidBody

Overlong = Literal["error", "truncate", "chunk_mean"]
Texts = list[str] | list[list[int]]


class EmbeddingRequest(msgspec.Struct, frozen=True, kw_only=True):
    """A checked request. `inputs` are all texts or all token ids, in order, none of them empty."""

    model: str
    inputs: Texts
    dimensions: int | None = None
    encoding_format: Literal["float", "base64"] = "float"
    overlong: Overlong = "error"
    input_type: str | None = None  # names a prefix template of the model: "query", "passage"
