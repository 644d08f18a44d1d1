"""The transcription request, as every family that serves `/v1/audio/*` reads it.

Wire facts: OpenAI's API reference; `channels`, `formats` and `captions` are ours. Needs no native library, so
that the API can refuse a wrong body before it queues it.

A part's body is one of two things. What a caller sends is an object that names a file (`file_id`) or a
`url`. What we make is a *piece*, the array `[attachment, stretch, request]`: no caller can send one, whose
body must be an object. Its attachment is `[blob, name]`, the bytes under the name of a blob; its stretch is
null for the whole recording, or `[start_ms, end_ms]`.
"""

from typing import Literal, get_args

import msgspec

TRANSCRIPTIONS, TRANSLATIONS = "/v1/audio/transcriptions", "/v1/audio/translations"
ENDPOINTS = (TRANSCRIPTIONS, TRANSLATIONS)

Task = Literal["transcribe", "translate"]
Channels = Literal["mix", "split"]
Granularity = Literal["segment", "word"]
Format = Literal["json", "text", "srt", "vtt", "verbose_json", "tsv", "lrc", "diarized_json"]
FORMATS: tuple[Format, ...] = get_args(Format)


class Captions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How segments become captions (srt, vtt, lrc): characters per line, lines and seconds per caption."""

    max_line_chars: int = 42
    max_lines: int = 2
    max_seconds: float = 7.0


class TranscriptionRequest(msgspec.Struct, frozen=True, kw_only=True):
    """A checked request. Of `file_id`, `url` and an attachment one says where the bytes are.

    `language` is a code such as en, None: the model finds out. `words`: word times are wanted, `logprobs`:
    those of tokens. `formats` are several forms at once, in place of `response_format`. `stretch` (in
    milliseconds) is set in pieces of a long recording alone.
    """

    model: str
    task: Task = "transcribe"
    file_id: str | None = None
    url: str | None = None
    attachment: tuple[str, str] | None = None
    language: str | None = None
    prompt: str | None = None
    temperature: float = 0.0
    response_format: Format = "json"
    formats: tuple[Format, ...] = ()
    granularities: frozenset[Granularity] = frozenset({"segment"})
    words: bool = False
    logprobs: bool = False
    channels: Channels = "mix"
    captions: Captions = Captions()
    stream: bool = False
    stretch: tuple[int, int] | None = None
