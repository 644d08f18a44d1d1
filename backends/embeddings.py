"""The embeddings request, as every family that serves `/v1/embeddings` reads it, and its result.

Wire facts: OpenAI's API reference; `overlong` and `input_type` are ours. Needs no native library, so that
the API can refuse a wrong body before it queues it.
"""

from collections.abc import Mapping
from typing import Any, Literal, cast, get_args

import msgspec
import numpy as np
import orjson
from numpy.typing import NDArray

from backends.errors import PartFailed
from backends.request_fields import (
    NO_DEFAULTS,
    given_fields,
    invalid,
    read_choice,
    read_json,
    read_model,
    read_string,
)
from backends.types import EmbeddingResult

Overlong = Literal["error", "truncate", "chunk_mean"]
EncodingFormat = Literal["float", "base64"]
Texts = list[str] | list[list[int]]
OVERLONG: tuple[Overlong, ...] = get_args(Overlong)
ENCODINGS: tuple[EncodingFormat, ...] = get_args(EncodingFormat)

MAX_TOKEN_ID = 2**31 - 1  # ids enter native code as int32
FIELDS = ("model", "input", "dimensions", "encoding_format", "overlong", "input_type", "user")


class EmbeddingRequest(msgspec.Struct, frozen=True, kw_only=True):
    """A checked request. `inputs` are all texts or all token ids, in order, none of them empty.

    `first` is the number that the first of them has in the caller's request: more than 0 in a piece of one.
    """

    model: str
    inputs: Texts
    dimensions: int | None = None
    encoding_format: EncodingFormat = "float"
    overlong: Overlong = "error"
    input_type: str | None = None  # names a prefix template of the model: "query", "passage"
    first: int = 0


def parse_embedding_request(
    body: bytes,
    *,
    max_inputs: int | None = None,
    default_model: str | None = None,
    defaults: Mapping[str, Any] = NO_DEFAULTS,
) -> EmbeddingRequest:
    """Check a request body as a caller sends it. `default_model` stands in for a missing `model` (lines of a
    job name none), `defaults` (of a spec) for other fields that are missing.

    Raises `InvalidBody` with the code and the field at fault. Bounds that only the model knows (its
    vocabulary, its dimensions, its context) are the backend's to check.
    """
    return _checked(given_fields(read_json(body), FIELDS), max_inputs, default_model, defaults)


def cut_request(
    body: bytes, size: int, *, max_inputs: int | None = None, default_model: str | None = None
) -> tuple[EmbeddingRequest, list[bytes]]:
    """Check a caller's body and cut it into the bodies of its parts, `size` inputs each, in order.

    A part has the fields that the caller gave and no others, so that a spec's defaults go on filling in the
    rest. A part after the first is a *piece*, the JSON array `[number of its first input, request]`:
    errors then name inputs as the caller counts them, and no caller can send one, whose body must be an
    object. A request that needs no cut stays as it was written. Raises `InvalidBody`.
    """
    fields = given_fields(read_json(body), FIELDS)
    request = _checked(fields, max_inputs, default_model, NO_DEFAULTS)
    if len(request.inputs) <= size:
        return request, [body]
    requests = (
        (start, {**fields, "input": request.inputs[start : start + size]})
        for start in range(0, len(request.inputs), size)
    )
    return request, [orjson.dumps([start, part] if start else part) for start, part in requests]


def parse_part(
    body: bytes, *, model: str, max_inputs: int | None, defaults: Mapping[str, Any]
) -> EmbeddingRequest:
    """Check the body of a part: a request as a caller sent it, or a piece that `cut_request` made of one.

    `model`, `max_inputs` and `defaults` are the spec's. Raises `InvalidBody`.
    """
    first, given = 0, read_json(body)
    if isinstance(given, list) and len(given) == 2 and type(given[0]) is int:
        first, given = given
    return _checked(given_fields(given, FIELDS), max_inputs, model, defaults, first)


def check_input_count(count: int, most: int | None) -> None:
    """Raise `InvalidBody` when a request has more inputs than one may have."""
    if most is not None and count > most:
        raise invalid("too_many_inputs", f"{count} inputs; one call takes {most}", "input")


