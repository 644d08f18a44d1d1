"""The transcription request, as every family that serves `/v1/audio/*` reads it.

Wire facts: OpenAI's API reference; `channels`, `formats` and `captions` are ours. Needs no native library, so
that the API can refuse a wrong body before it queues it.

A part's body is one of two things. What a caller sends is an object that names a file (`file_id`) or a
`url`. What we make is a *piece*, the array `[attachment, stretch, request]`: no caller can send one, whose
body must be an object. Its attachment is `[blob, name]`, the bytes under the name of a blob; its stretch is
null for the whole recording, or `[start_ms, end_ms]`.
"""

import re
from collections.abc import Mapping
from typing import Any, Literal, get_args

import msgspec
import orjson

from backends.request_fields import (
    NO_DEFAULTS,
    given_fields,
    invalid,
    read_choice,
    read_choices,
    read_flag,
    read_json,
    read_model,
    read_number,
    read_string,
    read_strings,
)

TRANSCRIPTIONS, TRANSLATIONS = "/v1/audio/transcriptions", "/v1/audio/translations"
ENDPOINTS = (TRANSCRIPTIONS, TRANSLATIONS)

Task = Literal["transcribe", "translate"]
Channels = Literal["mix", "split"]
Granularity = Literal["segment", "word"]
Format = Literal["json", "text", "srt", "vtt", "verbose_json", "tsv", "lrc", "diarized_json"]
FORMATS: tuple[Format, ...] = get_args(Format)
GRANULARITIES: tuple[Granularity, ...] = get_args(Granularity)
CHANNELS: tuple[Channels, ...] = get_args(Channels)
STREAMED: tuple[Format, ...] = ("json", "text", "diarized_json")  # whose content a stream of events can carry

FIELDS = frozenset({
    "model", "file_id", "url", "language", "languages", "prompt", "keywords", "response_format", "formats",
    "temperature", "timestamp_granularities", "include", "words", "channels", "captions", "stream",
    "chunking_strategy", "known_speaker_names", "known_speaker_references",
})  # fmt: skip

Attachment = tuple[str, str]  # the name of a blob, and what the caller calls the recording
Stretch = tuple[int, int]  # from, to: milliseconds of the recording

_LANGUAGE = re.compile(r"([a-z]{2,3})(?:[-_][a-z0-9]+)*")  # a region says nothing to these models
_FILE_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")
_URL = re.compile(r"https?://[^\s]+", re.IGNORECASE)
_MAX_URL = 4096
# What captions may ask for: least, most.
CAPTION_BOUNDS = {"max_line_chars": (10, 500), "max_lines": (1, 20), "max_seconds": (1, 60)}


class Captions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How segments become captions (srt, vtt, lrc): characters per line, lines and seconds per caption."""

    max_line_chars: int = 42
    max_lines: int = 2
    max_seconds: float = 7.0


class TranscriptionRequest(msgspec.Struct, frozen=True, kw_only=True):
    """A checked request. Of `file_id`, `url` and an attachment one says where the bytes are.

    `language` is a code such as en, None: the model finds out. `words`: word times are wanted, `logprobs`:
    those of tokens. `formats` are several at once, in place of `response_format`. `stretch` (in
    milliseconds) is set in pieces of a long recording alone.
    """

    model: str
    task: Task = "transcribe"
    file_id: str | None = None
    url: str | None = None
    attachment: Attachment | None = None
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
    stretch: Stretch | None = None

    @property
    def wanted(self) -> tuple[Format, ...]:
        """Every format that the result is asked for in."""
        return self.formats or (self.response_format,)


def parse_request(
    body: bytes,
    endpoint: str,
    *,
    attached: bool = False,
    default_model: str | None = None,
    defaults: Mapping[str, Any] = NO_DEFAULTS,
) -> TranscriptionRequest:
    """Check a request body as a caller sends it. `attached`: the recording came with it, so that it must not
    name another. `default_model` stands in for a missing `model`, `defaults` (of a spec) for other fields.

    Raises `InvalidBody` with the code and the field at fault. What only the model knows (its languages,
    whether it translates) is the backend's to check.
    """
    return _checked(given_fields(read_json(body), FIELDS), endpoint, attached, default_model, defaults)


def parse_part(
    body: bytes, endpoint: str, *, model: str, defaults: Mapping[str, Any] = NO_DEFAULTS
) -> TranscriptionRequest:
    """Check the body of a part: a request as a caller sent it, or a piece. `model` and `defaults` are the
    spec's. Raises `InvalidBody`."""
    attachment, stretch, fields = _taken_apart(read_json(body))
    request = _checked(given_fields(fields, FIELDS), endpoint, attachment is not None, model, defaults)
    return msgspec.structs.replace(request, attachment=attachment, stretch=stretch)


