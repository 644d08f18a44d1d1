"""The embeddings call and its reply, for the OpenAPI document alone: bodies are read by
`backends/embeddings.py`, whose fields are these and those of `api/call_fields.py` (a test compares), and
replies are rendered by `tasks/render.py`."""

from typing import Annotated, Literal

import msgspec

from api.schemas.work import Metadata
from backends.embeddings import EncodingFormat, Overlong

Input = str | Annotated[list[str | int | list[int]], msgspec.Meta(min_length=1)]


class EmbeddingBody(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """`input`: a text, texts, token ids, or lists of token ids."""

    model: str
    input: Input
    encoding_format: EncodingFormat | None = None
    dimensions: Annotated[int, msgspec.Meta(ge=1)] | None = None
    user: str | None = None
    overlong: Overlong | None = None
    input_type: str | None = None
    webhook_url: str | None = None
    metadata: Metadata | None = None


class EmbeddingObject(msgspec.Struct, kw_only=True):
    """A vector; with `encoding_format` base64 its little-endian float32 bytes."""

    object: Literal["embedding"]
    index: int
    embedding: list[float] | str


class EmbeddingUsage(msgspec.Struct, kw_only=True):
    prompt_tokens: int
    total_tokens: int


class EmbeddingList(msgspec.Struct, kw_only=True):
    object: Literal["list"]
    data: list[EmbeddingObject]
    model: str
    usage: EmbeddingUsage
