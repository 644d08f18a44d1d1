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


class Source(msgspec.Struct, frozen=True, array_like=True):
    """The bytes that a part is about, as a file to read.

    `blob` is the name by which the bodies of further parts name it, `name` what the caller calls it.
    """

    path: str
    blob: str
    name: str


class Part(msgspec.Struct, frozen=True, array_like=True):
    """What is computed and recorded as one.

    `key` names it between a controller and its engine, for as long as that engine lives. `body` is the
    request body as JSON in UTF-8, whole. A part of a large item has its slice of the inputs; after the first
    it is a piece, `[number of its first input, request]` (`backends/embeddings.py`). `source` is the file
    that a body about a recording means; the controller finds it.
    """

    key: int
    endpoint: str
    body: bytes
    lane: Lane = Lane.BULK
    source: Source | None = None


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
    audio milliseconds, steps). `more` holds the bodies of further parts that only computing could cut,
    `foreseen` the units that these will count."""

    key: int
    data: bytes
    units: int = 0
    more: list[bytes] = []
    foreseen: int = 0


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


class Word(msgspec.Struct, frozen=True, array_like=True):
    """A word with its leading space, if it has one; times in milliseconds from the recording's beginning."""

    start_ms: int
    end_ms: int
    text: str
    probability: float | None = None


class Segment(msgspec.Struct, frozen=True, array_like=True):
    """A stretch of speech; times in milliseconds from the recording's beginning.

    `text` is as the model wrote it, with its leading space: the text of a transcript is its segments' texts
    joined. `seek_ms` is where the window began that it was heard in, `tokens` the text's ids without special
    ones; `token_logprobs` (natural) and `token_texts` (empty for a token in the middle of a character) belong
    to `tokens`, where the request wants them. Probabilities are the window's. `channel` (from 0) where
    channels are transcribed apart.
    """

    start_ms: int
    end_ms: int
    text: str
    tokens: list[int]
    seek_ms: int
    temperature: float
    avg_logprob: float
    compression_ratio: float
    no_speech_prob: float
    words: list[Word] = []
    token_logprobs: list[float] | None = None
    channel: int | None = None
    token_texts: list[str] | None = None


class TranscriptResult(msgspec.Struct, frozen=True, array_like=True, tag="transcript"):
    """What one part heard of a recording: its segments by start, between `start_ms` and `end_ms`.

    The item's first part alone has `total_ms`, the length of the whole recording. `language` is a code (en),
    None where nothing was heard. `warnings` are codes: truncated_input (the recording ends before its header
    says), damaged_input (stretches could not be decoded), no_speech (all of this part is silence).
    """

    start_ms: int
    end_ms: int
    segments: list[Segment]
    language: str | None = None
    total_ms: int | None = None
    warnings: list[str] = []


Result = EmbeddingResult | TranscriptResult

_encoder = msgspec.msgpack.Encoder()
_decoder: msgspec.msgpack.Decoder[Result] = msgspec.msgpack.Decoder(Result)
_embedding_decoder = msgspec.msgpack.Decoder(EmbeddingResult)
_transcript_decoder = msgspec.msgpack.Decoder(TranscriptResult)
_segments_decoder = msgspec.msgpack.Decoder(list[Segment])
_error_decoder = msgspec.msgpack.Decoder(ErrorInfo)


def encode_segments(segments: list[Segment]) -> bytes:
    """Segments that are final, as the data of a `Delta`."""
    return _encoder.encode(segments)


def decode_segments(data: bytes) -> list[Segment]:
    return _segments_decoder.decode(data)


def encode_result(result: Result | ErrorInfo) -> bytes:
    return _encoder.encode(result)


def decode_result(data: bytes) -> Result:
    return _decoder.decode(data)


def decode_embedding(data: bytes) -> EmbeddingResult:
    """Raises `msgspec.ValidationError` for the result of another endpoint."""
    return _embedding_decoder.decode(data)


def decode_transcript(data: bytes) -> TranscriptResult:
    """Raises `msgspec.ValidationError` for the result of another endpoint."""
    return _transcript_decoder.decode(data)


def decode_error(data: bytes) -> ErrorInfo:
    return _error_decoder.decode(data)