def piece(body: bytes, attachment: Attachment, stretch: Stretch | None = None) -> bytes:
    """The body of a part that is about a stretch of the attachment, None: all of it. What else is asked for
    is as in `body`, that of a request or of another piece. Raises `InvalidBody`."""
    _, _, fields = _taken_apart(read_json(body))
    asked = {name: value for name, value in fields.items() if name not in ("file_id", "url")}
    return orjson.dumps([attachment, stretch, asked])


def _taken_apart(body: Any) -> tuple[Attachment | None, Stretch | None, dict[str, Any]]:
    """Attachment, stretch and fields of a part's body."""
    if not isinstance(body, list):
        return None, None, given_fields(body, FIELDS)
    try:
        return msgspec.convert(body, tuple[Attachment, Stretch | None, dict[str, Any]])
    except msgspec.ValidationError:
        raise invalid("invalid_request", "the body must be a JSON object") from None


def _checked(
    given: dict[str, Any],
    endpoint: str,
    attached: bool,
    default_model: str | None,
    defaults: Mapping[str, Any],
) -> TranscriptionRequest:
    fields = {**defaults, **given}
    file_id, url = _read_source(fields, attached)
    _check_unused(fields)
    response_format, formats = _read_formats(fields, endpoint)
    granularities = read_choices(fields, "timestamp_granularities", GRANULARITIES)
    words = read_flag(fields, "words")
    request = TranscriptionRequest(
        model=read_model(fields, default_model),
        task="translate" if endpoint == TRANSLATIONS else "transcribe",
        file_id=file_id,
        url=url,
        language=_read_language(fields),
        prompt=_read_prompt(fields),
        temperature=read_number(fields, "temperature", 0, 1) or 0.0,
        response_format=response_format,
        formats=formats,
        granularities=frozenset(granularities or (GRANULARITIES if words else ["segment"])),
        words=words or "word" in granularities,
        logprobs="logprobs" in read_choices(fields, "include", ("logprobs",)),
        channels=_read_channels(fields, formats or (response_format,)),
        captions=_read_captions(fields),
        stream=read_flag(fields, "stream"),
    )
    _check_together(request, granularities)
    return request


def _read_source(fields: Mapping[str, Any], attached: bool) -> tuple[str | None, str | None]:
    file_id, url = read_string(fields, "file_id"), read_string(fields, "url")
    if [attached, file_id is not None, url is not None].count(True) != 1:
        message = "give one recording: a file of the form, the 'file_id' of an uploaded file, or its 'url'"
        raise invalid("missing_required_parameter", message, "file")
    if file_id is not None and not _FILE_ID.fullmatch(file_id):
        raise invalid("invalid_value", "'file_id' is no id of a file", "file_id")
    if url is not None and (len(url) > _MAX_URL or not _URL.fullmatch(url)):
        raise invalid("invalid_value", f"'url' must be http or https, of up to {_MAX_URL} characters", "url")
    return file_id, url


