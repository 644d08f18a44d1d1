"""Transcriptions and their replies, for the OpenAPI document alone: bodies are read by
`backends/transcription.py`, whose fields are these and those of `api/call_fields.py` (a test compares), and
replies are rendered by `tasks/transcripts/`."""

from typing import Annotated, Any, Literal

import msgspec

from api.form_fields import Kind
from api.openapi import Schema, form_of
from api.schemas.work import Metadata
from backends.transcription import FORMATS, Captions, Channels, Format, Granularity


class ServerVad(msgspec.Struct, kw_only=True):
    type: Literal["server_vad"]
    prefix_padding_ms: int | None = None
    silence_duration_ms: int | None = None
    threshold: float | None = None


class TranscriptionBody(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """One of `file_id` (of an uploaded file) and `url` names the recording, unless it is a form's `file`."""

    model: str
    file_id: str | None = None
    url: str | None = None
    language: str | None = None
    languages: Annotated[list[str], msgspec.Meta(max_length=1)] | None = None
    prompt: str | None = None
    keywords: list[str] | None = None
    temperature: Annotated[float, msgspec.Meta(ge=0, le=1)] | None = None
    response_format: Format | None = None
    formats: list[Format] | None = None
    timestamp_granularities: list[Granularity] | None = None
    words: bool | None = None
    include: list[Literal["logprobs"]] | None = None
    channels: Channels | None = None
    captions: Captions | None = None
    stream: bool | None = None
    chunking_strategy: Literal["auto"] | ServerVad | None = None
    known_speaker_names: Annotated[list[str], msgspec.Meta(max_length=0)] | None = None
    known_speaker_references: Annotated[list[str], msgspec.Meta(max_length=0)] | None = None
    webhook_url: str | None = None
    metadata: Metadata | None = None


class TranscriptUsage(msgspec.Struct, kw_only=True):
    type: Literal["duration"]
    seconds: int


class TranscriptObject(msgspec.Struct, kw_only=True):
    """The format json; verbose_json and diarized_json have more. The others are text, several a zip."""

    text: str
    usage: TranscriptUsage
    logprobs: list[dict[str, Any]] | None = None
    warnings: list[str] | None = None


# Fields of the form that are not text.
FORM_KINDS: dict[str, Kind] = {
    "languages": "list",
    "keywords": "list",
    "temperature": "number",
    "formats": "list",
    "timestamp_granularities": "list",
    "words": "flag",
    "include": "list",
    "captions": "object",
    "stream": "flag",
    "chunking_strategy": "object",
    "known_speaker_names": "list",
    "known_speaker_references": "list",
    "metadata": "texts",
}
_TEXTS: Schema = {"type": "array", "items": {"type": "string"}}
_FORM_FIELDS: dict[str, Schema] = {
    "model": {"type": "string"},
    "language": {"type": "string"},
    "prompt": {"type": "string"},
    "keywords[]": _TEXTS,
    "temperature": {"type": "number", "minimum": 0, "maximum": 1},
    "response_format": {"type": "string", "enum": list(FORMATS)},
    "formats[]": {"type": "array", "items": {"type": "string", "enum": list(FORMATS)}},
    "timestamp_granularities[]": {"type": "array", "items": {"type": "string", "enum": ["word", "segment"]}},
    "include[]": {"type": "array", "items": {"type": "string", "enum": ["logprobs"]}},
    "words": {"type": "boolean"},
    "channels": {"type": "string", "enum": ["mix", "split"]},
    "captions[max_line_chars]": {"type": "integer"},
    "captions[max_lines]": {"type": "integer"},
    "captions[max_seconds]": {"type": "number"},
    "stream": {"type": "boolean"},
    "chunking_strategy": {"type": "string"},
    "webhook_url": {"type": "string"},
}
TRANSCRIPTION_FORM = form_of("file", _FORM_FIELDS, "model")