def apply_dimensions(vectors: NDArray[np.float32], dimensions: int | None) -> NDArray[np.float32]:
    """The first `dimensions` numbers of each row of `vectors` (n, d), scaled back to length 1.

    None, or d itself, leaves them as they are. Raises `InvalidBody` when the model has fewer.
    """
    available = vectors.shape[1]
    if dimensions is None or dimensions == available:
        return vectors
    check_dimensions(dimensions, available)
    cut = vectors[:, :dimensions]
    lengths = np.linalg.norm(cut, axis=1, keepdims=True)
    return cast(NDArray[np.float32], cut / np.where(lengths > 0, lengths, np.float32(1)))


def check_dimensions(dimensions: int | None, available: int) -> None:
    """Raise `InvalidBody` when a request asks for more numbers than the model gives (before computing)."""
    if dimensions is not None and dimensions > available:
        message = f"{dimensions} dimensions asked for; the model has {available}"
        raise invalid("invalid_dimensions", message, "dimensions")


def result_of(tokens: int, vectors: NDArray[np.float32]) -> EmbeddingResult:
    """The storable result of one part: `vectors` (n, d), one row per input, `tokens` of all of them.

    Raises `PartFailed` when a number is not finite, whatever the backend has checked before.
    """
    if not np.isfinite(vectors).all():
        raise PartFailed("the model gave a result that is not a number", code="non_finite_output")
    data = np.ascontiguousarray(vectors, dtype="<f4").tobytes()
    return EmbeddingResult(tokens=tokens, dimensions=vectors.shape[1], vectors=data)


def _checked(
    given: dict[str, Any],
    max_inputs: int | None,
    default_model: str | None,
    defaults: Mapping[str, Any],
    first: int = 0,
) -> EmbeddingRequest:
    fields = {**defaults, **given}
    inputs = _read_inputs(fields.get("input"))
    check_input_count(len(inputs), max_inputs)
    read_string(fields, "user")
    return EmbeddingRequest(
        model=read_model(fields, default_model),
        inputs=inputs,
        dimensions=_read_dimensions(fields.get("dimensions")),
        encoding_format=read_choice(fields, "encoding_format", ENCODINGS) or "float",
        overlong=read_choice(fields, "overlong", OVERLONG) or "error",
        input_type=read_string(fields, "input_type"),
        first=first,
    )


def _read_dimensions(value: Any) -> int | None:
    if value is None:
        return None
    if type(value) is not int:  # a bool is an int in Python, and not in JSON
        raise invalid("invalid_type", "'dimensions' must be an integer", "dimensions")
    if value < 1:
        raise invalid("invalid_value", "'dimensions' must be at least 1", "dimensions")
    return value


def _read_inputs(value: Any) -> Texts:
    """A text, texts, token ids or lists of token ids, as a list of inputs."""
    if value is None:
        raise invalid("missing_required_parameter", "'input' is required", "input")
    if isinstance(value, str):
        return _check_texts([value])
    if not isinstance(value, list):
        raise invalid("invalid_type", "'input' must be a string or an array", "input")
    if not value:
        raise invalid("empty_input", "'input' is an empty array", "input")
    if isinstance(value[0], str):
        return _check_texts(value)
    if isinstance(value[0], list):
        return [_check_ids(ids, f"input {index}") for index, ids in enumerate(value)]
    return [_check_ids(value, "'input'")]


def _check_texts(texts: list[Any]) -> list[str]:
    for index, text in enumerate(texts):
        if not isinstance(text, str):
            raise invalid("invalid_type", f"input {index} is not a string as the first one is", "input")
        if not text:
            raise invalid("empty_input", f"input {index} is an empty string", "input")
    return texts


def _check_ids(ids: Any, what: str) -> list[int]:
    if not isinstance(ids, list):
        raise invalid("invalid_type", f"{what} is not an array as the first one is", "input")
    if not ids:
        raise invalid("empty_input", f"{what} is an empty array", "input")
    for token in ids:
        if type(token) is not int:
            raise invalid("invalid_type", f"{what} must hold token ids only", "input")
        if not 0 <= token <= MAX_TOKEN_ID:
            raise invalid("invalid_token_id", f"{what} holds {token}, which is no token id", "input")
    return ids
