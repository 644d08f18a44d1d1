"""Transcripts as they are answered: one format as it is, several under their names, or files in a zip."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import orjson

from backends.transcription import Format, TranscriptionRequest, parse_part
from store.results import ItemResult
from tasks.formats import Formats
from tasks.transcripts.archive import zip_of
from tasks.transcripts.formats import ENDINGS, MEDIA_TYPES, render
from tasks.transcripts.merged import Transcript, transcript_of

ZIP = "application/zip"


def body_of_transcript(item: ItemResult, endpoint: str, model: str, formats: Formats) -> Any:
    """The JSON value of a line: an object, or a string for the formats that are text; for several an
    object of them."""
    request = formats.ruled(parse_part(item.body, endpoint, model=model))
    transcript, wanted = transcript_of(item.parts), formats.transcripts
    several = wanted or request.formats
    if len(wanted) == 1 or not several:
        return _as_json(transcript, wanted[0] if wanted else request.response_format, request)
    return {
        "text": transcript.text,
        "formats": {each: _as_json(transcript, each, request) for each in several},
    }


def transcript_body(parts: Sequence[bytes], request: TranscriptionRequest, name: str) -> Any:
    """The body of the reply to a call: bytes, or an object. `name` is that of the recording."""
    transcript = transcript_of(parts)
    if request.formats:
        return b"".join(zip_of([(name, files_of(transcript, request.formats, request))]))
    return render(transcript, request.response_format, request)


def media_type_of(request: TranscriptionRequest) -> str:
    return ZIP if request.formats else MEDIA_TYPES[request.response_format]


def files_of(
    transcript: Transcript, formats: Iterable[Format], request: TranscriptionRequest
) -> Mapping[str, bytes]:
    """The formats as files, by how their names end."""
    return {ENDINGS[each]: _as_file(render(transcript, each, request)) for each in formats}


def _as_file(rendered: bytes | dict[str, Any]) -> bytes:
    return rendered if isinstance(rendered, bytes) else orjson.dumps(rendered) + b"\n"


def _as_json(transcript: Transcript, wanted: Format, request: TranscriptionRequest) -> Any:
    rendered = render(transcript, wanted, request)
    return rendered.decode() if isinstance(rendered, bytes) else rendered