def _check_unused(fields: Mapping[str, Any]) -> None:
    """Fields of OpenAI's API that change nothing here, or that nothing here can do."""
    for name in ("known_speaker_names", "known_speaker_references"):
        if fields.get(name):
            message = f"'{name}' is not supported: speakers are told apart by their channel alone"
            raise invalid("invalid_value", message, name)
    strategy = fields.get("chunking_strategy", "auto")  # recordings are always cut by speech
    kind = strategy.get("type") if isinstance(strategy, dict) else strategy
    if kind != ("server_vad" if isinstance(strategy, dict) else "auto"):
        message = "'chunking_strategy' must be auto, or an object of the type server_vad"
        raise invalid("invalid_value", message, "chunking_strategy")


def _read_formats(fields: Mapping[str, Any], endpoint: str) -> tuple[Format, tuple[Format, ...]]:
    response_format = read_choice(fields, "response_format", FORMATS)
    formats = read_choices(fields, "formats", FORMATS)
    if response_format and formats:
        raise invalid("invalid_value", "give 'response_format' or 'formats', not both", "formats")
    if endpoint == TRANSLATIONS and "diarized_json" in (response_format, *formats):
        message = "a translation has no diarized_json"
        raise invalid("invalid_value", message, "formats" if formats else "response_format")
    return response_format or "json", tuple(formats)


def _read_language(fields: Mapping[str, Any]) -> str | None:
    """The code alone: `en` of `en`, `EN` or `en-US`."""
    languages, name = read_strings(fields, "languages"), "language"
    language = read_string(fields, "language")
    if language is None and languages:
        if len(languages) > 1:
            message = "only one of 'languages' can be given; give none to have the language found"
            raise invalid("invalid_value", message, "languages")
        language, name = languages[0], "languages"
    if language is None:
        return None
    found = _LANGUAGE.fullmatch(language.strip().lower())
    if found is None:
        raise invalid("invalid_value", f"'{name}' must be a code such as en", name)
    return found[1]


def _read_prompt(fields: Mapping[str, Any]) -> str | None:
    """The text that comes before the recording; keywords are the end of it, which is how these models learn
    of names."""
    given = [read_string(fields, "prompt"), ", ".join(read_strings(fields, "keywords"))]
    return " ".join(text.strip() for text in given if text and text.strip()) or None


def _read_channels(fields: Mapping[str, Any], wanted: tuple[Format, ...]) -> Channels:
    channels = read_choice(fields, "channels", CHANNELS)
    if channels == "mix" and "diarized_json" in wanted:
        message = "diarized_json needs 'channels' split: speakers are told apart by their channel"
        raise invalid("invalid_value", message, "channels")
    return channels or ("split" if "diarized_json" in wanted else "mix")


def _read_captions(fields: Mapping[str, Any]) -> Captions:
    given = fields.get("captions", {})
    if not isinstance(given, dict):
        raise invalid("invalid_type", "'captions' must be an object", "captions")
    values: dict[str, Any] = {}
    for name, value in given.items():
        param = f"captions.{name[:80]}"
        if name not in CAPTION_BOUNDS:
            raise invalid("invalid_request", f"unknown field '{param}'", param)
        number = read_number({param: value}, param, *CAPTION_BOUNDS[name])
        if number is None:
            continue
        if name != "max_seconds" and not number.is_integer():
            raise invalid("invalid_type", f"'{param}' must be an integer", param)
        values[name] = number if name == "max_seconds" else int(number)
    return Captions(**values)


def _check_together(request: TranscriptionRequest, granularities: list[Granularity]) -> None:
    """Refuse what would be without effect on the formats that are asked for."""
    if granularities and "verbose_json" not in request.wanted:
        message = "'timestamp_granularities' needs the format verbose_json"
        raise invalid("invalid_value", message, "timestamp_granularities")
    if request.logprobs and "json" not in request.wanted:
        raise invalid("invalid_value", "'include' logprobs needs the format json", "include")
    if request.stream and (request.formats or request.response_format not in STREAMED):
        message = f"'stream' needs one of the formats {', '.join(STREAMED)}"
        raise invalid("invalid_value", message, "stream")
