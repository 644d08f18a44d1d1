"""What goes into an engine and what comes out: plain structs, no I/O, the lowest layer.

They travel as msgpack (msgspec) over the pipe between the controller and its engine. Results are
encoded once, in the engine, and stored as those bytes.
"""

from enum import StrEnum

import msgspec


class Lane(StrEnum):
    """Who waits."""

    INTERACTIVE = "interactive"  # somebody holds the line
    BULK = "bulk"  # nobody does


class Part(msgspec.Struct, frozen=True, array_like=True):
    """What is computed and recorded as one.

    `key` names it between a controller and its engine, for as long as that engine lives. `body` is the
    request body as JSON in UTF-8, whole. A part of a large item has its slice of the inputs; after the first
    it is a piece, `[number of its first input, request]` (`backends/embeddings.py`).
    """

    key: int
    endpoint: str
    body: bytes
    lane: Lane = Lane.BULK


class ErrorInfo(msgspec.Struct, frozen=True, array_like=True):
    """An error as it is stored: a code of `configs/error_codes.py`, a sentence, the field at fault."""

    code: str
    message: str
    param: str | None = None


# --- events: from the engine to the controller, each naming its part --------------------------------


class Started(msgspec.Struct, frozen=True, array_like=True, tag="s"):
    """These parts enter a native call. Started and not yet done = in flight."""

    keys: list[int]


class Progress(msgspec.Struct, frozen=True, array_like=True, tag="p"):
    """How far a part has come, in the family's unit (inputs, tokens, seconds of audio)."""

    key: int
    done: float
    total: float | None = None


class Delta(msgspec.Struct, frozen=True, array_like=True, tag="d"):
    """A piece of a result that a waiting reader may see early."""

    key: int
    data: bytes


class Done(msgspec.Struct, frozen=True, array_like=True, tag="r"):
    """A part is computed. `data` is an encoded result (below); `units` counts what it cost (tokens,
    audio milliseconds, steps). `more` holds the bodies of further parts that only computing could cut."""

    key: int
    data: bytes
    units: int = 0
    more: list[bytes] = []


class Failed(msgspec.Struct, frozen=True, array_like=True, tag="f"):
    """A part cannot be computed; the others go on."""

    key: int
    error: ErrorInfo


Event = Started | Progress | Delta | Done | Failed


# --- results: stored once, in compact exact form, rendered on read ------------------------------------


class EmbeddingResult(msgspec.Struct, frozen=True, array_like=True, tag="embedding"):
    """Vectors of one part. `vectors` is little-endian float32, row after row of `dimensions` numbers."""

    tokens: int
    dimensions: int
    vectors: bytes


Result = EmbeddingResult  # a union, once a second family has a form of its own

_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Result)
_error_decoder = msgspec.msgpack.Decoder(ErrorInfo)


def encode_result(result: Result | ErrorInfo) -> bytes:
    return _encoder.encode(result)


def decode_result(data: bytes) -> Result:
    return _decoder.decode(data)


def decode_error(data: bytes) -> ErrorInfo:
    return _error_decoder.decode(data)
